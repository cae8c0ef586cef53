"""The collections: their names, their indexes, their format number, and how they come to be."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pymongo import ASCENDING, IndexModel

from turnlog.backends.mongodb.address import parts, split_url
from turnlog.errors import UnsupportedVerbError

Durability = Literal["power", "process"]

VERSION = 2
LONGEST_PREFIX = 80
DEFAULT_PREFIX = "turnlog_"
DEFAULT_DATABASE = "turnlog"

FORMAT = "format"
"""Key of the document that holds the format number."""

Fields = tuple[str, ...]


class Names(NamedTuple):
    """The collections of one store."""

    history: str
    rows: str
    texts: str
    format: str
    claims: str
    """Of format 1: what it held lies in ``history`` by now."""


def names(prefix: str) -> Names:
    """The collections of the store with this prefix."""
    if len(prefix) > LONGEST_PREFIX or not prefix.isprintable() or "$" in prefix or prefix.startswith(("system.", ".")):
        text = f"{prefix!r:.100} cannot begin the names of collections: pass at most {LONGEST_PREFIX} letters, digits and _"
        raise UnsupportedVerbError(text, verb="open", reason="no such prefix")
    return Names(*(f"{prefix}{name}" for name in ("history", "rows", "texts", "format", "claims")))


def _index(name: str, fields: Fields, only: Mapping[str, Any] | None = None, **options: Any) -> IndexModel:
    if only is not None:
        options["partialFilterExpression"] = dict(only)
    return IndexModel([(field, ASCENDING) for field in fields], name=name, **options)


_THERE = {"$exists": True}
_LIVE = {"live": True}

# Each unique index begins with the session, which may so be the shard key. A partial index costs nothing for documents without its field.
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
    _index("by_claim", ("claim", "of"), {"claim": True}),
    _index("by_expiry", ("expires",), {"expires": _THERE}),
    _index("by_end_of_life", ("gone",), {"gone": _THERE}, expireAfterSeconds=0),
    _index("by_watch", ("look",), {"look": _THERE}),
    _index("by_plain", ("plain", "s"), {"plain": True}),
)
BY_WORD = _index("by_word", ("buf.w",), {"words": True})
"""Where words are indexed: in ``history`` and in ``texts``."""


def indexes(collections: Names, *, search: bool) -> dict[str, Sequence[IndexModel]]:
    """What to index in each collection."""
    words = (BY_WORD,) if search else ()
    return {
        collections.history: (*HISTORY_INDEXES, *words),
        collections.rows: (_index("by_order", ("run", "kind", "n")),),
        collections.texts: (_index("by_run", ("run",)), *words),
    }


def schema_text(url: str) -> str:
    """What an administrator types into mongosh to make the collections of the store at ``url``; ``search=1`` in it adds the index of words.

    Nothing is connected to. Raises UnsupportedVerbError for an address or an option that is none.
    """
    plain, options = split_url(url)
    collections = names(options.get("prefix", DEFAULT_PREFIX))
    search = bool(options.get("search"))
    lines = [f"db = db.getSiblingDB({json.dumps(parts(plain)[1] or DEFAULT_DATABASE)})"]
    for collection, models in indexes(collections, search=search).items():
        at = f"db.getCollection({json.dumps(collection)})"
        for model in models:
            rest = dict(model.document)
            lines.append(f"{at}.createIndex({json.dumps(dict(rest.pop('key')))}, {json.dumps(rest)})")
    history = json.dumps(collections.history)
    form = {"_id": FORMAT, "version": VERSION, **({"search": True} if search else {})}
    return "\n".join(
        [
            *lines,
            "// On shards, if at all, before there is data:",
            f'// sh.shardCollection(db.getName() + "." + {history}, {{"s": 1}})',
            "// Last, for whoever sees it relies on the rest. A store that holds messages already, or has an older format, is brought up",
            "// to date by opening it once, with search=1 or without, under an account that may create indexes.",
            f"db.getCollection({json.dumps(collections.format)}).insertOne({json.dumps(form)})",
            "",
        ]
    )
