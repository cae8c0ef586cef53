"""pydantic-ai's messages as records: exact both ways, right to read for everyone else, small, and the record wins where it was changed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_ai.messages import (
    BinaryImage,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    RetryFeedbackPart,
    RetryPromptPart,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from tests.histories import random_history
from tests.integrations.pydantic_samples import BYTES, HISTORIES, JSON, LONG, WHEN, a_long_turn
from tests.strict_api import broken_rules
from turnlog.errors import InvalidMessageError
from turnlog.integrations.pydantic_ai.folding import JsonText, MissingTextError, fold, unfold
from turnlog.integrations.pydantic_ai.messages import from_stored, grouped, to_stored
from turnlog.messages import SessionMessage, encode_message
from turnlog.session import SessionStore, open_store
from turnlog.toolcalls import is_plain
from turnlog.validity import validate_history

EXAMPLES = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


def as_stored(messages: Sequence[ModelMessage]) -> list[SessionMessage]:
    """What a store gives back for the records of ``messages``: they have been JSON text in between."""
    return [SessionMessage.from_record(encode_message(each)) for each in to_stored(messages)]


def text_of(messages: Sequence[ModelMessage]) -> str:
    """All that pydantic-ai itself can write of messages; says more than ``==`` does, which looks away from some fields."""
    return json.dumps(ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"))


def by_pydantic(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """What pydantic-ai's own JSON gives back."""
    return ModelMessagesTypeAdapter.validate_python(ModelMessagesTypeAdapter.dump_python(list(messages), mode="json"))


def same(first: Sequence[ModelMessage], second: Sequence[ModelMessage]) -> bool:
    return first == second and text_of(first) == text_of(second)


@EXAMPLES
@given(HISTORIES)
def test_any_history_comes_back_exactly(messages: list[ModelMessage]) -> None:
    assert same(from_stored(as_stored(messages)), by_pydantic(messages))


@EXAMPLES
@given(HISTORIES)
def test_every_record_is_a_chat_message(messages: list[ModelMessage]) -> None:
    for stored in to_stored(messages):
        assert stored.role in ("user", "assistant", "system", "tool")
        assert stored.record.keys() <= {"role", "content", "tool_calls", "tool_call_id"}
        content = stored.content
        assert isinstance(content, str | list) or (content is None and stored.tool_calls)
        assert (stored.role == "tool") == isinstance(stored.record.get("tool_call_id"), str)
        if isinstance(content, list):
            assert {part["type"] for part in content} <= {"text", "image_url", "input_audio", "file"}


@EXAMPLES
@given(JSON, st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), min_size=1, max_size=2))
def test_folding_is_exact(data: Any, records: list[dict[str, Any]]) -> None:
    records[0]["copy"] = data
    folded = json.loads(json.dumps(fold(data, records)))
    assert json.dumps(unfold(folded, records)) == json.dumps(data)


def test_a_reference_into_a_record_that_changed_is_no_guess() -> None:
    with pytest.raises(MissingTextError):
        unfold(fold([LONG], [{"content": LONG}]), [{"content": None}])


def test_what_stands_for_json_is_parsed_from_text_as_it_is_stored() -> None:
    stored, data = f'["{"a+b/" * 20}"]', f'["{"a-b_" * 20}"]'
    records = [{"content": stored}]
    assert unfold(fold(JsonText(stored), records), records) == json.loads(stored)
    assert unfold(fold(JsonText(data), records), records) == json.loads(data)


def test_a_turn_with_nearly_everything_reads_right() -> None:
    messages = a_long_turn()
    stored = as_stored(messages)
    assert from_stored(stored) == messages
    assert [each.role for each in stored] == ["system", "user", "assistant", "tool", "tool", "user", "user", "assistant"]
    system, prompt, call, first, second, files, meanwhile, answer = (each.record for each in stored)
    data_url = BinaryImage(data=BYTES * 4, media_type="image/png").data_uri
    assert system == {"role": "system", "content": "Be brief."}
    assert prompt["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": data_url}},
        {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}},
    ]
    assert call["content"] == LONG
    assert [each["function"] for each in call["tool_calls"]] == [
        {"name": "look", "arguments": f'{{"at":"{LONG}","n":1.0}}'},
        {"name": "zoom", "arguments": '{"x": 1}'},
    ]
    assert first["tool_call_id"] == "c1" and "a cat" in first["content"]
    assert second == {"role": "tool", "tool_call_id": "c2", "content": "no such place"}
    assert {"type": "image_url", "image_url": {"url": data_url}} in files["content"]
    assert meanwhile == {"role": "user", "content": "meanwhile"}
    assert answer == {"role": "assistant", "content": "A cat."}
    assert broken_rules([each.record for each in stored]) == []


def test_nothing_long_is_stored_twice() -> None:
    stored = as_stored(a_long_turn())
    for each in stored:
        assert LONG not in json.dumps(each.metadata) or "instructions" in json.dumps(each.metadata)
        assert len(json.dumps(each.metadata)) < 1_000


def test_a_plain_turn_keeps_next_to_nothing_beside_its_text() -> None:
    messages = [
        ModelRequest(parts=[UserPromptPart(LONG * 10, timestamp=WHEN)], run_id="r"),
        ModelResponse(parts=[TextPart(LONG * 10)], timestamp=WHEN),
    ]
    stored = as_stored(messages)
    assert from_stored(stored) == messages
    assert stored[0].metadata == {"pydantic_ai": {"request": {"run_id": "r"}}}
    assert stored[1].metadata["pydantic_ai"].keys() == {"response", "sum"}
    assert [each.timestamp for each in stored] == [WHEN.timestamp()] * 2
    assert is_plain([each.record for each in stored])


def test_ids_come_from_the_turn() -> None:
    assert [each.id for each in to_stored(a_long_turn(), turn_id="turn-7")] == [f"turn-7-{n}" for n in range(8)]
    assert to_stored(a_long_turn()[:1], turn_id="t")[0].metadata == to_stored(a_long_turn()[:1], turn_id="t")[0].metadata
    fresh = to_stored(a_long_turn()) + to_stored(a_long_turn())
    assert len({each.id for each in fresh}) == len(fresh)


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_window_gives_each_request_with_the_parts_that_are_there(cut: int) -> None:
    whole, window = as_stored(a_long_turn()), from_stored(as_stored(a_long_turn())[cut:])
    assert sum(len(each.parts) for each in window) > 0
    assert from_stored(whole)[-1:] == window[-1:]
    if cut == 1:
        assert window[0] == replace(a_long_turn()[0], parts=a_long_turn()[0].parts[1:])
    if cut == 4:  # the last result, the files of a result that is not there, and what was said in the meantime
        assert [type(part).__name__ for part in window[0].parts] == [
            "UserPromptPart",
            "UserPromptPart",
            "ToolAvailabilityDeltaPart",
            "ToolReturnPart",
        ]


def test_an_instruction_without_a_prompt_is_a_system_record() -> None:
    request = ModelRequest(parts=[], instructions=LONG)
    (stored,) = as_stored([request])
    assert stored.record == {"role": "system", "content": LONG} and LONG not in json.dumps(stored.metadata)
    assert from_stored([stored]) == [request]
    (empty,) = as_stored([ModelResponse(parts=[], timestamp=WHEN)])
    assert empty.record == {"role": "assistant", "content": ""}
    assert from_stored([empty]) == [ModelResponse(parts=[], timestamp=WHEN)]


def test_older_retry_prompts_come_back_as_pydantic_reads_them() -> None:
    with pytest.warns(Warning, match="RetryPromptPart"):
        messages: list[ModelMessage] = [
            ModelRequest(parts=[RetryPromptPart("no", tool_name="f", tool_call_id="c1")]),
            ModelRequest(parts=[RetryPromptPart("no")]),
        ]
    stored = as_stored(messages)
    assert [each.role for each in stored] == ["tool", "user"]
    answered, said = from_stored(stored)
    assert isinstance(answered.parts[0], ToolReturnPart) and answered.parts[0].outcome == "retried"
    assert isinstance(said.parts[0], RetryFeedbackPart) and said.parts[0].content == "no"


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="dict is no pydantic-ai message"):
        to_stored([{"role": "user"}])  # type: ignore[list-item]


# ---------------------------------------------------------------------------------------------------------------- changed records


def changed(stored: SessionMessage, **record: Any) -> SessionMessage:
    made = {**stored.record, **record}
    return replace(stored, role=made.get("role"), content=made.get("content"), tool_calls=made.get("tool_calls"), record=made)


def test_a_changed_record_wins() -> None:
    stored = as_stored(a_long_turn())
    stored[1] = changed(stored[1], content="What is that?")
    stored[2] = changed(stored[2], content="Let me see.")
    stored[3] = changed(stored[3], content="a dog")
    stored[7] = changed(stored[7], content="A dog.")
    prompt, call, results, answer = from_stored(stored)
    assert [part.content for part in prompt.parts] == ["Be brief.", "What is that?"] and prompt.run_id == "run-1"
    assert [type(part) for part in call.parts] == [TextPart, ToolCallPart, ToolCallPart]
    assert (
        isinstance(call, ModelResponse) and call.text == "Let me see." and call.provider_details is None and call.usage.input_tokens == 10
    )
    looked = [part for part in results.parts if isinstance(part, ToolReturnPart)]
    assert [(part.tool_name, part.content, part.tool_call_id) for part in looked] == [
        ("look", "a dog", "c1"),
        ("zoom", "no such place", "c2"),
    ]
    assert isinstance(answer, ModelResponse) and answer.text == "A dog." and answer.usage.input_tokens == 20


def test_changed_files_of_a_tool_win() -> None:
    stored = as_stored(a_long_turn())
    stored[5] = changed(stored[5], content=[{"type": "text", "text": "(removed)"}])
    results = from_stored(stored)[2]
    assert not any(isinstance(part.content, list) for part in results.parts if isinstance(part, ToolReturnPart))
    assert "(removed)" in [part.content for part in results.parts if isinstance(part, UserPromptPart)]


def test_a_record_with_another_role_is_what_it_says() -> None:
    stored = as_stored(a_long_turn())
    stored[0] = changed(stored[0], role="assistant")
    assert from_stored(stored)[0].kind == "response"


@pytest.mark.parametrize(
    "metadata",
    [
        {"pydantic_ai": None},
        {"pydantic_ai": []},
        {"pydantic_ai": {"part": 3, "sum": 1}},
        {"pydantic_ai": {"request": 3}},
        {"pydantic_ai": {"request": {"state": "of war"}}},
        {"pydantic_ai": {"group": [3]}},
        {"pydantic_ai": {"group": ["k", "x"], "hidden": 7}},
        {"pydantic_ai": {"hidden": [[0, {"part_kind": "from the future"}]]}},
    ],
)
def test_metadata_of_somebody_else_does_no_harm(metadata: dict[str, Any]) -> None:
    (message,) = from_stored([SessionMessage(role="user", content="hello", metadata=metadata)])
    assert isinstance(message, ModelRequest) and [part.content for part in message.parts] == ["hello"]


# -------------------------------------------------------------------------------------------------------- records of other writers


def foreign(*records: dict[str, Any]) -> list[ModelMessage]:
    return from_stored([SessionMessage(record=record) for record in records])


def shape(messages: Sequence[ModelMessage]) -> list[list[str]]:
    return [[type(part).__name__ for part in message.parts] for message in messages]


def test_chat_records_become_messages() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}
    image = {"type": "image_url", "image_url": {"url": "https://example.org/b.png"}}
    messages = foreign(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, image]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "a cat"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "A cat.", "reasoning_content": "Fur, whiskers."},
    )
    assert shape(messages) == [["SystemPromptPart", "UserPromptPart"], ["ToolCallPart"], ["ToolReturnPart", "UserPromptPart"], ["TextPart"]]
    assert messages[0].parts[1].content == ["What?", ImageUrl(url="https://example.org/b.png")]  # type: ignore[union-attr]
    result = messages[2].parts[0]
    assert isinstance(result, ToolReturnPart) and (result.tool_name, result.content, result.tool_call_id) == ("look", "a cat", "c1")


def test_anthropic_records_become_messages() -> None:
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}
    messages = foreign(
        {"role": "user", "content": "Look."},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": 1}},
                {"type": "tool_use", "id": "c2", "name": "zoom", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "this"}, png]},
                {"type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": True},
                {"type": "text", "text": "go on"},
            ],
        },
    )
    assert shape(messages) == [
        ["UserPromptPart"],
        ["TextPart", "ToolCallPart", "ToolCallPart"],
        ["ToolReturnPart", "ToolReturnPart", "UserPromptPart"],
    ]
    first, second, prompt = messages[2].parts
    assert isinstance(first, ToolReturnPart) and first.content == ["this", BinaryImage(data=b"\x89PNG", media_type="image/png")]
    assert isinstance(second, ToolReturnPart) and (second.tool_name, second.outcome) == ("zoom", "failed")
    assert isinstance(prompt, UserPromptPart) and prompt.content == "go on"


def test_parallel_items_of_the_responses_api_are_one_response() -> None:
    messages = foreign(
        {"role": "user", "content": "Look twice."},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I do."}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "two"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
    )
    assert shape(messages) == [["UserPromptPart"], ["TextPart", "ToolCallPart", "ToolCallPart"], ["ToolReturnPart", "ToolReturnPart"]]


@pytest.mark.parametrize("seed", range(300))
def test_valid_histories_of_any_form_stay_valid(seed: int) -> None:
    kept = random_history(seed).kept()
    assert broken_rules(kept) == []
    records = [each.record for each in as_stored(foreign(*kept))]
    assert validate_history(records) == []
    assert broken_rules(records) == []


def test_every_message_says_which_records_it_is() -> None:
    stored = as_stored(a_long_turn())
    assert [[stored.index(each) for each in records] for records, _ in grouped(stored)] == [[0, 1], [2], [3, 4, 5, 6], [7]]
    assert [message for _, message in grouped(stored)] == a_long_turn()


def test_an_edited_transcript_mixes_with_records_of_others() -> None:
    stored = [
        *as_stored(a_long_turn()),
        SessionMessage(role="user", content="And now?"),
        SessionMessage(role="assistant", content="A dog."),
    ]
    messages = from_stored(stored)
    assert messages[:4] == a_long_turn()
    assert shape(messages[4:]) == [["UserPromptPart"], ["TextPart"]]


READER = """
import sys
from pydantic_ai.messages import ModelMessagesTypeAdapter
from turnlog.integrations.pydantic_ai.messages import from_stored
from turnlog.session import open_store
with open_store(sys.argv[1]) as store:
    sys.stdout.buffer.write(ModelMessagesTypeAdapter.dump_json(from_stored(store.get_messages("chat"))))
"""


@pytest.mark.parametrize("scheme", ["sqlite", "json"])
def test_another_process_reads_the_same(scheme: str, tmp_path: Any, run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    url = f"{scheme}:///{tmp_path / 'place'}"
    store = open_store(url)
    assert isinstance(store, SessionStore)
    with store:
        store.add_messages("chat", to_stored(a_long_turn()))
    done = run_python("-c", READER, url)
    assert done.returncode == 0, done.stderr
    assert ModelMessagesTypeAdapter.validate_json(done.stdout) == a_long_turn()


def test_thinking_keeps_its_signature_only_where_the_record_is_its_own() -> None:
    message = ModelResponse(parts=[ThinkingPart("hm", signature="s" * 99, provider_name="p"), TextPart("yes")], timestamp=WHEN)
    (stored,) = as_stored([message])
    assert from_stored([stored]) == [message]
    assert from_stored([changed(stored, content="no")])[0].parts == [TextPart("no")]
    assert SystemPromptPart not in {type(part) for part in from_stored([stored])[0].parts}
