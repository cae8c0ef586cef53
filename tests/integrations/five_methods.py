"""Stores with the five methods and nothing else, sync and async."""

from __future__ import annotations

from typing import Any


class Five:
    """The least that a store can be."""

    def __init__(self) -> None:
        self.sessions: dict[str, list[dict[str, Any]]] = {}

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """Store one message."""
        self.sessions.setdefault(session_id, []).append({"role": role, "content": content})
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The last messages."""
        messages = [dict(message) for message in self.sessions.get(session_id, [])]
        return messages[-max_messages:] if max_messages else messages

    def clear_session(self, session_id: str) -> bool:
        """Remove the messages."""
        self.sessions[session_id] = []
        return True

    def delete_session(self, session_id: str) -> bool:
        """Remove the session."""
        self.sessions.pop(session_id, None)
        return True

    def session_exists(self, session_id: str) -> bool:
        """Whether it is there."""
        return session_id in self.sessions


class AsyncFive:
    """The same as coroutines."""

    def __init__(self) -> None:
        self._five = Five()

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """Store one message."""
        return self._five.add_message(session_id, role, content, metadata)

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The last messages."""
        return self._five.get_chat_history(session_id, max_messages)

    async def clear_session(self, session_id: str) -> bool:
        """Remove the messages."""
        return self._five.clear_session(session_id)

    async def delete_session(self, session_id: str) -> bool:
        """Remove the session."""
        return self._five.delete_session(session_id)

    async def session_exists(self, session_id: str) -> bool:
        """Whether it is there."""
        return self._five.session_exists(session_id)
