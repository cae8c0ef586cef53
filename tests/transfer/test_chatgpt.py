"""ChatGPT's export: the tree as a session and forks, tools and images readable, never an invalid history, broken and hostile trees."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.transfer.conftest import Place, names, state, texts
from tests.transfer.conversations import conversation, export, node, regenerated
from turnlog.session import SessionStore, validate_history
from turnlog.transfer import BrokenImportError, detect_format, import_path


def test_the_current_line_and_its_branches(target: SessionStore, tmp_path: Path) -> None:
    path = export(tmp_path / "conversations.json", regenerated())
    assert detect_format(path) == "chatgpt"
    report = import_path(target, path)
    assert (report.sessions, report.skipped) == (4, ())
    assert texts(target, "6750c0de") == ["Where?", "Here.", "Thanks", "Bye."]
    two = "6750c0de.a2"
    assert [text if isinstance(text, str) else text[-1]["text"] for text in texts(target, two)] == [
        *("Where?", "There.", "What is this?", "1+1", "2", "Two.")
    ]
    assert texts(target, "6750c0de.a2b") == ["Where?", "There.", "Edited", "Fine."]
    assert texts(target, "6750c0de.a2c") == ["Where?", "There.", "Edited", "Finer."]
    assert target.get_ancestors("6750c0de.a2c") == ["6750c0de.a2b", two, "6750c0de"]
    assert [target.get_session(name).forked_from_message_id for name in (two, "6750c0de.a2b", "6750c0de.a2c")] == ["0", "1", "2"]
    session = target.get_session("6750c0de")
    assert (session.title, session.metadata) == ("Rome", {"source": "chatgpt", "model": "gpt-4o"})
    assert session.created_at == "2023-11-14T22:13:20.500000+00:00"
    assert target.get_session(two).title == "Fork of Rome"
    assert [message.timestamp for message in session.messages] == [1700000001.0, 1700000002.0, 1700000011.0, 1700000012.0]


def test_tools_and_parts_stay_readable(target: SessionStore, tmp_path: Path) -> None:
    import_path(target, export(tmp_path / "c.json", regenerated()))
    for name in names(target):
        history = target.get_chat_history(name)
        assert validate_history(history) == []
        assert len(history) == len(target.get_messages(name))
        assert {message["role"] for message in history} <= {"user", "assistant"}
    image, code, result = target.get_messages("6750c0de.a2")[2:5]
    assert image.content == [
        {"type": "text", "text": "[image_asset_pointer file-service://file-1]"},
        {"type": "text", "text": "What is this?"},
    ]
    assert image.metadata["chatgpt"]["content"]["parts"][0]["width"] == 10
    assert code.metadata == {"chatgpt": {"to": "python", "content": {"content_type": "code", "language": "py"}}}
    assert result.metadata == {"chatgpt": {"tool": "python", "content": {"content_type": "execution_output"}}}


def test_twice_reordered_and_grown(target: SessionStore, tmp_path: Path) -> None:
    whole = regenerated()
    path = export(tmp_path / "c.json", whole)
    import_path(target, path)
    before = state(target)
    assert import_path(target, path).already_there == 4
    for seed in range(5):
        pairs = list(whole["mapping"].items())
        random.Random(seed).shuffle(pairs)
        report = import_path(target, export(tmp_path / "c.json", {**whole, "mapping": dict(pairs)}))
        assert (report.sessions, report.already_there, report.skipped) == (0, 4, ())
    assert state(target) == before
    whole["mapping"]["u5"] = node("u5", "a4", "user", "One more")
    whole["current_node"] = "u5"
    report = import_path(target, export(tmp_path / "c.json", whole))
    assert (report.sessions, report.messages, report.already_there) == (1, 1, 3)
    assert texts(target, "6750c0de")[-2:] == ["Bye.", "One more"]


def test_forks_of_any_depth_share(place: Place, tmp_path: Path) -> None:
    target = place("sqlite")
    nodes = [node("root", None), node("u0", "root", "user", "0")]
    for depth in range(1, 300):
        nodes += [node(f"u{depth}", f"u{depth - 1}", "user", str(depth)), node(f"x{depth}", f"u{depth - 1}", "assistant", f"x{depth}")]
    report = import_path(target, export(tmp_path / "c.json", conversation("c", "u299", *nodes)))
    assert report.sessions == 300
    assert texts(target, "c.x150") == [*map(str, range(150)), "x150"]
    assert len(target.get_children("c")) == 299


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"id": "x", "mapping": []}, "mapping"),
        ({"id": "x"}, "mapping"),
        ([], "mapping"),
        (None, "mapping"),
        (conversation("x", None), "shows no messages"),
        (conversation("x", "root", node("root", None)), "shows no messages"),
        (conversation("x", "a", node("a", "b", "user", "a"), node("b", "a", "user", "b")), "circle"),
        (conversation("x", "a", node("a", "a", "user", "a")), "circle"),
        (conversation("x", None, node("a", "b", "user", "a"), node("b", "a", "user", "b")), "circle"),
        (conversation("x", "a", node("a", None, "user", "a"), node("b", "c", "user", "b"), node("c", "b", "user", "c")), "circle"),
        (conversation("x", "a", {"id": "a", "message": 5, "parent": None}), "no object"),
        ({"id": "x", "mapping": {"a": 5}, "current_node": "a"}, "no object"),
        (conversation("x", "a", node("a", None, "user", "y" * (13 * 1024 * 1024))), "limit"),
    ],
)
def test_broken_trees_are_skipped(broken: Any, said: str, target: SessionStore, tmp_path: Path) -> None:
    report = import_path(target, export(tmp_path / "c.json", broken, regenerated()), format="chatgpt")
    assert len(report.skipped) == 1
    assert said in report.skipped[0].reason
    assert len(names(target)) == 4


def test_wrong_types_anywhere_break_nothing(place: Place, tmp_path: Path) -> None:
    odd: list[Any] = [None, 5, "", "../../etc/passwd", [], {}, [[]], {"parts": 5}, -1, 1e400, True, "x" * 3000]
    places = [["title"], ["id"], ["create_time"], ["current_node"], ["default_model_slug"]]
    inner = [["author"], ["author", "role"], ["author", "name"], ["content"], ["content", "parts"], ["content", "content_type"]]
    inner += [["metadata"], ["metadata", "model_slug"], ["recipient"], ["create_time"], ["content", "text"]]
    places += [["mapping", "u2", "parent"], ["mapping", "u2", "message"], *(["mapping", "u2", "message", *way] for way in inner)]
    target = place("json", "inner/store")
    count = 0
    for way in places:
        for value in odd:
            whole = regenerated()
            whole["id"] = whole["conversation_id"] = f"c{count}"
            at = whole
            for key in way[:-1]:
                at = at[key]
            at[way[-1]] = value
            report = import_path(target, export(tmp_path / "c.json", whole))
            assert report.sessions + len(report.skipped) >= 1, (way, value)
            count += 1
    for name in names(target):
        assert validate_history(target.get_chat_history(name)) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.json", "inner"]


def test_a_conversation_without_an_id(target: SessionStore, tmp_path: Path) -> None:
    path = export(tmp_path / "c.json", {**regenerated(), "id": None, "conversation_id": None})
    import_path(target, path)
    before = names(target)
    assert all(name.startswith("chatgpt-") for name in before)
    assert import_path(target, path).already_there == 4
    assert names(target) == before


def test_cut_short(target: SessionStore, tmp_path: Path) -> None:
    path = export(tmp_path / "c.json", regenerated(), {**regenerated(), "id": "second"})
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: len(text) * 3 // 4], encoding="utf-8")
    with pytest.raises(BrokenImportError, match="ends amid"):
        import_path(target, path)
    assert names(target) == {"6750c0de", "6750c0de.a2", "6750c0de.a2b", "6750c0de.a2c"}


def test_one_conversation_stands_alone(target: SessionStore, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    path.write_text(json.dumps(conversation("c", "a", node("a", None, "user", "hi"))), encoding="utf-8")
    assert detect_format(path) == "chatgpt"
    assert import_path(target, path, session_id="named").sessions == 1
    assert texts(target, "named") == ["hi"]
