"""Verbs that carry sessions between stores: export and import, with nothing left out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from turnlog import tree
from turnlog.backends.port import Query
from turnlog.errors import ClosedStoreError, ConflictError, InvalidMessageError, SessionError, StorageError
from turnlog.heads import Head, Position, Stretch
from turnlog.messages import Record, SessionMessage, check_session_id, encode_message, json_copy, new_token
from turnlog.store.branching import Branching
from turnlog.store.conditions import check_ttl
from turnlog.store.drive import verb
from turnlog.store.listing import Listing
from turnlog.store.values import ImportReport, session_fields

VERSION = 1
LIVE_FIELDS = ("gateway_session_id", "agent_id")
KEPT_FIELDS = ("agent_name", "user_id", "title", "is_shared", "runtime_state", "last_compaction", *LIVE_FIELDS)


class Portability(Listing, Branching):
    """Exports and imports."""

    @verb
    async def export_session(self, session_id: str, *, include_lineage: bool = True) -> dict[str, Any]:
        """``{"version": 1, "sessions": [session]}`` as JSON types; no sessions where there is none.

        The session carries its messages with ids and metadata, its fields and its snapshots, also those that a revert left behind.
        ``include_lineage`` adds the sessions it was forked from.
        """
        lines = [session_id, *(await self._ancestors(session_id) if include_lineage else [])]
        sessions = [await self._exported(name) for name in lines]
        return {"version": VERSION, "sessions": [session for session in sessions if session is not None]}

    @verb
    async def export_all(self) -> dict[str, Any]:
        """Every session, in the form of ``export_session``."""
        sessions = [await self._exported(head.session_id) for head in await self._heads(Query(), None)]
        return {"version": VERSION, "sessions": [session for session in sessions if session is not None]}

    @verb
    async def import_sessions(
        self, payload: Mapping[str, Any], *, max_sessions: int = 10_000, reset_live_fields: bool = True, overwrite: bool = False
    ) -> ImportReport:
        """Store exported sessions under their ids. One that cannot be stored is skipped, with its reason in the report.

        Existing sessions are skipped unless ``overwrite``. ``reset_live_fields`` leaves out the ids of live connections
        (``gateway_session_id``, ``agent_id``). Parents are not linked again: the history of each session is whole. A StorageError ends
        the import; what came before it is stored.
        """
        sessions = imported_sessions(payload)
        imported = 0
        skipped: list[dict[str, str]] = []
        seen: set[str] = set()
        for index, session in enumerate(sessions):
            name = str(session.get("session_id") or "") if isinstance(session, Mapping) else ""
            try:
                if imported >= max_sessions:
                    raise ConflictError(f"the limit of {max_sessions} sessions is reached")
                if not name:
                    raise InvalidMessageError(f"session {index} of the import is no object with a session_id")
                if name in seen:
                    raise ConflictError("this id came earlier in the import")
                seen.add(name)
                await self._import(session, name, overwrite=overwrite, reset=reset_live_fields)
                imported += 1
            except (StorageError, ClosedStoreError):
                raise
            except SessionError as refusal:
                skipped.append({"session_id": name, "reason": str(refusal)})
        return ImportReport(imported, skipped, VERSION)

    @verb
    async def import_session(self, data: Mapping[str, Any], new_session_id: str | None = None) -> str:
        """Store one exported session under a new id and return it. Raises ConflictError when the id is taken."""
        name = check_session_id(new_session_id) if new_session_id is not None else new_token()
        sessions = imported_sessions(data)
        if len(sessions) != 1:
            raise InvalidMessageError(f"import_session takes one session, this holds {len(sessions)}: use import_sessions")
        await self._import(sessions[0], name, overwrite=False, reset=True)
        return name

    async def _exported(self, session_id: str) -> dict[str, Any] | None:
        found = await self._read_all(session_id)
        if found is None:
            return None
        head, records = found
        values = {
            **session_fields(head),
            "version": VERSION,
            "messages": [SessionMessage.from_record(record).to_dict() for record in records],
        }
        values.pop("revision")
        values["children_ids"] = [child.session_id for child in await self._children(head)]
        whole = await self._position(head, head.shed + head.count)
        rows = await self._living_rows(head, "snapshot")
        values["snapshots"] = [await self._exported_snapshot(head, whole, key, row) for key, row in rows.items()]
        return values

    async def _exported_snapshot(self, head: Head, whole: Position, key: str, row: dict[str, Any]) -> dict[str, Any]:
        to = tree.decode_position(row, head.run)
        common = await self._common(head.session_id, whole, to)
        own = tree.cut_spans(await self._flat(head.session_id, to), common, to.count)
        left = [SessionMessage.from_record(record).to_dict() for record in await self.backend.read(head.session_id, own)] if own else []
        note = {name: row[name] for name in ("label", "metadata", "created_at")}
        last = to.count - head.shed - 1
        return {"id": key, "session_id": head.session_id, "message_index": last, **note, "common": common - head.shed, "messages": left}

    async def _import(self, data: object, session_id: str, *, overwrite: bool, reset: bool) -> None:
        check_session_id(session_id)
        if not isinstance(data, Mapping):
            raise InvalidMessageError(f"an exported session is an object, not a {type(data).__name__}")
        records, unfolded = imported_history(data)
        count = len(records)
        known = {record.id for record in records}
        if len(known) < count:
            raise InvalidMessageError("two messages of the exported session have the same id: give each its own, or leave ids out")
        rows: dict[str, str] = {}
        for key, snapshot, common, branch in imported_snapshots(data, records, unfolded):
            rows[key] = snapshot_row(snapshot, common, len(records), len(branch))
            records += [record._replace(id=new_token()) if record.id in known else record for record in branch]
            known.update(record.id for record in branch)
        existing = await self._head(session_id)
        if existing is None:
            await self._erase_expired(session_id)
        elif not overwrite:
            raise ConflictError("a session of this id exists already: pass overwrite=True, or another id", session_id=session_id)
        fields = imported_fields(data, unfolded, reset=reset)
        ttl = check_ttl(data.get("ttl"))
        head = self._new_head(session_id, length=len(records), fields=fields, **({"ttl": ttl} if ttl is not None else {}))
        head = replace(head, created_at=parse_time(data.get("created_at")))
        if len(records) > count:
            head = replace(head, past=(Stretch(head.run, 0, count),) if count else (), past_count=count, tail=len(records))
        async with self._together(session_id):
            if existing is not None:
                await self._mark(existing, closed=False)
            if not await self.backend.put_head(head, expect=existing.revision if existing else None, records=records):
                raise ConflictError("the session was changed while it was imported: try again", session_id=session_id)
            for key, body in rows.items():
                await self.backend.put_row(session_id, head.run, "snapshot", key, body)
            if existing is not None:
                await self._retire(existing)


def imported_sessions(payload: object) -> list[Any]:
    """The sessions of an export: of its envelope, or the one session that stands without it."""
    if isinstance(payload, Mapping) and "sessions" not in payload and "session_id" in payload:
        payload = {"version": payload.get("version", VERSION), "sessions": [payload]}
    sessions = payload.get("sessions") if isinstance(payload, Mapping) else None
    version = payload.get("version", VERSION) if isinstance(payload, Mapping) else None
    if not isinstance(sessions, list) or not isinstance(version, int) or version > VERSION:
        raise InvalidMessageError(f'an import needs {{"version": {VERSION}, "sessions": [...]}}; this has version {version!r:.40}')
    return sessions


def imported_history(data: Mapping[str, Any]) -> tuple[list[Record], int]:
    """The records of an exported session, and how many of them come from its archive.

    An archive is the beginning of the history while its summary stands first, which then gives way to it; without that it belongs to what
    was cleared.
    """
    messages, archive = listed(data, "messages"), listed(data, "archived_messages")
    metadata = messages[0].get("metadata") if messages else None
    if isinstance(metadata, Mapping) and metadata.get("compaction") and archive:
        return [imported_record(message) for message in (*archive, *messages[1:])], len(archive)
    return [imported_record(message) for message in messages], 0


def imported_record(message: Mapping[str, Any]) -> Record:
    """The record of an exported message."""
    if not isinstance(metadata := message.get("metadata") or {}, Mapping):
        raise InvalidMessageError(f"metadata of an exported message must be an object, not a {type(metadata).__name__}")
    return encode_message(SessionMessage.from_dict(message))


def imported_snapshots(
    data: Mapping[str, Any], records: list[Record], unfolded: int
) -> Iterator[tuple[str, Mapping[str, Any], int, list[Record]]]:
    """Each snapshot of an exported session: its id, its note, how much of the history it shares, and what it has beyond that."""
    count = len(records)
    for snapshot in listed(data, "snapshots"):
        key = str(snapshot.get("id") or new_token())
        if isinstance(transcript := snapshot.get("transcript"), Mapping):
            whole, _ = imported_history(transcript)
            pairs = enumerate(zip(whole, records, strict=False))
            fallback = min(len(whole), count)
            common = next((index for index, (one, other) in pairs if (one.body, one.meta) != (other.body, other.meta)), fallback)
            yield key, snapshot, common, whole[common:]
            continue
        shared, last = snapshot.get("common"), snapshot.get("message_index")
        if shared is None and isinstance(last, int):
            # Where an archive was unfolded, the index was counted from its summary on.
            shared = last + 1 + (max(0, unfolded - 1) if last >= 0 else 0)
            if snapshot.get("invalidated") or shared > count:
                continue
        if isinstance(shared, bool) or not isinstance(shared, int) or not 0 <= shared <= count:
            raise InvalidMessageError(f"snapshot {key!r:.60} shares {shared!r:.40} messages with a history of {count}")
        yield key, snapshot, shared, [imported_record(message) for message in listed(snapshot, "messages")]


def listed(data: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The objects under a key that holds a list of them, or nothing."""
    values = data.get(name) or []
    if not isinstance(values, list):
        raise InvalidMessageError(f"{name} of an exported session must be a list, not a {type(values).__name__}")
    for index, value in enumerate(values):
        if not isinstance(value, Mapping):
            raise InvalidMessageError(f"{name}[{index}] of an exported session must be an object, not a {type(value).__name__}")
    return values


def imported_fields(data: Mapping[str, Any], unfolded: int, *, reset: bool) -> dict[str, Any]:
    """The fields of an exported session."""
    metadata, compaction = data.get("metadata") or {}, data.get("last_compaction")
    if not isinstance(metadata, Mapping):
        raise InvalidMessageError(f"metadata of an exported session must be an object, not a {type(metadata).__name__}")
    left_out = LIVE_FIELDS if reset else ()
    fields = {name: data[name] for name in KEPT_FIELDS if data.get(name) and name not in left_out}
    metadata = {name: value for name, value in metadata.items() if name not in left_out}
    if compaction:
        if not isinstance(compaction, Mapping) or not isinstance(index := compaction.get("message_index"), int):
            raise InvalidMessageError("last_compaction of an exported session must be an object with a summary and a message_index")
        # Where an archive was unfolded, the index was counted from its summary on.
        index += max(0, unfolded - 1)
        note = {"role": "system", "summary": "", **compaction, "message_index": max(0, index)}
        fields["last_compaction"] = note
    copied: dict[str, Any] = json_copy({**fields, **({"metadata": metadata} if metadata else {})}, "session")
    return copied


def snapshot_row(snapshot: Mapping[str, Any], common: int, at: int, size: int) -> str:
    """The row of an imported snapshot: ``common`` messages of the history, then ``size`` records from ``at`` on."""
    past = [Stretch("", 0, common)] if common else []
    past += [Stretch("", at, at + size)] if size else []
    note = {
        "label": snapshot.get("label"),
        "metadata": snapshot.get("metadata") or {},
        "created_at": snapshot.get("created_at") or time.time(),
    }
    return json.dumps({**tree.encode_position(Position(tuple(past), common + size), ""), **json_copy(note, "snapshot")})


def parse_time(text: object) -> float:
    """Seconds since the epoch for ISO 8601 text; now for anything else."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return time.time()
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
