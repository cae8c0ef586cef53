"""OpenAI's chat completions, from the server's side: reading a request, refusing a bad one, the answer whole and streamed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.agent.scripted import Reply, Said, call_id
from tests.strict_api import broken_rules

ROLES = ("system", "developer", "user", "assistant", "tool")


def refusals(body: dict[str, Any]) -> list[str]:
    """The rules that the request breaks."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return ["messages is a list of at least one"]
    broken = broken_rules(messages)
    for place, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            broken.append(f"role@{place}")
        if not content and not (role == "assistant" and message.get("tool_calls")) and role != "tool" and content != "":
            broken.append(f"content@{place}")
        if isinstance(content, list) and any(part.get("type") not in ("text", "image_url", "input_audio", "file") for part in content):
            broken.append(f"part@{place}")
    return broken


def read(body: dict[str, Any]) -> tuple[list[Said], list[str]]:
    """The messages, and the names of the tools."""
    said = []
    for message in body["messages"]:
        calls = tuple((call["function"]["name"], json.loads(call["function"]["arguments"])) for call in message.get("tool_calls") or ())
        role = "system" if message["role"] == "developer" else message["role"]
        said.append(Said(role, _text(message.get("content")), calls))
    return said, [tool["function"]["name"] for tool in body.get("tools") or ()]


def whole(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The answer as one object."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = _calls(body, reply)
    choice = {"index": 0, "finish_reason": "tool_calls" if reply.calls else "stop", "message": message, "logprobs": None}
    return {**_envelope(body, "chat.completion"), "choices": [choice], "usage": _usage(body, reply)}


def pieces(body: dict[str, Any], reply: Reply) -> Iterator[tuple[str, str]]:
    """The answer as (text that it adds, server-sent event)."""
    words = reply.text.split(" ") if reply.text else []
    for place, word in enumerate(words):
        text = f" {word}" if place else word
        yield text, _event(body, {"role": "assistant", "content": text} if not place else {"content": text})
    for place, call in enumerate(_calls(body, reply) if reply.calls else []):
        yield "", _event(body, {"tool_calls": [{"index": place, **call}]})
    yield "", _event(body, {}, finish="tool_calls" if reply.calls else "stop")
    yield "", f"data: {json.dumps({**_envelope(body, 'chat.completion.chunk'), 'choices': [], 'usage': _usage(body, reply)})}\n\n"
    yield "", "data: [DONE]\n\n"


def _calls(body: dict[str, Any], reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": call_id(body, place), "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for place, (name, arguments) in enumerate(reply.calls)
    ]


def _event(body: dict[str, Any], delta: dict[str, Any], finish: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return f"data: {json.dumps({**_envelope(body, 'chat.completion.chunk'), 'choices': [choice]})}\n\n"


def _envelope(body: dict[str, Any], kind: str) -> dict[str, Any]:
    return {"id": call_id(body, 0).replace("call", "chatcmpl"), "object": kind, "created": 1_790_000_000, "model": body["model"]}


def _usage(body: dict[str, Any], reply: Reply) -> dict[str, int]:
    taken, given = len(body["messages"]), 1 + len(reply.text) // 4
    return {"prompt_tokens": taken, "completion_tokens": given, "total_tokens": taken + given}


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", f"<{part['type']}>") for part in content)
    return content or ""
