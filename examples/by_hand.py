"""Turns by hand, for whoever calls a model's API without a framework: history in, answer out, stored whole or not at all.

pip install turnlog    (and the SDK of your vendor; none is needed to try this)
"""

from __future__ import annotations

import json
from tempfile import TemporaryDirectory
from typing import Any

from turnlog import turn
from turnlog.session import SqliteSessionStore

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "The sum of two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]},
    },
}


def complete(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Stands in for a model, as this must run without a key. In its place, with the OpenAI SDK:

    client.chat.completions.create(model="gpt-6-luna", messages=messages, tools=tools).choices[0].message
    """
    last = messages[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"That makes {last['content']}."}
    if "and" in last["content"]:
        a, b = (int(word) for word in last["content"].strip("?").split() if word.isdigit())
        call = {"name": "add", "arguments": json.dumps({"a": a, "b": b})}
        return {"role": "assistant", "content": None, "tool_calls": [{"id": f"call_{a}_{b}", "type": "function", "function": call}]}
    if last["content"] == "Crash!":
        raise ConnectionError("the model did not answer")
    asked = [message["content"] for message in messages if message["role"] == "user"]
    return {"role": "assistant", "content": f"You began with: {asked[0]}"}


def ask(store: SqliteSessionStore, question: str) -> str:
    """One turn, with as many tool calls as the model wants. What is added is stored when the block ends."""
    with turn(store, "chat-123", max_messages=50) as t:
        t.add({"role": "user", "content": question})
        while True:
            reply = complete(t.messages, [TOOL])
            t.add(reply)
            if not (calls := reply.get("tool_calls")):
                return str(reply["content"])
            for call in calls:
                numbers = json.loads(call["function"]["arguments"])
                t.add({"role": "tool", "tool_call_id": call["id"], "content": str(numbers["a"] + numbers["b"])})


def main(path: str) -> None:
    """Two good turns, and one that fails between them."""
    with SqliteSessionStore(path) as store:
        print(ask(store, "What do 2 and 3 make?"))
        try:
            ask(store, "Crash!")
        except ConnectionError as error:
            print(f"{error}; the history has {len(store.get_chat_history('chat-123'))} messages, as before")
            print(f"what had been asked is kept aside: {store.get_open_turns('chat-123')[0].messages[0].content}")
        print(ask(store, "What did I ask first?"))
        print(f"{len(store.get_chat_history('chat-123'))} messages: {[m['role'] for m in store.get_chat_history('chat-123')]}")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        main(f"{place}/sessions.sqlite")
