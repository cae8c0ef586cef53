"""Numbered messages and turns that writers append, and what is read from them afterwards: nothing lost, nothing twice, nothing split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from turnlog.testing.checks import Mismatch, holds

TURN = 3
"""Messages in a numbered turn, where nothing else is said."""


def message(writer: str, number: int) -> dict[str, Any]:
    """A message that tells who wrote it."""
    return {"role": "user", "content": f"{writer} {number}"}


def turn(writer: str, number: int, size: int = 0, length: int = TURN) -> list[dict[str, Any]]:
    """A turn of ``length`` messages that tell who wrote them; ``size`` characters of ballast in the second one."""
    ballast = " " + "x" * size
    return [{"role": "assistant" if i else "user", "content": f"{writer} {number} {i}{ballast if i == 1 else ''}"} for i in range(length)]


def named_turn(number: int, length: int = TURN) -> list[dict[str, Any]]:
    """A turn whose messages have ids that everyone knows, so that anyone can send it again."""
    return [{**message, "id": f"turn-{number}-{i}"} for i, message in enumerate(turn("w", number, length=length))]


def texts(history: Iterable[dict[str, Any]]) -> list[str]:
    """The contents of a history of texts."""
    return [str(one.get("content")) for one in history]


def check_all_there(history: Sequence[dict[str, Any]], acknowledged: Iterable[str], *, attempted: Iterable[str] | None = None) -> None:
    """Every acknowledged text is there once; what else is there was at least attempted."""
    found = Counter(" ".join(text.split()[:2]) for text in texts(history))
    wanted = list(acknowledged)
    lost = [text for text in wanted if text not in found]
    holds(not lost, f"all {len(wanted)} acknowledged messages are there", f"{len(lost)} are lost, such as {lost[:5]}")
    twice = [text for text, times in found.items() if times > 1]
    holds(not twice, "every message is there once", f"stored more than once: {twice[:5]}")
    strange = set(found) - set(wanted if attempted is None else attempted)
    holds(not strange, "only what was written is there", f"also there: {sorted(strange)[:5]}")


def check_whole_turns(history: Sequence[dict[str, Any]], *, ordered: bool = True, length: int = TURN) -> list[str]:
    """Every numbered turn is whole and in one piece, and each writer's turns are in its order; gives ``writer number`` of each turn."""
    words = [text.split()[:3] for text in texts(history)]
    seen: list[str] = []
    for start in range(0, len(words), length):
        group = words[start : start + length]
        wanted = [[*group[0][:2], f"{i}"] for i in range(length)]
        if group != wanted:
            place = next((i for i, pair in enumerate(zip(group, wanted, strict=False)) if pair[0] != pair[1]), len(group))
            found = " ".join(group[place]) if place < len(group) else "the end"
            raise Mismatch(f"turns of {length} messages are appended whole and in one piece", f"at message {start + place}: {found}")
        seen.append(" ".join(group[0][:2]))
    if ordered:
        check_order_per_writer(seen)
    return seen


def check_order_per_writer(seen: Iterable[str]) -> None:
    """Of each writer, the numbers of ``writer number`` rise."""
    last: dict[str, int] = {}
    for text in seen:
        writer, number = text.split()[:2]
        holds(int(number) > last.get(writer, -1), f"the messages of writer {writer} in its order", f"{number} after {last.get(writer)}")
        last[writer] = int(number)
