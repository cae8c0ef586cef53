"""A turn that is stored: found by its id, and what it came to."""

from __future__ import annotations

from collections.abc import Sequence

from turnlog.agent.running import TurnResult
from turnlog.messages import SessionMessage
from turnlog.session.awaiting import AwaitedStore
from turnlog.turns.context import NOTE


async def stored_turn(store: AwaitedStore, session_id: str, turn_id: str, among: int = 0) -> list[SessionMessage]:
    """The messages of a turn; [] where it is not among the last ``among`` of the session (0: all). Raises StorageError."""
    if not await store.call("session_exists", session_id):
        return []
    messages = await store.call("get_messages", session_id, -among, None)
    # Of another turn's id this one may be the beginning.
    return [message for message in messages if message.id.rpartition("-")[0] == turn_id]


def result_of(turn_id: str, messages: Sequence[SessionMessage]) -> TurnResult:
    """What a stored turn came to. The output is text; of an agent with an ``output_type`` it is its JSON as the model gave it."""
    texts = [message.content for message in messages if message.role == "assistant" and isinstance(message.content, str)]
    calls = [call["function"]["arguments"] for message in messages for call in message.tool_calls or ()]
    note = messages[-1].metadata.get(NOTE, {})
    return TurnResult(
        texts[-1] if texts else calls[-1] if calls else "",
        turn_id,
        note.get("model"),
        note.get("input_tokens", 0),
        note.get("output_tokens", 0),
        note.get("seconds", 0.0),
    )
