"""turnlog's own document: out and in again with nothing changed, whatever the order, twice, broken, and hostile."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.transfer.conftest import Place, names, say, state, texts, written
from turnlog.errors import FormatVersionError, InvalidSessionIdError, StorageError, UnsupportedVerbError
from turnlog.session import SessionStore
from turnlog.transfer import BrokenImportError, Progress, UnknownFormatError, detect_format, export_sessions, import_path

RICH: list[dict[str, Any]] = [
    {"role": "user", "content": [{"type": "text", "text": "\ud800 \x00 🙂"}], "id": "m1", "metadata": {"k": [1]}, "timestamp": 5.5},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
    {"role": "tool", "content": "r", "tool_call_id": "c", "extra": {"deep": None, "big": 10**30, "float": 1e300}},
    {"type": "reasoning", "id": "rs_1", "metadata": {"not": "envelope"}, "summary": []},
]


def filled(store: SessionStore) -> None:
    """A family of sessions: a fork, a fork of the fork, snapshots on lines that were left, odd ids."""
    store.add_messages("parent", RICH)
    store.add_messages("parent", say("q", "a"))
    store.set_title("parent", "Main")
    store.set_agent_info("parent", "A", "U")
    store.update_session_metadata("parent", cost=0.5)
    child = store.fork_session("parent", 2, new_session_id="../child")
    store.add_messages(child, say("x", "y", "z"))
    store.create_snapshot(child, "left", {"n": 1})
    store.revert_to_message(child, 3)
    store.create_snapshot(child, "here")
    store.add_messages(child, say("other"))
    store.fork_session(child, new_session_id="grand🙂")
    store.create_session("empty", title="Empty")


def document(store: SessionStore, path: Path, session_ids: list[str] | None = None) -> Path:
    """An export in a file."""
    with path.open("w", encoding="utf-8") as out:
        export_sessions(store, out, session_ids)
    return path


def test_out_and_in_again(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    filled(source)
    seen: list[Progress] = []
    report = import_path(target, document(source, tmp_path / "all.json"), progress=seen.append)
    assert (report.sessions, report.already_there, report.skipped) == (4, 0, ())
    assert report.messages == sum(len(source.get_messages(name)) for name in names(source))
    assert state(target) == state(source)
    assert target.get_children("parent") == ["../child"]
    assert target.get_ancestors("grand🙂") == ["../child", "parent"]
    assert (seen[-1].done, seen[-1].unit) == ((tmp_path / "all.json").stat().st_size, "bytes")
    assert seen[-1].total == seen[-1].done


def test_twice_is_once(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    filled(source)
    path = document(source, tmp_path / "all.json")
    import_path(target, path)
    before = state(target)
    for overwrite in (False, True):
        report = import_path(target, path, overwrite=overwrite)
        assert (report.sessions, report.messages, report.already_there, report.skipped) == (0, 0, 4, ())
        assert state(target) == before


def test_any_order(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    filled(source)
    for order in (["grand🙂", "../child", "empty", "parent"], ["parent", "../child", "grand🙂", "empty"]):
        import_path(target, document(source, tmp_path / "all.json", order), overwrite=True)
        assert state(target) == state(source)
        for name in order:
            target.delete_session(name)


def test_the_same_as_export_all(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("json", "source")
    filled(source)
    out = io.StringIO()
    report = export_sessions(source, out)
    assert json.loads(out.getvalue()) == json.loads(json.dumps(source.export_all()))
    assert report.sessions == 4
    import_path(target, written(tmp_path / "all.json", source.export_all()))
    assert state(target) == state(source)


def test_forks_share_where_the_store_can(place: Place, tmp_path: Path) -> None:
    source, target = place("sqlite", "source"), place("sqlite")
    source.add_messages("p", say(*map(str, range(100))))
    for number in range(20):
        source.fork_session("p", 90, new_session_id=f"f{number}")
    import_path(target, document(source, tmp_path / "all.json"))
    target.sweep(compact=True)
    source.sweep(compact=True)
    assert (tmp_path / "target.sqlite").stat().st_size <= (tmp_path / "source.sqlite").stat().st_size
    target.delete_session("p")
    assert texts(target, "f7") == [str(number) for number in range(91)]


def test_one_session_and_its_other_forms(target: SessionStore, place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    filled(source)
    flat = source.export_session("parent", include_lineage=False)["sessions"][0]
    path = written(tmp_path / "one.json", flat)
    assert detect_format(path) == "turnlog"
    assert import_path(target, path, session_id="named").sessions == 1
    assert texts(target, "named") == texts(source, "parent")
    with pytest.raises(InvalidSessionIdError, match="more than one"):
        import_path(target, document(source, tmp_path / "all.json"), session_id="named")
    assert names(target) == {"named"}


def test_a_session_that_is_taken(target: SessionStore, tmp_path: Path) -> None:
    target.add_messages("s", say("mine"))
    path = written(tmp_path / "d.json", {"version": 1, "sessions": [{"session_id": "s", "messages": say("theirs")}]})
    report = import_path(target, path)
    assert [skip.name for skip in report.skipped] == ["s"]
    assert "overwrite" in report.skipped[0].reason
    assert texts(target, "s") == ["mine"]
    assert import_path(target, path, overwrite=True).sessions == 1
    assert texts(target, "s") == ["theirs"]


@pytest.mark.parametrize("order", [("p", "c"), ("c", "p")])
def test_no_fork_of_a_session_that_only_has_the_name(order: tuple[str, str], target: SessionStore, tmp_path: Path) -> None:
    target.add_messages("p", say("mine"))
    sessions = {
        "p": {"session_id": "p", "messages": say("theirs")},
        "c": {"session_id": "c", "parent_id": "p", "messages": say("theirs", "c")},
    }
    path = written(tmp_path / "d.json", {"version": 1, "sessions": [sessions[name] for name in order]})
    assert [skip.name for skip in import_path(target, path).skipped] == ["p"]
    assert (texts(target, "p"), texts(target, "c"), target.get_parent("c")) == (["mine"], ["theirs", "c"], None)


def test_a_fork_whose_parent_is_in_the_store_already(target: SessionStore, tmp_path: Path) -> None:
    target.add_messages("p", say("a"))
    exported = {"session_id": "c", "parent_id": "p", "forked_from_message_id": "0", "messages": say("a", "c")}
    import_path(target, written(tmp_path / "d.json", {"version": 1, "sessions": [exported]}))
    assert target.get_parent("c") == "p"


def test_a_session_that_went_on(target: SessionStore, tmp_path: Path) -> None:
    grown = {"version": 1, "sessions": [{"session_id": "s", "messages": say(*"abcd")}]}
    short = {"version": 1, "sessions": [{"session_id": "s", "messages": say(*"ab")}]}
    import_path(target, written(tmp_path / "short.json", short))
    report = import_path(target, written(tmp_path / "grown.json", grown))
    assert (report.sessions, report.messages) == (1, 2)
    assert import_path(target, tmp_path / "short.json").already_there == 1
    target.revert_to_message("s", 1)
    assert import_path(target, tmp_path / "grown.json").messages == 0
    assert texts(target, "s") == ["a", "b"]


def test_messages_without_ids_that_are_alike(target: SessionStore, tmp_path: Path) -> None:
    alike = [{"role": "user", "content": "again", "timestamp": 5.0}] * 3
    path = written(tmp_path / "d.json", {"version": 1, "sessions": [{"session_id": "s", "messages": alike}]})
    assert (import_path(target, path).messages, import_path(target, path).already_there) == (3, 1)
    assert texts(target, "s") == ["again"] * 3
    assert [message.timestamp for message in target.get_messages("s")] == [5.0] * 3


def test_a_message_that_comes_meanwhile(target: SessionStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = [{"session_id": "s", "messages": say(*"abcd")}]
    import_path(target, written(tmp_path / "short.json", {"version": 1, "sessions": [{**sessions[0], "messages": say("a")}]}))
    append = target.backend.append

    async def late(session_id: str, records: Any, *, now: float, expect: str | None) -> Any:
        monkeypatch.setattr(target.backend, "append", append)
        target.add_message("s", "user", "meanwhile")
        return await append(session_id, records, now=now, expect=expect)

    monkeypatch.setattr(target.backend, "append", late)
    report = import_path(target, written(tmp_path / "grown.json", {"version": 1, "sessions": sessions}))
    assert (report.sessions, [skip.name for skip in report.skipped]) == (0, ["s"])
    assert texts(target, "s") == ["a", "meanwhile"]


def test_cut_at_every_place(place: Place, tmp_path: Path) -> None:
    source = place("sqlite", "source")
    filled(source)
    whole = document(source, tmp_path / "all.json").read_bytes()
    wanted = state(source)
    for end in range(1, len(whole.rstrip()) - 1, 97):
        path = tmp_path / "cut.json"
        path.write_bytes(whole[:end])
        target = place("memory")
        with pytest.raises(BrokenImportError) as caught:
            import_path(target, path, format="turnlog")
        assert "all.json" not in str(caught.value)
        # Sessions are whole or not there; forks whose parent was cut off are kept without it.
        complete = sum(f'"session_id":{json.dumps(name)}'.encode() in whole[: end - 1] for name in wanted)
        assert max(0, complete - 1) <= len(names(target)) <= complete, end
        for name in names(target):
            assert texts(target, name) == texts(source, name)
        import_path(target, tmp_path / "all.json", overwrite=True)
        assert state(target) == wanted


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"session_id": "s", "messages": 5}, "must be a list"),
        ({"session_id": "s", "messages": [None]}, "must be an object"),
        ({"session_id": "s", "messages": [{"role": 5, "content": ""}]}, "role"),
        ({"session_id": "s", "messages": [{"role": "user", "content": float("nan")}]}, "JSON cannot hold"),
        ({"session_id": "s", "messages": [{"role": "user", "content": "x" * (13 * 1024 * 1024)}]}, "limit"),
        ({"session_id": "s", "messages": [{"role": "user", "content": "", "id": 5}]}, "message id"),
        ({"session_id": "s", "messages": [{"role": "user", "content": "", "id": "i"}] * 2}, "same id"),
        ({"session_id": "s", "messages": [{"role": "user", "content": "", "timestamp": "now"}]}, "timestamp"),
        ({"session_id": "s", "metadata": [1]}, "metadata"),
        ({"session_id": "s", "snapshots": [{"id": "p", "common": 9}]}, "shares 9"),
        ({"session_id": "s", "snapshots": {}, "messages": say("a"), "last_compaction": "x"}, "last_compaction"),
        ({"session_id": ""}, "empty"),
        ({"session_id": "x" * 2000}, "2000"),
        ({"session_id": 7}, "must be a str"),
        ({"messages": []}, "session_id"),
        ([], "session_id"),
        (None, "session_id"),
    ],
)
def test_hostile_sessions_are_skipped(payload: object, said: str, target: SessionStore, tmp_path: Path) -> None:
    good = {"session_id": "good", "messages": say("a")}
    path = written(tmp_path / "d.json", {"version": 1, "sessions": [payload, good]})
    report = import_path(target, path)
    assert said in report.skipped[0].reason
    assert len(report.skipped) == 1
    assert names(target) == {"good"}


def test_path_names_as_ids_stay_inside(place: Place, tmp_path: Path) -> None:
    target = place("json", "inner/store")
    ids = ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "CON", "\x00", "a\nb"]
    sessions = [{"session_id": name, "title": "../" + name, "messages": say(name)} for name in ids]
    report = import_path(target, written(tmp_path / "d.json", {"sessions": sessions, "version": 1}))
    assert (report.sessions, report.skipped) == (len(ids), ())
    assert names(target) == set(ids)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.json", "inner"]


def test_circles_of_parents(target: SessionStore, tmp_path: Path) -> None:
    links = {"a": "b", "b": "c", "c": "a", "self": "self", "below": "a", "lost": "nobody"}
    sessions = [{"session_id": name, "parent_id": parent, "messages": say(name)} for name, parent in links.items()]
    path = written(tmp_path / "d.json", {"version": 1, "sessions": sessions})
    report = import_path(target, path)
    assert report.sessions == 6
    assert sorted(skip.reason for skip in report.skipped) == ["the parents go in a circle; the session is there without"] * 2
    assert names(target) == set(links)
    assert target.get_parent("below") == "a"
    assert target.get_parent("lost") is None
    assert target.get_session("lost").parent_id == "nobody"
    assert import_path(target, path).already_there == 6


def test_the_same_id_twice(target: SessionStore, tmp_path: Path) -> None:
    sessions = [{"session_id": "s", "messages": say(text)} for text in ("first", "second")]
    report = import_path(target, written(tmp_path / "d.json", {"version": 1, "sessions": sessions}), overwrite=True)
    assert [skip.name for skip in report.skipped] == ["s"]
    assert texts(target, "s") == ["first"]


@pytest.mark.parametrize("text", ["", "x", "[1]", "{}", '{"a": 1}', "5", "\ufeff{}", '"sessions"', "[{}]"])
def test_what_is_no_format(text: str, target: SessionStore, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UnknownFormatError, match="formats"):
        detect_format(path)
    with pytest.raises(BrokenImportError):
        import_path(target, path, format="turnlog")


def test_what_cannot_be_used(target: SessionStore, tmp_path: Path) -> None:
    newer = written(tmp_path / "n.json", {"version": 2, "sessions": [{"session_id": "s"}]})
    with pytest.raises(FormatVersionError, match="version 2"):
        import_path(target, newer)
    deep = tmp_path / "deep.json"
    deep.write_text('{"version": 1, "sessions": [' + "[" * 200_000 + "]" * 200_000 + "]}", encoding="utf-8")
    with pytest.raises(BrokenImportError, match="deep"):
        import_path(target, deep)
    latin = tmp_path / "latin.json"
    latin.write_bytes(b'{"version": 1, "sessions": ["\xe9"]}')
    with pytest.raises(BrokenImportError, match="UTF-8"):
        import_path(target, latin, format="turnlog")
    with pytest.raises(UnknownFormatError, match="no format 'xml'"):
        import_path(target, newer, format="xml")
    with pytest.raises(StorageError):
        import_path(target, tmp_path / "none.json")
    with pytest.raises(UnsupportedVerbError):
        import_path(object(), newer)  # type: ignore[arg-type]
    with pytest.raises(UnknownFormatError):
        export_sessions(target, io.StringIO(), format="xml")
    assert names(target) == set()


def test_errors_hold_no_content(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text('{"version": 1, "sessions": [{"session_id": "s", "messages": [{"role": "user", "content": "secret', encoding="utf-8")
    with pytest.raises(BrokenImportError) as caught:
        import_path(place("memory"), path)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_not_there_is_a_skip_of_the_export(place: Place) -> None:
    source = place("memory")
    source.add_messages("s", say("a"))
    out = io.StringIO()
    report = export_sessions(source, out, ["none", "s", "s"])
    assert (report.sessions, report.messages, [skip.name for skip in report.skipped]) == (1, 1, ["none"])
    assert [session["session_id"] for session in json.loads(out.getvalue())["sessions"]] == ["s"]
