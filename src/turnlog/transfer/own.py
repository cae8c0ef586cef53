"""turnlog's own portable document, ``{"version": 1, "sessions": [...]}``: read and written session by session."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from turnlog.errors import FormatVersionError, InvalidMessageError, SessionError
from turnlog.messages import check_session_id, json_copy
from turnlog.store.conditions import check_ttl
from turnlog.store.portability import (
    VERSION,
    imported_fields,
    imported_history,
    imported_sessions,
    imported_snapshots,
    listed,
    parse_time,
)
from turnlog.transfer.carried import Carried, CarriedSnapshot, Origin
from turnlog.transfer.report import BrokenImportError, Skip
from turnlog.transfer.stream import JsonStream

_LISTS = ("archived_messages", "messages")
_SURROGATES = re.compile("[\ud800-\udfff]")


# Reading --------------------------------------------------------------------------------------------------------------


def read_own(stream: JsonStream, when: float) -> Iterator[Carried | Skip]:
    """The sessions of a document, or the one session that stands without it. ``when``: the time of what names none.

    Raises BrokenImportError, FormatVersionError.
    """
    alone: dict[str, Any] = {}
    found = False
    for key in stream.members():
        if key == "sessions":
            found = True
            for index, session in enumerate(stream.elements()):
                yield carried_or_skip(session, when, f"session {index}")
        else:
            alone[key] = stream.value()
            if key == "version" and (type(alone[key]) is not int or alone[key] > VERSION):
                text = f"{stream.path} has version {alone[key]!r:.40}, this turnlog reads up to {VERSION}: use a newer turnlog"
                raise FormatVersionError(text, path=stream.path, found=alone[key], supported=VERSION)
    stream.end()
    if not found and "session_id" in alone:
        yield carried_or_skip(alone, when, "the session")
    elif not found:
        raise BrokenImportError(f'{stream.path} holds no "sessions" and is no session', path=stream.path)


def carried_or_skip(data: object, when: float, place: str) -> Carried | Skip:
    """An exported session as values, or why it cannot be one; ``place`` names it where it has no id."""
    name = place
    try:
        if not isinstance(data, Mapping) or "session_id" not in data:
            raise InvalidMessageError("this is no object with a session_id")
        name = check_session_id(data["session_id"])
        return carried_from(data, name, when)
    except SessionError as refusal:
        return Skip(name, str(refusal))
    except RecursionError:
        return Skip(name, "the session is nested too deeply")


def carried_from(data: Mapping[str, Any], name: str, when: float) -> Carried:
    """An exported session as values. What has no id gets one made from its content, so that it is the same each time it is read."""
    began = parse_time(data["created_at"]) if _is_time(data.get("created_at")) else when
    changed = parse_time(data["updated_at"]) if _is_time(data.get("updated_at")) else began
    settled = {**data, **_settled(data, name, began)}
    settled["snapshots"] = [
        _settled_snapshot(snapshot, f"{name}\0{place}", began) for place, snapshot in enumerate(listed(data, "snapshots"))
    ]
    records, unfolded = imported_history(settled)
    if len({record.id for record in records}) < len(records):
        raise InvalidMessageError("two messages of the session have the same id: give each its own, or leave ids out")
    snapshots = [
        CarriedSnapshot(key, _note(snapshot), common, tuple(own))
        for key, snapshot, common, own in imported_snapshots(settled, records, unfolded)
    ]
    fields = imported_fields(settled, unfolded, reset=True)
    return Carried(name, records, began, changed, fields, _origin(data), tuple(snapshots), check_ttl(data.get("ttl")))


def _origin(data: Mapping[str, Any]) -> Origin | None:
    parent, index = data.get("parent_id"), data.get("forked_from_message_id")
    if not isinstance(parent, str) or not parent:
        return None
    return Origin(check_session_id(parent), int(index) if isinstance(index, str) and re.fullmatch("[0-9]{1,15}", index) else -1, False)


def _note(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    metadata, moment = snapshot.get("metadata") or {}, snapshot["created_at"]
    if not isinstance(metadata, Mapping) or not isinstance(moment, int | float) or not math.isfinite(moment):
        raise InvalidMessageError("a snapshot needs a number of seconds as created_at, and an object as metadata")
    note: dict[str, Any] = json_copy({"label": snapshot.get("label"), "metadata": metadata, "created_at": float(moment)}, "snapshot")
    return note


def _settled_snapshot(snapshot: Mapping[str, Any], name: str, when: float) -> dict[str, Any]:
    transcript = snapshot.get("transcript")
    settled = {"id": _name("s", name), **snapshot, **_settled(snapshot, name.partition("\0")[0], when)}
    settled["created_at"] = snapshot.get("created_at") or when
    if isinstance(transcript, Mapping):
        settled["transcript"] = {**transcript, **_settled(transcript, name.partition("\0")[0], when)}
    return settled


def _settled(data: Mapping[str, Any], name: str, when: float) -> dict[str, Any]:
    """The lists of messages of ``data``, each message with an id and a time."""
    twins: Counter[str] = Counter()
    return {key: [_with_id(message, name, when, twins) for message in listed(data, key)] for key in _LISTS if data.get(key)}


def _with_id(message: Mapping[str, Any], name: str, when: float, twins: Counter[str]) -> Mapping[str, Any]:
    given = {"timestamp": message.get("timestamp") or when}
    if not message.get("id"):
        text = json_text({key: value for key, value in message.items() if key != "id"})
        given["id"] = _name("m", name, text, str(twins[text]))
        twins[text] += 1
    return {**message, **given}


def _is_time(text: object) -> bool:
    return isinstance(text, str) and re.match(r"\d{4}-\d\d-\d\d", text) is not None


def _name(kind: str, *parts: str) -> str:
    return kind + hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:24]


# Writing --------------------------------------------------------------------------------------------------------------


def write_own(out: TextIO, sessions: Iterator[Mapping[str, Any]]) -> None:
    """Write sessions, each an export of its own, as one document; memory holds one session."""
    out.write(f'{{"version": {VERSION}, "sessions": [')
    separator = "\n"
    for session in sessions:
        out.write(separator)
        out.write(json_text(session))
        separator = ",\n"
    out.write("\n]}\n")


def json_text(value: Any) -> str:
    """JSON text in UTF-8's characters; ``\\u`` only for what UTF-8 cannot write."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else _SURROGATES.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def only_session(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The session of an export of one, whichever form the store gives it in; None where there is none."""
    sessions: Sequence[Mapping[str, Any]] = imported_sessions(payload)
    return sessions[0] if sessions else None
