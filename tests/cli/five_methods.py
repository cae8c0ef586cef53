"""Two stores with the five methods and nothing else, kept in a file so that each run of the command sees the last; sync and async."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class FiveMethods:
    """One JSON file with all sessions, at ``FIVE_METHODS_FILE``."""

    def __init__(self) -> None:
        self._file = Path(os.environ["FIVE_METHODS_FILE"])

    def _load(self) -> dict[str, list[dict[str, Any]]]:
        return json.loads(self._file.read_text()) if self._file.exists() else {}

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        everything = self._load()
        everything.setdefault(session_id, []).append({"role": role, "content": content})
        self._file.write_text(json.dumps(everything))
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        messages = self._load().get(session_id, [])
        return messages[-max_messages:] if max_messages else messages

    def clear_session(self, session_id: str) -> bool:
        everything = self._load()
        if session_id in everything:
            self._file.write_text(json.dumps({**everything, session_id: []}))
        return True

    def delete_session(self, session_id: str) -> bool:
        everything = self._load()
        everything.pop(session_id, None)
        self._file.write_text(json.dumps(everything))
        return True

    def session_exists(self, session_id: str) -> bool:
        return session_id in self._load()


class AsyncFiveMethods:
    """The same as coroutines."""

    def __init__(self) -> None:
        self._store = FiveMethods()

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return self._store.add_message(session_id, role, content, metadata)

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return self._store.get_chat_history(session_id, max_messages)

    async def clear_session(self, session_id: str) -> bool:
        return self._store.clear_session(session_id)

    async def delete_session(self, session_id: str) -> bool:
        return self._store.delete_session(session_id)

    async def session_exists(self, session_id: str) -> bool:
        return self._store.session_exists(session_id)


def forgetful() -> FiveMethods:
    """A store whose ``add_message`` keeps nothing."""

    class Forgetful(FiveMethods):
        def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
            return True

    return Forgetful()
