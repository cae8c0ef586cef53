"""MongoDB sessions that end: what appends ask and raise, what the server removes by itself, and how the sweep puts the rest in order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.mongodb_stores import Between
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.mongodb import DATABASE, server
from turnlog.backends.mongodb import MongoBackend, claims, lives
from turnlog.backends.port import Query
from turnlog.heads import Parent, Reference, Stretch
from turnlog.store.sync import SessionStore

Again = Callable[..., Driven]
SECONDS = 60.0
"""Within which a server must remove what has ended."""


class Counting:
    """A driver that counts the calls to the server."""

    def __init__(self, backend: Any) -> None:
        self._driver = backend.backend._server.driver
        backend.backend._server.driver = self
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def call(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return await self._driver.call(*arguments, **options)

    async def rows(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        return await self._driver.rows(*arguments, **options)


@pytest.fixture
def head_of(mongodb_prefix: str, mongodb_database: Any) -> Callable[[str], Any]:
    """The document of a session's head."""
    return lambda session_id: mongodb_database[f"{mongodb_prefix}history"].find_one({"s": session_id, "live": True})


class TestAppends:
    def test_one_that_knows_of_the_end_asks_once(self, mongodb_again: Again) -> None:
        writer, other = mongodb_again(), mongodb_again()
        writer.put_head(a_head(ttl=10.0), expect=None)
        other.get_head("s")
        for backend, first in ((writer, 1), (other, 4)):
            counting = Counting(backend)
            backend.append("s", [record(f"first {first}")], now=3.0, expect=None)
            assert counting.calls == first
            backend.append("s", [record(f"second {first}")], now=4.0, expect=None)
            assert counting.calls == first + 1

    def test_those_without_an_end_ask_once(self, mongodb_again: Again) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        counting = Counting(backend)
        backend.append("s", [record("a")], now=3.0, expect=None)
        assert counting.calls == 1

    def test_it_hears_of_every_change(self, mongodb_again: Again, head_of: Any) -> None:
        backend, other = mongodb_again(), mongodb_again()
        backend.put_head(a_head(ttl=10.0), expect=None)
        number = 0
        for ttl in (20.0, None, 5.0, 7.5, None):
            head = other.get_head("s")
            assert other.put_head(replace(head, counter=head.counter + 1, ttl=ttl), expect=head.revision)
            for writer in (backend, other):
                number += 1
                assert writer.append("s", [record(f"m{number}")], now=3.0 + number / 8, expect=None).messages == number
                stored = head_of("s")
                assert stored.get("expires") == (None if ttl is None else 3.0 + number / 8 + ttl)
                assert ("gone" in stored) == (ttl is not None)

    def test_it_hears_of_a_change_at_the_same_moment(self, mongodb_again: Again, head_of: Any) -> None:
        backend, other = mongodb_again(), mongodb_again()
        backend.put_head(a_head(ttl=10.0), expect=None)
        between = Between(backend)
        between.once("before", "find_one_and_update", lambda: other.put_head(a_head(counter=1, ttl=1.0), expect="r1.0"))
        assert backend.append("s", [record("a")], now=3.75, expect=None) is None
        assert head_of("s")["length"] == 0

    def test_threads_that_set_and_append(self, mongodb_again: Again, head_of: Any) -> None:
        backends = [mongodb_again() for _ in range(4)]
        backends[0].put_head(a_head(ttl=50.0), expect=None)

        def work(number: int) -> None:
            for each in range(40):
                if number == 0 and each % 4 == 0:
                    head = backends[0].get_head("s")
                    ttl = [None, 100.0, 50.0][each % 3]
                    backends[0].put_head(replace(head, counter=head.counter + 1, updated_at=3.0, ttl=ttl), expect=head.revision)
                assert backends[number].append("s", [record(f"{number} {each}")], now=3.0 + each / 8, expect=None) is not None

        run_threads(work, 4)
        head, stored = backends[1].get_head("s"), head_of("s")
        assert head.length == len(all_ids(backends[1])) == 160
        assert stored.get("expires") == (None if head.ttl is None else head.updated_at + head.ttl)

    def test_sessions_that_are_forgotten_are_learned_again(self, mongodb_again: Again, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lives, "REMEMBERED", 2)
        backend = mongodb_again()
        for number in range(4):
            backend.put_head(a_head(f"s{number}", f"r{number}", ttl=10.0), expect=None)
        for number in range(8):
            assert backend.append(f"s{number % 4}", [record(f"m{number}")], now=5.0, expect=None) is not None
        assert len(backend.backend._lives._known) == 2

    @pytest.mark.parametrize("ttl", [1e-9, 1e12, 1e300])
    def test_any_number_of_seconds(self, mongodb_again: Again, ttl: float) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(ttl=ttl), expect=None)
        assert backend.get_head("s").ttl == ttl
        assert (backend.append("s", [record("a")], now=3.0, expect=None) is not None) == (ttl > 1)


class TestClaimed:
    def test_what_a_fork_claims_is_never_removed_by_the_server(self, mongodb_again: Again, head_of: Any) -> None:
        backend, other = mongodb_again(), mongodb_again()
        backend.put_head(a_head(length=5, ttl=10.0), expect=None, records=records(0, 5))
        other.append("s", [record("known to both")], now=3.0, expect=None)
        assert "gone" in head_of("s")
        child = a_head("c", "cr", past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2), ttl=10.0)
        assert backend.put_fork(child, Reference("s", "r1", "c", "cr", 3), shed=0) == "stored"
        assert "gone" in head_of("c")
        for number, writer in enumerate((backend, other, backend)):
            assert "gone" not in head_of("s")
            assert writer.append("s", [record(f"later {number}")], now=4.0 + number, expect=None) is not None
            head = writer.get_head("s")
            assert writer.put_head(replace(head, counter=head.counter + 1, ttl=12.0 + number), expect=head.revision)
        assert head_of("s")["expires"] == 6.0 + 14.0
        head = backend.get_head("s")
        # A new run has no claims.
        assert backend.put_head(a_head(run="r2", ttl=10.0), expect=head.revision)
        assert "gone" in head_of("s")
        assert "claimed" not in head_of("s")

    def test_a_claim_alone_is_enough(self, mongodb_again: Again, head_of: Any) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(ttl=10.0), expect=None)
        assert backend.add_reference(Reference("s", "r1", "c", "cr", 3)) is True
        assert "gone" not in head_of("s")

    def test_a_parent_that_is_removed_first_has_moved(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(ttl=10.0), expect=None)
        mongodb_database[f"{mongodb_prefix}history"].delete_one({"s": "s", "live": True})
        assert backend.put_fork(a_head("c", "cr"), Reference("s", "r1", "c", "cr", 0), shed=0) == "moved"
        assert backend.get_head("c") is None


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends is removed at once, and what is left is not taken for something that comes to be."""
    monkeypatch.setattr(lives, "GRACE", -7200.0)
    for module in (lives, claims):
        monkeypatch.setattr(module, "AGE", -7200.0)


@pytest.mark.usefixtures("at_once")
class TestRemoval:
    def test_the_server_removes_what_ended_and_the_sweep_what_that_leaves(self) -> None:
        with server("--setParameter", "ttlMonitorSleepSecs=1") as private, private.client() as client:
            store = SessionStore(MongoBackend(private.url, search=True))
            backend = Driven(store.backend)
            long, past = record("long", "x" * 100_000), time.time() - 3600
            for name, ttl in (("ends", 1.0), ("forked", 1.0), ("fork", 1.0), ("stays", None), ("goes on", 1e6)):
                values = {"ttl": ttl, "updated_at": past}
                if name == "fork":
                    values |= {"past": (Stretch("r forked", 0, 40),), "past_count": 40, "parent": Parent("forked", "b", "r forked", 39)}
                    claim = Reference("forked", "r forked", "fork", "r fork", 40)
                    assert backend.put_fork(a_head("fork", "r fork", **values), claim, shed=0) == "stored"
                else:
                    backend.put_head(a_head(name, f"r {name}", length=41, **values), expect=None, records=[*records(0, 40), long])
                backend.put_row(name, f"r {name}", "undo", "k", "😀" * 900_000)
            history = client[DATABASE]["turnlog_history"]
            deadline = time.monotonic() + SECONDS
            while history.count_documents({"live": True}) > 3:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            assert sorted(head["s"] for head in history.find({"live": True})) == ["forked", "goes on", "stays"]
            assert history.count_documents({"run": "r ends"}) > 0
            store.sweep()
            for collection in (history, client[DATABASE]["turnlog_texts"], client[DATABASE]["turnlog_rows"]):
                assert collection.count_documents({"run": {"$in": ["r ends", "r fork"]}}) == 0
            # The fork is gone, and so is its claim; what it claimed ends as every other session does.
            assert backend.referenced_runs() == []
            assert [mark for mark in backend.marked_runs() if mark.session_id != "forked"] == []
            for name in ("stays", "goes on"):
                assert len(all_ids(backend, name, f"r {name}")) == 41
                assert backend.get_rows(name, f"r {name}", "undo") == {"k": "😀" * 900_000}
            store.close()

    def test_a_fork_that_the_server_removed_leaves_no_mark_for_good(
        self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        claim = Reference("s", "r1", "c", "cr", 3)
        child = a_head("c", "cr", past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2), ttl=10.0)
        assert backend.put_fork(child, claim, shed=0) == "stored"
        mongodb_database[f"{mongodb_prefix}history"].delete_one({"s": "c", "live": True})
        store = SessionStore(backend.backend)
        with monkeypatch.context() as soon:
            # Before its watch is due.
            soon.setattr(claims.time, "time", lambda: 1.0)
            store.sweep()
            assert backend.marked_runs() == []
        assert backend.references("s", "r1") == [claim]
        store.sweep()
        assert backend.marked_runs() == backend.references("s", "r1") == []

    def test_what_lives_on_is_left_alone(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again()
        backend.put_head(a_head("a", "r1", ttl=10.0), expect=None)
        backend.put_head(a_head("b", "r2", ttl=10.0), expect=None)
        backend.mark_run("b", "r2", None, closed=False)
        backend.remove_head("b", "r2")
        assert [mark.run for mark in backend.marked_runs()] == ["r2"]
        mongodb_database[f"{mongodb_prefix}history"].delete_one({"s": "a", "live": True})
        assert sorted(mark.run for mark in backend.marked_runs()) == ["r1", "r2"]
        assert backend.marked_runs("a") == []

    def test_a_deleted_session_leaves_no_watch(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again()
        store = SessionStore(backend.backend)
        backend.put_head(a_head(ttl=1e12), expect=None)
        store.add_messages("s", [{"role": "user", "content": "x"}] * 50)
        store.delete_session("s")
        assert list(mongodb_database[f"{mongodb_prefix}history"].find()) == []

    def test_pages_of_what_ended_read_an_index_of_it_alone(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again()
        for number in range(40):
            backend.put_head(a_head(f"s{number}", f"r{number}", ttl=None if number < 35 else 1.0), expect=None)
        mongodb_database.command({"profile": 2})
        assert len(backend.list_heads(Query(expired_at=9.0), cursor=None, limit=9).heads) == 5
        mongodb_database.command({"profile": 0})
        wanted = {"ns": f"{mongodb_database.name}.{mongodb_prefix}history", "command.find": {"$exists": True}}
        assert [one["docsExamined"] for one in mongodb_database["system.profile"].find(wanted)] == [5]
