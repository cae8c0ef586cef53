"""The front matter of a session file: the head, rows and set-aside messages as one JSON object that praisonaiagents reads as its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from turnlog.backends.json_file.document import MESSAGES, dump, iso_time, message_text, record_of
from turnlog.errors import FormatVersionError
from turnlog.heads import Head, Parent, PathRef, Stretch
from turnlog.messages import Record

FORMAT = 2
FOREVER = 1
"""The format of a file whose session has no ttl: what reads it need not know of that."""

MIRRORED = ("model", "llm", "total_tokens", "token_count", "cost", "source", "reasoning_effort")
"""Keys of the metadata that praisonaiagents also shows beside it."""

_FILLERS: dict[str, Any] = {
    "agent_name": None,
    "user_id": None,
    "title": None,
    "gateway_session_id": None,
    "agent_id": None,
    "runtime_state": {},
    "is_shared": False,
    "parent_id": None,
    "forked_from_message_id": None,
}
_OURS = frozenset(("session_id", "created_at", "updated_at", "messages", "message_count", "changes", "archived_messages", "metadata"))
"""Keys of the file that no field can have; such a field is kept whole under metadata["turnlog"]."""
_TREE = frozenset(("parent_id", "forked_from_message_id"))
_KEPT_BY_PRAISON = frozenset(("agent_name", "user_id", "gateway_session_id", "agent_id", "runtime_state", "last_compaction"))
CHILDREN = "children_ids"
_ITS_OWN = frozenset((CHILDREN, "snapshots", "snapshot_storage"))
"""Keys of praisonaiagents' own forks and snapshots; no fields of the session."""


@dataclass(slots=True)
class Front:
    """What the first line says. ``head`` is as it was when that line was written; appends raise its length and counter since."""

    head: Head
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    """Rows by kind and key, in the order of first storing."""
    aside: list[Record] = field(default_factory=list)
    """Records that the history does not show but a snapshot or undo point may need, by sequence number."""
    archive: list[Any] = field(default_factory=list)
    """praisonaiagents' archive of messages that it has cleared since: kept for it, no part of our history."""
    its_own: dict[str, Any] = field(default_factory=dict)
    """What praisonaiagents keeps of its forks and snapshots, for it."""
    odd: list[Any] = field(default_factory=list)
    """Entries of another program's messages that are no objects."""
    edition: int = 0
    """How often turnlog has rewritten the file; a side file belongs to one edition."""
    in_order: bool = True
    """Whether the sequence numbers rise through the file, so that places can be found by bisection."""


def front_text(front: Front) -> str:
    """The first line, without its newline."""
    head = front.head
    metadata = head.fields.get("metadata")
    plain = isinstance(metadata, dict) and "turnlog" not in metadata
    top: dict[str, Any] = {
        "session_id": head.session_id,
        "created_at": iso_time(head.created_at),
        **_FILLERS,
        **front.its_own,
        "archived_messages": front.archive,
    }
    top |= {key: value for key, value in head.fields.items() if key not in _OURS and key not in _TREE and key not in _ITS_OWN}
    if head.parent is not None:
        top["parent_id"] = head.parent.session_id
        top["forked_from_message_id"] = str(head.parent.message_index) if head.parent.message_index >= 0 else None
    shown = {key: value for key, value in metadata.items() if key != "turnlog"} if isinstance(metadata, dict) else {}
    top |= {key: shown[key] for key in MIRRORED if key in shown and key not in head.fields}
    kept = {key: value for key, value in head.fields.items() if _must_keep(key, value)}
    if metadata is not None and not (plain and metadata):
        kept["metadata"] = metadata
    text = dump({**top, "metadata": shown})
    ours = _ours_text(front, kept)
    inner = f'"turnlog":{ours}' if not shown else f',"turnlog":{ours}'
    return f"{text[:-2]}{inner}}}{MESSAGES}"


def _must_keep(key: str, value: Any) -> bool:
    """Whether a field would be lost or changed by praisonaiagents, or by our own fillers."""
    if key == "metadata":
        return False
    if key in _OURS or key in _TREE or key in _ITS_OWN:
        return True
    if key in _FILLERS and value == _FILLERS[key] and type(value) is type(_FILLERS[key]):
        return True
    return key not in _KEPT_BY_PRAISON


def _ours_text(front: Front, kept: Mapping[str, Any]) -> str:
    head = front.head
    ours: dict[str, Any] = {
        "format": FOREVER if head.ttl is None else FORMAT,
        "session_id": head.session_id,
        "run": head.run,
        "born": head.born,
        "created": head.created_at,
        "edition": front.edition,
        "counter": head.counter,
        "length": head.length,
    }
    if json.loads(dump(head.session_id)) != head.session_id:
        # Two surrogates in a row, which JSON cannot tell from the one character that they encode.
        ours["session_bytes"] = head.session_id.encode("utf-8", "surrogatepass").hex()
    if head.past or head.past_count or head.tail or head.shed:
        ours |= {"past": head.past, "past_count": head.past_count, "tail": head.tail, "shed": head.shed}
    if head.ttl is not None:
        ours["ttl"] = head.ttl
    optional = {"path": head.path, "undo": head.undo, "parent": head.parent, "fields": kept, "rows": front.rows, "odd": front.odd}
    ours |= {key: value for key, value in optional.items() if value}
    if not front.in_order:
        ours["in_order"] = False
    text = dump(ours)
    if front.aside:
        messages = ",".join([message_text(record, record.seq) for record in front.aside])
        text = f'{text[:-1]},"aside":[{messages}]}}'
    return text


def parse_front(line: str) -> Front | None:
    """What ``front_text`` wrote; None where the line is not of that shape. Raises ValueError, FormatVersionError."""
    if not line.endswith(MESSAGES):
        return None
    top = json.loads(line[: -len(MESSAGES)] + "}")
    return front_of(top)


def front_of(top: dict[str, Any]) -> Front | None:
    """The front of a parsed file; None where turnlog has never written it, or it is a copy of another session's."""
    metadata = top.get("metadata")
    ours = metadata.get("turnlog") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(ours, dict):
        return None
    found = ours.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise FormatVersionError(
            f"the session file has format {found!r:.20}, this turnlog reads up to {FORMAT}: install a newer turnlog",
            found=found,
            supported=FORMAT,
        )
    if "session_id" not in ours:
        raise ValueError("front matter without a session id")
    if ours["session_id"] != top.get("session_id"):
        return None
    try:
        return Front(
            head=_head(top, metadata, ours),
            rows=ours.get("rows", {}),
            aside=[record_of(message) for message in ours.get("aside", ())],
            archive=top.get("archived_messages") or [],
            its_own=its_own(top),
            odd=ours.get("odd", []),
            edition=ours["edition"],
            in_order=ours.get("in_order", True),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"front matter without {error!r}") from error


def _head(top: dict[str, Any], metadata: dict[str, Any], ours: dict[str, Any]) -> Head:
    path, parent = ours.get("path"), ours.get("parent")
    exact = ours.get("session_bytes")
    return Head(
        session_id=bytes.fromhex(exact).decode("utf-8", "surrogatepass") if exact else top["session_id"],
        run=ours["run"],
        born=ours["born"],
        counter=ours["counter"],
        length=ours["length"],
        past=tuple([Stretch(*stretch) for stretch in ours.get("past", ())]),
        past_count=ours.get("past_count", 0),
        path=PathRef(*path) if path else None,
        tail=ours.get("tail", 0),
        shed=ours.get("shed", 0),
        undo=ours.get("undo"),
        parent=Parent(*parent) if parent else parent_of(top),
        created_at=float(ours["created"]),
        ttl=ours.get("ttl"),
        fields=fields_of(top, metadata, ours.get("fields", {})),
    )


def parent_of(top: Mapping[str, Any]) -> Parent | None:
    """The parent that praisonaiagents wrote; it knows no lives and runs, so these are ""."""
    parent_id, index = top.get("parent_id"), top.get("forked_from_message_id")
    if not isinstance(parent_id, str) or not parent_id:
        return None
    return Parent(parent_id, "", "", int(index) if isinstance(index, str) and index.isdecimal() else -1)


def its_own(top: Mapping[str, Any]) -> dict[str, Any]:
    """What a parsed file says of praisonaiagents' own forks and snapshots."""
    return {key: top[key] for key in _ITS_OWN if key in top}


def fields_of(top: Mapping[str, Any], metadata: dict[str, Any], kept: Mapping[str, Any]) -> dict[str, Any]:
    """The head's fields: what the file shows, less what was only filled in, and what was kept because it might get lost."""
    fields: dict[str, Any] = {}
    for key, value in top.items():
        if key in _OURS or key in _TREE or key in _ITS_OWN or (key in _FILLERS and value == _FILLERS[key]):
            continue
        if key in MIRRORED and key not in kept and metadata.get(key) == value:
            continue
        fields[key] = value
    shown = {key: value for key, value in metadata.items() if key != "turnlog"}
    if shown:
        fields["metadata"] = shown
    for key, value in kept.items():
        # Another program that says "not shared" means it; what it leaves out or blank it merely did not know.
        if key == "metadata" or (key not in fields and not (key == "is_shared" and value and top.get(key) is False)):
            fields[key] = value
    return fields


def created_at(top: Mapping[str, Any]) -> float:
    """When another program says that the session began; 0.0 where it does not."""
    text = top.get("created_at")
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else 0.0
    except ValueError:
        return 0.0
