"""Heads, claims and conditions as the values of SQL statements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from turnlog.backends.head_json import count_offset, encode_head
from turnlog.backends.port import RowKind
from turnlog.backends.text_keys import after_prefix, from_key, to_key
from turnlog.heads import Head, Reference


def head_values(head: Head) -> dict[str, Any]:
    """The columns of a head."""
    agent_name, user_id = head.fields.get("agent_name"), head.fields.get("user_id")
    return {
        "session_id": to_key(head.session_id),
        "run": head.run,
        "counter": head.counter,
        "length": head.length,
        "count_offset": count_offset(head),
        "updated_at": head.updated_at,
        "agent_name": to_key(agent_name) if isinstance(agent_name, str) else None,
        "user_id": to_key(user_id) if isinstance(user_id, str) else None,
        "parent_id": to_key(head.parent.session_id) if head.parent else None,
        "body": encode_head(head),
        "ttl": head.ttl,
    }


def rows_where(run: str, kind: RowKind | None, keys: Sequence[str] | None) -> tuple[str, tuple[str, ...]]:
    """The condition that rows are of a run, a kind and some keys, and its values."""
    where = "run = ?"
    values: tuple[str, ...] = (run,)
    if kind is not None:
        where += " AND kind = ?"
        values += (kind,)
    if keys is not None:
        where += " AND key IN (SELECT value FROM json_each(?))"
        values += (json.dumps([to_key(key) for key in keys]),)
    return where, values


def as_claim(row: tuple[Any, ...]) -> Reference:
    """The claim of a row."""
    session_id, run, child_id, child_run, stop = row
    return Reference(from_key(session_id), run, from_key(child_id), child_run, stop)


def prefix_span(prefix: str) -> tuple[str, list[str]]:
    """The condition that a session id begins with ``prefix``, as a range of the index, and its values."""
    key = to_key(prefix)
    above = after_prefix(key)
    return ("session_id >= ?", [key]) if above is None else ("session_id >= ? AND session_id < ?", [key, above])
