"""Summaries of what falls out of an agent's window: each is a message of its own, and what it stands for stays stored and searchable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic_ai import Agent as Loop
from pydantic_ai.messages import ModelMessage, ModelRequest, SystemPromptPart

from turnlog.agent.memory import Memory
from turnlog.agent.models import choose_model
from turnlog.forms import Call, Result, Text, read_message
from turnlog.integrations.pydantic_ai.messages import Rebuilt, from_stored
from turnlog.messages import SessionMessage
from turnlog.session.awaiting import FIRST_READ, AwaitedStore
from turnlog.trim import Window

SUMMARY = "summary"
"""The metadata key that marks a summary: {"before": id of the first message that it does not cover ("" for none), "kept": how many
messages there were from that one on}."""

INSTRUCTIONS = (
    "Summarise the conversation below for an assistant who will go on with it and sees nothing else of it. Keep every name, number, "
    "date, decision, preference and open question. Begin from the earlier summary, if there is one, and leave out nothing in it that still "
    "holds. Write plain sentences, and nothing but the summary."
)


class Summaries:
    """The history that the model is sent, with a summary in front where one is wanted."""

    def __init__(self, store: AwaitedStore, session_id: str, memory: Memory, rebuilt: Rebuilt) -> None:
        self._store = store
        self._rebuilt = rebuilt
        self._session_id = session_id
        self._memory = memory

    async def history(self, window: Sequence[SessionMessage]) -> tuple[SessionMessage | None, list[ModelMessage]]:
        """A new summary to store with the turn, if one had to be made, and what to send the model before the turn.

        ``window``: the newest messages, as they are sent where summaries are off.
        """
        if not self._memory.history:
            return None, []
        if not self._memory.summarize:
            return None, from_stored([message for message in window if SUMMARY not in message.metadata], self._rebuilt)
        last, later = await self._since_last()
        kept = _within(self._memory.window(), later)
        if len(kept) == len(_within(Window(from_user=True), later)):
            return None, [*_shown(last), *from_stored(kept)]
        # Cut to half, so that a summary is due only once in half a window.
        kept = _within(self._memory.window(share=2), later)
        fallen = later[: later.index(kept[0])] if kept else later
        made = await self._made(last, fallen, kept)
        return made, [*_shown(made), *from_stored(kept)]

    async def _since_last(self) -> tuple[SessionMessage | None, list[SessionMessage]]:
        """The newest summary, and the messages that it does not cover."""
        take = FIRST_READ
        while True:
            stored: list[SessionMessage] = await self._store.call("get_messages", self._session_id, -take, None)
            whole = len(stored) < take
            place = next((place for place in reversed(range(len(stored))) if SUMMARY in stored[place].metadata), None)
            if place is None:
                if whole:
                    return None, stored
            elif whole or stored[place].metadata[SUMMARY]["before"] in ("", *(message.id for message in stored)):
                return stored[place], _uncovered(stored, place)
            take *= 2

    async def _made(self, last: SessionMessage | None, fallen: Sequence[SessionMessage], kept: Sequence[SessionMessage]) -> SessionMessage:
        earlier = [f"Earlier summary: {last.content}"] if last else []
        text = "\n\n".join([*earlier, *map(_told, fallen)])
        summariser: Loop[Any, str] = Loop(choose_model(self._memory.summarize), instructions=INSTRUCTIONS)
        result = await summariser.run(text)
        note = {"before": kept[0].id if kept else "", "kept": len(kept)}
        return SessionMessage(role="system", content=result.output, metadata={SUMMARY: note})


def _uncovered(stored: Sequence[SessionMessage], place: int) -> list[SessionMessage]:
    """The messages that the summary at ``place`` does not cover."""
    note = stored[place].metadata[SUMMARY]
    ids = [message.id for message in stored]
    if note["before"] in ids:
        return [message for message in stored[ids.index(note["before"]) :] if SUMMARY not in message.metadata]
    # It has gone, or the store keeps no ids of plain messages, or the summary covers all before itself.
    earlier = [message for message in stored[:place] if SUMMARY not in message.metadata]
    return [*earlier[max(0, len(earlier) - note["kept"]) :], *stored[place + 1 :]]


def _within(window: Window, messages: Sequence[SessionMessage]) -> list[SessionMessage]:
    wanted = {id(record) for record in window.of([message.record for message in messages])}
    return [message for message in messages if id(message.record) in wanted]


def _shown(summary: SessionMessage | None) -> list[ModelMessage]:
    return [ModelRequest(parts=[SystemPromptPart(f"Summary of the conversation so far: {summary.content}")])] if summary else []


def _told(message: SessionMessage) -> str:
    """A message as a line of text."""
    read = read_message(message.record)
    words = []
    for piece in read.pieces:
        if isinstance(piece, Text):
            words.append(piece.text)
        elif isinstance(piece, Call):
            words.append(f"[calls {piece.name} with {piece.arguments}]")
        elif isinstance(piece, Result):
            words.append(f"[result: {piece.content}]")
    return f"{read.role}: {' '.join(words)}"
