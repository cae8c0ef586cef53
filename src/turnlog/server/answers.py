"""Answers in OpenAI's forms: a whole completion, the pieces of a stream, the list of models."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from turnlog.messages import new_token

if TYPE_CHECKING:
    from turnlog.agent import TurnResult

Json = dict[str, Any]

DONE = "[DONE]"
"""What ends a stream."""


class Completion:
    """One answer: its id, its time and its model are the same in all its pieces."""

    def __init__(self, model: str, *, include_usage: bool = False) -> None:
        self._head: Json = {"id": f"chatcmpl-{new_token()}", "created": int(time.time()), "model": model}
        self._include_usage = include_usage

    def whole(self, text: str, result: TurnResult | None) -> Json:
        """The completion at once."""
        choice = {"index": 0, "message": {"role": "assistant", "content": text, "refusal": None}, "logprobs": None, "finish_reason": "stop"}
        return {**self._head, "object": "chat.completion", "choices": [choice], "usage": usage_of(result)}

    def first(self) -> Json:
        """The piece before all text."""
        return self._piece({"role": "assistant", "content": ""})

    def text(self, text: str) -> Json:
        """A piece of the text."""
        return self._piece({"content": text})

    def last(self, result: TurnResult | None) -> list[Json]:
        """The pieces behind all text: the end, and what it took where that was asked for."""
        pieces = [self._piece({}, "stop")]
        if self._include_usage:
            pieces.append({**self._head, "object": "chat.completion.chunk", "choices": [], "usage": usage_of(result)})
        return pieces

    def _piece(self, delta: Json, finish: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage: Json = {"usage": None} if self._include_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice], **usage}


def usage_of(result: TurnResult | None) -> Json:
    """The tokens of all model calls of a turn, in OpenAI's words."""
    given, made = (result.input_tokens, result.output_tokens) if result is not None else (0, 0)
    return {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}


def text_of(output: Any) -> str:
    """An agent's output as text: itself, or its JSON."""
    return output if isinstance(output, str) else to_json(output).decode()


def model_entry(name: str, created: int) -> Json:
    """A served agent as one of the models."""
    return {"id": name, "object": "model", "created": created, "owned_by": "turnlog"}


def encoded(value: Any) -> bytes:
    """JSON text, in UTF-8 but for lone surrogates, which stay escaped."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()
