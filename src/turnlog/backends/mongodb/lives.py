"""How long sessions live: what an append asks and raises, and when the server may remove a head by itself."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from typing import Any

from bson import ObjectId
from bson.datetime_ms import DatetimeMS
from pymongo import UpdateOne

from turnlog.backends.mongodb.documents import NOT_THERE
from turnlog.backends.mongodb.driver import Document
from turnlog.heads import Head

GRACE = 300.0
"""Seconds after the end of a session from which the server may remove its head: its clock may differ from that of who writes."""
AGE = 3600.0
"""Seconds after which what no head and no mark names is taken for the remains of a crash."""
LAST = 2**62
"""Milliseconds since the epoch; no end is later."""
REMEMBERED = 10_000
"""Sessions with an end that are remembered; one that is forgotten costs its next append three round trips more."""

_ENDLESS: tuple[Document, Document] = ({"ttl": NOT_THERE}, {})


class Lives:
    """What is known of sessions that end. It may be wrong, and is never trusted: an append asks for it, and looks again if it fails.

    A session of which nothing is known is taken for one that never ends.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, bool]] = OrderedDict()

    def learn(self, key: str, state: Document) -> None:
        """Note what a head says: ``ttl`` in seconds, and whether it is ``claimed``."""
        if "ttl" not in state:
            self._known.pop(key, None)
            return
        self._known[key] = (state["ttl"], state.get("claimed", False))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def at_append(self, key: str, now: float) -> tuple[Document, Document]:
        """What an append asks of the head, and what it sets in it."""
        known = self._known.get(key)
        if known is None:
            return _ENDLESS
        ttl, claimed = known
        where = {"ttl": ttl, "claimed": True if claimed else NOT_THERE, "expires": {"$gt": now}}
        raised: Document = {"expires": now + ttl}
        if not claimed:
            raised["gone"] = end_of_life(now + ttl)
        return where, raised


def end_of_life(expires: float) -> DatetimeMS:
    """When the server may remove a head that expires at ``expires`` (seconds since the epoch); never just after it was written."""
    return DatetimeMS(int(min(1e3 * (max(expires, time.time()) + GRACE), LAST)))


def life_of(head: Head) -> Document:
    """The fields of a head that tell how long it lives, but for the time at which the server removes it."""
    return {} if head.ttl is None else {"ttl": head.ttl, "expires": head.updated_at + head.ttl}


def watch(key: str, head: Head) -> UpdateOne:
    """The write of a note that this run may be left by its head without a mark, and of when to look whether it was.

    It lies where a chunk before the first would lie, so that it goes with the chunks.
    """
    place: dict[str, Any] = {"run": head.run, "base": -1}
    fixed = {**place, "end": 0, "parent": json.dumps(head.parent) if head.parent else None, "op": ObjectId()}
    look = max(head.updated_at + (head.ttl or 0.0), time.time()) + AGE
    return UpdateOne({"_id": place, "s": key}, {"$setOnInsert": fixed, "$min": {"look": look}}, upsert=True)
