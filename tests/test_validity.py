"""What makes a history valid: the judge against the vendors' rules, the package against the judge, and what a repair leaves out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories import (
    OLD_CALL,
    OLD_RESULT,
    SAID,
    SEARCH,
    THOUGHT,
    USER,
    WORDS,
    Message,
    chat,
    item,
    output,
    random_history,
    result,
    soups,
    tool,
    use,
)
from tests.strict_api import RULES, broken_rules
from turnlog.validity import PROBLEM_TEXTS, repair_history, validate_history

ACCEPTED = {
    "empty": [],
    "words": [USER, SAID],
    "null calls": [USER, {**SAID, "tool_calls": None, "function_call": None}],
    "a call": [USER, chat("a"), tool("a"), SAID],
    "parallel calls, answered in another order": [chat("a", "b"), tool("b"), tool("a", "")],
    "a chat id used again later": [chat("a"), tool("a"), USER, chat("a"), tool("a")],
    "a custom call": [
        {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
        tool("a"),
    ],
    "an old call": [USER, OLD_CALL, OLD_RESULT, SAID],
    "a use": [USER, use("a"), result("a"), SAID],
    "parallel uses": [use("a", "b"), result("b", "a")],
    "words after results": [use("a"), result("a", after=(WORDS,))],
    "words around uses": [{"role": "assistant", "content": [WORDS, *use("a")["content"], WORDS]}, result("a")],
    "a failed use": [
        use("a"),
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "is_error": True, "content": "no"}]},
    ],
    "an item": [USER, item("a"), output("a"), SAID],
    "parallel items": [item("a"), item("b"), output("b"), output("a")],
    "items and words in one response": [THOUGHT, item("a"), SAID, item("b"), output("a"), output("b")],
    "reasoning": [USER, THOUGHT, SAID, USER, THOUGHT, SEARCH, THOUGHT, item("a"), THOUGHT, item("b"), output("a"), output("b")],
    "other paired items": [
        {"type": "custom_tool_call", "call_id": "a"},
        {"type": "custom_tool_call_output", "call_id": "a"},
        item("a"),
        output("a"),
    ],
    "a typed message": [
        {"type": "message", "role": "user", "content": "go"},
        SEARCH,
        {"type": "message", "role": "assistant", "content": []},
    ],
    "all forms": [chat("a"), tool("a"), use("a"), result("a"), item("a"), output("a"), OLD_CALL, OLD_RESULT],
}

# rule of the judge, code of the package at the first wrong message, indexes that a repair keeps, messages
REJECTED: list[tuple[str, str, list[int], list[Any]]] = [
    ("chat-answer-all", "call-without-result", [0], [USER, chat("a")]),
    ("chat-answer-all", "call-without-result", [1], [chat("a"), USER]),
    ("chat-answer-all", "results-apart", [2], [chat("a", "b"), tool("a"), SAID]),
    ("chat-answer-all", "results-apart", [1], [chat("a"), USER, tool("a")]),
    ("chat-answer-all", "nested-call", [1, 2], [chat("o"), chat("i"), tool("i"), tool("o")]),
    ("chat-answer-all", "nested-call", [2, 3], [chat("o", "p"), tool("o"), chat("i"), tool("i"), tool("p")]),
    ("chat-answer-all", "call-without-result", [0, 2], [chat("o"), chat("i"), tool("o")]),
    ("chat-no-orphan", "result-without-call", [1], [tool("a"), USER]),
    ("chat-no-orphan", "result-without-call", [0, 2], [chat("a"), tool("b"), tool("a")]),
    ("chat-no-orphan", "result-without-call", [1], [tool("a"), USER, chat("a")]),
    ("chat-no-duplicate", "duplicate-result", [0, 1, 3], [chat("a", "b"), tool("a"), tool("a"), tool("b")]),
    ("chat-not-empty", "empty-calls", [0], [USER, {**SAID, "tool_calls": []}]),
    ("chat-call-shape", "missing-call-id", [], [chat(""), tool("")]),
    ("chat-call-shape", "missing-call-id", [], [chat("a", id=7), tool("a")]),
    ("chat-call-shape", "duplicate-call-id", [], [chat("a", "a"), tool("a")]),
    ("chat-call-shape", "malformed-call", [], [chat("a", function={"name": "f"}), tool("a")]),
    ("chat-call-shape", "malformed-call", [], [chat("a", type="other"), tool("a")]),
    ("chat-call-shape", "malformed-call", [], [{**SAID, "tool_calls": ["a"]}]),
    ("chat-call-shape", "malformed-call", [], [{**SAID, "tool_calls": {"id": "a"}}]),
    ("chat-result-shape", "call-without-result", [], [chat("a"), tool(None), tool("a", None)]),
    ("chat-result-shape", "missing-result-id", [1], [tool(["a"]), USER]),
    ("chat-result-shape", "malformed-result", [1], [tool("a", None), USER]),
    ("chat-assistant-calls", "misplaced-call", [], [{**chat("a"), "role": "user"}, tool("a")]),
    ("function-pair", "call-without-result", [1], [OLD_CALL, USER]),
    ("function-pair", "result-without-call", [0], [USER, OLD_RESULT]),
    ("function-pair", "malformed-call", [], [{"role": "assistant", "function_call": "f"}]),
    ("use-answered-next", "call-without-result", [1], [use("a"), USER]),
    ("use-answered-next", "results-apart", [1], [use("a"), USER, result("a")]),
    ("use-answered-next", "results-apart", [1], [use("a"), SAID, result("a")]),
    ("use-answered-next", "results-apart", [2], [use("a", "b"), result("a"), USER]),
    ("use-answered-next", "results-apart", [], [use("a", "b"), result("a"), result("b")]),
    ("use-answered-next", "nested-call", [1, 2], [use("o"), use("i"), result("i"), result("o")]),
    ("result-has-use", "result-without-call", [1], [result("a"), USER]),
    ("result-has-use", "results-apart", [], [use("a"), result("a", "b", after=(WORDS,))]),
    ("result-once", "call-without-result", [], [use("a"), result("a", "a")]),
    ("result-once", "call-without-result", [1], [use("a"), USER, result("a", "a")]),
    ("results-first", "call-without-result", [], [use("a"), result("a", before=(WORDS,))]),
    ("use-ids-unique", "repeated-call-id", [2, 3, 4], [use("a"), result("a"), USER, use("a"), result("a")]),
    ("use-ids-unique", "duplicate-call-id", [], [use("a", "a"), result("a")]),
    ("block-shape", "missing-call-id", [], [use(""), result("")]),
    ("block-shape", "malformed-call", [], [use("a", input='{"pa'), result("a")]),
    ("block-shape", "misplaced-call", [], [{**use("a"), "role": "user"}, result("a")]),
    ("block-shape", "misplaced-result", [], [{**result("a"), "role": "assistant"}]),
    ("block-shape", "missing-result-id", [1], [result(None), USER]),
    ("item-call-answered", "call-without-result", [0], [USER, item("a")]),
    ("item-call-answered", "results-apart", [], [item("a"), item("b"), output("a")]),
    ("item-call-answered", "nested-call", [3, 4], [item("o"), item("p"), output("o"), item("i"), output("i"), output("p")]),
    ("item-call-answered", "call-without-result", [1, 2, 3], [item("a"), SAID, item("b"), output("b")]),
    ("item-output-has-call", "result-without-call", [1], [output("a"), USER]),
    ("item-output-has-call", "result-without-call", [1, 2], [output("b"), item("a"), output("a")]),
    ("item-ids-unique", "repeated-call-id", [2, 3], [item("a"), output("a"), item("a"), output("a")]),
    ("item-ids-unique", "duplicate-result", [0, 1], [item("a"), output("a"), output("a")]),
    ("item-shape", "missing-call-id", [], [item(None), output(None)]),
    ("item-shape", "malformed-call", [], [item("a", arguments={}), output("a")]),
    ("item-shape", "malformed-result", [1], [output("a", output=None), USER]),
    ("reasoning-followed", "reasoning-without-item", [1], [THOUGHT, USER]),
    ("reasoning-followed", "reasoning-without-item", [0, 2], [USER, THOUGHT, {"role": "user", "content": "more"}]),
    ("reasoning-followed", "reasoning-without-item", [0, 2, 3], [USER, THOUGHT, chat("a"), tool("a")]),
    ("item-call-answered", "reasoning-without-item", [2], [THOUGHT, item("a"), USER]),
    ("one-form", "mixed-forms", [], [{**chat("a"), **use("a"), "tool_calls": chat("a")["tool_calls"]}, tool("a")]),
    ("one-form", "not-an-object", [1], ["words", USER]),
]


@pytest.mark.parametrize("messages", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(messages: list[Message]) -> None:
    assert broken_rules(messages) == []
    assert validate_history(messages) == []
    assert repair_history(messages) == messages


@pytest.mark.parametrize(
    ("rule", "code", "kept", "messages"), REJECTED, ids=[f"{n}-{case[0]}-{case[1]}" for n, case in enumerate(REJECTED)]
)
def test_rejected(rule: str, code: str, kept: list[int], messages: list[Any]) -> None:
    assert rule in {found.split("@")[0] for found in broken_rules(messages)}
    problems = validate_history(messages)
    assert code in {problem.code for problem in problems}
    assert repair_history(messages) == [messages[index] for index in kept]
    assert [problem.index for problem in problems] == [index for index in range(len(messages)) if index not in kept]


def test_every_rule_of_the_judge_and_every_code_has_a_case() -> None:
    assert {case[0] for case in REJECTED} == set(RULES)
    assert {problem.code for case in REJECTED for problem in validate_history(case[3])} == set(PROBLEM_TEXTS)


def test_a_problem_names_place_and_fix_and_never_content() -> None:
    secret = "s3cr3t"
    messages: list[Any] = [
        {**use(secret), "role": "user"},
        tool(secret, secret),
        chat(secret),
        {"role": "user", "content": secret},
        item(secret, name=secret),
        secret,
    ]
    problems = validate_history(messages)
    assert [problem.index for problem in problems] == [0, 1, 2, 4, 5]
    for problem in problems:
        assert problem.text.startswith(f"message {problem.index} ")
        assert ": " in problem.text
        assert secret not in repr(problem)


def test_a_repair_changes_and_copies_nothing() -> None:
    for seed in range(50):
        messages = random_history(seed).messages
        before = copy.deepcopy(messages)
        repaired = repair_history(messages)
        assert messages == before
        assert {id(message) for message in repaired} <= {id(message) for message in messages}
        assert repaired is not messages


def test_the_text_beside_results_goes_with_them() -> None:
    mixed = result("a", "stray", after=(WORDS,))
    assert repair_history([USER, use("a"), mixed, SAID]) == [USER, SAID]


@settings(max_examples=1500, deadline=None, derandomize=True)
@given(soups())
def test_package_and_judge_agree_on_any_messages(messages: list[Any]) -> None:
    repaired = repair_history(messages)
    assert (validate_history(messages) == []) == (broken_rules(messages) == [])
    assert broken_rules(repaired) == []
    assert repair_history(repaired) == repaired
    innocent = [message for message in messages if message in (USER, SAID)]
    assert [message for message in repaired if message in (USER, SAID)] == innocent


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["tool_use", "tool_result", "reasoning", "function_call"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["role", "content", "type", "id", "call_id", "tool_calls", "tool_call_id", "tool_use_id", "function_call", "name", "input"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(st.lists(json_values, max_size=6))
def test_no_json_makes_it_raise(messages: list[Any]) -> None:
    assert (validate_history(messages) == []) == (repair_history(messages) == messages)
