"""Every valid history, of any mixture of forms, is valid in each form: by the strict judge, our own rules and the vendors' types."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from anthropic.types import MessageParam
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessageParam
from openai.types.responses import ResponseInputItemParam
from pydantic import TypeAdapter

from tests.forms.samples import ANTHROPIC, CHAT, PARTS, REASONING, RESPONSES, SEARCH, THINKING, Message
from tests.histories import OLD_CALL, OLD_RESULT, random_history, soups
from tests.strict_api import broken_rules
from turnlog.forms import Call, Result, Text, read_messages, to_anthropic, to_chat, to_responses
from turnlog.testing import histories as kit
from turnlog.validity import repair_history, validate_history

WRITERS: dict[str, Callable[[Any], list[Message]]] = {
    "chat": to_chat,
    "responses": to_responses,
    "anthropic": lambda messages: to_anthropic(messages)[1],
}
TYPES: dict[str, TypeAdapter[Any]] = {
    "chat": TypeAdapter(ChatCompletionMessageParam),
    "responses": TypeAdapter(ResponseInputItemParam),
    "anthropic": TypeAdapter(MessageParam),
}
SHAPES: dict[str, Callable[[Message], bool]] = {
    "chat": lambda message: "type" not in message and "role" in message,
    "responses": lambda message: "tool_calls" not in message and message.get("role") != "tool",
    "anthropic": lambda message: set(message) == {"role", "content"} and message["role"] in ("user", "assistant"),
}


def made_of(messages: list[Message]) -> tuple[list[tuple[str, str]], list[str]]:
    """Names and arguments of the calls, and the texts of the results, in order."""
    pieces = [piece for message in read_messages(messages) for piece in message.pieces]
    calls = [(piece.name, piece.arguments) for piece in pieces if isinstance(piece, Call)]
    return calls, [piece.content for piece in pieces if isinstance(piece, Result)]


def texts(messages: list[Message]) -> list[str]:
    """What was said, in order."""
    return [piece.text for message in read_messages(messages) for piece in message.pieces if isinstance(piece, Text)]


def check_type(message: Message, form: str) -> None:
    """Hold a message to the vendor's type, raising ValueError. Pydantic judges what is Iterable only when it is read, so all of it is."""
    waiting = [TYPES[form].validate_python(message, strict=True)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
            waiting += value


def check(history: list[Message], form: str) -> list[Message]:
    """Write a valid history in a form and hold the outcome to all rules."""
    before = copy.deepcopy(history)
    written = WRITERS[form](history)
    assert history == before, "the messages given were changed"
    assert broken_rules(written) == []
    assert validate_history(written) == []
    assert all(SHAPES[form](message) for message in written), written
    assert WRITERS[form](written) == written, "writing twice is not writing once"
    if form == "anthropic":
        roles = [message["role"] for message in written]
        assert all(left != right for left, right in zip(roles, roles[1:], strict=False))
    return written


@given(seed=st.integers(0, 2**32), form=st.sampled_from([*WRITERS]))
@settings(max_examples=600, deadline=None)
def test_agents_at_work(seed: int, form: str) -> None:
    history = random_history(seed).kept()
    written = check(history, form)
    calls, results = made_of(written)
    wanted_calls, wanted_results = made_of(history)
    assert sorted(calls) == sorted(wanted_calls)
    assert sorted(results) == sorted(wanted_results)
    said = "\n".join([*texts(written), to_anthropic(history)[0] or ""])
    assert all(text in said for text in texts(history))


@given(soup=soups(), form=st.sampled_from([*WRITERS]))
@settings(max_examples=600, deadline=None)
def test_whatever_a_repair_leaves(soup: list[Any], form: str) -> None:
    check(repair_history(soup), form)
    WRITERS[form](soup)


@given(seed=st.integers(0, 2**32), path=st.lists(st.sampled_from([*WRITERS]), min_size=2, max_size=4))
@settings(max_examples=300, deadline=None)
def test_from_form_to_form_the_calls_and_results_stay(seed: int, path: list[str]) -> None:
    history = [message for block in kit.random_history(random.Random(seed)) if block.valid for message in block.messages]
    written = history
    for form in path:
        written = check(written, form)
        assert made_of(written) == made_of(history)
    roles = [message["role"] for message in to_chat(history) if message["role"] != "system"]
    assert sum(role == "tool" for role in roles) == sum(message["role"] == "tool" for message in to_chat(written))


RICH: list[Message] = [
    *CHAT,
    *RESPONSES,
    *ANTHROPIC,
    OLD_CALL,
    OLD_RESULT,
    *({"role": "user", "content": forms[form]} for forms in PARTS.values() for form in forms),
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]},
    {"role": "developer", "content": [{"type": "input_text", "text": "brief"}, {"type": "input_text", "text": "clear"}]},
    {"role": "assistant", "content": [THINKING, {"type": "text", "text": "x"}]},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "i", "name": "look", "input": {}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i", "content": PARTS["image data"]["anthropic"]}]},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
    {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    {"role": "assistant", "content": None, "refusal": "no"},
    {"role": "user", "content": "more"},
    REASONING,
    SEARCH,
    REASONING,
    {"type": "function_call", "call_id": "r", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "r", "output": PARTS["image data"]["responses"]},
    {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "x", "annotations": []}],
    },
]


@pytest.mark.parametrize("form", WRITERS)
def test_the_vendors_types_take_every_kind_of_message(form: str) -> None:
    for message in check(RICH, form):
        check_type(message, form)


@given(seed=st.integers(0, 2**32), form=st.sampled_from([*WRITERS]))
@settings(max_examples=200, deadline=None)
def test_the_vendors_types_take_agents_at_work(seed: int, form: str) -> None:
    history = [REASONING if message.get("type") == "reasoning" else message for message in random_history(seed).kept()]
    for message in check(history, form):
        check_type(message, form)


WRONG: dict[str, Message] = {
    "chat": {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
    "responses": {"type": "function_call", "call_id": "a", "name": "f"},
    "anthropic": {"role": "user", "content": [{"type": "tool_result", "content": "fine"}]},
}


@pytest.mark.parametrize("form", WRITERS)
def test_the_vendors_types_can_refuse(form: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        check_type(WRONG[form], form)
