"""Stored records that pydantic-ai wrote, as what its ModelMessagesTypeAdapter validates; the others are told apart from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai.messages import ModelMessage

from turnlog.integrations.pydantic_ai.folding import checksum, unfold
from turnlog.integrations.pydantic_ai.foreign import ForeignReader
from turnlog.integrations.pydantic_ai.records import Json, time_of
from turnlog.messages import SessionMessage
from turnlog.session.awaiting import KNOWN

KEY = "pydantic_ai"
"""The key of SessionMessage.metadata under which the rest of a pydantic-ai message is kept."""

# Ids that let a provider go on from what it holds itself, which is no longer what the record says.
_PROVIDER_FIELDS = ("provider_response_id", "provider_details", "history_digest")


@dataclass(frozen=True, slots=True)
class Run:
    """Records that belong together. ``dump`` is the message they are, to be validated; with neither, they are read by what they say."""

    records: list[SessionMessage]
    dump: Json | None
    message: ModelMessage | None = None


class Rebuilt:
    """Messages that were rebuilt before: where the same records come again, the same object does too. For readers that change neither."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def at(self, stored: Sequence[SessionMessage], place: int) -> Run | None:
        """The run that begins at ``place``; None where it is not known."""
        known = self._runs.get(stored[place].id)
        return known if known is not None and stored[place : place + len(known.records)] == known.records else None

    def note(self, found: Sequence[Run]) -> None:
        """Know these, and no others; at most the last ``KNOWN`` of them."""
        self._runs = {run.records[0].id: run for run in found[-KNOWN:]}


def runs(stored: Sequence[SessionMessage], foreign: ForeignReader, rebuilt: Rebuilt | None = None) -> Iterator[Run]:
    """The records in the runs that make up one message each; neighbours that pydantic-ai did not write are one run."""
    place = 0
    while place < len(stored):
        if rebuilt is not None and (known := rebuilt.at(stored, place)) is not None:
            yield known
            place += len(known.records)
            continue
        stop = place + 1
        name = name_of(stored[place])
        while name is not ALONE and stop < len(stored) and name_of(stored[stop]) == name:
            stop += 1
        records = list(stored[place:stop])
        place = stop
        if name is FOREIGN:
            yield Run(records, None)
            continue
        try:
            yield Run(records, _response(records[0], foreign) if RESPONSE in meta_of(records[0]) else _request(records, foreign))
        except (LookupError, TypeError, ValueError, AttributeError):
            # The metadata is not what this module writes; the record says what it says all the same.
            yield Run(records, None)


RESPONSE = "response"
FOREIGN, ALONE = None, True


def meta_of(message: SessionMessage) -> Json:
    """What is kept beside a record; {} where that is nothing of ours."""
    meta = message.metadata.get(KEY)
    return meta if isinstance(meta, dict) else {}


def name_of(message: SessionMessage) -> str | bool | None:
    """The key of the request that the record is a part of; ALONE for a record that is a message, FOREIGN for one of another's."""
    meta = meta_of(message)
    if not meta or (RESPONSE in meta) != (message.record.get("role") == "assistant"):
        return FOREIGN
    return str(meta["group"][0]) if isinstance(meta.get("group"), list) and meta["group"] else ALONE


def _response(stored: SessionMessage, foreign: ForeignReader) -> Json:
    meta, record = meta_of(stored), stored.record
    dump: Json = {"kind": "response", "timestamp": time_of(stored.timestamp), **meta[RESPONSE]}
    if meta.get("sum") == checksum(record):
        parts = unfold(meta["parts"], [record]) if "parts" in meta else [{"content": record["content"], "part_kind": "text"}]
        return {**dump, "parts": parts}
    return {**{key: value for key, value in dump.items() if key not in _PROVIDER_FIELDS}, "parts": foreign.response_parts(stored)}


def _request(records: list[SessionMessage], foreign: ForeignReader) -> Json:
    dump: Json = {"kind": "request"}
    numbered = {int(meta_of(each).get("group", (KEY, 0))[1]): each for each in records}
    whole = {number: each for number, each in numbered.items() if meta_of(each).get("sum") == checksum(each.record)}
    parts: list[tuple[int, Any]] = []
    exact: set[int] = set()
    for number, stored in numbered.items():
        meta = meta_of(stored)
        at = int(meta.get("at", number))
        dump.update(meta.get("request", {}))
        parts += [(place, unfold(part, [])) for place, part in meta.get("hidden", [])]
        if number in whole and meta.get("of") in exact:
            continue
        if number in whole and "holds" in meta:
            dump.update({"instructions": stored.record["content"]} if meta["holds"] == "instructions" else {})
            continue
        part = _part(stored, whole)
        if part is not None:
            exact.add(number)
        parts += [(at, each) for each in ([part] if part is not None else foreign.request_parts(stored))]
    return {**dump, "parts": [part for _, part in sorted(parts, key=lambda each: each[0])]}


def _part(stored: SessionMessage, whole: Mapping[int, SessionMessage]) -> Json | None:
    """What the one part of a record is, None where the record has to be read by what it says."""
    meta, record = meta_of(stored), stored.record
    if "part" not in meta:
        kind = _PLAIN.get(str(record.get("role")))
        if kind is None or not isinstance(record.get("content"), str) or not meta.keys().isdisjoint(("of", "holds")):
            return None
        return {"content": record["content"], "part_kind": kind, "timestamp": time_of(stored.timestamp)}
    sources = [stored, *([whole.get(meta["files"])] if "files" in meta else [])]
    if meta.get("sum") != checksum(record) or None in sources:
        return None
    part: Json = unfold(meta["part"], [each.record for each in sources if each is not None])
    return {"timestamp": time_of(stored.timestamp), **part} if part["part_kind"] in _TIMED else part


_PLAIN = {"user": "user-prompt", "system": "system-prompt"}
_TIMED = ("user-prompt", "system-prompt", "tool-return", "retry-feedback")
