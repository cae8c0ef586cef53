"""What is added to a turn: SDKs' responses, messages, items and blocks, and dicts, each kept as its API takes it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from openai.types.chat import ChatCompletionChunk, ParsedChatCompletion

from tests.strict_api import broken_rules
from tests.turns.samples import (
    BLOCK_RESULTS,
    BLOCKS,
    CALLS,
    ITEMS,
    KEPT_BLOCKS,
    KEPT_ITEMS,
    OUTPUTS,
    RESULTS,
    SAID,
    chat,
    message,
    response,
    streamed_message,
)
from turnlog import turn
from turnlog.errors import InvalidMessageError, MessageTooLargeError
from turnlog.session import InMemorySessionStore, SessionMessage

QUESTION = {"role": "user", "content": "What is it like in Lisbon?"}
CALLING = {"role": "assistant", "content": None, "tool_calls": CALLS}
CALLING_BLOCKS = {"role": "assistant", "content": KEPT_BLOCKS}


def added(*messages: Any, form: Any = "chat") -> list[dict[str, Any]]:
    """The records of what is added."""
    t = turn(InMemorySessionStore(), "s", form=form)
    t.add(*messages)
    return [each.record for each in t.added]


ANSWERS: dict[str, tuple[Callable[[], Any], list[dict[str, Any]]]] = {
    "chat response": (lambda: chat({"content": "Sunny."}), [{"role": "assistant", "content": "Sunny."}]),
    "chat choice": (lambda: chat({"content": "Sunny."}).choices[0], [{"role": "assistant", "content": "Sunny."}]),
    "chat message": (lambda: chat({"content": "Sunny."}).choices[0].message, [{"role": "assistant", "content": "Sunny."}]),
    "chat response as a dict": (lambda: chat({"content": "Sunny."}).model_dump(), [{"role": "assistant", "content": "Sunny."}]),
    "chat calls": (lambda: chat({"content": None, "tool_calls": CALLS}), [CALLING]),
    "chat calls in a dict": (
        lambda: {
            "role": "assistant",
            "content": None,
            "tool_calls": chat({"content": None, "tool_calls": CALLS}).choices[0].message.tool_calls,
        },
        [CALLING],
    ),
    "chat refusal": (
        lambda: chat({"content": None, "refusal": "No."}),
        [{"role": "assistant", "content": None, "refusal": "No."}],
    ),
    "chat reasoning of other vendors": (
        lambda: chat({"content": "Sunny.", "reasoning_content": "Hm."}),
        [{"role": "assistant", "content": "Sunny.", "reasoning_content": "Hm."}],
    ),
    "anthropic response": (lambda: message(BLOCKS), [CALLING_BLOCKS]),
    "anthropic response as a dict": (lambda: message(BLOCKS).model_dump(exclude_none=True), [CALLING_BLOCKS]),
    "anthropic content": (lambda: message(BLOCKS).content, [CALLING_BLOCKS]),
    "anthropic content in a dict": (lambda: {"role": "assistant", "content": message(BLOCKS).content}, [CALLING_BLOCKS]),
    "anthropic stream's end": (lambda: streamed_message(BLOCKS), [CALLING_BLOCKS]),
    "responses response": (lambda: response([*ITEMS, SAID]), [*KEPT_ITEMS, SAID]),
    "responses output": (lambda: response([*ITEMS, SAID]).output, [*KEPT_ITEMS, SAID]),
    "responses response as a dict": (lambda: response([*ITEMS, SAID]).model_dump(exclude_unset=True), [*KEPT_ITEMS, SAID]),
    "responses item": (lambda: response([SAID]).output[0], [SAID]),
    "responses item as a dict": (lambda: dict(SAID), [SAID]),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_kept_as_its_api_takes_it_back(name: str) -> None:
    make, kept = ANSWERS[name]
    assert added(make()) == kept
    assert added([make()]) == kept


@pytest.mark.parametrize(
    ("form", "steps", "said"),
    [
        ("chat", [chat({"content": None, "tool_calls": CALLS}), RESULTS], chat({"content": "Sunny."})),
        ("anthropic", [message(BLOCKS), BLOCK_RESULTS], message([{"type": "text", "text": "Sunny."}])),
        ("responses", [response(ITEMS), OUTPUTS], response([SAID])),
    ],
    ids=["chat", "anthropic", "responses"],
)
def test_a_turn_with_parallel_tools(form: Any, steps: list[Any], said: Any) -> None:
    store = InMemorySessionStore()
    with turn(store, "s", form=form) as t:
        t.add(QUESTION)
        for step in steps:
            t.add(step)
        assert broken_rules(t.messages) == []
        t.add(said)
        sent = t.messages
    with turn(store, "s", form=form) as later:
        assert later.history == sent
        assert broken_rules(later.history) == []
    assert broken_rules(store.get_chat_history("s")) == []


@pytest.mark.parametrize("form", ["chat", "anthropic", "responses"])
@pytest.mark.parametrize(
    "steps",
    [
        [chat({"content": None, "tool_calls": CALLS}), RESULTS, chat({"content": "Sunny."})],
        [message(BLOCKS), BLOCK_RESULTS, message([{"type": "text", "text": "Sunny."}])],
        [response(ITEMS), OUTPUTS, response([SAID])],
    ],
    ids=["from chat", "from anthropic", "from responses"],
)
def test_a_session_goes_on_at_another_vendor(form: Any, steps: list[Any]) -> None:
    store = InMemorySessionStore()
    with turn(store, "s") as t:
        t.add(QUESTION, *steps)
    with turn(store, "s", form=form) as t:
        t.add({"role": "user", "content": "And now?"})
        assert broken_rules(t.messages) == []
        assert "Lisbon" in str(t.messages)
        assert "sunny" in str(t.messages)


class TestStreams:
    def test_pieces_put_together_by_hand(self) -> None:
        calls = [{"id": "", "type": "function", "function": {"name": "", "arguments": ""}}]
        for id_, name, arguments in (("call_1", "weather", ""), ("", "", '{"city":'), ("", "", '"Lisbon"}')):
            calls[0]["id"] += id_  # type: ignore[operator]
            calls[0]["function"]["name"] += name  # type: ignore[index]
            calls[0]["function"]["arguments"] += arguments  # type: ignore[index]
        assembled = {"role": "assistant", "content": "".join(["Let ", "me ", "see."]), "tool_calls": calls}
        store = InMemorySessionStore()
        with turn(store, "s") as t:
            t.add(QUESTION, assembled, RESULTS[0], {"role": "assistant", "content": "Sunny."})
        assert store.get_chat_history("s")[1] == {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS[:1]}

    def test_a_piece_is_refused(self) -> None:
        piece = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt-5",
            "choices": [{"index": 0, "delta": {"content": "Sun"}}],
        }
        for each in (piece, ChatCompletionChunk.model_validate(piece)):
            with pytest.raises(InvalidMessageError, match="a piece of a stream"):
                added(each)

    def test_what_the_sdk_read_out_of_the_text_is_left_out(self) -> None:
        data = chat({"content": None, "tool_calls": CALLS}).model_dump()
        data["choices"][0]["message"]["parsed"] = {"city": "Lisbon"}
        for call in data["choices"][0]["message"]["tool_calls"]:
            call["function"]["parsed_arguments"] = {"city": "Lisbon"}
        assert added(ParsedChatCompletion[Any].model_validate(data)) == [CALLING]


class TestDicts:
    def test_envelopes_belong_to_the_store(self) -> None:
        t = turn(InMemorySessionStore(), "s")
        t.add({**QUESTION, "id": "m1", "metadata": {"k": 1}, "timestamp": 5.5, "name": "ada"})
        (only,) = t.added
        assert (only.id, only.metadata, only.timestamp) == ("m1", {"k": 1}, 5.5)
        assert only.record == {**QUESTION, "name": "ada"}

    def test_a_session_message_is_taken_as_it_is(self) -> None:
        given = SessionMessage(role="user", content="a", id="m1", metadata={"k": 1})
        t = turn(InMemorySessionStore(), "s")
        t.add(given)
        assert t.added == [given]

    def test_nothing_is_changed_later_by_who_gave_it(self) -> None:
        given = {"role": "user", "content": [{"type": "text", "text": "a"}]}
        t = turn(InMemorySessionStore(), "s")
        t.add(given)
        given["content"].append({"type": "text", "text": "b"})  # type: ignore[attr-defined]
        assert t.added[0].content == [{"type": "text", "text": "a"}]

    @pytest.mark.parametrize(
        ("bad", "why"),
        [
            ("text", "a str is no message"),
            (None, "a NoneType is no message"),
            (7, "a int is no message"),
            ({}, "role must be"),
            ({"role": "user", "content": b"x"}, "bytes"),
            ({"role": "user", "content": float("nan")}, "JSON"),
            ({"role": "", "content": "x"}, "role must be"),
            ({"type": "text", "text": "x"}, "a block of the type 'text' is no message"),
            (BLOCK_RESULTS["content"], "a block of the type 'tool_result' is no message"),
        ],
    )
    def test_what_is_no_message_is_refused_at_once(self, bad: Any, why: str) -> None:
        t = turn(InMemorySessionStore(), "s")
        with pytest.raises(InvalidMessageError, match=why):
            t.add(bad)
        assert t.added == []

    def test_a_message_too_large_is_refused_at_once(self) -> None:
        with pytest.raises(MessageTooLargeError):
            added({"role": "user", "content": "x" * 12 * 1024 * 1024})


class TestNotes:
    @pytest.mark.parametrize(
        ("one", "two", "model"),
        [
            (chat({"content": "a"}, (10, 5)), chat({"content": "b"}, (20, 7)), "gpt-5"),
            (message([{"type": "text", "text": "a"}], (10, 5)), message([{"type": "text", "text": "b"}], (20, 7)), "claude-opus-5"),
            (response([SAID], (10, 5)), response([SAID], (20, 7)), "gpt-5"),
            (chat({"content": "a"}, (10, 5)).model_dump(), chat({"content": "b"}, (20, 7)).model_dump(), "gpt-5"),
        ],
        ids=["chat", "anthropic", "responses", "dicts"],
    )
    def test_tokens_of_all_calls_are_summed(self, one: Any, two: Any, model: str) -> None:
        store = InMemorySessionStore()
        with turn(store, "s") as t:
            t.add(QUESTION, one, two)
        note = store.get_messages("s")[-1].metadata["turn"]
        assert note == {"model": model, "input_tokens": 30, "output_tokens": 12, "seconds": note["seconds"]}
        assert 0 <= note["seconds"] < 60
        assert [each.metadata for each in store.get_messages("s")[:-1]] == [{}, {}]
        assert store.get_session_model("s") in (model, None)

    def test_a_note_can_be_written_by_hand_and_keeps_metadata(self) -> None:
        store = InMemorySessionStore()
        with turn(store, "s") as t:
            t.add({**QUESTION, "metadata": {"k": 1}})
            t.note["model"] = "mine"
        metadata = store.get_messages("s")[0].metadata
        assert (metadata["k"], metadata["turn"]["model"]) == (1, "mine")

    def test_messages_alone_tell_nothing(self) -> None:
        t = turn(InMemorySessionStore(), "s")
        t.add(QUESTION, {"role": "assistant", "content": "a", "model": "gpt-5"}, chat({"content": "a"}).choices[0].message)
        assert t.note == {}
