"""The keys of the Redis backend, and records and heads as the values that lie under them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zlib import crc32

from turnlog.backends.head_json import count_offset, decode_head, encode_head
from turnlog.backends.text_keys import from_key, to_key
from turnlog.errors import CorruptSessionError
from turnlog.heads import ClosedRun, Head, Parent, Reference
from turnlog.messages import Record

HEAD_FIELDS = ("run", "counter", "length", "updated", "body")


class Keys:
    """The names of all keys of one store. A session lies in one of ``shards`` shards, whose keys share a hash tag and so a server.

    A key is ``{prefix.shard}:``, a letter and what it is about; ``base`` is the part that the keys of a shard share.
    """

    __slots__ = ("bases", "format", "mended", "pattern", "shards")

    def __init__(self, prefix: str, shards: int) -> None:
        self.format = format_key(prefix)
        self.mended = f"{{{to_key(prefix)}}}:mended"
        self.shards = shards
        self.bases = [f"{{{to_key(prefix)}.{number}}}:" for number in range(shards)]
        escaped = re.sub(r"([\\*?\[\]])", r"\\\1", to_key(prefix))
        self.pattern = f"{{{escaped}.*}}:[hx]:*"
        """What SCAN finds the heads and indexes by, and perhaps those of other stores."""

    def shard(self, session_key: str) -> int:
        """The shard of a session, by its id as ``to_key`` writes it."""
        return crc32(session_key.encode()) % self.shards if self.shards > 1 else 0


def format_key(prefix: str) -> str:
    """Where the number of the format and the number of shards are kept."""
    return f"{{{to_key(prefix)}}}:format"


def pack_record(record: Record) -> str:
    """A record as one value: time, body, meta and id, a line each. No JSON text has a line break in it; an id may, and comes last."""
    return f"{record.time!r}\n{record.body}\n{record.meta or ''}\n{to_key(record.id)}"


def unpack_record(seq: int, value: bytes) -> Record:
    """The record that ``pack_record`` wrote, at its place. Raises CorruptSessionError."""
    try:
        time, body, meta, identity = value.decode().split("\n", 3)
        return Record(seq, from_key(identity), float(time), body, meta or None)
    except ValueError as error:
        raise CorruptSessionError(f"record {seq} of a run cannot be read") from error


def pack_records(records: Iterable[Record]) -> Iterator[str]:
    """Ids and values in turn, as the scripts take them."""
    for record in records:
        yield to_key(record.id)
        yield pack_record(record)


def pack_head(head: Head) -> list[str]:
    """A head as the scripts take it: run, counter, length, offset, shed, time, body, ttl, then agent, user and parent with "=" before those
    there are.
    """
    agent_name, user_id = head.fields.get("agent_name"), head.fields.get("user_id")
    parent_id = head.parent.session_id if head.parent else None
    return [
        head.run,
        str(head.counter),
        str(head.length),
        str(count_offset(head)),
        str(head.shed),
        repr(float(head.updated_at)),
        encode_head(head),
        "" if head.ttl is None else repr(float(head.ttl)),
        *("=" + to_key(text) if isinstance(text, str) else "" for text in (agent_name, user_id, parent_id)),
    ]


def unpack_head(session_id: str, fields: list[bytes]) -> Head:
    """The head kept in HEAD_FIELDS. Raises CorruptSessionError."""
    run, counter, length, updated, body = fields
    try:
        moving = run.decode(), int(counter), int(length), float(updated)
    except (ValueError, AttributeError, TypeError) as error:
        raise CorruptSessionError(f"the head of session {session_id!r} cannot be read", session_id=session_id) from error
    return decode_head(body.decode(), session_id, *moving)


def pack_claim(claim: Reference, *, born: bool) -> str:
    """A claim as JSON text. ``born``: its child has come to be, so that it may go once the child has gone."""
    return json.dumps([*claim, *([True] if born else [])])


def unpack_claim(value: bytes) -> tuple[Reference, bool]:
    """The claim that ``pack_claim`` wrote, and whether its child was born."""
    given = json.loads(value)
    return Reference(*given[:5]), len(given) > 5


def pack_mark(session_id: str, parent: Parent | None) -> str:
    """A mark but for its first character, "1" for closed and "0" for not."""
    return json.dumps([session_id, parent])


def unpack_mark(run: str, value: bytes) -> ClosedRun:
    """The mark of a run."""
    text = value.decode()
    session_id, parent = json.loads(text[1:])
    return ClosedRun(session_id, run, Parent(*parent) if parent else None, text[0] == "1")


def pairs(reply: Any) -> Iterator[tuple[bytes, bytes]]:
    """Fields and values of a hash, which one version of the protocol gives as a map and the other as a list."""
    if isinstance(reply, Mapping):
        yield from reply.items()
    else:
        yield from zip(reply[::2], reply[1::2], strict=True)
