"""What cases say: same, holds, raises; each failure carries what was expected and what was seen."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

Error = TypeVar("Error", bound=BaseException)


class Mismatch(AssertionError):
    """A promise is broken: ``expected`` and ``seen`` say how, in words."""

    def __init__(self, expected: str, seen: str) -> None:
        super().__init__(f"expected {expected}; seen {seen}")
        self.expected = expected
        self.seen = seen


class NotRun(Exception):
    """The case cannot be put to this store; the text says why, and what would let it run."""


def same(seen: object, expected: object, what: str) -> None:
    """Fail unless both are equal in value, in type (1 is not True and not 1.0) and in the order of keys."""
    if (difference := _difference(seen, expected, "")) is not None:
        place, wanted, found = difference
        raise Mismatch(f"{what}{place}: {wanted}", found)


def holds(condition: object, expected: str, seen: object = "otherwise") -> None:
    """Fail with these words unless ``condition`` is true."""
    if not condition:
        raise Mismatch(expected, seen if isinstance(seen, str) else show(seen))


def raises(kind: type[Error] | tuple[type[Error], ...], call: Callable[[], object], what: str) -> Error:
    """Call, and give back the error; fail unless it is one of ``kind``."""
    names = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
    try:
        result = call()
    except kind as error:
        return error
    except Exception as error:
        raise Mismatch(f"{what} raises {names}", f"{type(error).__name__}: {error}") from error
    raise Mismatch(f"{what} raises {names}", f"returned {show(result)}")


def show(value: object, limit: int = 240) -> str:
    """``repr`` that fits a report."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else f"{text[: limit - 40]}… ({len(text)} characters)"


def _difference(seen: Any, expected: Any, place: str) -> tuple[str, str, str] | None:
    if type(seen) is not type(expected):
        return place, f"{show(expected)} ({type(expected).__name__})", f"{show(seen)} ({type(seen).__name__})"
    if isinstance(expected, dict):
        if list(seen) != list(expected):
            return place, f"the keys {show(list(expected))}", f"the keys {show(list(seen))}"
        pairs = [(f"{place}[{key!r:.40}]", seen[key], expected[key]) for key in expected]
    elif isinstance(expected, list | tuple):
        if len(seen) != len(expected):
            return place, f"{len(expected)} items, {show(expected)}", f"{len(seen)} items, {show(seen)}"
        pairs = [(f"{place}[{index}]", one, other) for index, (one, other) in enumerate(zip(seen, expected, strict=True))]
    elif isinstance(expected, float):
        alike = seen == expected and math.copysign(1.0, seen) == math.copysign(1.0, expected)
        return None if alike else (place, show(expected), show(seen))
    elif isinstance(expected, str) and len(expected) > 200 and seen != expected:
        return _text_difference(seen, expected, place)
    else:
        return None if seen == expected else (place, show(expected), show(seen))
    for inner, one, other in pairs:
        if (difference := _difference(one, other, inner)) is not None:
            return difference
    return None


def _text_difference(seen: str, expected: str, place: str) -> tuple[str, str, str]:
    at = next((i for i, (one, other) in enumerate(zip(seen, expected, strict=False)) if one != other), min(len(seen), len(expected)))
    where = f"{place} at character {at}"
    return where, f"{show(expected[at : at + 20])} of {len(expected)} characters", f"{show(seen[at : at + 20])} of {len(seen)} characters"
