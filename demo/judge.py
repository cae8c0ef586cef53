"""The judge: the rules of two vendors' APIs on tool calls, and the texts of their 400 answers. Knows nothing of turnlog."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]


def refusal(messages: Sequence[Message]) -> str | None:
    """The text of the 400 answer to these messages, in the form their tool calls have; None where the API takes them."""
    return openai_refusal(messages) or anthropic_refusal(messages)


def openai_refusal(messages: Sequence[Message]) -> str | None:
    """Chat completions: every call is answered by tool messages directly after it, and every tool message answers such a call."""
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            if message.get("tool_call_id") not in waiting:
                return "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'."
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        waiting = [call["id"] for call in message.get("tool_calls", [])]
    if waiting:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
            f"The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )
    return None


def anthropic_refusal(messages: Sequence[Message]) -> str | None:
    """Messages: the results of all calls of a message stand in the next one, and each result answers a call of the one before."""
    asked: list[str] = []
    for place, message in enumerate([*messages, {"role": "", "content": ""}]):
        given = [(at, block["tool_use_id"]) for at, block in enumerate(_blocks(message)) if block["type"] == "tool_result"]
        missing = [each for each in asked if each not in [result for _, result in given]]
        if missing:
            return (
                f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. "
                "Each `tool_use` block must have a corresponding `tool_result` block in the next message."
            )
        for at, result in given:
            if result not in asked:
                return (
                    f"messages.{place}.content.{at}: unexpected `tool_use_id` found in `tool_result` blocks: {result}. "
                    "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
            asked.remove(result)
        asked = [block["id"] for block in _blocks(message) if block["type"] == "tool_use"]
    return None


def _blocks(message: Message) -> list[dict[str, Any]]:
    content = message.get("content")
    return content if isinstance(content, list) else []
