"""Small five-method stores: the in-memory class of the public documentation page in our words, an async one, and one on files."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote


class DocumentStore:
    """What the documentation page shows as an example of a custom store: a dict of lists."""

    def __init__(self) -> None:
        self.data: dict[str, list[dict[str, Any]]] = {}

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        self.data.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        messages = self.data.get(session_id, [])
        return messages[-max_messages:] if max_messages else list(messages)

    def clear_session(self, session_id: str) -> bool:
        self.data[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        self.data.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self.data


class AsyncDocumentStore:
    """The same as coroutines."""

    def __init__(self) -> None:
        self.store = DocumentStore()

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return self.store.add_message(session_id, role, content, metadata)

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return self.store.get_chat_history(session_id, max_messages)

    async def clear_session(self, session_id: str) -> bool:
        return self.store.clear_session(session_id)

    async def delete_session(self, session_id: str) -> bool:
        return self.store.delete_session(session_id)

    async def session_exists(self, session_id: str) -> bool:
        return self.store.session_exists(session_id)


class FileStore:
    """Twenty lines of a store that keeps each session in a file of its own, rewritten at every change."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._lock = threading.Lock()

    def path(self, session_id: str) -> Path:
        name = quote(session_id, safe="", errors="surrogatepass").replace(".", "%2E")
        if len(name) > 200:
            raise ValueError("the id is too long for a file name")
        return self.place / f"{name}.json"

    def read(self, session_id: str) -> list[dict[str, Any]]:
        path = self.path(session_id)
        return json.loads(path.read_text()) if path.exists() else []

    def write(self, session_id: str, messages: list[dict[str, Any]]) -> None:
        with tempfile.NamedTemporaryFile("w", dir=self.place, delete=False) as file:
            json.dump(messages, file)
        os.replace(file.name, self.path(session_id))

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        with self._lock:
            self.write(session_id, [*self.read(session_id), {"role": role, "content": content}])
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        messages = self.read(session_id)
        return messages[-max_messages:] if max_messages else messages

    def clear_session(self, session_id: str) -> bool:
        with self._lock:
            self.write(session_id, [])
        return True

    def delete_session(self, session_id: str) -> bool:
        with self._lock:
            self.path(session_id).unlink(missing_ok=True)
        return True

    def session_exists(self, session_id: str) -> bool:
        return self.path(session_id).exists()
