"""The pieces of the demonstration that its figures hang on: the judge, the model, the audit, the drawing, the printing."""

from __future__ import annotations

import io
import itertools
from typing import Any

import pytest

from demo.audit import audit
from demo.graph import graph
from demo.judge import anthropic_refusal, openai_refusal
from demo.model import Refused, answer, turn
from demo.stage import Stage, pad, visible
from demo.storm import turn_messages
from demo.toolturns import anthropic_history, openai_history
from tests.strict_api import broken_rules


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("history", "judge"), [(openai_history(), openai_refusal), (anthropic_history(), anthropic_refusal)])
def test_the_judge_agrees_with_the_strict_reading_of_the_rules(history: list[dict[str, Any]], judge: Any) -> None:
    verdicts = set()
    for start, stop in itertools.combinations(range(0, len(history) + 1, 3), 2):
        part = history[start:stop]
        verdicts.add(judge(part) is None)
        assert (judge(part) is None) == (broken_rules(part) == []), (start, stop)
    assert verdicts == {True, False}


def test_the_model_knows_only_what_it_is_sent() -> None:
    history = turn([], "My name is Ada and I live in Lisbon.")
    asked = {"role": "user", "content": "What is my name?"}
    assert answer([*history, asked])["content"] == "Your name is Ada."
    assert answer([asked])["content"] == "You did not say."


def test_the_model_refuses_what_no_api_takes() -> None:
    history = turn([], "What is the weather in Rome and Oslo?")
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "tool", "assistant"]
    with pytest.raises(Refused, match="must be a response to a preceeding message"):
        answer([*history[2:], {"role": "user", "content": "Which is warmer?"}])


def test_the_audit_finds_every_kind_of_damage() -> None:
    one, two, three = (turn_messages(key, 0) for key in ("w0.0", "w0.1", "w1.0"))
    keys = ["w0.0", "w0.1", "w1.0"]

    def found(messages: list[dict[str, Any]], acknowledged: list[str] = keys) -> dict[str, int]:
        result = audit(messages, acknowledged)
        counts = {name: getattr(result, name) for name in ("unacknowledged", "lost", "split", "doubled", "disordered")}
        return {name: count for name, count in counts.items() if count}

    assert found([*one, *two, *three]) == {}
    assert found([*one, *three, *two], keys[1:]) == {"unacknowledged": 1}
    assert found([*one, *three]) == {"lost": 1}
    assert found([*one[:2], *three, *one[2:], *two]) == {"split": 1}
    assert found([*one, *two, *three[:3]]) == {"lost": 1, "split": 1}
    assert found([*one, *two, *three, *one]) == {"split": 1, "doubled": 4, "disordered": 1}
    assert found([*two, *one, *three]) == {"disordered": 1}


def test_the_graph_is_drawn_from_the_histories() -> None:
    stage = Stage(io.StringIO())
    assert graph(stage, ["a", "b", "c"], ["a", "x"], ("main", "side")) == [
        "*   c  main",
        "*   b",
        "| * x  side",
        "|/",
        "*   a",
    ]
    assert graph(stage, ["a"], ["a", "x"], ("main", "side")) == ["  * x  side", " /", "*   a  main"]
    assert graph(stage, ["a", "b"], ["a"], ("main", "side")) == ["*   b  main", "*   a  side"]
    assert graph(stage, ["a"], ["a"], ("main", "side")) == ["*   a  main  side"]


@pytest.mark.parametrize(
    ("variables", "coloured", "lively"),
    [({"TERM": "xterm"}, True, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False, True), ({"TERM": "dumb"}, False, False)],
)
def test_colours_only_where_they_are_wanted(
    variables: dict[str, str], coloured: bool, lively: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Terminal()
    stage = Stage(screen)
    stage.live("one")
    stage.live_end()
    stage.write(stage.paint("green", "two"))
    assert ("\x1b" in screen.getvalue()) == coloured
    assert ("\r" in screen.getvalue()) == lively


def test_no_colours_and_no_living_line_in_a_pipe() -> None:
    stream = io.StringIO()
    stage = Stage(stream)
    stage.live("one")
    stage.live_end()
    stage.line(stage.paint("red", "two") + "  ")
    assert stream.getvalue() == "   two\n"


def test_columns_count_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    painted = Stage(Terminal()).paint("green", "four")
    assert visible(pad(painted, 9)) == 9
    assert visible(pad(painted, 9, right=True)) == 9
