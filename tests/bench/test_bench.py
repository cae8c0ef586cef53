"""The pieces of the bench run, at tiny sizes; how long anything takes is never judged here."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import bench.__main__ as command
from bench import measure, peers, report
from bench.floors import JsonLines, OneRow, SqliteRows
from bench.measure import Bar, Series
from bench.picture import picture
from bench.plan import Plan, Progress
from bench.subjects import SQLITE
from turnlog.session import SqliteSessionStore


@pytest.fixture
def tiny(tmp_path: Path) -> Plan:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Plan(
        scratch=scratch,
        progress=Progress(io.StringIO()),
        long=120,
        tree=200,
        head_operations=3,
        files=4,
        rows=2_000,
        peer_lengths=(10, 60),
        rounds=2,
        processes=1,
    )


@pytest.mark.parametrize("section", command.SECTIONS)
def test_every_section_measures_something(section: str, tiny: Plan) -> None:
    bars = [bar for measured in command.SECTIONS[section] for bar in measured(tiny)]
    assert bars
    assert len({(bar.group, bar.name) for bar in bars}) == len(bars)
    for bar in bars:
        assert 0 <= bar.low <= bar.value <= bar.high
        assert json.loads(json.dumps(bar.to_dict()))["holds"] is bar.holds
        assert len(report.bar_line(bar)) < 140


def test_no_public_name_loads_a_third_party_module(tiny: Plan) -> None:
    (bar,) = [bar for measured in command.SECTIONS["imports"] for bar in measured(tiny) if bar.unit == "modules"]
    assert bar.holds, bar.against


def test_sides_take_turns_and_change_their_order() -> None:
    calls: list[tuple[str, int]] = []

    def side(name: str, seconds: float) -> measure.Side:
        def run(count: int) -> float:
            calls.append((name, count))
            return seconds

        return run

    taken = measure.interleave({"a": side("a", 6.0), "b": side("b", 3.0)}, rounds=2, batch=3)
    assert [name for name, _ in calls] == ["a", "b", "b", "a"] * 2
    assert {count for _, count in calls} == {3}
    assert taken == {"a": Series((2.0, 2.0)), "b": Series((1.0, 1.0))}


def test_a_ratio_is_taken_within_a_round() -> None:
    ours, floor = Series((2.0, 20.0, 3.0)), Series((1.0, 10.0, 1.0))
    bar = measure.ratio_bar("group", "name", ours, floor, limit=2.0, against="floor")
    assert (bar.value, bar.low, bar.high, bar.ours, bar.floor) == (2.0, 2.0, 3.0, 3.0, 1.0)
    assert bar.holds
    assert not replace(bar, limit=1.9).holds
    assert replace(bar, limit=None).holds


def test_the_json_floor_writes_lines(tmp_path: Path) -> None:
    floor = JsonLines(tmp_path / "lines", "power")
    floor.add("user", "Hello")
    floor.add("assistant", "Hi")
    floor.close()
    lines = (tmp_path / "lines").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]


def test_the_sqlite_floor_writes_what_turnlog_reads(tmp_path: Path) -> None:
    path = tmp_path / SQLITE.file
    with SqliteSessionStore(path) as store:
        store.add_message("one", "user", "Hello")
        before = store.get_revision("one")
    floor = SqliteRows(path, "process")
    floor.choose("one")
    floor.add("assistant", "Hi")
    floor.close()
    with SqliteSessionStore(path) as store:
        assert [message["content"] for message in store.get_chat_history("one")] == ["Hello", "Hi"]
        assert store.get_revision("one") != before
        store.add_message("one", "user", "More?")
        assert len({message.id for message in store.get_messages("one")}) == 3


def test_one_row_is_one_row(tmp_path: Path) -> None:
    row = OneRow(tmp_path / "rows", "power")
    row.write()
    row.write()
    assert row.db.execute("SELECT count(*) FROM written").fetchone() == (2,)
    row.close()


class Items:
    """The verbs of a session of the openai-agents package."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.closed = False

    async def add_items(self, items: list[Any]) -> None:
        self.items += items

    async def get_items(self, limit: int) -> list[Any]:
        return self.items[-limit:]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def few_peers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Only what needs no other package, and a stand-in for a session of items."""
    here = [peer for peer in peers.PEERS if not peer.package]
    here.append(peers.Peer("items in a list", "", False, lambda folder: peers.ItemsKept(Items())))
    monkeypatch.setattr(peers, "PEERS", tuple(here))
    return [peer.name for peer in here]


def test_stores_stand_side_by_side(tiny: Plan, few_peers: list[str], home: Path) -> None:
    figures = list(peers.peer_figures(tiny))
    assert [(each.name, each.length) for each in figures] == [(name, length) for length in tiny.peer_lengths for name in few_peers]
    assert all(each.append > 0 and (each.last is None or each.last > 0) for each in figures)
    assert list(home.iterdir()) == []


def test_items_are_added_one_by_one_and_read_in_one_loop() -> None:
    items = Items()
    kept = peers.ItemsKept(items)
    kept.fill(60)
    assert kept.append(3) > 0
    assert kept.last(2) > 0
    kept.close()
    assert len(items.items) == 63
    assert items.closed


def some_figures() -> list[peers.PeerFigure]:
    return [
        peers.PeerFigure(name, power, length, length * cost, None if name.startswith("floor") else length * cost / 2)
        for name, power, cost in (("floor: by hand", True, 1e-6), ("turnlog <JSON> & files", True, 2e-6), ("another", False, 1e-4))
        for length in (10, 1_000)
    ]


def test_the_picture_is_a_whole_svg_in_two_colour_schemes() -> None:
    text = picture(some_figures())
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in text
    named = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(name.startswith("turnlog <JSON> & files") for name in named) == 2
    assert sum(name.startswith("floor") for name in named) == 1
    assert ElementTree.fromstring(picture([])).tag == root.tag


def test_the_page_shows_bars_stores_and_the_machine(tmp_path: Path) -> None:
    bar = Bar(group="SQLite", name="append", unit="x", value=1.25, low=0.9, high=2.0, limit=1.2, ours=2.5e-5, floor=2e-5)
    results = report.Results({"Python": "3"}, quick=False, bars=[bar, replace(bar, name="known", limit=None)], peers=some_figures())
    text = report.page(results)
    assert "| append | 25.0 µs | 20.0 µs | 1.25 x | 0.90–2.00 | ≤ 1.2 x | FALLS SHORT |" in text
    assert "0 of 1 bars hold: these fall short: SQLite, append." in text
    assert "| another | 1.00 ms | 100 ms | 500 µs | 50.0 ms | no |" in text
    assert "- Python: 3" in text
    assert all(len(line) < 140 for line in report.peer_lines(results.peers))


def test_a_failed_section_leaves_the_others_their_turn(
    tiny: Plan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(plan: Plan) -> Iterator[Bar]:
        yield from ()
        raise RuntimeError("the disk is gone")

    def fine(plan: Plan) -> Iterator[Bar]:
        yield Bar(group="SQLite", name="append", unit="x", value=9.0, low=9.0, high=9.0, limit=1.2)

    monkeypatch.setattr(command, "SECTIONS", {"json": (broken,), "sqlite": (fine,)})
    results = command.run(tiny, ["json", "sqlite"], quick=True)
    assert results.failures == ["json: RuntimeError: the disk is gone"]
    assert [bar.name for bar in results.bars] == ["append"]
    assert "FALLS SHORT" in capsys.readouterr().out


def test_the_command_writes_json_and_leaves_no_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fine(plan: Plan) -> Iterator[Bar]:
        (plan.folder("work") / "file").write_text("x")
        yield Bar(group="SQLite", name="append", unit="x", value=9.0, low=9.0, high=9.0, limit=1.2)

    monkeypatch.setattr(command, "SECTIONS", {**command.SECTIONS, "json": (fine,)})
    target = tmp_path / "figures.json"
    assert command.main(["--quick", "--only", "json", "--json", str(target), "--scratch", str(tmp_path / "work")]) == 0
    written = json.loads(target.read_text(encoding="utf-8"))
    assert (written["quick"], written["bars"][0]["holds"], written["failures"]) == (True, False, [])
    assert str(tmp_path) not in json.dumps(written["machine"])
    assert list((tmp_path / "work").iterdir()) == []
    assert "0 of 1 bars hold" in capsys.readouterr().out


def test_a_page_needs_all_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["--write-docs", "--only", "json"])
    assert stopped.value.code == 2
    assert "--write-docs needs all parts" in capsys.readouterr().err
