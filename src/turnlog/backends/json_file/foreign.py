"""Session files as praisonaiagents writes them: read as a session of ours, with every key kept.

Such a file is either its own, or one of ours that it has rewritten. Then the messages still carry their numbers and ids, the
session's metadata still carries run, snapshots and set-aside messages, and the file is a new incarnation: its run is
derived from its content, so that all readers see the same one, and a revision from before does not match.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from turnlog.backends.json_file.document import dump, record_of, to_bytes
from turnlog.backends.json_file.front import MIRRORED, Front, created_at, fields_of, front_of, its_own, parent_of
from turnlog.heads import Head, Stretch
from turnlog.messages import Record

_ENVELOPE = ("timestamp", "metadata", "id")


def read_foreign(data: bytes, *, modified: float) -> tuple[Front, list[Record]] | None:
    """The front and the history of a whole file; None where it holds no session. Raises ValueError where it is not JSON.

    ``modified``: the file's time, used where the file names none.
    """
    top = json.loads(data)
    if not isinstance(top, dict) or not isinstance(top.get("session_id"), str) or not isinstance(top.get("messages", []), list):
        return None
    front = front_of(top)
    if front is not None and "messages" not in top:
        raise ValueError("a file of ours without messages")
    metadata = top.get("metadata")
    began = created_at(top) or modified
    if front is None:
        own = metadata if isinstance(metadata, dict) else {}
        folded = {key: top[key] for key in MIRRORED if key not in own and top.get(key) is not None}
        head = Head(
            session_id=top["session_id"],
            run="",
            born=_name("born", top["session_id"], str(top.get("created_at"))),
            parent=parent_of(top),
            created_at=began,
            fields=fields_of(top, {**own, **folded}, {}),
        )
        front = Front(head=head, its_own=its_own(top))
    history, unfolded = _history(top)
    front.archive = [] if unfolded else top.get("archived_messages") or []
    front.odd = [*front.odd, *[entry for entry in history if not isinstance(entry, dict)]]
    records = _numbered(front, [entry for entry in history if isinstance(entry, dict)], began)
    if not records and not front.archive:
        # Cleared there: nothing of what was may come back here.
        front = replace(front, rows={}, aside=[], odd=[], head=replace(front.head, undo=None))
    numbers = {record.seq for record in records}
    front.aside = [record for record in front.aside if record.seq not in numbers]
    front.head = incarnation(front, records, hashlib.sha256(data).hexdigest(), _refolded(front.head.fields, unfolded))
    return front, records


def _history(top: Mapping[str, Any]) -> tuple[list[Any], int]:
    """All messages, oldest first, and how many of them came out of the archive.

    The archive is the beginning of the history while the summary of it stands first; without that it belongs to what was cleared.
    """
    messages, archive = top.get("messages") or [], top.get("archived_messages") or []
    if archive and messages and isinstance(messages[0], dict):
        metadata = messages[0].get("metadata")
        if isinstance(metadata, dict) and metadata.get("compaction"):
            return [*archive, *messages[1:]], len(archive)
    return messages, 0


def _numbered(front: Front, messages: Iterable[dict[str, Any]], began: float) -> list[Record]:
    """The records: those of ours keep number and id; the others get the next numbers, and ids made from their content."""
    records: list[Record] = []
    used: set[int] = {record.seq for record in front.aside} if front.head.length else set()
    numbers: set[int] = set()
    ids: set[str] = set()
    following = front.head.length
    pending: list[tuple[int, Record]] = []
    for at, message in enumerate(messages):
        record = _ours(message)
        if record is not None and record.seq not in numbers and record.id not in ids:
            numbers.add(record.seq)
            following = max(following, record.seq + 1)
        else:
            record = _theirs(message, began, ids)
            pending.append((at, record))
        ids.add(record.id)
        records.append(record)
    following = max([following, *[seq + 1 for seq in used]])
    for at, record in pending:
        records[at] = record._replace(seq=following)
        following += 1
    return records


def _ours(message: dict[str, Any]) -> Record | None:
    metadata = message.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("turnlog"), dict):
        return None
    try:
        return record_of(message)
    except (KeyError, TypeError, ValueError):
        return None


def _theirs(message: dict[str, Any], began: float, ids: set[str]) -> Record:
    """A message that never was ours. Missing role and content are what praisonaiagents takes them for."""
    body = {"role": "user", "content": "", **{key: value for key, value in message.items() if key not in _ENVELOPE}}
    body = {**{key: body[key] for key in message if key in body}, **body}
    metadata = message.get("metadata")
    if isinstance(metadata, dict):
        metadata = {key: value for key, value in metadata.items() if key != "turnlog"}
    elif metadata is not None:
        body["metadata"] = metadata
        metadata = None
    stamp = message.get("timestamp")
    time = float(stamp) if isinstance(stamp, int | float) and math.isfinite(stamp) else began
    name = message.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= 256 or not name.isprintable() or name in ids:
        name = _free_name(dump(body), repr(stamp), ids)
    return Record(-1, name, time, dump(body), dump(metadata) if metadata else None)


def _free_name(body: str, stamp: str, ids: set[str]) -> str:
    twins = 0
    while True:
        name = _name(body, stamp, str(twins))
        if name not in ids:
            return name
        twins += 1


def incarnation(front: Front, records: list[Record], digest: str, fields: Mapping[str, Any]) -> Head:
    """The head of what another program wrote: past stretches by number, and an open end behind them. ``digest`` names its content."""
    past: list[Stretch] = []
    run = "x" + digest[:20]
    for record in records:
        if past and past[-1].stop == record.seq:
            past[-1] = past[-1]._replace(stop=record.seq + 1)
        else:
            past.append(Stretch(run, record.seq, record.seq + 1))
    length = max([front.head.length, *[record.seq + 1 for record in (*records, *front.aside)]])
    tail, count = length, len(records)
    if past and past[-1].stop == length:
        tail = past.pop().start
        count -= length - tail
    front.in_order = all(one.stop <= other.start for one, other in zip(past, [*past[1:], Stretch(run, tail, length)], strict=False))
    return replace(
        front.head, run=run, counter=0, length=length, past=tuple(past), past_count=count, path=None, tail=tail, shed=0, fields=fields
    )


def _refolded(fields: Mapping[str, Any], unfolded: int) -> Mapping[str, Any]:
    """The fields, with the compaction's place counted from the first message that the archive holds, not from the summary on."""
    compaction = fields.get("last_compaction")
    if unfolded and isinstance(compaction, dict) and isinstance(compaction.get("message_index"), int):
        index = unfolded + max(0, compaction["message_index"] - 1)
        return {**fields, "last_compaction": {**compaction, "message_index": index}}
    return fields


def _name(*parts: str) -> str:
    return "p" + hashlib.sha256(to_bytes("\0".join(parts))).hexdigest()[:24]
