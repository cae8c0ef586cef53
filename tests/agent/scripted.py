"""A model by script: what it answers depends only on the messages it was sent, whichever vendor's form they came in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

RETRY = '{"error":'
"""What pydantic-ai tells a model whose tool asked for another attempt."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message that the model was sent. ``role``: "system", "user", "assistant" or "tool"."""

    role: str
    text: str
    calls: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model does next: text, or tool calls as (name, arguments). ``thinking``: what it shows of its thoughts."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    thinking: str = ""


def answer(said: Sequence[Said], tools: Sequence[str]) -> Reply:
    """The next message of the model.

    "my name is X" and "what is my name?"; "add 2 and 3, add 4 and 5" calls ``add`` (in parallel); "use TOOL" and "use TOOL with WORD" call
    any tool; "tell 30" gives thirty words; "think" shows thoughts; a request to summarise lists what users said. All else is repeated,
    with the number of user messages. A model that must give its output by a tool does.
    """
    last = said[-1]
    if last.role == "tool":
        return _after_tools(said, tools)
    question = next((each.text for each in reversed(said) if each.role == "user"), "")
    if any("Summarise the conversation" in each.text for each in said if each.role == "system"):
        told = re.findall(r"^user: (.*)$", question, re.MULTILINE)
        earlier = re.findall(r"^Earlier summary: (.*)$", question, re.MULTILINE)
        return Reply(" | ".join([*earlier, *told]))
    calls = [("add", {"a": int(a), "b": int(b)}) for a, b in re.findall(r"add (\d+) and (\d+)", question)]
    calls += [(name, {"word": word} if word else {}) for name, word in re.findall(r"use (\w+)(?: with (\w+))?", question)]
    calls = [call for call in calls if call[0] in tools]
    if calls:
        return Reply(calls=calls, thinking="I need the tools." if "think" in question else "")
    text = _text(question, said)
    if "final_result" in tools:
        return Reply(calls=[("final_result", {"text": text, "number": len(said)})])
    return Reply(text, thinking="Let me see." if "think" in question else "")


def call_id(body: dict[str, Any], place: int) -> str:
    """An id for a tool call that differs from every one in the request, and is the same for the same request."""
    sent = json.dumps(body["messages"], sort_keys=True).encode()
    return f"call_{hashlib.sha256(sent).hexdigest()[:12]}_{place}"


def _text(question: str, said: Sequence[Said]) -> str:
    if found := re.search(r"tell (\d+)", question):
        return " ".join(f"word{number}" for number in range(int(found[1])))
    texts = [each.text for each in said if each.role in ("user", "system")]
    names = [found[1] for text in texts for found in re.finditer(r"my name is (\w+)", text, re.IGNORECASE)]
    if "what is my name" in question.lower():
        return f"Your name is {names[-1]}." if names else "You did not say."
    if re.search(r"my name is", question, re.IGNORECASE):
        return f"Hello, {names[-1]}."
    return f"{sum(each.role == 'user' for each in said)} heard, the last: {question}"


def _after_tools(said: Sequence[Said], tools: Sequence[str]) -> Reply:
    results: list[str] = []
    for each in reversed(said):
        if each.role != "tool":
            break
        results.insert(0, each.text)
    if any(RETRY in result for result in results):
        asked = next(each.calls for each in reversed(said) if each.calls)
        return Reply(calls=[(name, {**arguments, "attempt": 2}) for name, arguments in asked])
    text = f"The tools said {'; '.join(results)}."
    if "final_result" in tools:
        return Reply(calls=[("final_result", {"text": text, "number": len(said)})])
    return Reply(text)
