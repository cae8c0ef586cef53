"""An agent's conversation to look at: its messages, what its turns took, and those that were interrupted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from turnlog.agent import loop
from turnlog.errors import SessionError
from turnlog.messages import SessionMessage
from turnlog.session.awaiting import AwaitedStore
from turnlog.store.values import OpenTurn
from turnlog.turns import is_running
from turnlog.turns.context import NOTE


class NoInterruptedTurnError(SessionError, LookupError):
    """There is no interrupted turn to go on with. Attribute: ``turn_id``."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a session's turns have taken so far, summed over those that are in its history."""

    turns: int
    input_tokens: int
    output_tokens: int
    seconds: float
    models: tuple[str, ...]
    """Every model that answered, in the order in which it first did."""


class Conversation:
    """The session of an agent. Its methods are for plain Python; in an event loop ask the store itself."""

    def __init__(self, store: AwaitedStore, session_id: str) -> None:
        self.id = session_id
        self._store = store

    @property
    def store(self) -> Any:
        """The store the session is in."""
        return self._store.store

    def history(self) -> list[dict[str, Any]]:
        """The conversation as a model takes it."""
        history: list[dict[str, Any]] = self._ask("get_chat_history")
        return history

    def messages(self, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """All that is stored, with ids and metadata; indexes as in a Python slice."""
        messages: list[SessionMessage] = self._ask("get_messages", start, stop)
        return messages

    def usage(self) -> Usage:
        """Tokens, time and models of the session's turns; reads the whole history."""
        notes = [message.metadata[NOTE] for message in self.messages() if NOTE in message.metadata]
        return Usage(
            turns=len(notes),
            input_tokens=sum(note.get("input_tokens", 0) for note in notes),
            output_tokens=sum(note.get("output_tokens", 0) for note in notes),
            seconds=round(sum(note.get("seconds", 0.0) for note in notes), 3),
            models=tuple(dict.fromkeys(note["model"] for note in notes if "model" in note)),
        )

    def interrupted(self) -> list[OpenTurn]:
        """The turns that a crash, a cancel or a failed call ended early, oldest first. ``agent.resume()`` goes on with one."""
        turns: list[OpenTurn] = loop.run(self._interrupted)
        return turns

    def drop_interrupted(self, turn_id: str | None = None) -> None:
        """Forget an interrupted turn (None: all of them)."""
        for turn in self.interrupted():
            if turn_id in (None, turn.id):
                self._ask("drop_open_turn", turn.id)

    def undo(self) -> None:
        """Take the last revert back. Raises NothingToUndoError."""
        self._ask("undo_revert")

    async def interrupted_turn(self, turn_id: str | None) -> OpenTurn:
        """One interrupted turn; None: the newest. Raises NoInterruptedTurnError."""
        for turn in reversed(await self._interrupted()):
            if turn_id in (None, turn.id):
                return turn
        which = "no interrupted turn" if turn_id is None else f"no interrupted turn {turn_id!r:.80}"
        raise NoInterruptedTurnError(f"session {self.id!r} has {which}", session_id=self.id, turn_id=turn_id)

    async def _interrupted(self) -> list[OpenTurn]:
        turns = await self._store.call("get_open_turns", self.id) if self._store.full else []
        return [turn for turn in turns if not is_running(turn)]

    def _ask(self, verb: str, *args: Any) -> Any:
        return loop.run(lambda: self._store.call(verb, self.id, *args))
