"""JSON lines: one message a line, one session a line, broken and odd lines, and the way back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.transfer.conftest import Place, names, say, texts
from turnlog.errors import InvalidSessionIdError
from turnlog.session import SessionStore
from turnlog.transfer import BrokenImportError, detect_format, export_sessions, import_path

TOOLS = [
    {"role": "user", "content": "w?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "r", "tool_call_id": "c"},
    {"role": "assistant", "content": "so"},
]


def lines(path: Path, *values: object) -> Path:
    """A file of JSON lines; a str is a line as it stands."""
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values), encoding="utf-8")
    return path


def test_a_message_a_line_is_a_session(target: SessionStore, tmp_path: Path) -> None:
    path = lines(tmp_path / "talk.jsonl", *TOOLS[:2], "", *TOOLS[2:])
    assert detect_format(path) == "jsonl"
    report = import_path(target, path)
    assert (report.sessions, report.messages) == (1, 4)
    assert target.get_chat_history("talk") == TOOLS
    assert import_path(target, path).already_there == 1
    assert import_path(target, path, session_id="other").sessions == 1
    assert names(target) == {"talk", "other"}
    with pytest.raises(InvalidSessionIdError):
        import_path(target, path, session_id="")


def test_a_conversation_a_line_is_a_session_each(target: SessionStore, tmp_path: Path) -> None:
    path = lines(tmp_path / "tuned.jsonl", {"messages": TOOLS, "tools": [{"n": 1}]}, {"messages": say("a", "b")})
    assert detect_format(path) == "jsonl"
    seen: list[int] = []
    report = import_path(target, path, progress=lambda progress: seen.append(progress.done))
    assert (report.sessions, report.messages) == (2, 6)
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size
    assert target.get_chat_history("tuned-1") == TOOLS
    assert target.get_session("tuned-1").metadata == {"tools": [{"n": 1}]}
    path.touch()
    again = import_path(target, path)
    assert (again.sessions, again.already_there) == (0, 2)
    import_path(target, path, session_id="named")
    assert texts(target, "named-2") == ["a", "b"]


def test_a_broken_line_costs_its_session_only(target: SessionStore, tmp_path: Path) -> None:
    good = {"messages": say("a")}
    hostile = ['{"messages": [', {"messages": 5}, {"messages": [1]}, [], "\x00", {"messages": [{"role": 1}]}, "[" * 100_000]
    path = lines(tmp_path / "t.jsonl", good, *hostile, {"messages": [{"role": "user", "content": "", "id": "i"}] * 2}, good)
    report = import_path(target, path)
    assert names(target) == {"t-1", "t-10"}
    assert [skip.name for skip in report.skipped] == [f"t-{number}" for number in range(2, 10)]
    assert all(f"line {number} " in skip.reason for number, skip in enumerate(report.skipped, 2))


@pytest.mark.parametrize("line", ['{"role": "user", "con', "[]", {"role": 1}, {"role": "user", "content": float("inf")}, {"messages": []}])
def test_a_broken_line_leaves_nothing_of_one_session(line: object, target: SessionStore, tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", *say("secret", "b"), line)
    with pytest.raises(BrokenImportError, match="line 3") as caught:
        import_path(target, path)
    assert "secret" not in str(caught.value)
    assert names(target) == set()


def test_repeated_and_reordered_messages(target: SessionStore, tmp_path: Path) -> None:
    path = lines(tmp_path / "t.jsonl", *say("a", "a", "a"), *say("a", "b"))
    assert import_path(target, path).messages == 5
    lines(path, *say("b", "a"))
    report = import_path(target, path)
    assert [skip.name for skip in report.skipped] == ["t"]
    assert texts(target, "t") == ["a", "a", "a", "a", "b"]


def test_items_without_a_role(target: SessionStore, tmp_path: Path) -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}", "id": "fc_1"}
    output = {"type": "function_call_output", "call_id": "c", "output": "r"}
    path = lines(tmp_path / "items.jsonl", call, output)
    import_path(target, path)
    assert target.get_chat_history("items") == [call, output]
    assert import_path(target, path).already_there == 1


def test_there_and_back(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    source.add_messages("one", TOOLS)
    source.add_messages("two", [{"role": "user", "content": "\ud800\n\u2028🙂", "metadata": {"k": 1}}])
    source.create_session("none")
    out = io.StringIO()
    report = export_sessions(source, out, ["one", "two", "none"], format="jsonl")
    assert (report.sessions, report.messages, [skip.name for skip in report.skipped]) == (2, 5, ["none"])
    path = tmp_path / "x.jsonl"
    path.write_text(out.getvalue(), encoding="utf-8")
    assert import_path(target, path).sessions == 2
    assert target.get_chat_history("x-1") == TOOLS
    assert texts(target, "x-2") == ["\ud800\n\u2028🙂"]
