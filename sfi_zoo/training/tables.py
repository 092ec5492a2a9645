"""Tables of a recipe: dataclasses that say beside each default what else is allowed, and check themselves."""

from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar

from sfi_zoo.errors import InputError


def within(default: Any, low: float, high: float) -> Any:
    """A field with a number in `low` ... `high`; where the default is two numbers, with two that do not fall."""
    return field(default=default, metadata={"range": (low, high)})


def one_of(default: Any, *others: Any) -> Any:
    """A field with one of these values."""
    return field(default=default, metadata={"choices": (default, *others)})


@dataclass(frozen=True)
class Table:
    """Base of the tables. Every field has a default, and its values are of the kind of that; whole numbers will do for others."""

    table: ClassVar[str]

    def __post_init__(self) -> None:
        """Raises `InputError` for a value that is not allowed, with what is."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            rule = _broken_rule(entry, value)
            if rule:
                raise InputError(f"[{self.table}] {entry.name} must be {rule}, got {value!r}")


def _broken_rule(entry: Field[Any], value: Any) -> str | None:
    if not _is_like(entry.default, value):
        return f"like {entry.default!r}"
    choices, limits = entry.metadata.get("choices"), entry.metadata.get("range")
    if choices and value not in choices:
        return f"one of {', '.join(map(str, choices))}"
    if limits:
        low, high = limits
        first, last = value if isinstance(value, tuple) else (value, value)
        if not low <= first <= last <= high:  # NaN is refused too
            pair = "two numbers that do not fall, " if isinstance(value, tuple) else ""
            return f"{pair}in {low:g} ... {high:g}"
    return None


def _is_like(example: Any, value: Any) -> bool:
    if isinstance(example, tuple):
        alike = isinstance(value, tuple) and len(value) == len(example)
        return alike and all(map(_is_like, example, value))
    return type(value) is type(example) or (type(example) is float and type(value) is int)
