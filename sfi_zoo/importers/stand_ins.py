"""Inert stand-ins for OmegaConf objects, and the plain dicts and lists they stand for."""

import re
from typing import Any

from sfi_zoo.errors import InputError

MAX_DEPTH = 100
MOST_LOOKED_UP = 200_000  # values of configurations, over all of their parts


class Inert:
    """Stands for an object of a class that is not imported: it keeps its state and does nothing."""

    state: dict[str, Any]

    def __new__(cls, *_: Any) -> "Inert":
        """Keeps none of the arguments."""
        self = super().__new__(cls)
        self.state = {}
        return self

    def __init__(self, *_: Any) -> None:
        """Does nothing."""

    def __setstate__(self, state: Any) -> None:
        """Keeps attributes as data."""
        parts = state if isinstance(state, tuple) else (state,)
        for part in parts:
            if isinstance(part, dict):
                self.state.update(part)


def plain(value: Any) -> Any:
    """Stand-ins to what they stand for: OmegaConf 2 keeps `_content` and `_val`, 1.4 `content` and `val`.

    Shared and cyclic parts are converted once.

    Raises:
        InputError: nested more than 100 deep.
    """
    return _plain(value, {}, 0, [MOST_LOOKED_UP])


def _plain(value: Any, memo: dict[int, Any], depth: int, left: list[int]) -> Any:
    if depth > MAX_DEPTH:
        raise InputError("it is nested too deeply")
    if isinstance(value, str):
        return str(value)
    if not isinstance(value, dict | list | tuple | Inert):
        return value
    if id(value) in memo:
        return memo[id(value)]
    result: Any
    if isinstance(value, Inert):
        memo[id(value)] = None
        state = value.state
        key = next((key for key in ("_content", "content", "_val", "val") if key in state), None)
        result = None if key is None else _plain(state[key], memo, depth + 1, left)
        if isinstance(result, dict) and state.get("_parent", state.get("parent")) is None:
            result = resolved(result, left)
    elif isinstance(value, dict):
        result = memo[id(value)] = {}
        result.update(
            (k, _plain(v, memo, depth + 1, left)) for k, v in dict.items(value) if not isinstance(k, Inert)
        )
    else:
        result = memo[id(value)] = []
        result.extend(_plain(v, memo, depth + 1, left) for v in value)
        if isinstance(value, tuple):
            result = tuple(result)
    memo[id(value)] = result
    return result


def resolved(root: dict[Any, Any], left: list[int] | None = None) -> dict[Any, Any]:
    """A copy in which a text "${a.b}" is replaced by what stands at a, b from the root; other texts stay.

    Args:
        root: the configuration.
        left: how many values may still be looked up; it goes down.

    Raises:
        InputError: it refers to itself, or is larger than any configuration.
    """
    memo: dict[int, Any] = {}
    left = [MOST_LOOKED_UP] if left is None else left

    def look_up(value: Any, depth: int) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise InputError("its configuration is larger than that of any model")
        if depth > MAX_DEPTH:
            raise InputError("its configuration refers to itself")
        if isinstance(value, dict | list):
            if id(value) not in memo:
                if isinstance(value, dict):
                    memo[id(value)] = {k: look_up(v, depth + 1) for k, v in value.items()}
                else:
                    memo[id(value)] = [look_up(v, depth + 1) for v in value]
            return memo[id(value)]
        path = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
        if path is None:
            return value
        target: Any = root
        for key in path[1].split("."):
            if not isinstance(target, dict) or key not in target:
                return value
            target = target[key]
        return look_up(target, depth + 1)

    copy: dict[Any, Any] = look_up(root, 0)
    return copy
