"""A store of your own: the five methods on Redis in 40 lines, behind an agent.

pip install 'turnlog[agent]' redis
redis-server --port 6379 &
python redis_in_40_lines.py redis://localhost:6379
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from redis import Redis

from turnlog import Agent


class RedisStore:
    """One list per session, oldest message first, and a set of all sessions, as a session may be empty."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        with self.redis.pipeline(transaction=True) as both:
            both.sadd("sessions", _name(session_id))
            both.rpush(f"messages:{_name(session_id)}", json.dumps({"role": role, "content": content}))
            both.execute()
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        newest = self.redis.lrange(f"messages:{_name(session_id)}", -max_messages if max_messages else 0, -1)
        return [json.loads(message) for message in newest]

    def clear_session(self, session_id: str) -> bool:
        with self.redis.pipeline(transaction=True) as both:
            both.sadd("sessions", _name(session_id))
            both.delete(f"messages:{_name(session_id)}")
            both.execute()
        return True

    def delete_session(self, session_id: str) -> bool:
        with self.redis.pipeline(transaction=True) as both:
            both.srem("sessions", _name(session_id))
            both.delete(f"messages:{_name(session_id)}")
            both.execute()
        return True

    def session_exists(self, session_id: str) -> bool:
        return bool(self.redis.sismember("sessions", _name(session_id)))


def _name(session_id: str) -> str:
    return json.dumps(session_id)  # any text is a session id, also what Redis could not encode


def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Stands in for a model, as this must run without a key: it says back what it was told."""
    told = [part.content for message in messages for part in message.parts if part.part_kind == "user-prompt"]
    return ModelResponse(parts=[TextPart(f"You said: {' / '.join(map(str, told))}")])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("start a server (redis-server --port 6379), then: python redis_in_40_lines.py redis://localhost:6379")
    store = RedisStore(Redis.from_url(sys.argv[1]))
    agent = Agent(
        "Assistant", llm=FunctionModel(stand_in), memory={"session_id": "chat-123"}, session_store=store
    )  # llm="openai:gpt-6-luna"
    print(agent.start("My name is Alice."))
    print(agent.start("I live in Lisbon."))

    restarted = Agent("Assistant", llm=FunctionModel(stand_in), memory={"session_id": "chat-123"}, session_store=store)
    print(restarted.start("Who am I?"))
    print(f"{len(restarted.chat_history)} messages in Redis. Try: redis-cli lrange 'messages:\"chat-123\"' 0 -1")
