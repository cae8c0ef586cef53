"""ConversationLog: a turnlog session as the log of a pydantic-ai conversation; the verbs that TurnlogConversationStore is made of.

An entry is one ModelMessage, hence one or more records; its id is the id of the first. What changes with every save (usage, the tool
calls that wait) travels in the metadata of the last record, so a save is one append. What changes only with the head is in the
session's metadata. A history that was left is a snapshot, labelled with the id of its last entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.conversation_store import ConversationEntry, ConversationRecord
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

from turnlog import tree
from turnlog.backends.port import Query
from turnlog.errors import ConflictError, CorruptSessionError, SessionNotFoundError
from turnlog.heads import Head, Position
from turnlog.integrations.pydantic_ai.messages import grouped, message_id_of, stored_as
from turnlog.integrations.pydantic_ai.reading import KEY, meta_of
from turnlog.integrations.pydantic_ai.records import counted
from turnlog.messages import Record, SessionMessage, encode_message, new_token
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.branching import fork_title
from turnlog.store.core import ATTEMPTS, alive, check_revision, with_fields
from turnlog.store.drive import verb
from turnlog.store.reading import last
from turnlog.store.values import title_of

LEFT = {KEY: "left"}
"""The metadata of the snapshots that are left histories."""

Json = dict[str, Any]

_USAGE: TypeAdapter[RunUsage] = TypeAdapter(RunUsage)
_DEFERRED: TypeAdapter[DeferredToolRequests | None] = TypeAdapter(DeferredToolRequests | None)


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry of a history, with where it ends: after ``stop`` kept messages, the last of which has the id ``last_id``."""

    entry: ConversationEntry
    stop: int
    last_id: str


class ConversationLog(AsyncSessionStore):
    """The verbs of a conversation store over a backend: one hop each, one transaction each where the backend can do that.

    Retention is left to whoever else writes to the sessions: a conversation only ever grows.
    """

    @verb
    async def read_record(self, session_id: str) -> ConversationRecord | None:
        """What is kept of a conversation beside its log; None where there is no session."""
        return await self._record(session_id)

    @verb
    async def list_records(self, scope: str | None, limit: int | None) -> list[ConversationRecord]:
        """The records of all sessions, or of those of a scope, last changed first; at most ``limit``."""
        found: list[ConversationRecord] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            page = await self.backend.list_heads(Query(user_id=scope), cursor=cursor, limit=min(limit or 200, 200))
            found += [record for head in page.heads if (record := await self._record(head.session_id)) is not None]
            cursor = page.cursor
            if cursor is None:
                break
        return sorted(found, key=lambda record: record.updated_at, reverse=True)[:limit]

    @verb
    async def read_history(self, session_id: str, head_id: str, limit: int | None) -> list[ConversationEntry]:
        """The entries of the session up to ``head_id``, or the last ``limit`` of them. Raises LookupError where it has no such entry."""
        head = await self._head(session_id)
        if head is not None:
            placed = await self._placed(head, limit)
            if placed and placed[-1].entry.id == head_id:
                return [each.entry for each in placed]
            for line in [head, *await self._left_lines(head, head_id)]:
                placed = await self._placed(line, None)
                for index, each in enumerate(placed):
                    if each.entry.id == head_id:
                        return [each.entry for each in placed[: index + 1]][-limit if limit else 0 :] if limit != 0 else []
        raise LookupError(f"session {session_id!r} has no entry {head_id!r:.80}")

    @verb
    async def find(self, entry_id: str) -> str:
        """The id of a session that has an entry. Reads sessions until one has it: O(sessions). Raises LookupError."""
        cursor: str | None = None
        while True:
            page = await self.backend.list_heads(Query(), cursor=cursor, limit=200)
            for head in filter(alive, page.heads):
                if await self._find(head, entry_id) is not None:
                    return head.session_id
            cursor = page.cursor
            if cursor is None:
                raise LookupError(f"no session has an entry {entry_id!r:.80}")

    @verb
    async def write(
        self, record: ConversationRecord, entries: Sequence[ConversationEntry], expected: str | None, known: ConversationRecord | None
    ) -> str:
        """Write what ConversationStore.write_record is given and return the session's new revision.

        ``known`` is what is stored at the revision ``expected``, if the caller knows. Raises ConflictError.
        """
        stored = [each for entry in entries for each in stored_as(entry.message, entry.id)]
        if stored and (carried := _carried(record)):
            stored[-1].metadata[KEY]["conversation"] = carried
        records = [encode_message(each) for each in stored]
        base = entries[0].parent_id if entries else record.head_id
        if expected is None:
            return await self._begin(record, base, records)
        if known is None or known.revision != expected:
            known = await self._record(record.conversation_id)
            if known is None or known.revision != expected:
                raise _lost(record.conversation_id)
        here = (known.head_id, known.branches, known.scope)
        if not (records and here == (base, record.branches, record.scope)):
            return await self._move(record, base, records, known)
        return await self._extend(record, records, expected)

    # Reading ----------------------------------------------------------------------------------------------------------

    async def _record(self, session_id: str) -> ConversationRecord | None:
        found = await self._read(session_id, partial(last, 1))
        if found is None:
            return None
        head, records = found
        tail = SessionMessage.from_record(records[-1]) if records else None
        kept = _kept(head)
        carried = meta_of(tail).get("conversation") if tail else None
        if (tip := kept.get("tip")) and tip["at"] == (tail.id if tail else ""):
            carried = tip
        head_id = message_id_of(tail) if tail else None
        if tail is not None and head_id is None:
            placed = await self._placed(head, 1)
            head_id = placed[-1].entry.id if placed else None
        try:
            usage, deferred = (
                _USAGE.validate_python((carried or {}).get("usage", {})),
                _DEFERRED.validate_python((carried or {}).get("deferred")),
            )
        except ValidationError:
            raise CorruptSessionError(f"what session {session_id!r} says of its usage cannot be read", session_id=session_id) from None
        return ConversationRecord(
            conversation_id=session_id,
            head_id=head_id,
            usage=usage,
            deferred_tool_requests=deferred,
            scope=head.fields.get("user_id"),
            forked_from=kept.get("forked_from"),
            forked_at=kept.get("forked_at"),
            branches=[label for label, _ in await self._left(head)],
            revision=head.revision,
            updated_at=datetime.fromtimestamp(head.updated_at, UTC),
        )

    async def _placed(self, head: Head, limit: int | None) -> list[Placed]:
        """The last ``limit`` entries (None: all) of a history. Raises LookupError where its records are gone."""
        take = head.count if limit is None else 2 * limit + 8
        while True:
            start = max(0, head.count - take)
            spans = await self._spans(head, start + head.shed, head.count + head.shed) if head.count else []
            stored = [SessionMessage.from_record(record) for record in await self.backend.read(head.session_id, spans)]
            if len(stored) < head.count - start:
                raise LookupError(f"session {head.session_id!r} was changed while it was read")
            placed = _entries(stored, start)
            # A cut may fall into a message; those behind the first whole one are surely right.
            if start == 0:
                return placed[-limit:] if limit else [] if limit == 0 else placed
            if limit is not None and len(placed) > limit + 1:
                return placed[len(placed) - limit :]
            take *= 4

    async def _left(self, head: Head) -> list[tuple[str, Json]]:
        """The histories the conversation has left, oldest first: the id of the last entry, and the snapshot's row."""
        if not _kept(head).get("branched"):
            return []
        rows = await self._living_rows(head, "snapshot")
        return [(row["label"], {**row, "key": key}) for key, row in rows.items() if row["metadata"] == LEFT]

    async def _left_lines(self, head: Head, first: str) -> list[Head]:
        """A head for each left history, newest first, but the one that ends in ``first`` before all."""
        newest = (await self._left(head))[::-1]
        newest.sort(key=lambda each: each[0] != first)
        return [tree.moved(head, tree.decode_position(row, head.run), undo=None) for _, row in newest]

    async def _find(self, head: Head, entry_id: str) -> tuple[Head, Placed] | None:
        for line in [head, *await self._left_lines(head, entry_id)]:
            for placed in await self._placed(line, None):
                if placed.entry.id == entry_id:
                    return line, placed
        return None

    # Writing ----------------------------------------------------------------------------------------------------------

    async def _extend(self, record: ConversationRecord, records: Sequence[Record], expected: str) -> str:
        now = record.updated_at.timestamp()
        done = await self.backend.append(record.conversation_id, records, now=now, expect=expected)
        if done is None:
            raise _lost(record.conversation_id)
        return done.revision

    async def _begin(self, record: ConversationRecord, base: str | None, records: Sequence[Record]) -> str:
        session_id, now = record.conversation_id, record.updated_at.timestamp()
        kept = {"forked_from": record.forked_from, "forked_at": record.forked_at}
        if base is not None:
            revision = await self._fork(record, base, kept)
            return await self._extend(record, records, revision) if records else revision
        fields = _fields({}, record, kept, at="" if not records else None)
        head = self._new_head(session_id, length=len(records), created_at=now, updated_at=now, fields=fields)
        for _ in range(2):
            if await self.backend.put_head(head, expect=None, records=records):
                return head.revision
            # One whose time has run out makes room.
            await self._erase_expired(session_id)
        raise _lost(session_id)

    async def _fork(self, record: ConversationRecord, base: str, kept: Json) -> str:
        for _ in range(ATTEMPTS):
            head = await self._head(record.forked_from or "?")
            found = await self._find(head, base) if head is not None else None
            if head is None or found is None:
                raise _lost(record.conversation_id)
            line, placed = found
            titled = {"title": fork_title(title)} if (title := title_of(head)) else {}
            child = tree.forked(
                head,
                await self._short(head, await self._position(line, line.shed + placed.stop)),
                session_id=record.conversation_id,
                run=new_token(),
                born=new_token(),
                now=record.updated_at.timestamp(),
                fields={**titled, **_fields({}, record, kept, at=placed.last_id)},
                ttl=self.ttl if self.ttl is not None else head.ttl,
            )
            if await (self._fork_copying(line, child) if self._shared is None else self._fork_sharing(head, child)):
                return child.revision
        raise _lost(record.conversation_id)

    async def _move(self, record: ConversationRecord, base: str | None, records: Sequence[Record], known: ConversationRecord) -> str:
        """Write to the head, and let the history end in ``base`` before what is appended."""
        session_id, expected = record.conversation_id, known.revision
        taken: list[str] = []
        try:
            async with self._together(session_id):
                head = await self._existing(session_id)
                check_revision(session_id, head, expected)
                dropped = [row["key"] for label, row in await self._left(head) if label not in record.branches]
                if known.head_id in record.branches:
                    dropped += [row["key"] for label, row in await self._left(head) if label == known.head_id]
                    taken.append(await self.create_snapshot(session_id, known.head_id, LEFT))

                async def edit(head: Head) -> Head:
                    check_revision(session_id, head, expected)
                    return await self._moved(head, base, record, known)

                _, after = await self._change(session_id, edit)
                if dropped:
                    await self.backend.drop_rows(session_id, head.run, "snapshot", dropped)
                return await self._extend(record, records, after.revision) if records else after.revision
        except (ConflictError, SessionNotFoundError) as error:
            head_now = await self._head(session_id) if taken else None
            if head_now is not None:
                await self.backend.drop_rows(session_id, head_now.run, "snapshot", taken)
            raise _lost(session_id) from error

    async def _moved(self, head: Head, base: str | None, record: ConversationRecord, known: ConversationRecord) -> Head:
        to: Position | None = None
        at = ""
        if base is None:
            to = await self._position(head, head.shed)
        else:
            found = await self._find(head, base)
            if found is None:
                raise _lost(record.conversation_id)
            line, placed = found
            at = placed.last_id
            if base != known.head_id:
                to = await self._position(line, line.shed + placed.stop)
        after = head
        if to is not None:
            here = await self._position(head, head.shed + head.count)
            covered = head.fields.get("last_compaction")
            after = tree.moved(head, await self._short(head, to), undo=await self._undo_point(head, here, head.undo))
            if covered and await self._common(head.session_id, here, to) < head.shed + covered["message_index"]:
                after = with_fields(after, last_compaction=None)
        kept = {**_kept(head), "forked_from": record.forked_from, "forked_at": record.forked_at, "branched": bool(record.branches) or None}
        return replace(after, fields=_fields(after.fields, record, kept, at=at))


def _entries(stored: Sequence[SessionMessage], start: int) -> list[Placed]:
    places = {id(message): start + index for index, message in enumerate(stored)}
    placed: list[Placed] = []
    for records, message in grouped(stored):
        identity = message_id_of(records[0]) or records[0].id
        entry = ConversationEntry(id=identity, parent_id=placed[-1].entry.id if placed else None, message=message)
        placed.append(Placed(entry, places[id(records[-1])] + 1, records[-1].id))
    return placed


def _carried(record: ConversationRecord) -> Json:
    """What changes with every save, as JSON, without what is not there."""
    usage = counted(vars(record.usage))
    if not all(type(value) is int for value in usage.values()):
        usage = counted(_USAGE.dump_python(record.usage, mode="json"))
    deferred = _DEFERRED.dump_python(record.deferred_tool_requests, mode="json") if record.deferred_tool_requests else None
    return {**({"usage": usage} if usage else {}), **({"deferred": deferred} if deferred else {})}


def _kept(head: Head) -> Json:
    kept = (head.fields.get("metadata") or {}).get(KEY)
    return kept if isinstance(kept, dict) else {}


def _fields(fields: Any, record: ConversationRecord, kept: Json, *, at: str | None) -> Json:
    """The fields of a head. ``at``: the message behind which usage and waiting calls hold; None where they are in its metadata."""
    tip = {"at": at, **_carried(record), "saved": record.updated_at.isoformat()} if at is not None else None
    ours = {key: value for key, value in {**kept, "tip": tip}.items() if value is not None}
    metadata = {**(fields.get("metadata") or {}), **({KEY: ours} if ours else {})}
    merged = {**fields, "user_id": record.scope, "metadata": metadata}
    return {key: value for key, value in merged.items() if value is not None and value != {}}


def _lost(session_id: str) -> ConflictError:
    text = f"session {session_id!r} is no longer what it was when it was read: read it again"
    return ConflictError(text, session_id=session_id)
