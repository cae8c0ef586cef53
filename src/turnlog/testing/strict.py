"""A strict judge of what the OpenAI and Anthropic APIs accept about tool calls. Shares no code with the stores it judges."""

from __future__ import annotations

from typing import Any

Message = dict[str, Any]


def problems(messages: list[Message]) -> list[str]:
    """Why an API would refuse these messages, in words; empty where both would take them."""
    if any(_blocks(message, "tool_use") or _blocks(message, "tool_result") for message in messages):
        return _anthropic(messages)
    return _openai(messages) + _anthropic(_translated(messages))


def _openai(messages: list[Message]) -> list[str]:
    """An assistant message with tool_calls must be followed by one tool message for each id; nothing else may be a tool message."""
    found: list[str] = []
    awaited: set[str] = set()
    for index, message in enumerate(messages):
        role = message.get("role")
        if role == "tool":
            identity = message.get("tool_call_id")
            if identity not in awaited:
                found.append(f"message {index}: a tool message for {identity!r}, which the call before it does not await")
            awaited.discard(str(identity))
            continue
        if awaited:
            found.append(f"message {index}: tool calls {sorted(awaited)} got no tool message before it")
            awaited = set()
        if "tool_calls" in message:
            calls = message["tool_calls"]
            if role != "assistant" or not isinstance(calls, list) or not calls:
                found.append(f"message {index}: tool_calls must be a non-empty list of an assistant")
                continue
            identities = [str(call.get("id")) for call in calls]
            if len(set(identities)) < len(identities):
                found.append(f"message {index}: two calls of one id")
            awaited = set(identities)
        elif message.get("content") is None:
            found.append(f"message {index}: content may be null only beside tool calls")
    if awaited:
        found.append(f"at the end: tool calls {sorted(awaited)} got no tool message")
    return found


def _anthropic(messages: list[Message]) -> list[str]:
    """Every tool_use needs its tool_result in the next message, and every tool_result its tool_use in the message before."""
    found: list[str] = []
    before: list[str] = []
    for index, message in enumerate(messages):
        results = [str(block.get("tool_use_id")) for block in _blocks(message, "tool_result")]
        uses = [str(block.get("id")) for block in _blocks(message, "tool_use")]
        if results and message.get("role") != "user":
            found.append(f"message {index}: tool_result outside of a user message")
        if uses and message.get("role") != "assistant":
            found.append(f"message {index}: tool_use outside of an assistant message")
        if missing := set(before) - set(results):
            found.append(f"message {index}: no tool_result for {sorted(missing)}")
        if orphans := set(results) - set(before):
            found.append(f"message {index}: tool_result without its tool_use: {sorted(orphans)}")
        if len(set(results)) < len(results):
            found.append(f"message {index}: two results for one tool_use")
        leading = [block.get("type") == "tool_result" for block in message.get("content") or []] if results else []
        if leading != sorted(leading, reverse=True):
            found.append(f"message {index}: tool_result blocks must come first")
        before = uses
    if before:
        found.append(f"at the end: no tool_result for {sorted(before)}")
    return found


def _translated(messages: list[Message]) -> list[Message]:
    """OpenAI's shape in Anthropic's: neighbouring tool messages are the results of one user message."""
    turned: list[Message] = []
    for message in messages:
        if message.get("role") == "tool":
            block = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": message.get("content")}
            if turned and turned[-1].get("results"):
                turned[-1]["content"].append(block)
            else:
                turned.append({"role": "user", "content": [block], "results": True})
        elif message.get("tool_calls"):
            uses = [{"type": "tool_use", "id": call.get("id"), "name": "f", "input": {}} for call in message["tool_calls"]]
            turned.append({"role": message.get("role"), "content": uses})
        else:
            turned.append({"role": message.get("role"), "content": message.get("content")})
    return turned


def _blocks(message: Message, kind: str) -> list[Message]:
    content = message.get("content")
    return [block for block in content if isinstance(block, dict) and block.get("type") == kind] if isinstance(content, list) else []
