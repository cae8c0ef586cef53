"""The pieces of the bench of databases, at tiny sizes and on servers of the tests; how long anything takes is never judged here."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

import bench.__main__ as command
from bench import server_peers, server_report, server_sizes, server_writer
from bench.measure import Bar
from bench.picture import picture
from bench.plan import Plan, Progress
from bench.server_kept import PEERS, REDIS, Driven, Pairs, ServerPeer
from bench.server_listings import server_listing_bars
from bench.server_peers import Databases, Engine, Race, ServerFigure
from bench.server_sizes import TEXT, size_bars, words
from tests.servers.redis import running


@pytest.fixture
def tiny(tmp_path: Path) -> Plan:
    return Plan(scratch=tmp_path, progress=Progress(io.StringIO()), rows=2_000, tree=400, files=4, peer_lengths=(4, 60), rounds=2)


@pytest.fixture
def redis_url() -> Iterator[str]:
    with running("valkey") as server:
        yield server.url


@pytest.fixture
def on_redis() -> ServerPeer:
    (peer,) = [peer for peer in PEERS if peer.full_name == "turnlog Redis"]
    return peer


class Listed:
    """A conversation in a list, which refuses one text."""

    def __init__(self, refused: str = "") -> None:
        self.refused = refused
        self.batches: list[Pairs] = []
        self.is_open = False

    async def open(self) -> None:
        self.is_open = True

    async def add(self, pairs: Pairs) -> None:
        if pairs[0][1] == self.refused:
            raise KeyError("no")
        self.batches.append(pairs)

    async def last(self, count: int) -> list[Any]:
        return [pair for batch in self.batches for pair in batch][-count:]

    def text(self, message: Any) -> str:
        text: str = message[1]
        return text

    async def close(self) -> None:
        self.is_open = False


def test_a_conversation_is_filled_turn_by_turn_and_continued_message_by_message() -> None:
    listed = Listed()
    kept = Driven(listed)
    kept.fill(5)
    assert kept.append(2) > 0
    assert kept.last(3) > 0
    assert [len(batch) for batch in listed.batches] == [2, 2, 1, 1, 1]
    assert len(kept.texts()) == 7
    kept.close()
    assert not listed.is_open


def test_a_writer_counts_what_was_refused_and_goes_on() -> None:
    texts = list(server_writer.texts(3))
    listed = Listed(refused=texts[1])
    kept = Driven(listed)
    assert server_writer.write(kept, 3) == {"refused": 1, "errors": ["KeyError"]}
    assert kept.texts() == [text for text in texts if text != texts[1]]
    kept.close()


def test_no_two_writers_write_the_same_text() -> None:
    texts = [text for writer in range(server_writer.WRITERS) for text in server_writer.texts(writer)]
    assert len(set(texts)) == server_report.ALL == 200


def test_every_peer_has_a_store_of_turnlog_beside_it() -> None:
    names = {peer.full_name for peer in PEERS}
    assert len(names) == len(PEERS)
    ours = {peer.name: peer for peer in PEERS if not peer.package}
    for peer in PEERS:
        assert (ours[peer.beside].engine, ours[peer.beside].power) == (peer.engine, peer.power)


def test_stores_are_measured_and_all_messages_of_several_processes_are_found(tiny: Plan, redis_url: str, on_redis: ServerPeer) -> None:
    figures = list(server_peers.figures(tiny, [on_redis], {REDIS: Engine(redis_url, "1", None)}))
    assert [(each.name, each.length, each.append_ratio, each.last_ratio) for each in figures] == [
        ("turnlog Redis", length, 1.0, 1.0) for length in tiny.peer_lengths
    ]
    assert all(each.append > 0 and each.last > 0 for each in figures)
    assert server_peers.race(on_redis, redis_url) == Race(200, 0, ())


@pytest.fixture
def some() -> Databases:
    figures = [
        ServerFigure(name, REDIS, True, length, length * cost, length * cost / 2, cost / 1e-6, cost / 1e-6)
        for name, cost in (("turnlog Redis", 1e-6), ("another <one>", 4e-6))
        for length in (10, 1_000)
    ]
    races = {"turnlog Redis": Race(200, 0, ()), "another <one>": Race(53, 100, ("StaleError",))}
    return Databases({REDIS: "8"}, figures, races, {"turnlog Redis": 1.0})


def test_what_writers_keep_is_told_apart(some: Databases) -> None:
    assert [server_report.kept(race) for race in some.races.values()] == [
        "200 of 200",
        "53 of 200, 100 refused (StaleError), 47 lost silently",
    ]


def test_the_section_holds_the_longest_session_and_goes_between_its_markers(some: Databases) -> None:
    text = server_report.section(some)
    assert "| turnlog Redis | 1.00 ms | 1.00 x | 500 µs | 1.00 x | 200 of 200 | 1 |" in text
    assert "| another <one> | 4.00 ms | 4.00 x | 2.00 ms | 4.00 x | 53 of 200, " in text
    assert "(Redis 8)" in text
    page = f"before\n{server_report.BEGIN}\nold\n{server_report.END}\nafter\n"
    written = server_report.replaced(page, text)
    assert written == f"before\n{server_report.BEGIN}\n{text}{server_report.END}\nafter\n"
    assert server_report.replaced(written, text) == written
    for missing in (server_report.BEGIN, server_report.END):
        with pytest.raises(ValueError, match="lacks"):
            server_report.replaced(page.replace(missing, ""), text)


def test_the_lines_and_the_picture_show_every_store(some: Databases) -> None:
    lines = list(server_report.database_lines(some))
    assert len(lines) == 4
    root = ElementTree.fromstring(picture(some.figures, first_colour=1))
    named = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(name.startswith("another <one>") for name in named) == 2


def test_the_command_writes_the_section_of_the_page(tmp_path: Path, some: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "choosing-a-backend.md").write_text((command.DOCS / "choosing-a-backend.md").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(command, "DOCS", docs)
    monkeypatch.setattr(server_peers, "measure", lambda plan: some)
    target = tmp_path / "figures.json"
    arguments = ["--quick", "--only", "server-peers", "--write-docs", "--json", str(target), "--scratch", str(tmp_path / "work")]
    assert command.main(arguments) == 0
    assert "| another <one> |" in (docs / "choosing-a-backend.md").read_text(encoding="utf-8")
    assert (docs / "databases.svg").exists()
    assert not (docs / "benchmarks.md").exists()
    assert json.loads(target.read_text(encoding="utf-8"))["databases"]["races"]["another <one>"]["kept"] == 53


def test_the_command_writes_the_page_of_the_databases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bars(name: str) -> tuple[Callable[[Plan], Iterator[Bar]], ...]:
        return (lambda plan: iter([Bar(group=name, name="append", unit="x", value=1.25, low=1.0, high=1.5, limit=1.3)]),)

    monkeypatch.setattr(command, "DOCS", tmp_path)
    monkeypatch.setattr(command, "server_bars", bars)
    parts = [word for name in command.SERVERS for word in ("--only", name)]
    assert command.main(["--quick", *parts, "--write-docs", "--scratch", str(tmp_path / "work")]) == 0
    page = (tmp_path / "benchmarks-databases.md").read_text(encoding="utf-8")
    assert page.count("| append |") == len(command.SERVERS)
    assert "5 of 5 bars hold" in page
    assert not (tmp_path / "benchmarks.md").exists()
    with pytest.raises(SystemExit):
        command.main(["--only", "redis", "--write-docs"])


def test_sessions_are_multiplied_by_the_database_and_listed(tiny: Plan) -> None:
    bars = list(server_listing_bars(tiny))
    assert len({(bar.group, bar.name) for bar in bars}) == len(bars) == 12
    assert all(0 < bar.low <= bar.value <= bar.high for bar in bars)


def test_measured_texts_have_their_size_and_are_all_different() -> None:
    texts = list(islice(words(), 100))
    assert {len(text.encode()) for text in texts} == {TEXT}
    assert len(set(texts)) == 100


def test_every_engine_tells_its_sizes(tiny: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sizes, "AT_ONCE", 4)
    monkeypatch.setattr(server_sizes, "EACH", 2)
    bars = list(size_bars(tiny))
    assert len({(bar.group, bar.name) for bar in bars}) == len(bars)
    assert {bar.group for bar in bars} == {"JSON files", "SQLite", "PostgreSQL", "MongoDB", "Redis"}
    assert all(0 <= bar.low <= bar.value <= bar.high for bar in bars)
    (memory,) = [bar.value for bar in bars if bar.group == "Redis" and bar.name == f"a message of {TEXT} bytes: memory"]
    assert memory > TEXT
