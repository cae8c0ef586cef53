"""A JSON file whose last append was cut short, at every byte: the last whole line counts, the rest is set aside, the store goes on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document
from tests.backends.samples import a_head, all_ids, record
from turnlog.errors import CorruptSessionError, StorageError
from turnlog.heads import Stretch
from turnlog.messages import Record, decode_all, encode_message

CALLS = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"}}}, {"}'}}]
APPENDS: list[list[Record]] = [
    [encode_message({"role": "user", "content": 'Grüße 🌍 "}}}, {"role":"user"', "id": "one"})],
    [
        encode_message({"role": "user", "content": "x", "id": "two", "metadata": {"mood": "good"}}),
        encode_message({"role": "assistant", "content": None, "tool_calls": CALLS, "id": "three"}),
        encode_message({"role": "tool", "tool_call_id": "c", "content": "\x00\ud800", "name": "f", "id": "four"}),
    ],
    [record("five")],
]


def versions(root: Path, appends: Iterable[list[Record]], first: list[Record]) -> list[tuple[bytes, list[str]]]:
    """The file before the first append and after each, with the ids it then holds."""
    backend = directory(root)
    backend.put_head(a_head(length=len(first)), expect=None, records=first)
    found = [((root / "s.json").read_bytes(), all_ids(backend))]
    for batch in appends:
        backend.append("s", batch, now=3.0, expect=None)
        found.append(((root / "s.json").read_bytes(), all_ids(backend)))
    backend.close()
    return found


def end_of_messages(data: bytes) -> int:
    return data.rindex(b'\n],"updated_at"')


def judge(root: Path, data: bytes, allowed: list[list[str]]) -> list[str]:
    """What a store makes of ``data``: one of the histories allowed, in a document that any program can parse, and it goes on."""
    path = root / "s.json"
    path.write_bytes(data)
    backend = directory(root)
    ids = all_ids(backend)
    assert ids in allowed
    assert backend.get_head("s").count == len(ids)
    shown = document(path)
    assert shown["message_count"] == len(shown["messages"]) == len(ids)
    assert backend.append("s", [record("after")], now=4.0, expect=None).messages == len(ids) + 1
    assert [each.get("content") for each in document(path)["messages"]][-1] == "after"
    backend.close()
    again = directory(root)
    assert all_ids(again) == [*ids, "after"]
    again.close()
    kept = b"".join((root / name).read_bytes() for name in beside(path))
    for name in beside(path):
        assert ".torn-" in name
        (root / name).unlink()
    # What is left out of the history has been set aside, to the last byte that could be a message.
    lost = data[end_of_lines(data, len(ids)) :]
    assert b"{" not in lost or kept == lost
    return ids


def end_of_lines(data: bytes, count: int) -> int:
    """Where the line ends that holds message number ``count``, counted from 1."""
    if not count:
        return data.index(b',"messages":[') + len(b',"messages":[')
    mark = b'"n":%d}}}' % (count - 1)
    return data.rindex(mark) + len(mark)


@pytest.mark.parametrize("first", [[], [record("zero")]], ids=["empty", "one message"])
def test_a_file_that_ends_at_any_byte_of_the_last_three_appends(tmp_path: Path, first: list[Record]) -> None:
    steps = versions(tmp_path, APPENDS, first)
    start = end_of_messages(steps[0][0])
    whole = steps[-1][0]
    histories = [ids for _, ids in steps]
    for size in range(start, len(whole)):
        ids = judge(tmp_path, whole[:size], histories)
        # Every append whose line is there is there.
        assert len(ids) >= max(len(ids) for data, ids in steps if end_of_messages(data) <= size)


@pytest.mark.parametrize("first", [[], [record("zero")]], ids=["empty", "one message"])
def test_an_append_that_wrote_any_number_of_its_bytes(tmp_path: Path, first: list[Record]) -> None:
    steps = versions(tmp_path, APPENDS, first)
    for (before, old), (after, new) in zip(steps, steps[1:], strict=False):
        start = end_of_messages(before)
        line = end_of_messages(after)
        for size in range(start, len(after)):
            ids = judge(tmp_path, after[:size] + before[size:], [old, new])
            assert (ids == new) == (size >= line)


def test_what_power_loss_left_blank(tmp_path: Path) -> None:
    steps = versions(tmp_path, APPENDS, [record("zero")])
    for (before, old), (after, new) in zip(steps, steps[1:], strict=False):
        start = end_of_messages(before)
        for size in range(start, len(after), 3):
            judge(tmp_path, after[:size] + bytes(len(after) - size), [old, new])


def test_large_messages_cut_anywhere(tmp_path: Path) -> None:
    luck = random.Random(3)
    appends = [
        [record(f"{batch}.{part}", luck.choice("aü🌍") * luck.randrange(20_000, 50_000)) for part in range(3 - batch % 2)]
        for batch in range(3)
    ]
    steps = versions(tmp_path, appends, [record("zero")])
    histories = [ids for _, ids in steps]
    whole = steps[-1][0]
    start = end_of_messages(steps[0][0])
    sizes = {luck.randrange(start, len(whole)) for _ in range(120)}
    for data, _ in steps:
        sizes |= set(range(max(start, end_of_messages(data) - 3), min(len(data) + 3, len(whole))))
    for size in sorted(sizes):
        ids = judge(tmp_path, whole[:size], histories)
        assert len(ids) >= max(len(ids) for data, ids in steps if end_of_messages(data) <= size)


def test_a_cut_that_reaches_back_into_what_was_laid_out_is_damage(tmp_path: Path) -> None:
    (data, _), *_ = versions(tmp_path, [], [record("zero"), record("one")])
    data = data[: data.index(b'"one"')]
    (tmp_path / "s.json").write_bytes(data)
    backend = directory(tmp_path)
    for verb in (lambda: backend.get_head("s"), lambda: backend.append("s", [record("x")], now=1.0, expect=None)):
        with pytest.raises(StorageError, match="restore the file"):
            verb()
    assert (tmp_path / "s.json").read_bytes() == data
    backend.close()


class TestShortWrites:
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[Driven]:
        made = directory(tmp_path)
        made.put_head(a_head(), expect=None)
        made.append("s", APPENDS[0], now=3.0, expect=None)
        yield made
        made.close()

    @pytest.mark.parametrize("size", [1, 7, 100])
    def test_writes_that_take_a_few_bytes_at_a_time(
        self, backend: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
    ) -> None:
        pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:size], at))
        backend.append("s", APPENDS[1], now=3.0, expect=None)
        backend.put_row("s", "r1", "undo", "k", "1")
        assert all_ids(backend) == ["one", "two", "three", "four"]
        assert len(document(tmp_path / "s.json")["messages"]) == 4

    @pytest.mark.parametrize("room", range(0, 120, 7))
    def test_a_disk_that_fills_up_within_an_append(
        self, backend: Driven, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
    ) -> None:
        before = (tmp_path / "s.json").read_bytes()
        left = len(before) + room
        pwrite = os.pwrite

        def full(fd: int, data: Any, at: int) -> int:
            if at >= left:
                raise OSError(28, "No space left on device")
            return pwrite(fd, bytes(data)[: left - at], at)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", full)
            with pytest.raises(StorageError) as caught:
                backend.append("s", APPENDS[1], now=3.0, expect=None)
        assert caught.value.errno == 28
        assert (tmp_path / "s.json").read_bytes() == before
        assert backend.append("s", APPENDS[1], now=3.0, expect=None).messages == 4
        assert beside(tmp_path / "s.json") == []

    def test_a_sync_that_fails_leaves_nothing_that_a_retry_could_take_for_stored(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = directory(tmp_path / "power", durability="power")
        backend.put_head(a_head(), expect=None)
        backend.append("s", APPENDS[0], now=3.0, expect=None)
        before = (tmp_path / "power" / "s.json").read_bytes()

        def fail(fd: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(StorageError):
                backend.append("s", APPENDS[1], now=3.0, expect=None)
        assert (tmp_path / "power" / "s.json").read_bytes() == before
        assert backend.append("s", APPENDS[1], now=3.0, expect=None).known is False
        backend.close()


def damaged(root: Path, damage: Callable[[bytes], bytes]) -> None:
    """A file with ``damage`` done to it is reported, and left as it is."""
    backend = directory(root)
    backend.put_head(a_head(length=1), expect=None, records=[record("zero", "secret")])
    for number in range(9):
        backend.append("s", [record(f"m{number}", "secret")], now=3.0, expect=None)
    backend.close()
    data = damage((root / "s.json").read_bytes())
    (root / "s.json").write_bytes(data)
    again = directory(root)
    with pytest.raises(CorruptSessionError) as caught:
        decode_all(again.read("s", [Stretch("r1", 0, 10)]))
    assert caught.value.__cause__ is None
    assert "secret" not in str(caught.value)
    assert (root / "s.json").read_bytes() == data
    assert beside(root / "s.json") == []
    again.close()


def test_damage_to_what_was_acknowledged_is_not_taken_for_a_torn_end(tmp_path: Path) -> None:
    marks = [b'"m0"', b'"m4"', b'"m8"']
    for number, mark in enumerate(marks):
        # More than that of the last line would take the closing tail along, and then nothing tells it from a torn append.
        for width in (2, 8):
            damaged(tmp_path / f"{number}-{width}", lambda data, mark=mark, width=width: overwritten(data, [mark], width))  # type: ignore[misc]
    damaged(tmp_path / "several", lambda data: overwritten(data, [b'"m5"', b'"m6"', b'"m7"', b'"m8"'], 8))
    damaged(tmp_path / "without tail", lambda data: overwritten(data, [b'"m7"', b'"m8"'], 8)[:-20])


def overwritten(data: bytes, marks: list[bytes], width: int) -> bytes:
    for mark in marks:
        at = data.rindex(mark)
        data = data[:at] + b"\x01" * width + data[at + width :]
    return data


def test_mending_is_no_change_so_that_an_expired_session_stays_expired(tmp_path: Path) -> None:
    backend = directory(tmp_path)
    backend.put_head(a_head(length=1, ttl=60.0), expect=None, records=[record("zero")])
    backend.append("s", [record("one")], now=3.0, expect=None)
    backend.close()
    path = tmp_path / "s.json"
    path.write_bytes(path.read_bytes()[:-5])
    os.utime(path, (1000.0, 1000.0))
    again = directory(tmp_path)
    assert all_ids(again) == ["zero", "one"]
    assert document(path)["message_count"] == 2
    assert again.get_head("s").updated_at == 1000.0
    assert again.append("s", [record("two")], now=1060.0, expect=None) is None
    again.close()
