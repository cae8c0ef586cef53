"""Counts what a storm left in a file, read by the json and sqlite3 modules and not by turnlog: lost, split, doubled turns."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.storm import TURN

Message = dict[str, Any]


@dataclass(frozen=True)
class Audit:
    """A session's turns against the receipts for them."""

    stored: int
    """Turns that are there, whole and in one piece."""
    unacknowledged: int
    """Of these, turns whose writer was killed before it could hand in the receipt."""
    lost: int
    """Acknowledged turns of which not every message is there."""
    split: int
    """Turns with a message missing, out of place, or a stranger's message between."""
    doubled: int
    """Messages that are there more than once."""
    disordered: int
    """Turns that stand before an earlier turn of the same writer."""


def messages_of_json(path: Path) -> list[Message]:
    """The messages of a session file, as any JSON parser sees them."""
    messages: list[Message] = json.loads(path.read_text(encoding="utf-8"))["messages"]
    return messages


def messages_of_sqlite(path: Path) -> list[Message]:
    """The messages of a SQLite file that holds one session, as any SQLite client sees them."""
    with closing(sqlite3.connect(path)) as db:
        return [json.loads(body) for (body,) in db.execute("SELECT body FROM records ORDER BY place")]


def audit(messages: Sequence[Message], acknowledged: Iterable[str]) -> Audit:
    """Compare what is there with what was acknowledged."""
    marks = [_mark(message) for message in messages]
    places: dict[str, list[int]] = {}
    for place, (key, _) in enumerate(marks):
        places.setdefault(key, []).append(place)
    whole = {key for key, at in places.items() if _in_one_piece([(place, marks[place][1]) for place in at])}
    receipts = set(acknowledged)
    return Audit(
        stored=len(whole),
        unacknowledged=len(whole - receipts),
        lost=len([key for key in receipts if len({marks[place][1] for place in places.get(key, [])}) < TURN]),
        split=len(places) - len(whole),
        doubled=sum(times - 1 for times in Counter(marks).values()),
        disordered=_disordered(key for key, part in marks if part == 0),
    )


def _mark(message: Message) -> tuple[str, int]:
    """Which turn a message belongs to, and its place in it."""
    if message["role"] == "user":
        return str(message["content"]), 0
    if message["role"] == "tool":
        return str(message["tool_call_id"]), 2
    if message.get("tool_calls"):
        return str(message["tool_calls"][0]["id"]), 1
    return str(message["content"]), 3


def _in_one_piece(found: list[tuple[int, int]]) -> bool:
    first = found[0][0]
    return found == [(first + part, part) for part in range(TURN)]


def _disordered(keys: Iterable[str]) -> int:
    latest: dict[str, int] = {}
    wrong = 0
    for key in keys:
        writer, _, count = key.partition(".")
        wrong += int(count) < latest.get(writer, -1)
        latest[writer] = int(count)
    return wrong
