"""What histories become in each vendor's form: the matrix of forms, and every rule by an example."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest

from tests.forms.samples import ANTHROPIC, CHAT, PARTS, PIXEL_URL, REASONING, RESPONSES, SEARCH, THINKING, Message
from tests.histories import OLD_CALL, OLD_RESULT, chat, item, output, result, tool, use
from tests.strict_api import broken_rules
from turnlog.forms import to_anthropic, to_chat, to_responses

USER, SAID = {"role": "user", "content": "go"}, {"role": "assistant", "content": "done"}
SOURCES = {"chat": CHAT, "responses": RESPONSES, "anthropic": [CHAT[0], *ANTHROPIC]}


@pytest.mark.parametrize("source", SOURCES)
def test_one_conversation_in_every_form(source: str) -> None:
    given = copy.deepcopy(SOURCES[source])
    assert to_chat(given) == CHAT
    assert to_responses(given) == RESPONSES
    assert to_anthropic(given) == ("be brief", ANTHROPIC)
    assert given == SOURCES[source], "the messages given were changed"


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("source", ["chat", "responses", "anthropic"])
def test_media_go_from_each_form_to_each(source: str, name: str) -> None:
    words = {"chat": "text", "responses": "input_text", "anthropic": "text"}
    [message] = [{"role": "user", "content": [{"type": words[source], "text": "see"}, *PARTS[name][source]]}]
    wanted = {form: [{"role": "user", "content": [{"type": words[form], "text": "see"}, *PARTS[name][form]]}] for form in words}
    assert to_chat([message]) == wanted["chat"]
    assert to_responses([message]) == wanted["responses"]
    assert to_anthropic([message]) == (None, wanted["anthropic"])


UNCHANGED: dict[str, list[Message]] = {
    "chat": [
        {"role": "developer", "content": [{"type": "text", "text": "x"}], "name": "n"},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL_URL, "detail": "low"}}], "name": "ann", "extra": 1},
        {**chat("a" * 90, "b"), "content": "", "reasoning_content": "hm", "extra": 1},
        {**tool("b", [{"type": "text", "text": "x"}]), "name": "f"},
        tool("a" * 90),
        OLD_CALL,
        OLD_RESULT,
        {"role": "assistant", "content": None, "refusal": "no", "tool_calls": None},
        {"role": "assistant", "content": "", "audio": {"id": "a"}},
    ],
    "responses": [
        {"role": "user", "content": "hi", "extra": 1},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_image", "file_id": "f"}]},
        REASONING,
        SEARCH,
        REASONING,
        {"type": "message", "id": "m", "role": "assistant", "status": "completed", "phase": "commentary", "content": []},
        {**item("a" * 90), "id": "fc_1", "status": "completed"},
        output("a" * 90, output=[{"type": "input_text", "text": "x"}]),
        {"type": "computer_call", "call_id": "c", "action": {}},
        {"type": "computer_call_output", "call_id": "c", "output": {}},
        {"type": "item_reference", "id": "x"},
        {"type": "additional_tools", "role": "developer", "tools": []},
    ],
    "anthropic": [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [THINKING, {"type": "redacted_thinking", "data": "z"}, *use("a.b")["content"]]},
        {"role": "user", "content": [*result("a.b")["content"], {"type": "text", "text": "and"}]},
        {
            "role": "assistant",
            "content": [{"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}, {"type": "later_kind"}],
        },
    ],
}


@pytest.mark.parametrize("form", UNCHANGED)
def test_what_is_in_the_form_already_comes_back_equal(form: str) -> None:
    write = {"chat": to_chat, "responses": to_responses, "anthropic": lambda messages: to_anthropic(messages)[1]}[form]
    assert write(UNCHANGED[form]) == UNCHANGED[form]


def test_the_items_of_one_answer_become_one_chat_message() -> None:
    history = [
        USER,
        SAID,
        SAID,
        REASONING,
        item("a"),
        {"role": "assistant", "content": "meanwhile"},
        item("b"),
        output("b"),
        output("a"),
        SAID,
    ]
    calls = chat("a", "b")["tool_calls"]
    assert to_chat(history) == [
        USER,
        SAID,
        {"role": "assistant", "content": "done\n\nmeanwhile", "tool_calls": calls},
        tool("b"),
        tool("a"),
        SAID,
    ]


def test_calls_after_calls_stay_apart() -> None:
    history = [USER, item("a"), output("a"), item("b"), output("b")]
    assert to_chat(history) == [USER, chat("a"), tool("a"), chat("b"), tool("b")]
    assert [message["role"] for message in to_anthropic(history)[1]] == ["user", "assistant", "user", "assistant", "user"]


def test_anthropic_gets_alternating_roles() -> None:
    history = [USER, {"role": "user", "content": "now"}, chat("a"), tool("a"), USER, SAID, {"role": "system", "content": "short"}, SAID]
    system, messages = to_anthropic([{"role": "developer", "content": "brief"}, *history])
    assert system == "brief\n\nshort"
    assert [message["role"] for message in messages] == ["user", "assistant", "user", "assistant"]
    assert messages[0]["content"] == [{"type": "text", "text": "go"}, {"type": "text", "text": "now"}]
    assert [part["type"] for part in messages[2]["content"]] == ["tool_result", "text"]
    assert messages[3]["content"] == [{"type": "text", "text": "done"}] * 2


def test_anthropic_gets_no_empty_text_and_no_keys_of_a_reply() -> None:
    reply = {
        "id": "msg",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "x"}, {"type": "text", "text": ""}],
    }
    history = [
        {"role": "user", "content": " "},
        {"role": "user", "content": "go", "name": "ann"},
        {"role": "assistant", "content": ""},
        reply,
    ]
    assert to_anthropic(history) == (None, [USER, {"role": "assistant", "content": [{"type": "text", "text": "x"}]}])


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("", {}),
        ("{}", {}),
        ('{"a": [1]}', {"a": [1]}),
        ("[1]", {"input": "[1]"}),
        ("{oops", {"input": "{oops"}),
        ("[" * 100_000, {"input": "[" * 100_000}),
        ('{"a": NaN}', {"input": '{"a": NaN}'}),
    ],
)
def test_anthropic_gets_an_object_whatever_the_arguments(arguments: str, given: Any) -> None:
    _, messages = to_anthropic([USER, item("a", arguments=arguments), output("a")])
    assert messages[1]["content"][0]["input"] == given


def test_a_custom_call_stays_custom_between_the_forms_of_openai() -> None:
    in_chat = [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        tool("a"),
    ]
    items = [
        {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "a", "output": "fine"},
    ]
    assert to_responses(in_chat) == items
    assert to_chat(items) == in_chat
    assert to_anthropic(items)[1][0]["content"] == [{"type": "tool_use", "id": "a", "name": "f", "input": {"input": "x"}}]


def test_old_function_calls_get_ids_of_their_own() -> None:
    history = [OLD_CALL, OLD_RESULT, USER, OLD_CALL, OLD_RESULT]
    items = to_responses(history)
    assert [each.get("call_id") for each in items] == ["f", "f", None, "f_2", "f_2"]
    assert not broken_rules(items) and not broken_rules(to_anthropic(history)[1])


def test_an_id_used_again_or_refused_is_replaced_with_its_results() -> None:
    history = [chat("a"), tool("a"), USER, chat("a", "functions.f:0"), tool("functions.f:0"), tool("a"), use("a"), result("a")]
    _, messages = to_anthropic(history)
    uses = [part["id"] for message in messages for part in message["content"] if isinstance(part, dict) and part["type"] == "tool_use"]
    assert len(set(uses)) == 4 and uses[3] == "a" and all(each.replace("_", "").replace("-", "").isalnum() for each in uses)
    assert not broken_rules(messages)
    assert not broken_rules(to_responses(history))


def test_an_id_used_in_every_turn_costs_the_same_in_every_turn() -> None:
    turns = [chat("call_0"), tool("call_0"), USER] * 20_000
    started = time.process_time()
    items = to_responses(turns)
    assert len({each["call_id"] for each in items if "call_id" in each}) == 20_000
    assert time.process_time() - started < 20, "a history that is counted through for each call takes minutes"


def test_an_id_that_is_too_long_is_cut() -> None:
    long = "x" * 100
    assert len(to_chat([item(long), output(long)])[1]["tool_call_id"]) == 40
    assert len(to_responses([chat(long), tool(long)])[1]["call_id"]) == 64
    assert to_chat([item(long), item(long + "y"), output(long + "y"), output(long)])[0]["tool_calls"][0]["id"] != "x" * 40


def test_a_message_of_parts_from_two_forms_keeps_the_ids_of_its_calls() -> None:
    used = {"role": "assistant", "content": [{"type": "output_text", "text": "so"}, *use("a")["content"]]}
    assert to_anthropic([used, result("a")]) == (
        None,
        [{"role": "assistant", "content": [{"type": "text", "text": "so"}, *use("a")["content"]]}, result("a")],
    )
    assert to_chat([{"type": "message", **chat("a")}, tool("a")]) == [chat("a"), tool("a")]


def test_a_responses_message_loses_the_keys_that_chat_has_not() -> None:
    typed = {"type": "message", "id": "m", "status": "completed", "role": "assistant", "content": "done"}
    assert to_chat([{"type": "message", **USER}, typed]) == [USER, SAID]


def test_reasoning_stays_in_its_own_family() -> None:
    thought = {"role": "assistant", "content": [THINKING, {"type": "text", "text": "x"}]}
    spoken = {"role": "assistant", "content": "x", "reasoning_content": "hm"}
    plain = {"role": "assistant", "content": "x"}
    history = [USER, thought, USER, spoken, USER, REASONING, SAID]
    assert to_chat(history) == [USER, plain, USER, spoken, USER, SAID]
    assert to_responses(history) == [USER, plain, USER, plain, USER, REASONING, SAID]
    assert to_anthropic(history) == (None, [USER, thought, USER, plain, USER, SAID])


def test_reasoning_goes_with_what_it_led_to() -> None:
    nothing = {"role": "assistant", "content": [THINKING]}
    assert to_responses([USER, REASONING, nothing, USER]) == [USER, USER]
    assert to_responses([USER, REASONING, nothing, item("a"), output("a")]) == [USER, REASONING, item("a"), output("a")]
    assert to_responses([USER, REASONING]) == [USER, REASONING], "an answer that has only begun is kept"


def test_items_without_a_counterpart_are_left_out_with_their_outputs() -> None:
    history = [
        USER,
        SEARCH,
        {"type": "computer_call", "call_id": "c"},
        item("a"),
        output("a"),
        {"type": "computer_call_output", "call_id": "c"},
        SAID,
    ]
    assert to_chat(history) == [USER, chat("a"), tool("a"), SAID]
    assert len(to_anthropic(history)[1]) == 4


def test_an_image_in_a_result() -> None:
    image = PARTS["image data"]
    block = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "here"}, *image["anthropic"]]}
    seen = [use("a", "b"), {"role": "user", "content": [block, *result("b")["content"], {"type": "text", "text": "go on"}]}]
    assert to_chat(seen)[1:] == [
        tool("a", "here\n[image]"),
        tool("b", ""),
        {"role": "user", "content": [*image["chat"], {"type": "text", "text": "go on"}]},
    ]
    items = to_responses(seen)
    assert items[2:] == [
        output("a", output=[{"type": "input_text", "text": "here"}, *image["responses"]]),
        output("b", output=""),
        {"role": "user", "content": "go on"},
    ]
    assert to_anthropic(items)[1][1]["content"][0] == block


def test_what_an_api_does_not_take_is_named() -> None:
    audio = {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}]}
    assert to_chat([audio]) == [audio]
    assert to_responses([audio]) == [{"role": "user", "content": "[audio]"}]
    assert to_anthropic([audio]) == (None, [{"role": "user", "content": "[audio]"}])
    uploaded = {"role": "user", "content": [{"type": "input_file", "file_id": "file-1", "filename": "a.pdf"}]}
    assert to_chat([uploaded]) == [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    assert to_anthropic([uploaded]) == (None, [{"role": "user", "content": "[file a.pdf]"}])


def test_a_failed_use_keeps_its_mark_where_there_is_one() -> None:
    failed = [use("a"), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}]}]
    assert to_anthropic(failed) == (None, failed)
    assert to_chat(failed)[1] == tool("a", "no")
    assert json.loads(to_chat(failed)[0]["tool_calls"][0]["function"]["arguments"]) == {}
