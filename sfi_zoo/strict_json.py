"""JSON of somebody else: what its standard has, and what Python's floats and integers hold."""

import json
import math
from pathlib import Path
from typing import Any, NoReturn

MOST_BYTES = 2**24
LONGEST = 1000  # digits of an integer: the largest float has 309


def parsed(text: str | bytes) -> Any:
    """The value that a text holds.

    Raises:
        ValueError: it is no JSON, has NaN, Infinity or a number beyond the largest, names a key twice, or is nested too deeply.
    """
    try:
        return json.loads(
            text, parse_constant=_refuse, parse_float=_float, parse_int=_int, object_pairs_hook=_object
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at character {error.pos}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"cannot be decoded as UTF-8: {error.reason}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_json(path: Path, most_bytes: int = MOST_BYTES) -> Any:
    """The value that a file holds.

    Raises:
        OSError: it cannot be read.
        ValueError: see `parsed`; or it is larger than `most_bytes`.
    """
    if path.stat().st_size > most_bytes:
        raise ValueError(f"more than {most_bytes} bytes")
    return parsed(path.read_bytes())


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is beyond the largest number")
    return value


def _int(text: str) -> int:
    if len(text) > LONGEST:
        raise ValueError(f"{text:.40}... has {len(text)} digits")
    return int(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{twice!r:.40} is there twice")
    return found
