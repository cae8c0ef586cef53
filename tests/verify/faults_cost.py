"""Planted faults in full stores: what costs more, the longer a session or the list of sessions is."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from tests.verify.planting import fault
from turnlog.session import InMemorySessionStore, SqliteSessionStore

Messages = list[dict[str, Any]]


@fault("3.10.1")
class ReadsAllToAppend(InMemorySessionStore):
    """Reads the whole session before each append."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.get_messages(session_id)
        return super().add_message(session_id, role, content, *args, **kwargs)


@fault("3.10.1")
class CountsRowsToAppend(SqliteSessionStore):
    """Counts the rows of a table before each append."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        if not hasattr(self, "own"):
            self.own = sqlite3.connect(":memory:", check_same_thread=False)
            self.own.execute("CREATE TABLE messages (session TEXT)")
        self.own.executemany("INSERT INTO messages VALUES (?)", [(session_id,)] * (len(self.get_messages(session_id, -1)) and 1))
        self.own.execute("SELECT count(*) FROM messages WHERE session = ?", (session_id,)).fetchone()
        return super().add_message(session_id, role, content, *args, **kwargs)

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        self.add_message(session_id, "user", "first")
        self.own.executemany("INSERT INTO messages VALUES (?)", [(session_id,)] * len(messages))
        return super().add_messages(session_id, messages, expect_revision=expect_revision)

    def close(self) -> None:
        if hasattr(self, "own"):
            self.own.close()
        super().close()


@fault("3.10.3")
class ReadsAllForTheLast(SqliteSessionStore):
    """Reads the whole history and cuts it."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        return super().get_chat_history(session_id)[-(max_messages or 0) :]


@fault("3.10.5")
class ListingReadsMessages(InMemorySessionStore):
    """Reads each session for its line in a listing."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        lines = super().list_sessions(limit)
        return [{**line, "message_count": len(self.get_messages(line["session_id"]))} for line in lines]


@fault("3.10.6")
class SnapshotCopies(SqliteSessionStore):
    """A snapshot holds the messages."""

    def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        copied = [message.record for message in self.get_messages(session_id)]
        return super().create_snapshot(session_id, label, {**(metadata or {}), "messages": copied})


@fault("3.10.8")
class ForkCopies(SqliteSessionStore):
    """A fork copies the messages."""

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        self.set_chat_history(f"copy of {child}", [message.to_dict() for message in self.get_messages(session_id)])
        return child


@fault("3.10.10")
class AppendsWalkSnapshots(InMemorySessionStore):
    """Looks at every snapshot at every append."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.get_snapshots(session_id)
        return super().add_message(session_id, role, content, *args, **kwargs)


@fault("3.10.11")
class ListsAllForAPage(InMemorySessionStore):
    """Makes the list of all sessions for every page."""

    def iter_sessions(self, *, page_size: int = 50, **options: Any) -> Iterator[Any]:
        yield from list(super().iter_sessions(page_size=10**6, **options))
