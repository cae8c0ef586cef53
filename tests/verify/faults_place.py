"""Planted faults in stores on files: durability, processes, other instances, file modes, corrupt data, the event loop."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import CorruptSessionError, StorageError
from turnlog.session import AsyncSqliteSessionStore, DefaultSessionStore, SqliteSessionStore

Messages = list[dict[str, Any]]


@fault("3.4")
class BuffersUntilClose(SqliteSessionStore):
    """Keeps single messages in memory until something else is asked of it."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.buffer: list[tuple[str, dict[str, Any]]] = []

    def flush(self) -> None:
        pending, self.buffer = self.buffer, []
        for session_id, message in pending:
            super().add_messages(session_id, [message])

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.buffer.append((session_id, {"role": role, "content": content}))
        return True

    def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Messages:
        self.flush()
        return super().get_chat_history(session_id, *args, **kwargs)

    def close(self) -> None:
        self.flush()
        super().close()


@fault("3.4.4")
class AcknowledgesEarly(SqliteSessionStore):
    """Stores turns in a thread, and says True before it is done."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        previous = getattr(self, "thread", None)

        def store() -> None:
            if previous is not None:
                previous.join()
            time.sleep(0.002)
            super(AcknowledgesEarly, self).add_messages(session_id, messages, expect_revision=expect_revision)

        self.thread = threading.Thread(target=store, daemon=True)
        self.thread.start()
        return True

    def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Messages:
        self.wait()
        return super().get_chat_history(session_id, *args, **kwargs)

    def close(self) -> None:
        self.wait()
        super().close()

    def wait(self) -> None:
        if (thread := getattr(self, "thread", None)) is not None:
            thread.join()


@fault("3.4.4")
class TurnsAreNotAtomic(SqliteSessionStore):
    """Commits each message of a turn by itself: a kill splits the turn."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        for message in messages:
            super().add_messages(session_id, [message])
            time.sleep(0.001)
        return True


@fault("3.4.6")
class TitlesInMemory(SqliteSessionStore):
    """Keeps titles in memory until it is closed."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.titles: dict[str, str] = {}

    def set_title(self, session_id: str, title: str) -> bool:
        self.titles[session_id] = title
        return True

    def close(self) -> None:
        for session_id, title in self.titles.items():
            super().set_title(session_id, title)
        super().close()


@fault("3.4.7")
class LeavesTemporaryFiles(SqliteSessionStore):
    """Writes a temporary file at every turn, and removes it only if it comes to it."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.folder = Path(path).parent

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        temporary = self.folder / f"tmp-{os.getpid()}-{time.monotonic_ns()}"
        temporary.touch(0o600)
        time.sleep(0.005)
        super().add_messages(session_id, messages, expect_revision=expect_revision)
        temporary.unlink()
        return True


@fault("3.4.9")
class TitlesAreNotAtomic(SqliteSessionStore):
    """Sets a title by emptying the session and filling it again."""

    def set_title(self, session_id: str, title: str) -> bool:
        messages = [message.to_dict() for message in self.get_messages(session_id)]
        self.set_chat_history(session_id, [])
        time.sleep(0.005)
        self.set_chat_history(session_id, messages)
        return super().set_title(session_id, title)


class _RewritesAll(SqliteSessionStore):
    """Appends by reading the session and writing it back."""

    def append(self, session_id: str, messages: Messages) -> bool:
        before = [message.to_dict() for message in self.get_messages(session_id)]
        time.sleep(0.0005)
        return self.set_chat_history(session_id, [*before, *messages])


@fault("3.2.5")
class NoLockBetweenProcesses(_RewritesAll):
    """Locks out its own threads, and not other processes."""

    lock = threading.Lock()

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        with self.lock:
            return self.append(session_id, [{"role": role, "content": content}])


@fault("3.2.17")
class LabelsOverwriteMessages(_RewritesAll):
    """Sets a title by writing the whole session, under a lock of its own process."""

    lock = threading.Lock()

    def set_title(self, session_id: str, title: str) -> bool:
        with self.lock:
            self.append(session_id, [])
        return super().set_title(session_id, title)


@fault("3.1.9")
class TurnsOfProcessesInterleave(SqliteSessionStore):
    """Keeps its own threads' turns apart, and not those of other processes."""

    lock = threading.Lock()

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        with self.lock:
            for message in messages:
                super().add_messages(session_id, [message])
                time.sleep(0.0005)
        return True


@fault("3.2.9")
class ComparesInProcess(SqliteSessionStore):
    """Compares revisions under a lock of its own process."""

    lock = threading.Lock()

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        from turnlog.errors import ConflictError

        with self.lock:
            if expect_revision is not None and self.get_revision(session_id) != expect_revision:
                raise ConflictError("changed", expected=expect_revision, actual="")
            time.sleep(0.0005)
            return super().add_messages(session_id, messages)


@fault("3.2")
class TrustsItsCache(SqliteSessionStore):
    """Reads a session once, and then goes by what it wrote itself."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.cache: dict[str, Messages] = {}

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.cache.setdefault(session_id, super().get_chat_history(session_id)).append({"role": role, "content": content})
        return super().add_message(session_id, role, content, *args, **kwargs)

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        cached = self.cache.setdefault(session_id, super().get_chat_history(session_id))
        return cached[-max_messages:] if max_messages else list(cached)


@fault("3.3.12")
class KnowsItsOwnIds(SqliteSessionStore):
    """Remembers the ids that this instance has stored."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.ids: set[str] = set()

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        ids = {message["id"] for message in messages}
        if ids <= self.ids:
            return True
        self.ids |= ids
        fresh = [{**message, "id": f"{message['id']} {id(self)}"} for message in messages]
        return super().add_messages(session_id, fresh)


@fault("3.5.8")
class CorruptIsEmpty(SqliteSessionStore):
    """Takes unreadable data for an empty session."""

    def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Messages:
        try:
            return super().get_chat_history(session_id, *args, **kwargs)
        except StorageError:
            return []


@fault("3.5.8")
class CorruptIsOverwritten(SqliteSessionStore):
    """Begins anew where the data cannot be read."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.file = Path(path)

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().add_message(session_id, role, content, *args, **kwargs)
        except CorruptSessionError:
            for path in self.file.parent.glob(f"{self.file.name}*"):
                path.unlink()
            return True


@fault("3.9.11")
class RemembersDeleted(SqliteSessionStore):
    """Goes on showing what it once read, until it writes itself."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.seen: dict[str, Messages] = {}

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        found = super().get_chat_history(session_id, max_messages, **options)
        self.seen[session_id] = found or self.seen.get(session_id, [])
        return self.seen[session_id]


@fault("3.9.12")
class CompactsNothing(SqliteSessionStore):
    """Notes what was erased in a file of its own, which no sweep looks at."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.journal = Path(path).parent / "journal"

    def clear_session(self, session_id: str) -> bool:
        with self.journal.open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.writelines(str(message.content) for message in self.get_messages(session_id))
        return super().clear_session(session_id)


@fault("3.11.1", make_newer=lambda place: write_version(place, 10_000))
class ReadsNewerVersions(SqliteSessionStore):
    """Takes any version for its own."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        if Path(path).exists():
            write_version(Path(path).parent, 1)
        super().__init__(path, max_messages, **options)


def write_version(place: Path, version: int) -> None:
    """Mark the SQLite database of a place as written by a version."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(place / "s.db", isolation_level=None)) as db:
        db.execute(f"PRAGMA user_version = {version}")


@fault("3.12.1")
class ReadableByAll(SqliteSessionStore):
    """Leaves its file open to everyone."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        Path(path).touch(0o644)
        super().__init__(path, max_messages, **options)
        self.file = Path(path)

    def set_title(self, session_id: str, title: str) -> bool:
        self.file.chmod(0o644)
        return super().set_title(session_id, title)


@fault("2.61")
class BlocksTheLoop(AsyncSqliteSessionStore):
    """Works in the event loop's own thread."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.sync = SqliteSessionStore(path, max_messages, **options)

    async def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        return self.sync.add_messages(session_id, messages, expect_revision=expect_revision)

    async def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Messages:
        return self.sync.get_chat_history(session_id, *args, **kwargs)

    async def close(self) -> None:
        self.sync.close()
        await super().close()


@fault("3.4.10")
class LinesOfText(SqliteSessionStore):
    """Keeps a line for each message in a text file, and reads of a torn one what it can: half a turn."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.lines = Path(path).parent / "lines"

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        with self.lines.open("a") as file:
            file.writelines(f"{message['content']} {'.' * 40}\n" for message in messages)
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        lines = self.lines.read_text().splitlines() if self.lines.exists() else []
        return [{"role": "user", "content": line} for line in lines if line.endswith("." * 40)]


@fault("3.8.10")
class IdsAsNames(DefaultSessionStore):
    """Names a file beside each session after its id."""

    def __init__(self, session_dir: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(session_dir, max_messages, **options)
        self.folder = Path(session_dir)

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        super().add_message(session_id, role, content, *args, **kwargs)
        if session_id.isalpha() and len(session_id) < 50:
            (self.folder / f"{session_id}.note").touch(0o600)
        return True


@fault("3.8.12")
class FollowsLinks(DefaultSessionStore):
    """Counts messages in a file beside each session, wherever that file leads."""

    def __init__(self, session_dir: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(session_dir, max_messages, **options)
        self.folder = Path(session_dir)

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / f"{session_id}.count").open("a") as file:
            file.write(".")
        return super().add_message(session_id, role, content, *args, **kwargs)


@fault("3.10.12")
class KeepsEveryVersion(SqliteSessionStore):
    """Writes the whole session to a log at every change."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.log = Path(path).parent / "log"

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        with self.log.open("a") as file:
            file.write(str(self.get_chat_history(session_id)))
        return super().add_message(session_id, role, content, *args, **kwargs)
