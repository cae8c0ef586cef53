"""What is read from one stored message, form by form, and that nothing stored can make the reading fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.forms.samples import ANTHROPIC, CHAT, PARTS, PIXEL, REASONING, RESPONSES, SEARCH, THINKING
from turnlog.forms import (
    Call,
    Media,
    Message,
    Other,
    Piece,
    Result,
    Text,
    Thinking,
    read_message,
    read_messages,
    to_anthropic,
    to_chat,
    to_responses,
)

OSLO, ROME = Call("call_1", "weather", '{"city": "Oslo"}'), Call("call_2", "weather", '{"city": "Rome"}')
COMPUTER = {"type": "computer_call", "call_id": "a"}

EXAMPLES: list[tuple[str, Any, str, tuple[Piece, ...]]] = [
    ("chat calls", CHAT[2], "assistant", (Text("Let me look."), OSLO, ROME)),
    ("a chat result", {**CHAT[3], "name": "weather"}, "tool", (Result("call_1", "rain", name="weather"),)),
    ("developer", {"role": "developer", "content": "be brief"}, "system", (Text("be brief"),)),
    ("a refusal", {"role": "assistant", "content": None, "refusal": "no"}, "assistant", (Text("no"),)),
    ("a refusal part", {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, "assistant", (Text("no"),)),
    ("chat reasoning", {"role": "assistant", "content": "x", "reasoning_content": "hm"}, "assistant", (Thinking("hm", None), Text("x"))),
    ("an old call", {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}, "assistant", (Call("f", "f", "{}"),)),
    ("an old result", {"role": "function", "name": "f", "content": "ok"}, "tool", (Result("f", "ok", name="f"),)),
    (
        "a custom chat call",
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        "assistant",
        (Call("a", "f", '{"input": "x"}', custom=True),),
    ),
    ("speech", {"role": "assistant", "content": None, "audio": {"id": "a", "transcript": "hi"}}, "assistant", (Text("hi"),)),
    ("uses", ANTHROPIC[1], "assistant", (Text("Let me look."), OSLO, ROME)),
    ("anthropic results", ANTHROPIC[2], "user", (Result("call_1", "rain"), Result("call_2", "sun"))),
    (
        "a failed use",
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": True}, {"type": "text", "text": "go on"}]},
        "user",
        (Result("a", "", is_error=True), Text("go on")),
    ),
    (
        "thinking",
        {"role": "assistant", "content": [THINKING, {"type": "text", "text": "x"}]},
        "assistant",
        (Thinking("hm", THINKING), Text("x")),
    ),
    (
        "hidden thinking",
        {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "z"}]},
        "assistant",
        (Thinking("", {"type": "redacted_thinking", "data": "z"}),),
    ),
    (
        "cited text",
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "It is "},
                {"type": "text", "text": "blue", "citations": [{}]},
                {"type": "text", "text": "."},
            ],
        },
        "assistant",
        (Text("It is blue."),),
    ),
    ("a responses call", RESPONSES[3], "assistant", (OSLO,)),
    ("a responses result", RESPONSES[5], "tool", (Result("call_1", "rain"),)),
    (
        "a custom responses call",
        {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "x"},
        "assistant",
        (Call("a", "f", '{"input": "x"}', custom=True),),
    ),
    ("a custom responses result", {"type": "custom_tool_call_output", "call_id": "a", "output": "ok"}, "tool", (Result("a", "ok"),)),
    ("reasoning", REASONING, "assistant", (Thinking("hm", REASONING),)),
    ("another item", SEARCH, "assistant", (Other(SEARCH),)),
    ("another call", COMPUTER, "assistant", (Other(COMPUTER),)),
    (
        "the output of another call",
        {**COMPUTER, "type": "computer_call_output"},
        "tool",
        (Other({**COMPUTER, "type": "computer_call_output"}),),
    ),
    ("easy parts", {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}, "user", (Text("hi"),)),
    (
        "an output message",
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        },
        "assistant",
        (Text("hi"),),
    ),
    ("an unknown part", {"role": "user", "content": [{"type": "scent"}]}, "user", (Other({"type": "scent"}),)),
    ("no role", {"content": "hi"}, "user", (Text("hi"),)),
    ("a part of no kind", {"role": "user", "content": [{"type": ["text"]}]}, "user", (Other({"type": ["text"]}),)),
    ("nothing", {"role": "assistant", "content": None}, "assistant", ()),
    ("no object", "words", "user", ()),
]


@pytest.mark.parametrize(("stored", "role", "pieces"), [row[1:] for row in EXAMPLES], ids=[row[0] for row in EXAMPLES])
def test_a_stored_message_is_read(stored: Any, role: str, pieces: tuple[Piece, ...]) -> None:
    assert read_message(stored) == Message(role, pieces)


@pytest.mark.parametrize("form", ["chat", "responses", "anthropic"])
def test_media_are_read_alike_in_all_forms(form: str) -> None:
    [image], [linked], [pdf] = (PARTS[name][form] for name in ("image data", "image address", "pdf"))
    [message] = read_messages([{"role": "user", "content": [image, linked, pdf]}])
    assert message.pieces == (
        Media("image", None, PIXEL, "image/png", image),
        Media("image", "https://example.org/a.png", None, None, linked),
        Media("file", None, "JVBERg==", "application/pdf", pdf),
    )


def test_audio_and_plain_files_are_read() -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}}
    uploaded = {"type": "input_file", "file_id": "file-1"}
    assert read_message({"role": "user", "content": [audio, document, uploaded]}).pieces == (
        Media("audio", None, "UklGRg==", "audio/wav", audio),
        Media("file", None, "aGk=", "text/plain", document),
        Media("file", None, None, None, uploaded),
    )


def test_a_result_of_more_than_text_keeps_its_pieces() -> None:
    image = PARTS["image data"]["anthropic"][0]
    part = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "one"}, image, {"type": "text", "text": "two"}]}
    [result] = read_message({"role": "user", "content": [part]}).pieces
    assert result == Result("a", "one\ntwo", pieces=(Text("one"), Media("image", None, PIXEL, "image/png", image), Text("two")))


KEYS = [
    "role",
    "type",
    "content",
    "tool_calls",
    "function_call",
    "function",
    "custom",
    "id",
    "call_id",
    "tool_call_id",
    "name",
    "arguments",
]
KEYS += [
    "input",
    "output",
    "source",
    "image_url",
    "url",
    "text",
    "data",
    "file",
    "file_id",
    "input_audio",
    "summary",
    "refusal",
    "audio",
    "citations",
]
WORDS = [
    "user",
    "assistant",
    "tool",
    "function",
    "system",
    "message",
    "function_call",
    "function_call_output",
    "reasoning",
    "text",
    "tool_use",
]
WORDS += [
    "tool_result",
    "image",
    "image_url",
    "input_image",
    "input_file",
    "input_audio",
    "file",
    "document",
    "thinking",
    "search_result",
    "base64",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([*WORDS, ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.parametrize("stored", [row[1] for row in EXAMPLES], ids=[row[0] for row in EXAMPLES])
def test_whatever_is_read_can_be_written(stored: Any) -> None:
    assert all(isinstance(message, dict) for message in [*to_chat([stored]), *to_responses([stored]), *to_anthropic([stored])[1]])


@given(st.lists(st.dictionaries(st.sampled_from(KEYS), JSON, max_size=6) | JSON, max_size=4))
def test_nothing_stored_makes_reading_or_writing_fail(messages: list[Any]) -> None:
    assert len(read_messages(messages)) == len(messages)
    to_chat(messages)
    to_responses(messages)
    to_anthropic(messages)
