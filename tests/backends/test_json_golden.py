"""The bytes of session files, pinned: each file in ``golden/`` is what a fixed history of writes leaves behind.

After a change of the layout that is meant, raise the format number, keep the old files as inputs that must still be read, and write new
ones: ``python -m tests.backends.test_json_golden``.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import directory
from turnlog.backends.port import Query
from turnlog.errors import FormatVersionError
from turnlog.heads import Head, Parent, Stretch
from turnlog.messages import Record, encode_message

GOLDEN = Path(__file__).parent / "golden"
NOW = 1795473357.25


def message(number: int, **values: Any) -> Record:
    """A message with a fixed id and time."""
    return encode_message({"role": "user", "content": f"message {number}", **values, "id": f"id-{number}", "timestamp": NOW + number})


def head(**values: Any) -> Head:
    """A head with a fixed run and time."""
    fixed = {"session_id": "chat-123", "run": "run-1", "born": "born-1", "created_at": NOW, "updated_at": NOW}
    return Head(**{**fixed, **values})


def begun(backend: Driven, count: int = 1, **values: Any) -> None:
    records = [message(number) for number in range(count)]
    assert backend.put_head(head(length=count, **values), expect=None, records=records)


def change(backend: Driven, **values: Any) -> None:
    now = backend.get_head("chat-123")
    assert backend.put_head(replace(now, counter=now.counter + 1, updated_at=NOW + 60, **values), expect=now.revision)


def append(backend: Driven, *records: Record) -> None:
    backend.append("chat-123", records, now=NOW + 30, expect=None)


def first_append(backend: Driven) -> None:
    """Two messages, each its own append."""
    begun(backend)
    append(backend, message(1, role="assistant"))


def batch(backend: Driven) -> None:
    """A whole turn with a tool call on one line."""
    begun(backend, 0)
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}
    append(
        backend,
        message(0),
        message(1, role="assistant", content=None, tool_calls=[call]),
        message(2, role="tool", content="sunny", tool_call_id="call_1"),
        message(3, role="assistant", content=[{"type": "text", "text": "It is sunny."}], name="helper"),
    )


def metadata(backend: Driven) -> None:
    """Metadata of the session and of messages, fields that other programs know and do not know."""
    fields = {
        "title": "Weather",
        "agent_name": "Assistant",
        "user_id": "u",
        "is_shared": True,
        "metadata": {"model": "m", "own": [1, None]},
    }
    begun(backend, fields=fields)
    append(backend, message(1, metadata={"mood": "good"}))
    append(backend, message(2, metadata={"turnlog": "a caller's own key"}))


def surrogates(backend: Driven) -> None:
    """Text that UTF-8 or JSON cannot hold as it is."""
    begun(backend, 0, fields={"title": "\ud800 \x00 😀"})
    append(backend, message(0, content='NUL \x00, lone \ud800 and \udfff, emoji 😀, quote ", \\, line\nbreak'))


def reverted(backend: Driven) -> None:
    """A revert to the second of four messages, a snapshot and an undo point of before, then one more message."""
    begun(backend, 4)
    backend.put_row("chat-123", "run-1", "snapshot", "snap-1", '{"past":[["",0,4]],"count":4}')
    backend.put_row("chat-123", "run-1", "undo", "undo-1", '{"past":[["",0,4]],"count":4}')
    change(backend, past=(Stretch("run-1", 0, 2),), past_count=2, tail=4, undo="undo-1")
    append(backend, message(4))


def undone(backend: Driven) -> None:
    """The same revert, undone."""
    reverted(backend)
    change(backend, past=(Stretch("run-1", 0, 4),), past_count=4, tail=5, undo=None)


def fork(backend: Driven) -> None:
    """A fork of another session, with the messages that it took over."""
    begun(backend, 3, parent=Parent("main", "born-0", "run-0", 2), fields={"title": "Fork of main"})


def mortal(backend: Driven) -> None:
    """A session that expires an hour after its last change."""
    begun(backend, ttl=3600.0)
    append(backend, message(1))


def side(backend: Driven) -> None:
    """A long session whose title was changed twice, with a draft: the side file."""
    begun(backend)
    append(backend, message(1, content="x" * 70_000))
    change(backend, fields={"title": "First"})
    change(backend, fields={"title": "Second"})
    backend.put_row("chat-123", "run-1", "draft", "draft-1", '{"body":"{}"}')


CASES: dict[str, Callable[[Driven], None]] = {
    each.__name__: each for each in (first_append, batch, metadata, surrogates, reverted, undone, fork, mortal, side)
}


def written(name: str, folder: Path) -> dict[str, bytes]:
    """What a case leaves behind: the golden file's name, and its bytes. Of the long session only the side file is kept."""
    backend = directory(folder)
    CASES[name](backend)
    backend.close()
    if name == "side":
        return {"side.json": (folder / "chat-123.json.side").read_bytes()}
    assert sorted(path.name for path in folder.iterdir()) == ["chat-123.json", "chat-123.json.lock"]
    return {f"{name}.json": (folder / "chat-123.json").read_bytes()}


@pytest.mark.parametrize("name", CASES)
def test_the_bytes_are_what_they_were(name: str, tmp_path: Path) -> None:
    for golden, data in written(name, tmp_path).items():
        assert data == (GOLDEN / golden).read_bytes()


def test_no_golden_file_is_forgotten() -> None:
    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted(f"{name}.json" for name in CASES)


@pytest.mark.parametrize("name", [name for name in CASES if name != "side"])
def test_golden_files_are_read_and_continued(name: str, tmp_path: Path) -> None:
    fresh = directory(tmp_path / "fresh")
    CASES[name](fresh)
    (tmp_path / "kept").mkdir()
    shutil.copy(GOLDEN / f"{name}.json", tmp_path / "kept" / "chat-123.json")
    kept = directory(tmp_path / "kept")
    for backend in (fresh, kept):
        append(backend, message(9))
    seen = []
    for backend in (fresh, kept):
        now = backend.get_head("chat-123")
        rows = {kind: backend.get_rows("chat-123", "run-1", kind) for kind in ("snapshot", "undo")}
        seen.append((replace(now, updated_at=0.0), rows, backend.read("chat-123", [Stretch("run-1", 0, now.length)])))
        backend.close()
    assert seen[0] == seen[1]


@pytest.mark.parametrize("where", ["front", "side"])
def test_a_newer_format_is_refused_before_anything_changes(where: str, tmp_path: Path) -> None:
    backend = directory(tmp_path)
    side(backend)
    backend.close()
    path = tmp_path / ("chat-123.json" if where == "front" else "chat-123.json.side")
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":3'))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    newer = directory(tmp_path)
    verbs: list[Callable[[], object]] = [
        lambda: newer.get_head("chat-123"),
        lambda: newer.put_head(head(), expect=None),
        lambda: newer.put_head(head(counter=9), expect="run-1.0"),
        lambda: newer.remove_head("chat-123", "run-1"),
        lambda: append(newer, message(5)),
        lambda: newer.read("chat-123", [Stretch("run-1", 0, 9)]),
        lambda: newer.put_row("chat-123", "run-1", "undo", "k", "1"),
        lambda: newer.get_rows("chat-123", "run-1", "undo"),
        lambda: newer.drop_rows("chat-123", "run-1"),
    ]
    for verb in verbs:
        with pytest.raises(FormatVersionError) as caught:
            verb()
        assert (caught.value.found, caught.value.supported) == (3, 2 if where == "front" else 1)  # type: ignore[attr-defined]
        assert path.name in str(caught.value)
    assert newer.list_heads(Query(), cursor=None, limit=5).heads == []
    newer.compact()
    newer.close()
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_every_document_is_one_json_object() -> None:
    for path in GOLDEN.iterdir():
        assert isinstance(json.loads(path.read_bytes()), dict)


if __name__ == "__main__":
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            for file_name, content in written(case, Path(scratch)).items():
                (GOLDEN / file_name).write_bytes(content)
