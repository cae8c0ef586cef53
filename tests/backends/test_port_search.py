"""The contract of the port, sentence by sentence, on every backend that can index words: what find gives, erasure, turning it on later."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven, openings
from tests.backends.samples import a_head, records, run_threads
from tests.servers import mongodb as mongodb_servers
from tests.servers import postgres as postgres_servers
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.port import Query, Searchable
from turnlog.backends.postgres import PostgresBackend
from turnlog.backends.sqlite import SqliteBackend
from turnlog.errors import ConflictError
from turnlog.heads import Stretch
from turnlog.messages import Record
from turnlog.words import LONGEST, SEARCHED, words_of

Opener = Callable[..., Driven]


def _sqlite(folder: Path) -> Callable[..., Any]:
    return lambda **options: SqliteBackend(folder / "sessions.db", durability="process", timeout=60.0, **options)


def _postgres(folder: Path) -> Callable[..., Any]:
    schema = postgres_servers.new_schema()
    return lambda **options: PostgresBackend(postgres_servers.shared_url(), schema=schema, durability="process", **options)


def _mongodb(folder: Path) -> Callable[..., Any]:
    prefix = mongodb_servers.new_prefix()
    return lambda **options: MongoBackend(mongodb_servers.shared_url(), prefix=prefix, durability="process", **options)


PLACES: dict[str, Callable[[Path], Callable[..., Any]]] = {"sqlite": _sqlite, "postgres": _postgres, "mongodb": _mongodb}


@pytest.fixture(params=PLACES)
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """Opens backends on one new place; all are closed afterwards."""
    yield from openings(PLACES[request.param](tmp_path))


@pytest.fixture
def searching(opener: Opener) -> Driven:
    """Every backend that can index words, doing so, with one empty session."""
    backend = opener(search=True)
    backend.put_head(a_head(), expect=None)
    return backend


def said(identity: str, content: Any, time: float = 7.25) -> Record:
    """A message with this content."""
    return Record(-1, identity, time, json.dumps({"role": "user", "content": content}), None)


def say(backend: Driven, *contents: Any, session_id: str = "s", first: int = 0) -> None:
    """Append messages at the end of a session, one at a time, each a second later than the one before."""
    for number, content in enumerate(contents, first):
        message = said(f"m{number}", content, 10.0 + number)
        assert backend.append(session_id, [message], now=10.0 + number, expect=None) is not None


def found(backend: Driven, words: str | Sequence[str], limit: int = 100) -> list[tuple[str, str, int]]:
    """What find gives for words, or for the words of a text."""
    asked = words_of(words) if isinstance(words, str) else words
    return [tuple(match) for match in backend.find(asked, limit=limit)]


def places(backend: Driven, words: str, limit: int = 100) -> list[int]:
    """The numbers of the messages found."""
    return [seq for _, _, seq in found(backend, words, limit)]


class TestFinding:
    def test_a_backend_that_indexes_says_so(self, searching: Driven) -> None:
        assert isinstance(searching.backend, Searchable)
        assert searching.backend.indexes_words is True

    def test_one_that_does_not_says_so(self, opener: Opener) -> None:
        backend = opener()
        assert backend.get_head("s") is None
        assert isinstance(backend.backend, Searchable)
        assert backend.backend.indexes_words is False

    def test_words_are_found_whole_and_in_any_case(self, searching: Driven) -> None:
        say(searching, "The weather in Graz", "WEATHERMEN", "weather, again: STRASSE", "straße_7 𝟘 naïve", "")
        assert places(searching, "weather") == [2, 0]
        assert places(searching, "Weathermen") == [1]
        assert places(searching, "weath") == []
        assert places(searching, "straße") == [3, 2]
        assert places(searching, "7") == [3]
        assert places(searching, "naïve") == [3]
        assert places(searching, "naive") == []
        assert found(searching, "graz") == [("s", "r1", 0)]

    def test_most_of_them_come_first_then_the_newest(self, searching: Driven) -> None:
        say(searching, "red", "red green red", "blue", "red green blue", "green blue", "red red red", "none")
        assert places(searching, "red green blue") == [3, 4, 1, 5, 2, 0]
        assert places(searching, "red green blue", limit=2) == [3, 4]
        assert places(searching, "red green blue", limit=1) == [3]

    def test_newest_goes_across_sessions(self, searching: Driven) -> None:
        searching.put_head(a_head("t", "r2"), expect=None)
        for session_id, time in (("s", 2.0), ("t", 3.0), ("t", 4.0), ("s", 5.0)):
            searching.append(session_id, [said(f"at{time}", "word", time)], now=time, expect=None)
        assert found(searching, "word") == [("s", "r1", 1), ("t", "r2", 1), ("t", "r2", 0), ("s", "r1", 0)]

    def test_nothing_is_found_for_nothing(self, searching: Driven) -> None:
        say(searching, "word")
        assert found(searching, []) == []
        assert found(searching, "other") == []
        assert found(searching, ["'; DROP TABLE words; --", "*", "word OR 1", "%", "", "\x00", "a\x00b"]) == []

    @pytest.mark.parametrize("session_id", ["a/b", "A_B", "'; --", "naïve", "nai\u0308ve", "😀", "a\x00b", "\ud800", "%", "x" * 1024])
    def test_it_names_any_session(self, searching: Driven, session_id: str) -> None:
        searching.put_head(a_head(session_id, "r2"), expect=None)
        say(searching, "other", "word", session_id=session_id)
        assert found(searching, "word") == [(session_id, "r2", 1)]

    def test_the_text_of_parts_is_found(self, searching: Driven) -> None:
        parts = [{"type": "text", "text": "first"}, {"type": "tool_result", "content": [{"type": "text", "text": "deep"}]}, "bare"]
        say(searching, parts, None, {"text": "unseen"}, 5)
        assert [places(searching, word) for word in ("first", "deep", "bare", "text", "unseen", "5")] == [[0], [0], [0], [], [], []]

    def test_long_words_and_long_texts_have_bounds(self, searching: Driven) -> None:
        say(searching, "x" * 1000, "y" * (SEARCHED - 5) + " end beyond", " ".join(f"w{number}" for number in range(5_000)))
        assert places(searching, "x" * 2000) == [0]
        assert found(searching, ["x" * LONGEST]) == [("s", "r1", 0)]
        assert places(searching, "end") == [1]
        assert places(searching, "beyond") == []
        assert places(searching, "w0 w4999") == [2]

    def test_text_that_is_hard_to_keep(self, searching: Driven) -> None:
        say(searching, "a\x00b \ud800c 😀 d\ud83d\ude00e İstanbul ŉx", "\x00", "\ud800")
        for word in ("a", "b", "c", "d", "e", "stanbul"):
            assert places(searching, word) == [0], word
        assert places(searching, "ŉx") == [0]


class TestWriting:
    def test_batches_and_first_records_are_indexed(self, searching: Driven) -> None:
        batch = [said(f"b{number}", f"word w{number}", 10.0 + number) for number in range(40)]
        assert searching.append("s", batch, now=3.0, expect=None).messages == 40
        assert searching.put_head(a_head("t", "r2", length=2), expect=None, records=[said("x", "word here", 1.0), said("y", "there", 1.0)])
        assert places(searching, "w0") == [0]
        assert places(searching, "w39") == [39]
        assert found(searching, "here") == [("t", "r2", 0)]
        assert len(found(searching, "word")) == 41

    def test_what_is_sent_again_is_found_once(self, searching: Driven) -> None:
        for _ in range(2):
            searching.append("s", [said("a", "word"), said("b", "word")], now=3.0, expect=None)
        assert sorted(places(searching, "word")) == [0, 1]

    def test_what_is_refused_is_not_found(self, searching: Driven) -> None:
        say(searching, "first")
        head = searching.get_head("s")
        for batch, expect in (([said("new", "word"), said("m0", "word")], None), ([said("new", "word")], "r1.99")):
            with pytest.raises(ConflictError):
                searching.append("s", batch, now=30.0, expect=expect)
        assert searching.append("nobody", [said("new", "word")], now=30.0, expect=None) is None
        assert searching.put_head(a_head(run="r2", length=1), expect="r1.99", records=[said("new", "word")]) is False
        assert found(searching, "word") == []
        assert searching.get_head("s") == head

    def test_reverted_messages_may_be_found_and_forgotten_ones_never(self, searching: Driven) -> None:
        say(searching, *[f"word w{number}" for number in range(10)])
        head = searching.get_head("s")
        searching.drop_records("s", "r1", 2, 5)
        assert places(searching, "word") == [9, 8, 7, 6, 5, 1, 0]
        assert places(searching, "w3") == []
        assert places(searching, "w5") == [5]
        searching.drop_records("s", "r1", 8, None)
        assert places(searching, "word") == [7, 6, 5, 1, 0]
        assert searching.get_head("s") == head

    def test_a_deleted_session_leaves_nothing_to_find(self, searching: Driven) -> None:
        say(searching, "word one", "word two")
        searching.mark_run("s", "r1", None, closed=False)
        searching.remove_head("s", "r1")
        searching.mark_run("s", "r1", None, closed=True)
        searching.drop_records("s", "r1", 0, None)
        searching.forget_run("s", "r1")
        assert found(searching, "word one two") == []
        searching.put_head(a_head(run="r2"), expect=None)
        say(searching, "word three", first=5)
        assert found(searching, "word one two three") == [("s", "r2", 0)]

    def test_records_that_only_a_fork_needs_are_found(self, searching: Driven) -> None:
        from turnlog.heads import Parent, Reference

        say(searching, "word zero", "word one", "word two")
        child = a_head("c", "cr", past=(Stretch("r1", 0, 2),), past_count=2, parent=Parent("s", "b", "r1", 1))
        assert searching.put_fork(child, Reference("s", "r1", "c", "cr", 2), shed=0) == "stored"
        searching.mark_run("s", "r1", None, closed=False)
        searching.remove_head("s", "r1")
        searching.mark_run("s", "r1", None, closed=True)
        searching.drop_records("s", "r1", 2, None)
        assert found(searching, "word") == [("s", "r1", 1), ("s", "r1", 0)]

    def test_many_writers_at_once(self, searching: Driven) -> None:
        def write(number: int) -> None:
            for each in range(10):
                searching.append("s", [said(f"{number}-{each}", f"common n{number} e{each}")], now=5.0, expect=None)

        run_threads(write, 6)
        assert sorted(places(searching, "common", limit=1000)) == list(range(60))
        for number in range(6):
            assert len(places(searching, f"n{number}")) == 10


class TestTurningOn:
    def test_what_is_there_is_indexed_and_later_writers_index_too(self, opener: Opener) -> None:
        before = opener()
        before.put_head(a_head(), expect=None)
        say(before, *[f"early number{number}" for number in range(30)])
        before.drop_records("s", "r1", 3, 4)
        after = opener(search=True)
        after.get_head("s")
        assert after.backend.indexes_words is True
        assert sorted(places(after, "early")) == [number for number in range(30) if number != 3]
        plain = opener()
        plain.get_head("s")
        assert plain.backend.indexes_words is True
        say(plain, "late comer", first=30)
        assert places(after, "late") == [30]
        assert places(plain, "number29") == [29]
        plain.drop_records("s", "r1", 0, None)
        assert found(after, "early late") == []

    def test_sixteen_turn_it_on_at_once_beside_writers(self, opener: Opener) -> None:
        before = opener()
        before.put_head(a_head(), expect=None)
        before.append("s", [said(f"m{number}", f"early n{number}") for number in range(1200)], now=3.0, expect=None)
        backends = [opener(search=number < 16) for number in range(18)]

        def start(number: int) -> None:
            backend = backends[number]
            if number < 16:
                backend.get_head("s")
                assert backend.backend.indexes_words is True
            for each in range(5):
                backend.append("s", [said(f"{number}-{each}", f"late l{number}")], now=5.0, expect=None)

        run_threads(start, 18)
        after = backends[0]
        assert sorted(places(after, "early", 5000)) == list(range(1200))
        late = places(after, "late", 5000)
        assert len(late) == len(set(late))
        # A writer from before it was turned on may have missed that; those who turned it on have not.
        assert len(late) >= 80
        again = opener()
        assert len(again.list_heads(Query(), cursor=None, limit=5).heads) == 1
        say(again, "last", first=2000)
        assert len(found(again, "last")) == 1

    def test_it_is_no_matter_for_the_rest_of_the_port(self, searching: Driven) -> None:
        searching.append("s", records(0, 3), now=3.0, expect=None)
        assert [each.id for each in searching.read("s", [Stretch("r1", 0, 3)])] == ["m0", "m1", "m2"]
        assert searching.put_row("s", "r1", "undo", "k", "1") is True
        searching.compact()
        assert places(searching, "m1") == [1]
