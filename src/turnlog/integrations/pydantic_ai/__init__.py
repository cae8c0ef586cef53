"""pydantic-ai on turnlog stores: its conversation store, message history by hand, and its messages as stored ones."""

from __future__ import annotations

from turnlog.integrations.pydantic_ai.messages import from_stored, to_stored
from turnlog.integrations.pydantic_ai.store import TurnlogConversationStore, add_messages, load_messages

__all__ = ["TurnlogConversationStore", "add_messages", "from_stored", "load_messages", "to_stored"]
