"""Long histories full of tool turns, in the forms of both vendors: single, parallel, chained and failed calls."""

from __future__ import annotations

import json
import random
from typing import Any

Message = dict[str, Any]

TURNS = 60
LARGEST_GROUP = 4
"""Messages of the largest tool group: three parallel calls are one message, each result is another."""


def openai_history() -> list[Message]:
    """A history of chat completions, about 250 messages."""
    luck = random.Random("openai")
    messages: list[Message] = []
    for place in range(TURNS):
        messages.append({"role": "user", "content": f"question {place}"})
        for round_ in range(luck.choice((0, 1, 1, 2))):
            ids = [f"call_{place}_{round_}_{each}" for each in range(luck.choice((1, 1, 2, 3)))]
            messages.append({"role": "assistant", "content": None, "tool_calls": [_openai_call(each) for each in ids]})
            messages += [{"role": "tool", "tool_call_id": each, "content": _result(luck)} for each in luck.sample(ids, len(ids))]
        messages.append({"role": "assistant", "content": f"answer {place}"})
    return messages


def anthropic_history() -> list[Message]:
    """The same kind of history in Anthropic messages, about 240 messages."""
    luck = random.Random("anthropic")
    messages: list[Message] = []
    for place in range(TURNS):
        messages.append({"role": "user", "content": f"question {place}"})
        for round_ in range(luck.choice((0, 1, 1, 2))):
            ids = [f"toolu_{place}_{round_}_{each}" for each in range(luck.choice((1, 1, 2, 3)))]
            uses = [{"type": "tool_use", "id": each, "name": "look_up", "input": {}} for each in ids]
            results = [{"type": "tool_result", "tool_use_id": each, "content": _result(luck)} for each in luck.sample(ids, len(ids))]
            messages += [{"role": "assistant", "content": uses}, {"role": "user", "content": results}]
        messages.append({"role": "assistant", "content": f"answer {place}"})
    return messages


def open_call() -> list[Message]:
    """The beginning of a turn whose process died before the tool answered."""
    return [{"role": "user", "content": "and now?"}, {"role": "assistant", "content": None, "tool_calls": [_openai_call("call_open")]}]


def _openai_call(identity: str) -> Message:
    return {"id": identity, "type": "function", "function": {"name": "look_up", "arguments": json.dumps({"for": identity})}}


def _result(luck: random.Random) -> str:
    return luck.choice(("42", "42", "error: the tool failed"))
