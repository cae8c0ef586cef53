"""The five-method contract for a store that someone else writes, in its sync and its async form."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

FIVE_METHODS = ("add_message", "get_chat_history", "clear_session", "delete_session", "session_exists")


class _FiveMethods(type(Protocol)):  # type: ignore[misc]  # the metaclass of Protocol has no public name
    """Lets isinstance tell a sync store from an async one; a plain runtime protocol looks at names only."""

    def __instancecheck__(cls, instance: object) -> bool:
        if not getattr(cls, "_is_protocol", False):
            return bool(super().__instancecheck__(instance))
        methods = [getattr(instance, name, None) for name in FIVE_METHODS]
        if not all(callable(method) for method in methods):
            return False
        asynchronous = is_async(getattr(cls, FIVE_METHODS[0]))
        return all(is_async(method) == asynchronous for method in methods)


def is_async(method: object) -> bool:
    """Whether calling ``method`` gives a coroutine."""
    return inspect.iscoroutinefunction(method) or inspect.iscoroutinefunction(getattr(method, "__call__", None))  # noqa: B004


@runtime_checkable
class SessionStoreProtocol(Protocol, metaclass=_FiveMethods):
    """What a store must do for every agent, bot, adapter and command of turnlog to work with it. No inheritance needed.

    1. Messages come back in the order in which they were added.
    2. Sessions are separate: what is done to one id never shows under another.
    3. A message whose ``add_message`` returned True is in every later history until it is cleared or deleted.
    4. Text comes back exactly as it went in.
    5. ``isinstance(store, SessionStoreProtocol)`` is true for any object with these five sync methods.
    """

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """Store one message at the end of the session, which comes to be if it was not there. True means stored."""
        ...

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The messages, oldest first, as ``{"role": …, "content": …}``; the last ``max_messages``, all for None or 0.

        An unknown session gives ``[]``. The list is the caller's: changing it changes nothing stored.
        """
        ...

    def clear_session(self, session_id: str) -> bool:
        """Remove all messages; the session still exists. True also when there was nothing."""
        ...

    def delete_session(self, session_id: str) -> bool:
        """Remove the session. True also when there was none."""
        ...

    def session_exists(self, session_id: str) -> bool:
        """Whether the session has been written to and not been deleted since."""
        ...


@runtime_checkable
class AsyncSessionStoreProtocol(Protocol, metaclass=_FiveMethods):
    """The same five methods as coroutines; the numbered sentences of SessionStoreProtocol hold."""

    async def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        """See SessionStoreProtocol.add_message."""
        ...

    async def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """See SessionStoreProtocol.get_chat_history."""
        ...

    async def clear_session(self, session_id: str) -> bool:
        """See SessionStoreProtocol.clear_session."""
        ...

    async def delete_session(self, session_id: str) -> bool:
        """See SessionStoreProtocol.delete_session."""
        ...

    async def session_exists(self, session_id: str) -> bool:
        """See SessionStoreProtocol.session_exists."""
        ...
