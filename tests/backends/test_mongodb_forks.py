"""MongoDB forks: one command, its answers that are lost, what comes between its writes, routers for shards, failover."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError

from tests.backends.conftest import Driven
from tests.backends.mongodb_stores import Between
from tests.backends.samples import a_head, all_ids, records, run_threads
from tests.servers.mongodb import primary_of, replica_set
from turnlog.backends.mongodb import MongoBackend
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Parent, Reference, Stretch
from turnlog.store.sync import SessionStore

Again = Callable[..., Driven]
CLAIM = Reference("s", "r1", "c", "cr", 3)
CHILD = a_head("c", "cr", past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2))


@pytest.fixture
def parent(mongodb_again: Again) -> Iterator[Driven]:
    """A backend with a session of five messages."""
    backend = mongodb_again()
    backend.put_head(a_head(length=5), expect=None, records=records(0, 5))
    return backend


def lose() -> None:
    """The connection breaks here."""
    raise AutoReconnect("connection closed")


class TestOneCommand:
    def test_a_fork_is_one_call(self, parent: Driven) -> None:
        seen: list[str] = []
        between = Between(parent)
        for method in ("bulk_write", "find_one", "insert_one", "update_one", "find"):
            between.once("before", method, lambda method=method: seen.append(method))
        assert parent.put_fork(CHILD, CLAIM, shed=0) == "stored"
        assert seen == ["bulk_write"]

    @pytest.mark.parametrize("ttl", [None, 60.0])
    @pytest.mark.parametrize("moment", ["before", "after"])
    def test_a_fork_whose_answer_is_lost_is_stored_once(self, parent: Driven, mongodb_again: Again, moment: str, ttl: float | None) -> None:
        Between(parent).once(moment, "bulk_write", lose)
        child = a_head("c", "cr", ttl=ttl)
        assert parent.put_fork(child, CLAIM, shed=0) == "stored"
        other = mongodb_again()
        assert other.get_head("c") == child
        assert other.references("s", "r1") == [CLAIM]
        assert other.put_fork(child, CLAIM, shed=0) == "taken"

    def test_a_fork_that_was_stored_is_so_when_its_parent_has_gone_since(self, parent: Driven, mongodb_again: Again) -> None:
        other, between = mongodb_again(), Between(parent)

        def meanwhile() -> None:
            assert other.remove_head("s", "r1")
            lose()

        between.once("after", "bulk_write", meanwhile)
        assert parent.put_fork(CHILD, CLAIM, shed=0) == "stored"
        assert other.references("s", "r1") == [CLAIM]

    def test_what_may_still_take_place_is_not_released(self, parent: Driven, mongodb_again: Again) -> None:
        """The store would drop the claim of a fork that has come to nothing; this one may yet arrive."""
        other, between = mongodb_again(), Between(parent)

        def meanwhile() -> None:
            assert other.remove_head("s", "r1")
            lose()

        between.once("before", "bulk_write", meanwhile)
        with pytest.raises(BackendUnavailableError):
            parent.put_fork(CHILD, CLAIM, shed=0)
        assert other.get_head("c") is None
        assert other.references("s", "r1") == [CLAIM]

    @pytest.mark.parametrize("code", [11602, 189])
    def test_a_command_that_ends_with_the_primary_is_tried_again(self, parent: Driven, code: int) -> None:
        def stop() -> None:
            raise BulkWriteError({"writeErrors": [{"index": 2, "code": code, "errmsg": "stepped down"}]})

        Between(parent).once("before", "bulk_write", stop)
        assert parent.put_fork(CHILD, CLAIM, shed=0) == "stored"

    def test_other_errors_are_named_by_their_own_code(self, parent: Driven) -> None:
        def stop(**details: Any) -> None:
            raise BulkWriteError(details)

        between = Between(parent)
        between.once("before", "bulk_write", lambda: stop(writeErrors=[{"index": 0, "code": 13, "errmsg": "secret"}]))
        with pytest.raises(StorageError, match="refuses this account") as caught:
            parent.put_fork(CHILD, CLAIM, shed=0)
        assert "secret" not in str(caught.value)
        between.once("before", "bulk_write", lambda: stop(writeErrors=[], writeConcernErrors=[{"code": 64}]))
        with pytest.raises(BackendUnavailableError, match="a majority"):
            parent.put_fork(CHILD, CLAIM, shed=0)


class TestRaces:
    def test_no_delete_erases_what_a_fork_shows(self, mongodb_again: Again) -> None:
        """Forks, deletes and retention race; whatever fork was acknowledged shows all its messages."""
        stores = [SessionStore(mongodb_again().backend) for _ in range(4)]
        forks: list[str] = []
        for turn in range(15):
            name = f"s{turn}"
            stores[0].add_messages(name, [{"role": "user", "content": f"{name} {n}"} for n in range(40)])

            def work(number: int, name: str = name) -> None:
                if number == 0:
                    stores[0].delete_session(name)
                    return
                try:
                    forks.append(stores[number].fork_session(name, 29))
                except StorageError:
                    raise
                except Exception as error:
                    assert type(error).__name__ == "SessionNotFoundError"

            run_threads(work, 4)
        for store in stores[:2]:
            store.sweep()
        assert forks
        for fork in forks:
            assert len(stores[0].get_chat_history(fork)) == 30
        for fork in forks:
            stores[1].delete_session(fork)
        stores[0].sweep()
        backend = mongodb_again()
        assert (backend.referenced_runs(), backend.marked_runs()) == ([], [])

    def test_the_same_mark_claim_and_watch_may_be_written_at_once(self, mongodb_again: Again) -> None:
        backends = [mongodb_again() for _ in range(8)]
        for backend in backends:
            backend.get_head("s")
        for number in range(25):
            claim, head = Reference(f"s{number}", f"r{number}", "c", "cr", 3), a_head(f"t{number}", f"tr{number}", ttl=10.0)
            stored: list[bool] = []

            def write(writer: int, claim: Reference = claim, head: Any = head, stored: list[bool] = stored) -> None:
                assert backends[writer].add_reference(claim) is True
                backends[writer].mark_run(claim.session_id, claim.run, None, closed=False)
                stored.append(backends[writer].put_head(head, expect=None))

            run_threads(write, 8)
            assert True in stored
            assert backends[0].references(claim.session_id, claim.run) == [claim]
            assert len(backends[0].marked_runs(claim.session_id)) == 1


class TestShards:
    def test_a_router_is_given_one_step_after_the_other(self, parent: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(type(parent.backend._server.driver), "sharded", property(lambda self: True))
        steps: list[str] = []
        between = Between(parent)
        for method in ("bulk_write", "insert_one"):
            between.once("before", method, lambda method=method: steps.append(method))
        assert parent.put_fork(CHILD, CLAIM, shed=1) == "moved"
        assert steps == ["bulk_write"]
        assert parent.put_fork(CHILD, CLAIM, shed=0) == "stored"
        assert parent.put_fork(CHILD, CLAIM, shed=0) == "taken"
        assert steps == ["bulk_write", "insert_one"]
        assert (parent.get_head("c"), parent.references("s", "r1")) == (CHILD, [CLAIM])

    def test_one_node_is_none(self, parent: Driven) -> None:
        assert parent.backend._server.driver.sharded is False


@pytest.mark.soak
class TestReplicaSets:
    def test_every_fork_that_was_acknowledged_outlives_the_primary(self) -> None:
        with replica_set() as (url, members):
            store = SessionStore(MongoBackend(url, timeout=10.0))
            store.add_messages("s", [{"role": "user", "content": f"{n}"} for n in range(70)])
            acknowledged: list[str] = []

            def fork(writer: int) -> None:
                while len(acknowledged) < 300:
                    try:
                        acknowledged.append(store.fork_session("s", 49))
                    except BackendUnavailableError:
                        continue

            def fail_over(writer: int) -> None:
                if writer < 4:
                    return fork(writer)
                while len(acknowledged) < 100:
                    time.sleep(0.01)
                primary_of(members).stop(signal.SIGKILL)
                return None

            run_threads(fail_over, 5)
            backend = Driven(store.backend)
            head = backend.get_head("s")
            claimed = {claim.child_id for claim in backend.references("s", head.run)}
            assert set(acknowledged) <= claimed
            children = {found.session_id for found in store.iter_sessions()} - {"s"}
            assert set(acknowledged) <= children <= claimed
            store.delete_session("s")
            for name in acknowledged[::10]:
                assert len(store.get_chat_history(name)) == 50
            store.close()

    def test_words_and_ends_on_a_replica_set(self) -> None:
        with replica_set() as (url, _):
            backend = Driven(MongoBackend(url, search=True))
            backend.put_head(a_head(ttl=10.0), expect=None)
            for number in range(40):
                assert backend.append("s", records(number, number + 1), now=3.0, expect=None) is not None
            assert [match.seq for match in backend.find(["m7"], limit=5)] == [7]
            assert backend.append("s", records(40, 41), now=13.0, expect=None) is None
            assert len(all_ids(backend)) == 40
            backend.close()
