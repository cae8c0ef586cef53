"""Planted faults in full stores: open turns that show, stay, vanish or change, and snapshots that do not tell what was."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import ConflictError, NothingToUndoError, SessionNotFoundError
from turnlog.session import InMemorySessionStore, SqliteSessionStore

Messages = list[dict[str, Any]]


@fault("2.20")
class SnapshotsCount(InMemorySessionStore):
    """A snapshot knows how many messages there were, and shows as many of those that are there now."""

    def get_snapshot_messages(self, session_id: str, snapshot_id: str, start: int = 0, stop: int | None = None) -> Any:
        then = super().get_snapshot_messages(session_id, snapshot_id)
        return self.get_messages(session_id)[: len(then)][start:stop]


@fault("2.70")
class OpenTurnsAsText(InMemorySessionStore):
    """Keeps role and text of what a turn has produced."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None) -> bool:
        plain = [{key: one[key] for key in ("role", "content", "id") if key in one} for one in messages]
        return super().put_open_turn(session_id, turn_id, plain, info=info)


@fault("2.71")
class CountsOpenTurns(InMemorySessionStore):
    """Counts what is under way among the messages of a listing."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        lines = super().list_sessions(limit)
        return [{**line, "message_count": line["message_count"] + len(self.get_open_turns(line["session_id"]))} for line in lines]


@fault("2.71")
class ForksOpenTurns(InMemorySessionStore):
    """A fork takes over what is under way."""

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        for one in self.get_open_turns(session_id):
            self.put_open_turn(child, one.id, [message.to_dict() for message in one.messages])
        return child


@fault("2.72")
class NewestTurnFirst(InMemorySessionStore):
    """Lists the open turns by their last change."""

    def get_open_turns(self, session_id: str) -> Any:
        return sorted(super().get_open_turns(session_id), key=lambda one: one.updated_at, reverse=True)


@fault("2.73")
class EndsTurnsFirst(InMemorySessionStore):
    """Drops the open turn, and then appends."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None, turn_id: str | None = None) -> bool:
        if turn_id is not None:
            self.drop_open_turn(session_id, turn_id)
        return super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("2.74")
class TurnsOutliveClear(InMemorySessionStore):
    """Keeps open turns over a clear: they are no history."""

    def clear_session(self, session_id: str) -> bool:
        turns = self.get_open_turns(session_id)
        super().clear_session(session_id)
        return all(self.put_open_turn(session_id, one.id, [m.to_dict() for m in one.messages], info=one.info) for one in turns)


@fault("2.75")
class TurnsOfThisInstance(SqliteSessionStore):
    """Shows the open turns that this instance has put."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.own: set[tuple[str, str]] = set()

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None) -> bool:
        self.own.add((session_id, turn_id))
        return super().put_open_turn(session_id, turn_id, messages, info=info)

    def get_open_turns(self, session_id: str) -> Any:
        return [one for one in super().get_open_turns(session_id) if (session_id, one.id) in self.own]


@fault("2.76")
class TurnsAreWrittenTogether(InMemorySessionStore):
    """Reads all open turns and writes them back with the one that changed: what landed or changed in between comes back."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None) -> bool:
        others = [one for one in self.get_open_turns(session_id) if one.id != turn_id]
        time.sleep(0)
        for one in others:
            super().put_open_turn(session_id, one.id, [message.to_dict() for message in one.messages], info=one.info)
        return super().put_open_turn(session_id, turn_id, messages, info=info)


@fault("3.4.11")
class BuffersTurns(SqliteSessionStore):
    """Keeps what a turn has produced in memory, until somebody asks or the store is closed."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.pending: dict[tuple[str, str], Any] = {}

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None) -> bool:
        self.create_session(session_id)
        self.pending[session_id, turn_id] = (list(messages), info)
        return True

    def flush(self) -> None:
        while self.pending:
            (session_id, turn_id), (messages, info) = self.pending.popitem()
            super().put_open_turn(session_id, turn_id, messages, info=info)

    def get_open_turns(self, session_id: str) -> Any:
        self.flush()
        return super().get_open_turns(session_id)

    def close(self) -> None:
        self.flush()
        super().close()


@fault("2.77")
class TakesOverWhateverIsThere(InMemorySessionStore):
    """Does not look at when the turn was seen."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        return super().put_open_turn(session_id, turn_id, messages, info=info)


@fault("2.77")
class TakesOverWhatIsGone(InMemorySessionStore):
    """Looks at the time of a turn that is open, and opens one that is not."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        is_open = any(one.id == turn_id for one in self.get_open_turns(session_id))
        expected = expect_updated_at if is_open else None
        return super().put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expected)


@fault("2.77")
class CreatesToRefuse(InMemorySessionStore):
    """Creates a session in which nothing can be taken over."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        self.create_session(session_id)
        return super().put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expect_updated_at)


@fault("2.77")
class TakesOverByDropping(InMemorySessionStore):
    """Takes a turn over by opening it anew, so that nobody knows any more when it began."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        super().put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expect_updated_at)
        if expect_updated_at is not None:
            self.drop_open_turn(session_id, turn_id)
        return super().put_open_turn(session_id, turn_id, messages, info=info)


@fault("2.78")
class LooksThenTakes(InMemorySessionStore):
    """Looks whether the turn is as it was seen, and then takes it."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        if expect_updated_at is not None:
            seen = [one.updated_at for one in self.get_open_turns(session_id) if one.id == turn_id]
            if seen != [expect_updated_at]:
                raise ConflictError("the turn is not as it was seen", session_id=session_id)
            time.sleep(0)
        return super().put_open_turn(session_id, turn_id, messages, info=info)


@fault("2.79")
class TakesOverInTwoSteps(InMemorySessionStore):
    """Takes a turn over, and then writes what the other makes of it, whether it is still open or not."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        super().put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expect_updated_at)
        time.sleep(0)
        return super().put_open_turn(session_id, turn_id, messages, info=info)


@fault("3.10.14")
class ReadsAllForATurn(InMemorySessionStore):
    """Reads the session with every step of a turn."""

    def put_open_turn(self, session_id: str, turn_id: str, messages: Any = (), *, info: Any = None, expect_updated_at: Any = None) -> bool:
        self.get_messages(session_id)
        return super().put_open_turn(session_id, turn_id, messages, info=info, expect_updated_at=expect_updated_at)


@fault("3.0.1")
class LandsOnWhatItSaw(InMemorySessionStore):
    """A turn that lands after a revert takes the revert back: it answers to the history in which it began. Only a walk meets the two."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.began: dict[tuple[str, str], int] = {}

    def count(self, session_id: str) -> int:
        info = self.get_session_info(session_id)
        return info.message_count if info is not None else 0

    def put_open_turn(self, session_id: str, turn_id: str, *args: Any, **options: Any) -> bool:
        seen = self.began.get((session_id, turn_id), 0)
        self.began[session_id, turn_id] = max(seen, self.count(session_id))
        return super().put_open_turn(session_id, turn_id, *args, **options)

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None, turn_id: str | None = None) -> bool:
        began = self.began.pop((session_id, turn_id or ""), 0)
        if began and self.count(session_id) < began and expect_revision is None:
            with suppress(NothingToUndoError, SessionNotFoundError):
                self.undo_revert(session_id)
        return super().add_messages(session_id, messages, expect_revision=expect_revision, turn_id=turn_id)
