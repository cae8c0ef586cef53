"""Turns by hand, for whoever calls a vendor's API: ``with turn(store, session_id) as t:``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from turnlog.session.awaiting import AwaitedStore
from turnlog.trim import Window
from turnlog.turns.context import Form, Turn
from turnlog.turns.owner import is_running

__all__ = ["Form", "Turn", "is_running", "turn"]


def turn(
    store: Any,
    session_id: str,
    *,
    form: Form = "chat",
    max_messages: int | None = None,
    max_tokens: int | None = None,
    count_tokens: Callable[[Mapping[str, Any]], int] | None = None,
    wait: float = 0.0,
) -> Turn:
    """One turn of a conversation, as a context manager: it reads the history, takes what is added, and stores it whole at the end.

    ``store``: any turnlog store, an object with the five methods, a URL, or None for the default one. ``form``: the API that you call,
    "chat" (OpenAI chat completions), "responses" or "anthropic". The history is cut to ``max_messages``, or to ``max_tokens`` by
    ``count_tokens(message)``, and then begins at a user message. ``wait``: seconds to wait until another's turn on the session has
    ended; 0: go on at once, and land behind what landed first. A turn that ends with an exception leaves the history as it was; a full
    store keeps what it had produced as an interrupted turn (``get_open_turns``). Raises SessionError and its kinds.
    """
    window = Window(max_messages, budget=max_tokens, count=count_tokens, from_user=bool(max_messages or max_tokens))
    return Turn(AwaitedStore(store, threads=False), session_id, form=form, window=window, wait=wait)
