"""Verbs that add and remove messages: append, replace, clear, delete, drafts, retention."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from turnlog import tree
from turnlog.errors import ConflictError, InvalidMessageError, SessionNotFoundError
from turnlog.heads import Head
from turnlog.messages import (
    Record,
    SessionMessage,
    check_session_id,
    decode_body,
    encode_message,
    encode_text,
    new_message_id,
)
from turnlog.store.changing import Changing
from turnlog.store.core import ATTEMPTS, UNDER_WAY, alive, check_revision, with_fields
from turnlog.store.drive import verb
from turnlog.toolcalls import is_user

Message = Mapping[str, Any] | SessionMessage

SLACK = 1.25
"""A session may hold this many times ``max_messages`` before retention cuts it, so that the cut is amortised."""


class Writing(Changing):
    """Adds and removes messages."""

    @verb
    async def add_message(
        self,
        session_id: str,
        role: str,
        content: Any,
        metadata: dict[str, Any] | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
        *,
        message_id: str | None = None,
    ) -> bool:
        """Store one message at the end of the session, which comes to be if it was not there.

        ``content`` is text, a list of parts or None. ``message_id`` makes a retry safe: the same id with the same content is stored once.
        Returns True: the message is stored as durably as the store promises. Raises InvalidSessionIdError, InvalidMessageError,
        MessageTooLargeError, ConflictError, StorageError; then nothing was written, or, after a StorageError, possibly the whole message.
        """
        if metadata is None and tool_calls is None and tool_call_id is None and message_id is None and type(content) is str:
            return await self._append(session_id, [encode_text(_check_role(role), content)], None)
        message = {"role": _check_role(role), "content": content, "id": message_id, "metadata": metadata}
        if tool_calls:
            message["tool_calls"] = tool_calls
        if tool_call_id is not None:
            message["tool_call_id"] = tool_call_id
        return await self._append(session_id, [encode_message(message)], None)

    @verb
    async def add_user_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "user"."""
        return await self._append(session_id, [encode_message({"role": "user", "content": content, "metadata": metadata})], None)

    @verb
    async def add_assistant_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "assistant"."""
        return await self._append(session_id, [encode_message({"role": "assistant", "content": content, "metadata": metadata})], None)

    @verb
    async def set_chat_history(self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None) -> bool:
        """Replace the history by ``messages``, at once. What was there is erased, as by ``clear_session``.

        With ``expect_revision`` only if the session is still in that state ("": there is none). Raises ConflictError for the loser.
        """
        records = encode_messages(messages)
        await self._renew(session_id, records, create=True, expect=expect_revision)
        await self._retain_above(session_id, len(records))
        return True

    @verb
    async def clear_session(self, session_id: str) -> bool:
        """Erase all messages, snapshots and undo points; the session, its title and its metadata stay. True also when there was nothing."""
        await self._renew(session_id, [], create=False)
        return True

    @verb
    async def delete_session(self, session_id: str, *, expect_revision: str | None = None) -> bool:
        """Erase the session. Its forks keep what they share. True also when there was none.

        With ``expect_revision`` it is erased only if it is still in that state. Raises ConflictError for the loser.
        """
        while True:
            async with self._together(session_id):
                head = await self._stored(session_id)
                check_revision(session_id, alive(head), expect_revision)
                if head is None or await self._erase(head, expect=expect_revision or None):
                    return True

    @verb
    async def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        """Keep the answer as far as it has been streamed, replacing what was kept of it; ``finalize=True`` makes it a message.

        The draft stands at the end of the history, with ``metadata={"partial": True}``, until it is final or discarded.
        Finalizing with no text drops it. The cost does not depend on the length of the session.
        """
        head = await self._head(session_id)
        if finalize:
            if content:
                await self._append_final(session_id, content, head.fields["draft"][0] if head and "draft" in head.fields else None)
            return await self._drop_draft(session_id)
        draft = await self._draft_id(head) if head else None
        if draft is None:

            async def begin(head: Head) -> Head:
                return head if await self._draft_id(head) else with_fields(head, draft=[new_message_id(), head.length])

            _, head = await self._change(session_id, begin, create=True)
            draft = head.fields["draft"][0]
        assert head is not None
        record = encode_message({"role": "assistant", "content": content, "id": draft})
        body = json.dumps({"time": record.time, "body": record.body})
        if not await self.backend.put_row(session_id, head.run, "draft", draft, body):
            raise ConflictError(f"session {session_id!r} was cleared or deleted while its answer was written", session_id=session_id)
        return True

    @verb
    async def discard_partial_assistant_message(self, session_id: str) -> bool:
        """Drop the draft, if there is one."""
        check_session_id(session_id)
        return await self._drop_draft(session_id)

    async def _append_final(self, session_id: str, content: str, draft: str | None) -> None:
        """Store the answer under the draft's id, so that finalizing again after a crash stores it once."""
        try:
            await self._append(session_id, [encode_message({"role": "assistant", "content": content, "id": draft})], None)
        except ConflictError:
            # The draft became a message before a crash kept it from being dropped, and this is another answer.
            await self._append(session_id, [encode_message({"role": "assistant", "content": content})], None)

    async def _drop_draft(self, session_id: str) -> bool:
        head = await self._head(session_id)
        if head is None or "draft" not in head.fields:
            return True

        async def end(head: Head) -> Head:
            return with_fields(head, draft=None)

        with suppress(SessionNotFoundError):
            await self._change(session_id, end)
        await self.backend.drop_rows(session_id, head.run, "draft", [head.fields["draft"][0]])
        return True

    async def _append_turn(self, session_id: str, messages: Sequence[Message], expect: str | None) -> str:
        """Store them, as ``_appended``."""
        if isinstance(messages, str | Mapping | SessionMessage):
            raise InvalidMessageError(f"messages must be a list of messages, not one {type(messages).__name__}: put it in a list")
        return await self._appended(session_id, encode_messages(messages), expect)

    async def _append(self, session_id: str, records: Sequence[Record], expect: str | None) -> bool:
        await self._appended(session_id, records, expect)
        return True

    async def _appended(self, session_id: str, records: Sequence[Record], expect: str | None) -> str:
        """Store the records; the revision that the session then has, "" where there were none."""
        check_session_id(session_id)
        self._check_open()
        if not records:
            return ""
        while True:
            now = time.time()
            done = await self.backend.append(session_id, records, now=now, expect=expect)
            if done is not None:
                self._seen.grow(session_id, len(records), done, now)
                if self.max_messages is not None:
                    await self._retain_above(session_id, done.messages)
                return done.revision
            if expect:
                raise ConflictError(
                    f"session {session_id!r} does not exist, so it is not at the revision expected: read it again",
                    session_id=session_id,
                    expected=expect,
                    actual="",
                )
            head = self._new_head(session_id, length=len(records))
            if await self.backend.put_head(head, expect=None, records=records):
                await self._retain_above(session_id, len(records))
                return head.revision
            await self._erase_expired(session_id)

    async def _renew(self, session_id: str, records: Sequence[Record], *, create: bool, expect: str | None = None) -> None:
        """Give the session a new run that holds ``records``, and retire the old one."""
        for _ in range(ATTEMPTS):
            async with self._together(session_id):
                head = await self._head(session_id)
                check_revision(session_id, head, expect)
                if head is None and not create:
                    await self._erase_expired(session_id)
                    return
                fresh = self._new_head(session_id, length=len(records))
                if head is not None:
                    kept = with_fields(head, **UNDER_WAY, last_compaction=None)
                    fresh = replace(fresh, born=head.born, created_at=head.created_at, parent=head.parent, ttl=head.ttl, fields=kept.fields)
                    await self._mark(head, closed=False)
                if await self.backend.put_head(fresh, expect=head.revision if head else None, records=records):
                    self._seen.forget(session_id)
                    if head is not None:
                        await self._retire(head)
                    return
            if head is None:
                await self._erase_expired(session_id)
        raise ConflictError(f"session {session_id!r} changes too fast: try again", session_id=session_id)

    async def _retain_above(self, session_id: str, count: int) -> None:
        """Cut the session if ``count`` messages are more than it may hold."""
        if self.max_messages is None or count <= self.max_messages * SLACK:
            return
        # Deleted since: nothing is left to cut, and what was stored had been stored.
        with suppress(SessionNotFoundError):
            await self._retain(session_id, self.max_messages)

    async def _retain(self, session_id: str, limit: int) -> None:
        """Cut whole turns from the beginning until at most ``limit`` messages stay; a newest turn longer than that stays whole."""
        before, after = await self._change(session_id, lambda head: self._shorter(head, limit))
        if after is before:
            return
        for kind in ("snapshot", "undo"):
            rows = await self.backend.get_rows(session_id, after.run, kind)
            gone = [key for key, body in rows.items() if not await self._outlives(after, json.loads(body))]
            if gone:
                await self.backend.drop_rows(session_id, after.run, kind, gone)
        claims = await self._shared.references(session_id, after.run) if self._shared else []
        needed = max((claim.stop for claim in claims), default=0)
        for run, start, stop in await self._spans(before, before.shed, after.shed):
            if run == after.run and stop > needed:
                await self.backend.drop_records(session_id, run, max(start, needed), stop)

    async def _shorter(self, head: Head, limit: int) -> Head:
        if head.count <= limit * SLACK:
            return head
        take = limit
        while True:
            take = min(2 * take, head.count)
            spans = await self._spans(head, head.shed + head.count - take, head.shed + head.count)
            messages = [decode_body(record) for record in await self.backend.read(head.session_id, spans)]
            # The beginning of a suffix may lie in the middle of a turn; only the beginning of the history surely does not.
            starts = [index for index, message in enumerate(messages) if is_user(message)]
            if take == head.count:
                starts = [0, *starts[1:]]
            fitting = [start for start in starts if take - start <= limit]
            if starts:
                first = fitting[0] if fitting else starts[-1]
                break
        dropped = head.count - take + first
        if dropped == 0:
            return head
        compaction = head.fields.get("last_compaction")
        if compaction:
            compaction = {**compaction, "message_index": max(0, compaction["message_index"] - dropped)}
        undo = head.undo
        if undo is not None:
            rows = await self.backend.get_rows(head.session_id, head.run, "undo", [undo])
            shorter = replace(head, shed=head.shed + dropped)
            if undo not in rows or not await self._outlives(shorter, json.loads(rows[undo])):
                undo = None
        return replace(with_fields(head, last_compaction=compaction), shed=head.shed + dropped, undo=undo)

    async def _outlives(self, head: Head, row: Mapping[str, Any]) -> bool:
        """Whether a stored position still makes sense after the cut: it has the same beginning and goes further."""
        to = tree.decode_position(row, head.run)
        if to.count <= head.shed:
            return False
        whole = await self._position(head, head.shed + head.count)
        return await self._common(head.session_id, whole, to) >= head.shed


def encode_messages(messages: Sequence[Message]) -> list[Record]:
    """The records of many messages; all are looked at before anything is written."""
    records = [encode_message(message) for message in messages]
    if len({record.id for record in records}) < len(records):
        raise InvalidMessageError("two messages of one turn have the same id: give each its own, or leave ids out")
    return records


def _check_role(role: object) -> str:
    if not isinstance(role, str) or not role:
        raise InvalidMessageError(f"role must be a non-empty str, not {role!r:.80}: use user, assistant, system or tool")
    return role
