"""The settings that a checkpoint carries, and what its user adds to them."""

import reprlib  # a short form, also of what holds the same thing over and over
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sfi_zoo.errors import InputError

_MISSING = object()


class Settings:
    """A part of a checkpoint's configuration; a setting that is missing or of a wrong type is an error that names it."""

    def __init__(self, values: Any, name: str) -> None:
        if not isinstance(values, dict):
            raise InputError(f"its {name} is not a dictionary of settings")
        self.values, self.name = values, name

    def get(self, key: str, kind: type | tuple[type, ...], default: Any = _MISSING) -> Any:
        """A setting, if it is of one of these types.

        Raises:
            InputError: it is not there and has no default, or it is of another type.
        """
        value = self.values.get(key, default)
        if value is _MISSING:
            raise InputError(f"its {self.name} has no {key}")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if value is not default and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        ):
            raise InputError(
                f"its {self.name} has {key}={reprlib.repr(value)}, not {' or '.join(k.__name__ for k in kinds)}"
            )
        return value

    def choice(self, key: str, meanings: dict[Any, Any], default: Any = _MISSING) -> Any:
        """What a setting means with us.

        Raises:
            InputError: it is not there and has no default, or it has no counterpart.
        """
        value = self.values.get(key, default)
        if value is _MISSING:
            raise InputError(f"its {self.name} has no {key}")
        if isinstance(value, str | int | float | None) and value in meanings:
            return meanings[value]
        known = ", ".join(map(repr, meanings))
        raise InputError(
            f"its {self.name} has {key}={reprlib.repr(value)}, which cannot be imported (known: {known})"
        )

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Refuses settings of other names.

        Raises:
            InputError: there are some; they are named.
        """
        unknown = sorted(str(key) for key in set(self.values).difference(known))
        if unknown:
            raise InputError(f"its {self.name} have {', '.join(unknown)}, which cannot be imported")

    def part(self, key: str) -> "Settings":
        """A dictionary within the settings, as settings of its own."""
        return Settings(self.get(key, dict), f"{self.name}.{key}")


@dataclass(frozen=True)
class Given:
    """What the user says about a checkpoint; None leaves it to the file.

    Attributes:
        sample_rate: F0 in Hz.
        sources: names of the sources, in output order.
        layers: blocks per repeat (X).
        mask: what makes the masks, see `ConvTasNetConfig.mask`, or `SpleeterConfig.estimate`.
        activation: of a Spleeter, see `SpleeterConfig.activation`.
        bins: that a Spleeter sees.
        config: the content of the YAML file that belongs to it.
    """

    sample_rate: int | None = None
    sources: tuple[str, ...] | None = None
    layers: int | None = None
    mask: str | None = None
    activation: str | None = None
    bins: int | None = None
    config: Any = None

    def settled(self, key: str, in_file: Any, hint: str = "") -> Any:
        """The value of a setting, which the file, the user or both may give.

        Args:
            key: field of this class.
            in_file: what the file says, None for nothing.
            hint: ends the error where nobody says anything.

        Raises:
            InputError: neither gives it, or they differ.
        """
        given = getattr(self, key)
        if in_file is None and given is None:
            raise InputError(f"it does not say its {key.replace('_', ' ')}; give {key}={hint}")
        if in_file is not None and given is not None and in_file != given:
            raise InputError(f"its {key.replace('_', ' ')} is {in_file!r}, not {given!r}")
        return given if in_file is None else in_file

    def names(self, count: int, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Names for `count` sources.

        Raises:
            InputError: another number of names was given.
        """
        names = self.sources or default or tuple(f"source_{i + 1}" for i in range(count))
        if len(names) != count:
            raise InputError(f"it has {count} sources, {len(names)} names were given ({', '.join(names)})")
        return tuple(names)
