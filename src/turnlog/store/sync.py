"""SessionStore: the full store for plain Python, the async store run by one ``send`` a verb. Signatures are spelled out for typing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from turnlog.backends.port import Backend, Query
from turnlog.messages import SessionMessage
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.conditions import Age
from turnlog.store.drive import drive
from turnlog.store.values import (
    ImportReport,
    OpenTurn,
    SessionData,
    SessionDiff,
    SessionHit,
    SessionInfo,
    SessionSnapshot,
    SessionSummary,
    SweepReport,
)
from turnlog.store.writing import Message


class SessionStore:
    """A full store over a blocking backend. The long form of each verb's contract is at the verb of the same name in AsyncSessionStore."""

    def __init__(self, backend: Backend, max_messages: int | None = None, *, ttl: float | None = None) -> None:
        if not backend.blocking:
            raise TypeError(f"{type(backend).__name__} needs an event loop: use the Async… form of this store")
        self._core = AsyncSessionStore(backend, max_messages, ttl=ttl, hop=False)

    @property
    def backend(self) -> Backend:
        """The engine underneath."""
        return self._core.backend

    @property
    def max_messages(self) -> int | None:
        """How many messages a session keeps; None for all."""
        return self._core.max_messages

    @property
    def ttl(self) -> float | None:
        """Seconds after their last change at which sessions that this store creates expire; None for never."""
        return self._core.ttl

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called."""
        return self._core.closed

    def add_message(
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
        """Store one message at the end of the session, which comes to be if it was not there."""
        return drive(self._core.add_message(session_id, role, content, metadata, tool_calls, tool_call_id, message_id=message_id))

    def add_messages(
        self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None, turn_id: str | None = None
    ) -> bool:
        """Store a whole turn: all messages, in a row, or none. ``turn_id`` names the open turn that lands with it."""
        return drive(self._core.add_messages(session_id, messages, expect_revision=expect_revision, turn_id=turn_id))

    def put_open_turn(
        self,
        session_id: str,
        turn_id: str,
        messages: Sequence[Message] = (),
        *,
        info: dict[str, Any] | None = None,
        expect_updated_at: float | None = None,
    ) -> bool:
        """Keep what a turn has produced so far, beside the history, in place of what was kept of it."""
        return drive(self._core.put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expect_updated_at))

    def get_open_turns(self, session_id: str) -> list[OpenTurn]:
        """The turns that have not landed, in the order in which they began."""
        return drive(self._core.get_open_turns(session_id))

    def drop_open_turn(self, session_id: str, turn_id: str) -> bool:
        """Forget what was kept of a turn. True also when there was nothing."""
        return drive(self._core.drop_open_turn(session_id, turn_id))

    def add_user_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "user"."""
        return drive(self._core.add_user_message(session_id, content, metadata))

    def add_assistant_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "assistant"."""
        return drive(self._core.add_assistant_message(session_id, content, metadata))

    def set_chat_history(self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None) -> bool:
        """Replace the history by ``messages``, at once. What was there is erased, as by ``clear_session``."""
        return drive(self._core.set_chat_history(session_id, messages, expect_revision=expect_revision))

    def clear_session(self, session_id: str) -> bool:
        """Erase all messages, snapshots and undo points; the session, its title and its metadata stay. True also when there was nothing."""
        return drive(self._core.clear_session(session_id))

    def delete_session(self, session_id: str, *, expect_revision: str | None = None) -> bool:
        """Erase the session. Its forks keep what they share. True also when there was none."""
        return drive(self._core.delete_session(session_id, expect_revision=expect_revision))

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        """Keep the answer as far as it has been streamed, replacing what was kept of it; ``finalize=True`` makes it a message."""
        return drive(self._core.upsert_partial_assistant_message(session_id, content, finalize=finalize))

    def discard_partial_assistant_message(self, session_id: str) -> bool:
        """Drop the draft, if there is one."""
        return drive(self._core.discard_partial_assistant_message(session_id))

    def get_chat_history(
        self,
        session_id: str,
        max_messages: int | None = None,
        *,
        max_tokens: int | None = None,
        count_tokens: Callable[[Mapping[str, Any]], int] | None = None,
    ) -> list[dict[str, Any]]:
        """The history as a model takes it: oldest first, each message with exactly the keys it was stored with."""
        return drive(self._core.get_chat_history(session_id, max_messages, max_tokens=max_tokens, count_tokens=count_tokens))

    def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The history after the last compaction checkpoint, with its summary in front; all of it where there is none."""
        return drive(self._core.get_working_history(session_id, max_messages))

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the kept history, with ids, times and metadata; indexes as in a Python slice."""
        return drive(self._core.get_messages(session_id, start, stop))

    def get_session(self, session_id: str) -> SessionData:
        """The session with all messages, of one moment. A session that does not exist has none, and the revision ""."""
        return drive(self._core.get_session(session_id))

    def get_session_info(self, session_id: str) -> SessionInfo | None:
        """The session as a listing shows it, its number of messages among the rest; None where there is none. Reads the head only."""
        return drive(self._core.get_session_info(session_id))

    def get_revision(self, session_id: str) -> str:
        """The opaque token of the session's present state, for ``expect_revision``; "" where there is no session."""
        return drive(self._core.get_revision(session_id))

    def session_exists(self, session_id: str) -> bool:
        """Whether there is a session of that id. A cleared one is still there."""
        return drive(self._core.session_exists(session_id))

    def window(self, session_id: str, around_message_id: str | int | None = None, *, window: int = 5) -> list[dict[str, Any]]:
        """The messages around one, ``window`` to each side, as dicts with ``index``. Named by message id or index; None: the last one."""
        return drive(self._core.window(session_id, around_message_id, window=window))

    def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        """What ``set_runtime_state`` kept for a runtime: ``{turn_id: state}``, or the state of one turn; {} for none."""
        return drive(self._core.get_runtime_state(session_id, runtime_id, turn_id))

    def is_shared(self, session_id: str) -> bool:
        """Whether ``share_session`` marked the session."""
        return drive(self._core.is_shared(session_id))

    def get_session_model(self, session_id: str) -> str | None:
        """The model the session was last run with: from its metadata, or from its newest message that names one."""
        return drive(self._core.get_session_model(session_id))

    def get_session_reasoning_effort(self, session_id: str) -> str | None:
        """The reasoning effort the session was last run with, like ``get_session_model``."""
        return drive(self._core.get_session_reasoning_effort(session_id))

    def page_sessions(self, query: Query, page_size: int = 50, cursor: str | None = None) -> tuple[list[SessionInfo], str | None]:
        """One page of sessions, last changed first, and the cursor of the next (None after the last). ``iter_sessions`` walks them."""
        return drive(self._core.page_sessions(query, page_size, cursor))

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        """The sessions last changed, newest first, as dicts with ``session_id``, ``title``, ``message_count`` and more."""
        return drive(self._core.list_sessions(limit))

    def list_sessions_by_agent(self, agent_name: str, limit: int = 50) -> list[str]:
        """The ids of an agent's sessions, last changed first."""
        return drive(self._core.list_sessions_by_agent(agent_name, limit))

    def recent(self, *, limit: int = 10) -> list[SessionSummary]:
        """The sessions last changed, newest first, as short summaries."""
        return drive(self._core.recent(limit=limit))

    def search(self, query: str, *, limit: int = 5, window: int = 5) -> list[SessionHit]:
        """The sessions whose kept messages hold words of ``query``, best first, each with the ``window`` messages around the best one."""
        return drive(self._core.search(query, limit=limit, window=window))

    def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        """Note the agent and the user of the session; None leaves what was there."""
        return drive(self._core.set_agent_info(session_id, agent_name, user_id))

    def set_gateway_info(self, session_id: str, gateway_session_id: str | None = None, agent_id: str | None = None) -> bool:
        """Note the gateway's session and agent ids; None leaves what was there."""
        return drive(self._core.set_gateway_info(session_id, gateway_session_id, agent_id))

    def update_session_metadata(self, /, session_id: str, **fields: Any) -> bool:
        """Merge ``fields`` into the session's metadata; a value of None is left out. Values must be JSON."""
        return drive(self._core.update_session_metadata(session_id, **fields))

    def edit_session_metadata(self, session_id: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Set the session's metadata to ``edit(metadata)`` and return it: right under races, as ``edit`` may be called again."""
        return drive(self._core.edit_session_metadata(session_id, edit))

    def rename_session(self, session_id: str, title: str) -> bool:
        """``set_title`` under its other name."""
        return drive(self._core.rename_session(session_id, title))

    def set_title(self, session_id: str, title: str) -> bool:
        """Give the session a title."""
        return drive(self._core.set_title(session_id, title))

    def set_session_ttl(self, session_id: str, ttl: float | None) -> bool:
        """Let the session expire ``ttl`` seconds after its last change, this one to begin with; None: never."""
        return drive(self._core.set_session_ttl(session_id, ttl))

    def share_session(self, session_id: str) -> bool:
        """Mark the session as shared."""
        return drive(self._core.share_session(session_id))

    def unshare_session(self, session_id: str) -> bool:
        """Remove the mark of ``share_session``."""
        return drive(self._core.unshare_session(session_id))

    def set_runtime_state(self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True) -> bool:
        """Keep a small state of a runtime for one turn. ``mirror_enabled=False``: nothing is kept."""
        return drive(self._core.set_runtime_state(session_id, runtime_id, turn_id, state, mirror_enabled))

    def clear_runtime_state(self, session_id: str, runtime_id: str | None = None) -> bool:
        """Drop the states of one runtime, or of all."""
        return drive(self._core.clear_runtime_state(session_id, runtime_id))

    def append_compaction_checkpoint(
        self,
        session_id: str,
        summary: str,
        *,
        role: str = "system",
        tokens_before: int = 0,
        tokens_after: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Note a summary of all messages so far; ``get_working_history`` gives it in their place. The messages stay."""
        return drive(
            self._core.append_compaction_checkpoint(
                session_id, summary, role=role, tokens_before=tokens_before, tokens_after=tokens_after, metadata=metadata
            )
        )

    def create_session(
        self,
        session_id: str | None = None,
        title: str | None = None,
        parent_id: str | None = None,
        agent_name: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> str:
        """Create a session and return its id (a random one for None)."""
        return drive(self._core.create_session(session_id, title, parent_id, agent_name, metadata))

    def fork_session(
        self, session_id: str, from_message_index: int | None = None, title: str | None = None, *, new_session_id: str | None = None
    ) -> str:
        """Fork a session after message ``from_message_index`` (inclusive; None: after the last) and return the fork's id."""
        return drive(self._core.fork_session(session_id, from_message_index, title, new_session_id=new_session_id))

    def create_snapshot(self, session_id: str, label: str | None = None, metadata: dict[str, Any] | None = None) -> str:
        """Name the present state of the history and return the snapshot's id. Copies nothing."""
        return drive(self._core.create_snapshot(session_id, label, metadata))

    def get_snapshots(self, session_id: str) -> list[SessionSnapshot]:
        """The session's snapshots, oldest first."""
        return drive(self._core.get_snapshots(session_id))

    def delete_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        """Forget a snapshot; the messages stay. Raises SnapshotNotFoundError."""
        return drive(self._core.delete_snapshot(session_id, snapshot_id))

    def get_snapshot_messages(self, session_id: str, snapshot_id: str, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the history as it was when the snapshot was taken. Raises SnapshotNotFoundError."""
        return drive(self._core.get_snapshot_messages(session_id, snapshot_id, start, stop))

    def revert_to_snapshot(self, session_id: str, snapshot_id: str, *, expect_revision: str | None = None) -> bool:
        """Make the history what it was when the snapshot was taken. ``undo_revert`` takes it back. Raises SnapshotNotFoundError."""
        return drive(self._core.revert_to_snapshot(session_id, snapshot_id, expect_revision=expect_revision))

    def revert_to_message(self, session_id: str, message_index: int, *, expect_revision: str | None = None) -> bool:
        """Cut the history after message ``message_index`` (inclusive). ``undo_revert`` takes it back. Raises MessageIndexError."""
        return drive(self._core.revert_to_message(session_id, message_index, expect_revision=expect_revision))

    def undo_revert(self, session_id: str) -> bool:
        """Take back the last revert. Messages added since stay stored, and a further undo brings them back. Raises NothingToUndoError."""
        return drive(self._core.undo_revert(session_id))

    def get_parent(self, session_id: str) -> str | None:
        """The session this one was forked from, if that still exists."""
        return drive(self._core.get_parent(session_id))

    def get_ancestors(self, session_id: str) -> list[str]:
        """Parent, grandparent and so on, nearest first."""
        return drive(self._core.get_ancestors(session_id))

    def get_children(self, session_id: str) -> list[str]:
        """The sessions forked from this one, oldest first."""
        return drive(self._core.get_children(session_id))

    def get_session_tree(self, session_id: str) -> dict[str, Any]:
        """The session with all below it: ``{"session_id", "title", "message_count", "children": [...]}``, nested."""
        return drive(self._core.get_session_tree(session_id))

    def get_extended_session(self, session_id: str, force_reload: bool = False) -> SessionData:
        """The session as ``get_session`` gives it, with its children and snapshots. Always read afresh."""
        return drive(self._core.get_extended_session(session_id, force_reload))

    def diff(self, a: str, b: str) -> SessionDiff:
        """Compare two sessions: their common ancestor, how many messages they share from the start, then each side's own."""
        return drive(self._core.diff(a, b))

    def export_session(self, session_id: str, *, include_lineage: bool = True) -> dict[str, Any]:
        """``{"version": 1, "sessions": [session]}`` as JSON types; no sessions where there is none."""
        return drive(self._core.export_session(session_id, include_lineage=include_lineage))

    def export_all(self) -> dict[str, Any]:
        """Every session, in the form of ``export_session``."""
        return drive(self._core.export_all())

    def import_sessions(
        self, payload: Mapping[str, Any], *, max_sessions: int = 10000, reset_live_fields: bool = True, overwrite: bool = False
    ) -> ImportReport:
        """Store exported sessions under their ids. One that cannot be stored is skipped, with its reason in the report."""
        return drive(
            self._core.import_sessions(payload, max_sessions=max_sessions, reset_live_fields=reset_live_fields, overwrite=overwrite)
        )

    def import_session(self, data: Mapping[str, Any], new_session_id: str | None = None) -> str:
        """Store one exported session under a new id and return it. Raises ConflictError when the id is taken."""
        return drive(self._core.import_session(data, new_session_id))

    def sweep(self, *, compact: bool = False) -> SweepReport:
        """Erase expired sessions, the remains of cleared and deleted ones that a crash left, and claims of forks that never came to be."""
        return drive(self._core.sweep(compact=compact))

    def delete_where(self, *, user_id: str | None = None, agent: str | None = None, older_than: Age | None = None) -> int:
        """Erase the sessions that meet every condition given, and return how many they were."""
        return drive(self._core.delete_where(user_id=user_id, agent=agent, older_than=older_than))

    def iter_sessions(
        self,
        *,
        prefix: str = "",
        agent_name: str | None = None,
        user_id: str | None = None,
        since: float | None = None,
        until: float | None = None,
        page_size: int = 50,
        cursor: str | None = None,
    ) -> Iterator[SessionInfo]:
        """The sessions that match, last changed first, read page by page; ``since`` and ``until`` are seconds since the epoch."""
        query = Query(prefix=prefix, agent_name=agent_name, user_id=user_id, since=since, until=until)
        while True:
            lines, cursor = drive(self._core.page_sessions(query, page_size, cursor))
            yield from lines
            if cursor is None:
                return

    def invalidate_cache(self, session_id: str | None = None) -> None:
        """Nothing to do: every read sees what is stored. Kept for code that calls it."""

    def close(self) -> None:
        """Release the backend. Idempotent; every other verb then raises ClosedStoreError."""
        drive(self._core.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
