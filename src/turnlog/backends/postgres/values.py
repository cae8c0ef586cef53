"""Heads, records and revisions as the values of statements, and what the rows of a statement say of an append."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnlog.backends.cursors import decode_cursor
from turnlog.backends.head_json import count_offset, encode_head
from turnlog.backends.port import Appended, Query
from turnlog.backends.postgres.keys import index_key, tag
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import ConflictError, CorruptSessionError, SessionError
from turnlog.heads import Head, Reference
from turnlog.messages import Record
from turnlog.words import words_of_body


def head_values(head: Head) -> dict[str, Any]:
    """The values of the statements that put a head."""
    session_id, long_id = index_key(head.session_id)
    agent_name, user_id = head.fields.get("agent_name"), head.fields.get("user_id")
    return {
        "session_id": session_id,
        "long_id": long_id,
        "run": head.run,
        "counter": head.counter,
        "length": head.length,
        "count_offset": count_offset(head),
        "updated_at": head.updated_at,
        "ttl": head.ttl,
        "agent_name": tag(agent_name) if isinstance(agent_name, str) else None,
        "user_id": tag(user_id) if isinstance(user_id, str) else None,
        "parent_id": tag(head.parent.session_id) if head.parent else None,
        "body": encode_head(head),
    }


def fork_values(child: Head, claim: Reference, shed: int, expect: Head | None) -> dict[str, Any]:
    """The values of the statement that puts a fork."""
    above: dict[str, Any] = {"above_id": index_key(claim.session_id)[0], "above_run": claim.run, "above_key": to_key(claim.session_id)}
    above |= {"shed": shed, "expect": None if expect is None else f"{expect.revision}.{expect.length}"}
    return {**head_values(child), **above, "child_key": to_key(claim.child_id), "stop": claim.stop}


def columns(records: Sequence[Record], *, words: bool) -> dict[str, Any]:
    """One array for each column of records."""
    _, ids, times, bodies, metas = map(list, zip(*records, strict=True))
    return {"ids": ids, "times": times, "bodies": bodies, "metas": metas, **({"words": list(map(words_text, bodies))} if words else {})}


def words_text(body: str) -> str:
    """The words of a message as one text that ``string_to_array`` takes apart at spaces."""
    return " ".join(words_of_body(body))


def conditions(query: Query, cursor: str | None) -> tuple[str, list[Any]]:
    """What a listing asks for but the prefix, as a condition on heads and its values."""
    where: list[str] = ["TRUE"]
    values: list[Any] = []
    for name, text in (("agent_name", query.agent_name), ("user_id", query.user_id), ("parent_id", query.parent_id)):
        if text is not None:
            where.append(f"{name} = %s")
            values.append(tag(text))
    if cursor is not None:
        updated_at, session_id = decode_cursor(cursor)
        where.append("(updated_at, session_id) < (%s::float8, %s::text)")
        values += [updated_at, index_key(session_id)[0]]
    for condition, time in (
        ("updated_at < %s::float8", query.until),
        ("updated_at >= %s::float8", query.since),
        ("ttl IS NOT NULL AND updated_at + ttl <= %s::float8", query.expired_at),
    ):
        if time is not None:
            where.append(condition)
            values.append(time)
    return " AND ".join(where), values


def parsed(revision: str) -> tuple[str, int] | None:
    """Run and counter of a revision; None for a text that is none, which equals no stored one."""
    run, _, counter = revision.rpartition(".")
    if not (counter.isascii() and counter.isdecimal() and str(int(counter[:19])) == counter) or not run or to_key(run) != run:
        return None
    return run, int(counter)


def judge(session_id: str, records: Sequence[Record], rows: Sequence[tuple[Any, ...]], expect: str | None, taken: str) -> Appended | None:
    """What became of an append that wrote nothing: all is stored already with the same content, or ConflictError. None: try again."""
    run, counter, count = rows[0][:3]
    revision = f"{run}.{counter}"
    known = {identity: (body, meta) for _, _, _, identity, body, meta in rows if identity is not None}
    error: type[SessionError] = ConflictError
    if len({record.id for record in records}) < len(records):
        wrong = "names a message id twice: give each message its own"
    elif not records or (len(known) == len(records) and all(known[record.id] == (record.body, record.meta) for record in records)):
        return Appended(revision, count, True)
    elif len(known) == len(records):
        wrong = "has known message ids with other content: send it as it was, or with new ids"
    elif known:
        wrong = f"has {len(known)} known message ids of {len(records)}: send it as it was, or with new ids"
    elif expect is not None and expect != revision:
        wrong = "expects another revision: read the session again and decide anew"
    elif taken == "records_by_place":
        wrong, error = "would overwrite records behind the session's end: the data is damaged", CorruptSessionError
    else:
        return None
    raise error(f"the batch for session {session_id!r} {wrong}", session_id=session_id, expected=expect, actual=revision)


def claim(row: tuple[Any, ...]) -> Reference:
    """The claim of a row of ``claims``."""
    session_id, run, child_id, child_run, stop = row
    return Reference(from_key(session_id), run, from_key(child_id), child_run, stop)
