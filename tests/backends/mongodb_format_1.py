"""A MongoDB store as the first version wrote it, document by document."""

from __future__ import annotations

import json
from typing import Any

from bson import ObjectId, Timestamp
from pymongo import IndexModel

from turnlog.backends.mongodb.schema import HISTORY_INDEXES, names
from turnlog.heads import Head, Parent, Reference, Stretch

OLD_INDEXES = ("by_session", "by_own", "by_id", "by_place", "by_time", "by_agent", "by_user", "by_parent", "by_mark")
LENGTH = 70
CLAIMS = [Reference("s", "r1", "c", "cr", 5), Reference("s", "r1", "gone", "gr", 3)]
PARENT = Head(session_id="s", run="r1", born="b", counter=9, length=LENGTH, shed=2, created_at=1.5, updated_at=2.5, fields={"title": "T"})
CHILD = Head(
    session_id="c",
    run="cr",
    born="cb",
    past=(Stretch("r1", 0, 5),),
    past_count=5,
    shed=2,
    parent=Parent("s", "b", "r1", 4),
    created_at=1.5,
    updated_at=3.5,
    # Looks like a cut, and is none.
    fields={"metadata": {"shed": 7, "text": '"shed":7'}},
)
PLAIN = Head(
    session_id="p", run="pr", born="pb", length=1, created_at=1.5, updated_at=1.5, fields={"metadata": {"shed": 7, "text": '"shed":7'}}
)


def write_format_1(database: Any, prefix: str) -> None:
    """Write the three sessions and two claims; one of them is of a child that never came to be."""
    collections = names(prefix)
    history = database[collections.history]
    history.create_indexes([index for index in HISTORY_INDEXES if index.document["name"] in OLD_INDEXES])
    database[collections.rows].create_indexes([IndexModel([("run", 1), ("kind", 1), ("n", 1)], name="by_order")])
    for name in (collections.claims, collections.texts):
        database[name].create_indexes([IndexModel([("run", 1)], name="by_run")])
    history.insert_one(_chunk(0, 32))
    history.insert_many([_head(PARENT, 32, 64), _head(CHILD, 0, 0), _head(PLAIN, 0, 0)])
    row = {"run": "r1", "kind": "snapshot", "key": "k"}
    database[collections.rows].insert_one({"_id": row, "s": "s", **row, "n": Timestamp(0, 0), "body": "{}"})
    for session_id, run, child, child_run, stop in CLAIMS:
        claim = {"s": session_id, "run": run, "child": child, "child_run": child_run, "stop": stop}
        database[collections.claims].insert_one({"_id": {"run": run, "child_run": child_run}, **claim})
    database[collections.format].insert_one({"_id": "format", "version": 1})


def _entries(run: str, start: int, stop: int) -> list[dict[str, Any]]:
    return [
        {"i": f"{run}-m{n}", "t": 7.25, "b": json.dumps({"role": "user", "content": f"old word{n} of {run}"})} for n in range(start, stop)
    ]


def _chunk(start: int, stop: int) -> dict[str, Any]:
    entries = _entries("r1", start, stop)
    place = {"run": "r1", "base": start}
    return {"_id": place, "s": "s", **place, "end": stop, "buf": entries, "k": [entry["i"] for entry in entries], "op": ObjectId()}


def _head(head: Head, base: int, mid: int) -> dict[str, Any]:
    body: dict[str, Any] = {"born": head.born, "created_at": head.created_at}
    if head.past_count or head.shed:
        body |= {"past": head.past, "past_count": head.past_count, "path": None, "tail": 0, "shed": head.shed}
    if head.parent is not None:
        body["parent"] = head.parent
    body["fields"] = dict(head.fields)
    entries = _entries(head.run, base, head.length)
    values = {"s": head.session_id, "live": True, "run": head.run, "own": head.run, "counter": head.counter, "length": head.length}
    values |= {"offset": head.past_count - head.shed, "updated_at": head.updated_at, "body": json.dumps(body, separators=(",", ":"))}
    values |= {"end": float("inf"), "base": base, "mid": mid, "size": 0, "buf": entries, "op": ObjectId()}
    values["k"] = [entry["i"] for entry in entries[mid - base :]]
    return values if head.parent is None else {**values, "parent": head.parent.session_id}
