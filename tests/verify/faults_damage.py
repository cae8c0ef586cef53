"""Planted faults in full stores: damage that is not told, newer formats, power loss, rights, ids, sizes, costs, revisions."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import ConflictError, CorruptSessionError, FormatVersionError, MessageTooLargeError
from turnlog.session import DefaultSessionStore, InMemorySessionStore, SqliteSessionStore

Messages = list[dict[str, Any]]


@fault("3.2.18")
class DiscardedDraftsNeverWere(InMemorySessionStore):
    """A draft that is discarded takes the revision along that it brought."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.before: dict[str, str] = {}
        self.shown: dict[str, str] = {}

    def get_revision(self, session_id: str) -> str:
        revision = super().get_revision(session_id)
        return self.shown.get(revision, revision)

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        self.before[session_id] = self.get_revision(session_id)
        return super().upsert_partial_assistant_message(session_id, content, finalize=finalize)

    def discard_partial_assistant_message(self, session_id: str) -> bool:
        drafted = super().get_revision(session_id)
        super().discard_partial_assistant_message(session_id)
        if (after := super().get_revision(session_id)) != drafted:
            self.shown[after] = self.before[session_id]
        return True


@fault("3.2.19")
class RevertsWhateverIsExpected(InMemorySessionStore):
    """Goes back to a snapshot without a look at expect_revision."""

    def revert_to_snapshot(self, session_id: str, snapshot_id: str, *, expect_revision: str | None = None) -> bool:
        return super().revert_to_snapshot(session_id, snapshot_id)


@fault("3.2.20")
class LoserDropsSnapshots(InMemorySessionStore):
    """A delete that loses has dropped the snapshots by then."""

    def delete_session(self, session_id: str, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None:
            for snapshot in self.get_snapshots(session_id):
                self.delete_snapshot(session_id, snapshot.id)
        return super().delete_session(session_id, expect_revision=expect_revision)


@fault("3.2.21")
class ComparesThenDeletes(InMemorySessionStore):
    """Compares the revision, and deletes a moment later."""

    def delete_session(self, session_id: str, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None and (actual := self.get_revision(session_id)) != expect_revision:
            raise ConflictError("changed", expected=expect_revision, actual=actual)
        time.sleep(0.0005)
        return super().delete_session(session_id)


@fault("3.4.12")
class NamesBeforeItIsSafe(DefaultSessionStore):
    """Keeps a count of titles in a file that is replaced at each, and does not sync the directory."""

    def __init__(self, session_dir: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(session_dir, max_messages, durability="power")
        self.folder = Path(session_dir)

    def set_title(self, session_id: str, title: str) -> bool:
        super().set_title(session_id, title)
        temporary = self.folder / f"titles-{os.getpid()}-{threading.get_ident()}"
        descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600)
        os.write(descriptor, b"one more")
        os.fsync(descriptor)
        os.close(descriptor)
        temporary.replace(self.folder / "titles")
        return True


@fault("3.5.10")
class GivesWhatIsLeft(InMemorySessionStore):
    """Gives the records that are there, where some are missing."""

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> Any:
        try:
            return super().get_messages(session_id, start, stop)
        except CorruptSessionError:
            return [one for index in range(start, stop or 100) for one in self.one(session_id, index)]

    def one(self, session_id: str, index: int) -> Any:
        try:
            return super().get_messages(session_id, index, index + 1)
        except CorruptSessionError:
            return []


@fault("3.5.11")
class ClosesGaps(DefaultSessionStore):
    """Reads on behind a message that is missing, and reports only what it cannot parse."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        try:
            return super().get_chat_history(session_id, max_messages, **options)
        except CorruptSessionError as error:
            if "misses" not in str(error):
                raise
            return list(self.whole(session_id))

    def whole(self, session_id: str) -> Any:
        for index in range(200):
            try:
                yield from (dict(one.record) for one in self.get_messages(session_id, index, index + 1))
            except CorruptSessionError:
                continue


@fault("3.5.12")
class TheLastIsTorn(DefaultSessionStore):
    """Takes any last line that cannot be read for an append that was cut short."""

    def __init__(self, session_dir: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(session_dir, max_messages, **options)
        self.folder = Path(session_dir)

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        try:
            return super().get_chat_history(session_id, max_messages, **options)
        except CorruptSessionError as error:
            lines = (self.folder / f"{session_id}.json").read_bytes().split(b"\n")[1:-2]
            try:
                whole = [one for line in lines[:-1] for one in json.loads(b"[" + line.rstrip(b",") + b"]")]
                history = [{"role": one["role"], "content": one["content"]} for one in whole]
            except (ValueError, KeyError, TypeError):
                raise error from None
            if not history:
                raise
            return history


@fault("3.5.13")
class CountsInAFile(SqliteSessionStore):
    """Keeps a number in a file of its own, and takes what it finds there for a number."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self.number = Path(path).parent / "number"

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        super().add_message(session_id, role, content, *args, **kwargs)
        descriptor = os.open(self.number, os.O_CREAT | os.O_WRONLY, 0o600)
        os.pwrite(descriptor, b"%08d" % (time.monotonic_ns() % 10**8), 0)
        os.close(descriptor)
        return True

    def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Messages:
        found = super().get_chat_history(session_id, *args, **kwargs)
        int((self.number.read_bytes() if self.number.exists() else b"") or b"0")
        return found


@fault("3.6.11")
class SlicesAfterTheSummary(InMemorySessionStore):
    """Cuts what follows a summary at any message."""

    def get_working_history(self, session_id: str, max_messages: int | None = None) -> Messages:
        whole = super().get_working_history(session_id)
        if not max_messages or not whole or whole[0].get("role") != "system":
            return super().get_working_history(session_id, max_messages)
        return [whole[0], *whole[1:][-(max_messages - 1) :]] if max_messages > 1 else whole[:1]


@fault("3.7.11")
class ThreeBytesAtMost(InMemorySessionStore):
    """Takes three bytes for the most that a character can need, and keeps the beginning of what is too large all the same."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().add_message(session_id, role, content, *args, **kwargs)
        except MessageTooLargeError as error:
            if len(content) * 3 > error.limit:  # type: ignore[attr-defined]
                raise
            return super().add_message(session_id, role, content[:1000], *args, **kwargs)


@fault("3.8.13")
class SubstitutesUnescaped(InMemorySessionStore):
    """Takes SUB and a zero for the way in which it writes NUL."""

    def add_message(self, session_id: Any, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        return super().add_message(self.read(session_id), role, content, *args, **kwargs)

    def get_chat_history(self, session_id: Any, *args: Any, **kwargs: Any) -> Messages:
        return super().get_chat_history(self.read(session_id), *args, **kwargs)

    def read(self, session_id: Any) -> Any:
        return session_id.replace("\x1a0", "\0") if isinstance(session_id, str) else session_id


@fault("3.10.13")
class LooksFarBack(SqliteSessionStore):
    """Where a tool group leaves fewer messages than wanted, reads all to see whether there are more."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        found = super().get_chat_history(session_id, max_messages, **options)
        if max_messages and len(found) < max_messages:
            self.get_messages(session_id)
        return found


@fault("3.11.2")
class NewerTurnsAreNone(DefaultSessionStore):
    """Takes open turns that a newer version wrote for none at all."""

    def get_open_turns(self, session_id: str) -> Any:
        try:
            return super().get_open_turns(session_id)
        except FormatVersionError:
            return []


@fault("3.12.5")
class MakesFoldersForAll(SqliteSessionStore):
    """Makes the folders above its file with the rights that the umask leaves."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, max_messages, **options)
