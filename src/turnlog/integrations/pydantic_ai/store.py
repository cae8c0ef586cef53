"""TurnlogConversationStore: any turnlog store as pydantic-ai's ConversationStore; and two functions for ``message_history=`` by hand."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextvars import ContextVar
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Self, cast

from turnlog.errors import ConflictError
from turnlog.session.awaiting import AwaitedStore, InThread
from turnlog.session.opening import open_store
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import drive
from turnlog.store.sync import SessionStore
from turnlog.trim import Window

try:
    from pydantic_ai import AgentRunResult
    from pydantic_ai.conversation_store import ConversationConflict, ConversationEntry, ConversationRecord, ConversationStore
    from pydantic_ai.usage import RunUsage
except ImportError as error:
    raise ImportError("turnlog.integrations.pydantic_ai needs pydantic-ai 2.68 or newer: pip install 'turnlog[pydantic-ai]'") from error

from turnlog.integrations.pydantic_ai.log import ConversationLog
from turnlog.integrations.pydantic_ai.messages import from_stored, to_stored

if TYPE_CHECKING:
    from types import TracebackType

    from pydantic_ai.conversation import Conversation
    from pydantic_ai.messages import ModelMessage

__all__ = ["TurnlogConversationStore", "add_messages", "load_messages"]

REMEMBERED = 10_000
"""Entries and conversations whose place a store remembers in memory."""

_saving: ContextVar[str | None] = ContextVar("turnlog_saving", default=None)
"""The revision that the save under way expects."""


class TurnlogConversationStore(ConversationStore):
    """Keeps pydantic-ai conversations in a turnlog store: durable, safe for many writers, and readable by all else that reads it.

    ``store``: a turnlog store, sync or async; the URL of one; None for the default store. A store given stays open on ``close``.

    A conversation is the session of that id, an entry is one of its messages, a scope is its user. A save is one append, whole or not at
    all, and compares the revision (turnlog's own): what any other writer stored or changed meanwhile, the title too, makes it a
    ConversationConflict. A branch leaves the old history as a snapshot; a fork shares messages, except in JSON files. ``delete`` erases
    the messages that no fork shows. Sessions that others wrote load, list, branch and fork like its own.

    ``read_entry`` and ``read_history`` of an entry that this object has not met look through the sessions: O(sessions).
    Errors are turnlog's (StorageError and so on), except for ConversationConflict.
    """

    def __init__(self, store: SessionStore | AsyncSessionStore | str | None = None) -> None:
        if not (store is None or isinstance(store, str | SessionStore | AsyncSessionStore)):
            raise TypeError(f"{type(store).__name__} is no full store: pass a turnlog store such as SqliteSessionStore, or a URL")
        self._owned = store is None or isinstance(store, str)
        opened = store if isinstance(store, SessionStore | AsyncSessionStore) else open_store(store)
        self._log = ConversationLog(opened.backend, ttl=opened.ttl)
        self._homes: OrderedDict[str, str] = OrderedDict()
        self._known: OrderedDict[str, ConversationRecord] = OrderedDict()

    async def save(self, conversation: Conversation | AgentRunResult[Any], *, scope: str | None = None) -> list[ConversationEntry]:
        """See ConversationStore.save. Appending to what this object saved or loaded reads nothing: the append itself compares."""
        token = _saving.set((conversation.conversation if isinstance(conversation, AgentRunResult) else conversation).revision)
        try:
            return await super().save(conversation, scope=scope)
        finally:
            _saving.reset(token)

    async def read_record(self, conversation_id: str) -> ConversationRecord | None:
        """See ConversationStore.read_record."""
        known = self._known.get(conversation_id)
        if known is not None and known.revision == _saving.get():
            # A save only looks at it, and compares its revision again when it writes: a stale record does no harm.
            return known
        record = await self._log.read_record(conversation_id)
        if record is not None:
            self._meet(record)
        return record

    async def read_records(self, *, scope: str | None = None, limit: int | None = None) -> Sequence[ConversationRecord]:
        """See ConversationStore.read_records. ``updated_at`` is when the session was last changed, by whomever."""
        records = await self._log.list_records(scope, limit)
        for record in records:
            self._meet(record)
        return records

    async def write_record(
        self, record: ConversationRecord, *, new_entries: Sequence[ConversationEntry] = (), expected_revision: str | None
    ) -> None:
        """See ConversationStore.write_record. Sets ``record.revision`` to the revision that the session has now."""
        try:
            revision = await self._write(record, new_entries, expected_revision)
        except ConflictError as conflict:
            self._known.pop(record.conversation_id, None)
            raise ConversationConflict(record.conversation_id) from conflict
        record.revision = revision
        self._meet(record)
        for entry in new_entries:
            self._settle(entry.id, record.conversation_id)

    async def delete_record(self, conversation_id: str, *, expected_revision: str) -> None:
        """See ConversationStore.delete_record. Messages that a fork shows stay until the fork is deleted too."""
        self._known.pop(conversation_id, None)
        try:
            await self._log.delete_session(conversation_id, expect_revision=expected_revision)
        except ConflictError as conflict:
            raise ConversationConflict(conversation_id) from conflict

    async def read_entry(self, entry_id: str) -> ConversationEntry:
        """See ConversationStore.read_entry. Raises LookupError."""
        return (await self.read_history(entry_id))[-1]

    async def read_history(self, head_id: str | None, *, limit: int | None = None) -> list[ConversationEntry]:
        """See ConversationStore.read_history; one query where ``head_id`` is a conversation's newest entry. Raises LookupError."""
        if head_id is None:
            return []
        home = self._homes.get(head_id)
        try:
            entries = await self._log.read_history(home, head_id, limit) if home is not None else None
        except LookupError:
            entries = None
        if entries is not None:
            return entries
        try:
            home = await self._log.find(head_id)
            entries = await self._log.read_history(home, head_id, limit)
        except LookupError:
            # What a save under way took for stored is not: it has to read the record again.
            _saving.set(None)
            raise
        self._settle(head_id, home)
        return entries

    async def close(self) -> None:
        """Close the store if it was opened here. Idempotent."""
        if self._owned:
            await self._log.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def _write(self, record: ConversationRecord, entries: Sequence[ConversationEntry], expected: str | None) -> str:
        known = self._known.get(record.conversation_id)
        direct = cast("ConversationLog | None", self._log._direct)
        if direct is None:
            return await self._log.write(record, entries, expected, known)
        return await InThread(lambda: drive(direct.write(record, entries, expected, known)))

    def _meet(self, record: ConversationRecord) -> None:
        self._known[record.conversation_id] = _copied(record)
        self._known.move_to_end(record.conversation_id)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        for entry_id in (record.head_id, *record.branches):
            if entry_id is not None:
                self._settle(entry_id, record.conversation_id)

    def _settle(self, entry_id: str, conversation_id: str) -> None:
        self._homes[entry_id] = conversation_id
        self._homes.move_to_end(entry_id)
        while len(self._homes) > REMEMBERED:
            self._homes.popitem(last=False)


async def load_messages(store: Any, session_id: str, *, limit: int | None = None) -> list[ModelMessage]:
    """What to pass as ``message_history=``: the session's messages, whoever wrote them; the last ``limit`` stored ones, all for None.

    ``store``: any turnlog store, sync or async, an object with the five methods, a URL, or None for the default store. Fewer than
    ``limit`` come only where the cut would split a tool call from its results; calls without results are left out.
    """
    opened = AwaitedStore(store)
    try:
        return from_stored(await opened.window(session_id, Window(limit)))
    finally:
        await opened.close()


async def add_messages(store: Any, session_id: str, messages: Sequence[ModelMessage], *, turn_id: str | None = None) -> None:
    """Store what a run added, ``result.new_messages()``, as one turn: all of it or nothing. ``store`` as in ``load_messages``.

    The same ``turn_id`` makes calling this again, after an error that left it open whether it was stored, safe.
    """
    opened = AwaitedStore(store)
    try:
        await opened.finish("add_messages", session_id, to_stored(messages, turn_id=turn_id))
    finally:
        await opened.close()


def _copied(record: ConversationRecord) -> ConversationRecord:
    """A record of its own, so that whoever changes what was given or returned changes nothing here."""
    usage = RunUsage.__new__(RunUsage)  # copy.copy and dataclasses.replace cost as much as storing the message
    usage.__dict__.update(record.usage.__dict__, details=dict(record.usage.details))
    made = ConversationRecord.__new__(ConversationRecord)
    made.__dict__.update(record.__dict__, usage=usage, branches=list(record.branches))
    if record.deferred_tool_requests is not None:
        made.deferred_tool_requests = deepcopy(record.deferred_tool_requests)
    return made
