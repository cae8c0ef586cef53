"""The collections: their names, their indexes, their format number, and how they come to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pymongo import ASCENDING, IndexModel

from turnlog.errors import UnsupportedVerbError

Durability = Literal["power", "process"]

VERSION = 1
LONGEST_PREFIX = 80

FORMAT = "format"
"""Key of the document that holds the format number."""

Fields = tuple[str, ...]


class Names(NamedTuple):
    """The collections of one store."""

    history: str
    rows: str
    claims: str
    texts: str
    format: str


def names(prefix: str) -> Names:
    """The collections of the store with this prefix."""
    if len(prefix) > LONGEST_PREFIX or not prefix.isprintable() or "$" in prefix or prefix.startswith(("system.", ".")):
        text = f"{prefix!r:.100} cannot begin the names of collections: pass at most {LONGEST_PREFIX} letters, digits and _"
        raise UnsupportedVerbError(text, verb="open", reason="no such prefix")
    return Names(*(f"{prefix}{name}" for name in ("history", "rows", "claims", "texts", "format")))


def _index(name: str, fields: Fields, only: Mapping[str, Any] | None = None, *, unique: bool = False) -> IndexModel:
    options: dict[str, Any] = {"name": name, "unique": unique}
    if only is not None:
        options["partialFilterExpression"] = dict(only)
    return IndexModel([(field, ASCENDING) for field in fields], **options)


_THERE = {"$exists": True}
_LIVE = {"live": True}

# Each unique index begins with the session, which may so be the shard key.
HISTORY_INDEXES: Sequence[IndexModel] = (
    _index("by_session", ("s", "live"), _LIVE, unique=True),
    _index("by_own", ("s", "own"), {"own": _THERE}, unique=True),
    _index("by_id", ("s", "run", "k"), {"k": _THERE}, unique=True),
    _index("by_place", ("run", "end"), {"end": _THERE}),
    _index("by_time", ("updated_at", "s"), _LIVE),
    _index("by_agent", ("agent", "updated_at", "s"), {"agent": _THERE}),
    _index("by_user", ("user", "updated_at", "s"), {"user": _THERE}),
    _index("by_parent", ("parent", "updated_at", "s"), {"parent": _THERE}),
    _index("by_mark", ("mark", "s"), {"mark": True}),
)


def indexes(collections: Names) -> dict[str, Sequence[IndexModel]]:
    """What to index in each collection."""
    return {
        collections.history: HISTORY_INDEXES,
        collections.rows: (_index("by_order", ("run", "kind", "n")),),
        collections.claims: (_index("by_run", ("run",)),),
        collections.texts: (_index("by_run", ("run",)),),
    }
