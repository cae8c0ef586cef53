"""Planted faults in five-method stores. The docstring of each says what is wrong with it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from tests.verify.document_store import AsyncDocumentStore, DocumentStore, FileStore
from tests.verify.planting import fault


@fault("3.1")
class DropsEvery50th(DocumentStore):
    """Says True, and forgets every fiftieth message."""

    count = 0

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        self.count += 1
        return self.count % 50 == 0 or super().add_message(session_id, role, content, metadata)


@fault("3.1")
class SwapsTwo(DocumentStore):
    """Once in a while puts a message before the one that came before it."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        super().add_message(session_id, role, content, metadata)
        messages = self.data[session_id]
        if len(messages) % 37 == 0:
            messages[-1], messages[-2] = messages[-2], messages[-1]
        return True


@fault("3.1.2")
class SortsByClock(DocumentStore):
    """Orders messages by the time of day."""

    def __init__(self) -> None:
        super().__init__()
        self.times: dict[str, list[tuple[float, str, str]]] = {}

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        times = self.times.setdefault(session_id, [])
        times.append((time.time(), role, content))
        self.data[session_id] = [{"role": role, "content": content} for _, role, content in sorted(times)]
        return True


@fault("3.1.1")
class KeepsOnlyHundred(DocumentStore):
    """Forgets old messages once there are more than a hundred."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        super().add_message(session_id, role, content, metadata)
        del self.data[session_id][:-100]
        return True


@fault("1")
class IgnoresSystem(DocumentStore):
    """Stores nothing for roles that it does not know."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return role not in ("user", "assistant") or super().add_message(session_id, role, content, metadata)


@fault("1.4")
class ReturnsNothing(DocumentStore):
    """Forgets to return True."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        return bool(super().add_message(session_id, role, content, metadata)) and None  # type: ignore[return-value]


@fault("1.4")
class TimestampsInHistory(DocumentStore):
    """Shows a key that no model API takes."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        super().add_message(session_id, role, content, metadata)
        self.data[session_id][-1]["timestamp"] = 0.0
        return True


@fault("1.11")
class LeaksMetadata(DocumentStore):
    """Shows the metadata to the model."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        super().add_message(session_id, role, content, metadata)
        if metadata:
            self.data[session_id][-1]["metadata"] = metadata
        return True


@fault("1.7")
class OneTooFew(DocumentStore):
    """Gives one message less than asked for."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return super().get_chat_history(session_id, max_messages - 1 if max_messages and max_messages > 1 else max_messages)


@fault("1.7")
class ZeroIsNone(DocumentStore):
    """Takes max_messages=0 for no message."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return [] if max_messages == 0 else super().get_chat_history(session_id, max_messages)


@fault("1.7")
class OldestInsteadOfNewest(DocumentStore):
    """Cuts at the wrong end."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return super().get_chat_history(session_id)[: max_messages or None]


@fault("1.8")
class ClearDeletes(DocumentStore):
    """A cleared session no longer exists."""

    def clear_session(self, session_id: str) -> bool:
        return self.delete_session(session_id)


@fault("1.9")
class DeleteHides(DocumentStore):
    """A deleted session comes back with its next message."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden: set[str] = set()

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        self.hidden.discard(session_id)
        return super().add_message(session_id, role, content, metadata)

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return [] if session_id in self.hidden else super().get_chat_history(session_id, max_messages)

    def delete_session(self, session_id: str) -> bool:
        self.hidden.add(session_id)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.data and session_id not in self.hidden


@fault("1.10")
class ClearNeedsSession(DocumentStore):
    """Fails where there is nothing to delete."""

    def delete_session(self, session_id: str) -> bool:
        del self.data[session_id]
        return True


@fault("1.5")
class ReadingCreates(DocumentStore):
    """Reading makes a session of an unknown id."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        self.data.setdefault(session_id, [])
        return super().get_chat_history(session_id, max_messages)


@fault("1.12")
class GivesItsOwnList(DocumentStore):
    """Hands out the list that it keeps."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        messages = self.data.get(session_id, [])
        return messages[-max_messages:] if max_messages else messages


@fault("1.15")
class SharesEverything(DocumentStore):
    """All instances share one dict."""

    shared: ClassVar[dict[str, list[dict[str, Any]]]] = {}

    def __init__(self) -> None:
        self.data = self.shared


@fault("1.16")
class DropsRepeats(DocumentStore):
    """Takes a repeated text for a retry."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        if self.data.get(session_id, [{}])[-1:] == [{"role": role, "content": content}]:
            return True
        return super().add_message(session_id, role, content, metadata)


@fault("1.10", time_limit=1.0)
class ForgetsToUnlock(DocumentStore):
    """Hangs at the second clear, for it never gives its lock back."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def clear_session(self, session_id: str) -> bool:
        self.lock.acquire()
        return super().clear_session(session_id)


@fault("3.2.1")
class LosesUpdates(DocumentStore):
    """Reads, then writes the whole list: threads overwrite each other."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        messages = self.get_chat_history(session_id)
        time.sleep(0)
        self.data[session_id] = [*messages, {"role": role, "content": content}]
        return True


@fault("1.2")
class HalfAsync(DocumentStore):
    """One method of five is a coroutine."""

    async def clear_session(self, session_id: str) -> bool:  # type: ignore[override]
        return super().clear_session(session_id)


@fault("1.2")
class HalfSync(AsyncDocumentStore):
    """One method of five is no coroutine."""

    def session_exists(self, session_id: str) -> bool:  # type: ignore[override]
        return self.store.session_exists(session_id)


@fault("1.2")
class HiddenAsync(DocumentStore):
    """Looks sync and gives something to await."""

    def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        async def add() -> bool:
            return super(HiddenAsync, self).add_message(session_id, role, content, metadata)

        return add()  # type: ignore[return-value]


@fault("2.60")
class AsyncLosesUpdates(AsyncDocumentStore):
    """Awaits between reading and writing: tasks overwrite each other."""

    async def add_message(self, session_id: str, role: str, content: str, metadata: Any = None) -> bool:
        messages = self.store.get_chat_history(session_id)
        await asyncio.sleep(0)
        self.store.data[session_id] = [*messages, {"role": role, "content": content}]
        return True


@fault("3.4")
class WritesOnClose(FileStore):
    """Keeps everything in memory until it is closed."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.pending: dict[str, list[dict[str, Any]]] = {}

    def read(self, session_id: str) -> list[dict[str, Any]]:
        return list(self.pending[session_id]) if session_id in self.pending else super().read(session_id)

    def write(self, session_id: str, messages: list[dict[str, Any]]) -> None:
        self.pending[session_id] = messages

    def delete_session(self, session_id: str) -> bool:
        self.pending.pop(session_id, None)
        return super().delete_session(session_id)

    def close(self) -> None:
        for session_id, messages in self.pending.items():
            super().write(session_id, messages)


@fault("3.8.9")
class WritesAnywhere(FileStore):
    """Takes the id for a path."""

    def path(self, session_id: str) -> Path:
        path = self.place / f"{session_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


@fault("3.7.1")
class TranslatesLineEnds(FileStore):
    """Writes lines of text, and reads them with universal newlines."""

    def read(self, session_id: str) -> list[dict[str, Any]]:
        path = self.path(session_id)
        raw = path.read_text(encoding="utf-8", errors="surrogatepass") if path.exists() else ""
        return [json.loads(line, strict=False) for line in raw.split("\x1e") if line]

    def write(self, session_id: str, messages: list[dict[str, Any]]) -> None:
        lines = (json.dumps(one, ensure_ascii=False).replace("\\r", "\r").replace("\\n", "\n") for one in messages)
        self.path(session_id).write_text("\x1e".join(lines), encoding="utf-8", errors="surrogatepass", newline="")


@fault("3.4.5")
class WritesInPlace(FileStore):
    """Empties the file before it writes the new content: a kill in between loses what was acknowledged."""

    def write(self, session_id: str, messages: list[dict[str, Any]]) -> None:
        with self.path(session_id).open("w") as file:
            time.sleep(0.01)
            json.dump(messages, file)
