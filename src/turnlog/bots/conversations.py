"""The conversations of one key: the first has the key as its id, each later one the key, a dot and eight characters."""

from __future__ import annotations

import json
from dataclasses import dataclass

from turnlog.backends.port import Query
from turnlog.bots.desk import ROLE
from turnlog.bots.keys import LIST, digest, is_desk
from turnlog.errors import SessionNotFoundError
from turnlog.session.awaiting import AwaitedStore

FIRST = "first"
"""What the first conversation is called."""


@dataclass(frozen=True, slots=True)
class Line:
    """One conversation in a list. ``changed``: ISO 8601; None where the store cannot tell."""

    session_id: str
    name: str
    messages: int
    changed: str | None


class Conversations:
    """What one user (chat, thread) has, and nothing of anybody else's."""

    def __init__(self, store: AwaitedStore, key: str) -> None:
        self._store = store
        self.key = key

    def later(self, uid: str) -> str:
        """The id of the conversation that an update begins; the same again for the same update."""
        return f"{self.key}.{digest(uid)}"

    def has(self, session_id: str) -> bool:
        """Whether a conversation of that id is the user's."""
        return session_id == self.key or session_id.startswith(f"{self.key}.")

    def name(self, session_id: str) -> str:
        """What the user calls it."""
        return FIRST if session_id == self.key else session_id.removeprefix(f"{self.key}.")

    async def begin(self, session_id: str) -> None:
        """See to it that the conversation is found again, before anything is in it."""
        if not self._store.full and session_id not in await self._listed():
            await self._store.finish("add_message", f"{self.key}{LIST}", ROLE, json.dumps(session_id))

    async def all(self) -> list[Line]:
        """Every conversation that has something in it, last changed first where the store can tell."""
        if not self._store.full:
            found = [self.key, *await self._listed()]
            there = [each for each in found if await self._store.call("session_exists", each)]
            return [Line(each, self.name(each), await self.count(each), None) for each in reversed(there)]
        first = await self._store.call("get_session_info", self.key)
        infos = [first] if first is not None else []
        cursor: str | None = None
        while True:
            page, cursor = await self._store.call("page_sessions", Query(prefix=f"{self.key}."), 200, cursor)
            infos += [info for info in page if not is_desk(info.session_id)]
            if cursor is None:
                break
        infos.sort(key=lambda info: info.updated_at, reverse=True)
        return [Line(info.session_id, self.name(info.session_id), info.message_count, info.updated_at) for info in infos]

    async def count(self, session_id: str) -> int:
        """How many messages are in it."""
        if self._store.full:
            info = await self._store.call("get_session_info", session_id)
            return info.message_count if info is not None else 0
        return len(await self._store.call("get_messages", session_id))

    async def named(self, name: str) -> str:
        """The id of the conversation whose name is, or alone begins with, ``name``. Raises SessionNotFoundError."""
        lines = await self.all()
        found = [line for line in lines if line.name == name] or [line for line in lines if name and line.name.startswith(name)]
        if len(found) != 1:
            why = "several conversations begin so" if found else "you have no conversation of that name"
            raise SessionNotFoundError(why)
        return found[0].session_id

    async def erase(self) -> None:
        """Erase all of them."""
        for line in await self.all():
            await self._store.finish("delete_session", line.session_id)
        if not self._store.full:
            await self._store.finish("delete_session", f"{self.key}{LIST}")

    async def _listed(self) -> list[str]:
        return [json.loads(message["content"]) for message in await self._store.call("get_chat_history", f"{self.key}{LIST}")]
