"""Session: agents that share one conversation and a small state, or an agent that somebody else serves over HTTP."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NoReturn, Self

from turnlog.agent import loop
from turnlog.agent.agent import Agent
from turnlog.agent.memory import Memory
from turnlog.agent.remote import RemoteAgent
from turnlog.errors import InvalidMessageError, UnsupportedVerbError
from turnlog.messages import json_copy, new_token
from turnlog.session.awaiting import AwaitedStore
from turnlog.store.values import SessionData

STATE = "state"
"""The key of the session's metadata under which its state is kept."""


class Session:
    """A session by its id (a random one for None).

    ``Agent(…)`` makes agents that continue it, all of them the same conversation. The state is a dict of JSON values that is kept with
    the session and right under races. ``memory``: options of the agents' memory, such as ``store``. ``session_ttl``: seconds after which
    ``is_expired`` says so; nothing is ended by it.

    With ``agent_url`` the session is that of an agent behind HTTP: ``chat`` asks it, and everything that is kept is kept there.
    ``timeout`` is the seconds an answer may take, ``headers`` go along with every request. Knowledge bases are refused.
    """

    def __init__(
        self,
        session_id: str | None = None,
        user_id: str | None = None,
        agent_url: str | None = None,
        *,
        memory: Memory | Mapping[str, Any] | bool | None = None,
        knowledge: Any = None,
        timeout: float = 30.0,
        headers: Mapping[str, str] | None = None,
        session_ttl: float | None = None,
    ) -> None:
        if knowledge:
            self._refuse("knowledge")
        if session_ttl is not None and session_ttl < 0:
            raise ValueError(f"session_ttl must be 0 or more seconds, or None for no end, not {session_ttl!r:.80}")
        self.session_id = session_id or new_token()
        self.user_id = user_id or "default_user"
        self.agent_url = agent_url
        self.session_ttl = session_ttl
        self._began = time.monotonic()
        self._memory = Memory.of(memory)
        self._store = AwaitedStore(self._memory.store)
        self._remote = RemoteAgent(agent_url, self.session_id, self.user_id, timeout, headers or {}) if agent_url else None
        self._own: Agent | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the agent is behind HTTP."""
        return self._remote is not None

    def __repr__(self) -> str:
        served = f", remote_agent={self.agent_url!r}" if self.is_remote else ""
        return f"Session(id={self.session_id!r}, user={self.user_id!r}{served})"

    # Conversation ---------------------------------------------------------------------------------------------------------------

    def Agent(  # the documented name
        self, name: str = "Assistant", instructions: str | None = None, *, role: str | None = None, knowledge: Any = None, **options: Any
    ) -> Agent:
        """An agent that continues this session; ``options`` are those of ``turnlog.Agent``, but for its memory's session and user."""
        self._check_local("Agent")
        if knowledge:
            self._refuse("knowledge")
        given = options.pop("memory", None)
        memory = self._memory if given is None or isinstance(given, bool) else Memory.of(given)
        kept = {field: getattr(memory, field) for field in memory.__slots__ if field not in ("auto_save", "session_id", "user_id", "store")}
        bound = Memory(session_id=self.session_id, user_id=self.user_id, store=self._store.store, **kept)
        return Agent(name, instructions, role=role, memory=bound, **options)

    create_agent = Agent

    async def achat(self, message: str, **options: Any) -> str:
        """The answer to one message: of the agent behind HTTP, or of a plain one here; ``options`` are then those of ``Agent``."""
        if self._remote is not None:
            return await self._remote.chat(message, **options)
        if self._own is None or options:
            self._own = self.Agent(**options)
        return str(await self._own.achat(message))

    def chat(self, message: str, **options: Any) -> str:
        """``achat`` for plain Python."""
        return loop.run(lambda: self.achat(message, **options))

    send_message = chat
    chat_async = achat

    def get_context(self) -> dict[str, Any]:
        """``{"session_id", "user_id", "created_at", "message_count"}``; ``created_at`` is ISO 8601 text, None before the first turn."""
        data = self._data()
        known = {"session_id": self.session_id, "user_id": data.user_id or self.user_id}
        return {**known, "created_at": data.created_at, "message_count": len(data.messages)}

    # State ----------------------------------------------------------------------------------------------------------------------

    def save_state(self, state: Mapping[str, Any] | None = None) -> None:
        """Replace the state; without one there is nothing to do: turns are stored as they end. Raises InvalidMessageError."""
        if state is not None:
            if not isinstance(state, Mapping):
                raise InvalidMessageError(f"a state must be a dict, not {type(state).__name__}")
            kept = json_copy(dict(state), "state")
            self._edit(lambda old: kept)

    def restore_state(self) -> dict[str, Any]:
        """The state; {} where none was saved."""
        return dict(self._data().metadata.get(STATE) or {})

    def get_state(self, key: str, default: Any = None) -> Any:
        """One value of the state."""
        return self.restore_state().get(key, default)

    def set_state(self, key: str, value: Any) -> None:
        """Set one value; the others stay."""
        kept = json_copy(value, "state")
        self._edit(lambda old: {**old, key: kept})

    def increment_state(self, key: str, increment: float = 1, default: float = 0) -> None:
        """Add to one value, which begins as ``default``. Increments of any number of processes all count. Raises InvalidMessageError."""

        def add(old: dict[str, Any]) -> dict[str, Any]:
            value = old.get(key, default)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InvalidMessageError(
                    f"the state {key!r:.80} is a {type(value).__name__} and cannot be incremented: set it to a number"
                )
            return {**old, key: value + increment}

        self._edit(add)

    # Life -----------------------------------------------------------------------------------------------------------------------

    def time_to_expiry(self) -> float | None:
        """Seconds until the session expires, 0 when it has; None where it does not."""
        return None if self.session_ttl is None else max(0.0, self._began + self.session_ttl - time.monotonic())

    def is_expired(self) -> bool:
        """Whether ``session_ttl`` seconds have passed."""
        return self.time_to_expiry() == 0

    def close(self) -> None:
        """Release what was opened here. Idempotent; turns and state are stored already."""
        loop.run(self._store.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("add_knowledge", "search_knowledge", "add_memory", "search_memory", "clear_memory"):
            self._refuse(name)
        raise AttributeError(f"Session has no attribute {name!r}")

    def _refuse(self, name: str) -> NoReturn:
        reason = "turnlog keeps conversations; it has no knowledge base and derives no facts from them"
        raise UnsupportedVerbError(
            f"Session has no {name}: {reason}; search the messages with the store's search()", verb=name, reason=reason
        )

    def _check_local(self, verb: str) -> None:
        if self.is_remote:
            reason = "the agent is behind HTTP, and keeps its state there"
            raise UnsupportedVerbError(f"{verb} is not possible on a remote session: {reason}; use chat()", verb=verb, reason=reason)

    def _data(self) -> SessionData:
        self._check_local("state")
        data: SessionData = loop.run(lambda: self._store.call("get_session", self.session_id))
        return data

    def _edit(self, change: Any) -> None:
        self._check_local("state")

        def edit(metadata: dict[str, Any]) -> dict[str, Any]:
            return {**metadata, STATE: change(metadata.get(STATE) or {})}

        loop.run(lambda: self._store.call("edit_session_metadata", self.session_id, edit))
