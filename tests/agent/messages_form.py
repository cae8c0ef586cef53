"""Anthropic's messages API, from the server's side: reading a request, refusing a bad one, the answer whole and streamed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from tests.agent.scripted import Reply, Said, call_id
from tests.strict_api import broken_rules

USER_BLOCKS = ("text", "image", "document", "tool_result")
ASSISTANT_BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use")


def refusals(body: dict[str, Any]) -> list[str]:
    """The rules that the request breaks. A signature is a hash of its thoughts here, so a changed one is seen."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not isinstance(body.get("max_tokens"), int):
        return ["messages is a list of at least one, and max_tokens is given"]
    broken = broken_rules(messages)
    if messages[0].get("role") != "user":
        broken.append("first message: user@0")
    for place, message in enumerate(messages):
        blocks = message.get("content")
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        if message.get("role") not in ("user", "assistant") or not blocks:
            broken.append(f"role-or-content@{place}")
            continue
        allowed = USER_BLOCKS if message["role"] == "user" else ASSISTANT_BLOCKS
        for block in blocks:
            if block.get("type") not in allowed:
                broken.append(f"block@{place}")
            elif block["type"] == "text" and not block["text"].strip():
                broken.append(f"empty-text@{place}")
            elif block["type"] == "thinking" and block.get("signature") != signature(block["thinking"]):
                broken.append(f"signature@{place}")
    return broken


def signature(thoughts: str) -> str:
    """What stands for the vendor's signature of thoughts."""
    return hashlib.sha256(thoughts.encode()).hexdigest()


def read(body: dict[str, Any]) -> tuple[list[Said], list[str]]:
    """The messages, and the names of the tools."""
    said = [Said("system", _text(body["system"]))] if body.get("system") else []
    for message in body["messages"]:
        blocks = message["content"]
        blocks = [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks
        said += [Said("tool", _text(block.get("content"))) for block in blocks if block["type"] == "tool_result"]
        calls = tuple((block["name"], block["input"]) for block in blocks if block["type"] == "tool_use")
        spoken = [block for block in blocks if block["type"] in ("text", "image", "document")]
        if spoken or calls:
            said.append(Said(message["role"], _text(spoken), calls))
    return said, [tool["name"] for tool in body.get("tools") or ()]


def whole(body: dict[str, Any], reply: Reply) -> dict[str, Any]:
    """The answer as one object."""
    return {**_message(body), "content": _blocks(body, reply), "stop_reason": _stop(reply), "usage": _usage(body, reply)}


def pieces(body: dict[str, Any], reply: Reply) -> Iterator[tuple[str, str]]:
    """The answer as (text that it adds, server-sent event)."""
    start = {**_message(body), "content": [], "stop_reason": None, "usage": {**_usage(body, reply), "output_tokens": 1}}
    yield "", _event("message_start", message=start)
    for index, block in enumerate(_blocks(body, reply)):
        begin, deltas = _streamed(block)
        yield "", _event("content_block_start", index=index, content_block=begin)
        for delta in deltas:
            yield delta.get("text", ""), _event("content_block_delta", index=index, delta=delta)
        yield "", _event("content_block_stop", index=index)
    ended = {"stop_reason": _stop(reply), "stop_sequence": None}
    yield "", _event("message_delta", delta=ended, usage={"output_tokens": _usage(body, reply)["output_tokens"]})
    yield "", _event("message_stop")


def _streamed(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "text":
        words = block["text"].split(" ")
        texts = [f" {word}" if place else word for place, word in enumerate(words)]
        return {"type": "text", "text": ""}, [{"type": "text_delta", "text": text} for text in texts]
    if block["type"] == "thinking":
        begin = {"type": "thinking", "thinking": "", "signature": ""}
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return begin, [thought, {"type": "signature_delta", "signature": block["signature"]}]
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]


def _blocks(body: dict[str, Any], reply: Reply) -> list[dict[str, Any]]:
    thoughts = reply.thinking
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": thoughts, "signature": signature(thoughts)}] if thoughts else []
    if reply.text:
        blocks.append({"type": "text", "text": reply.text})
    for place, (name, arguments) in enumerate(reply.calls):
        blocks.append({"type": "tool_use", "id": call_id(body, place).replace("call", "toolu"), "name": name, "input": arguments})
    return blocks


def _message(body: dict[str, Any]) -> dict[str, Any]:
    name = call_id(body, 0).replace("call", "msg")
    return {"id": name, "type": "message", "role": "assistant", "model": body["model"], "stop_sequence": None}


def _stop(reply: Reply) -> str:
    return "tool_use" if reply.calls else "end_turn"


def _usage(body: dict[str, Any], reply: Reply) -> dict[str, int]:
    return {"input_tokens": len(body["messages"]), "output_tokens": 1 + len(reply.text) // 4}


def _event(kind: str, **data: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n"


def _text(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(part.get("text", f"<{part['type']}>") for part in content)
    return content or ""
