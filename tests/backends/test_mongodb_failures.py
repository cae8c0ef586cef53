"""MongoDB when things go wrong: answers that are lost, a refused account, cancelled calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.lines import BehindALine, said
from tests.backends.samples import a_head, all_ids, record, records
from tests.servers.cut_line import CutLine
from tests.servers.mongodb import MongoServer, replica_set, server
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.port import Appended
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.heads import Reference, Stretch
from turnlog.store.aio import AsyncSessionStore


@pytest.fixture
def engine() -> str:
    """The name of the database."""
    return "mongodb"


class TestLostAnswers(BehindALine):
    def test_an_append_is_stored_once_when_its_answer_is_lost_and_it_is_moved_meanwhile(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: [beside.append("s", [record(f"o{n}")], now=4.0, expect=None) for n in range(100)])
        assert behind.append("s", records(0, 2), now=3.0, expect="r1.0") == Appended("r1.101", 102, True)
        assert len(all_ids(beside)) == 102

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_appends_that_fill_the_buffer_are_stored_once(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        for number in range(100):
            if number % 32 in (31, 0):
                line.cut(moment)
            behind.append("s", [record(f"m{number}")], now=3.0, expect=None)
        assert line.cuts == 7
        assert all_ids(beside) == [f"m{n}" for n in range(100)]
        assert beside.append("s", records(0, 100), now=3.0, expect=None).known

    @pytest.mark.parametrize("moment", ["request", "answer"])
    @pytest.mark.parametrize("size", [2, 40])
    def test_a_new_head_is_stored_once(self, pair: Any, line: CutLine, moment: Any, size: int) -> None:
        behind, beside = pair
        first = records(0, size)
        line.cut(moment)
        if size == 2:
            # These lie in the head; more of them are written before it.
            assert behind.put_head(a_head("t", "r2", length=size), expect=None, records=first) is True
        else:
            with pytest.raises(BackendUnavailableError, match="may have been stored"):
                behind.put_head(a_head("t", "r2", length=size), expect=None, records=first)
            assert beside.get_head("t") is None
            assert behind.put_head(a_head("t", "r3", length=size), expect=None, records=first) is True
        assert line.cuts == 1
        run = beside.get_head("t").run
        assert len(all_ids(beside, "t", run)) == size

    def test_a_change_is_known_again_after_appends(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.append("s", [record("other")], now=4.0, expect=None))
        assert behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0") is True
        assert beside.get_head("s") == a_head(counter=2, length=1, updated_at=4.0, fields={"title": "T"})

    def test_what_cannot_be_decided_is_said(self, pair: Any, line: CutLine) -> None:
        behind, beside = pair
        line.cut("answer", lambda: beside.put_head(a_head(counter=2), expect="r1.1"))
        with pytest.raises(BackendUnavailableError, match="may have been stored") as caught:
            behind.put_head(a_head(counter=1, fields={"title": "T"}), expect="r1.0")
        assert caught.value.host == f"127.0.0.1:{line.port}"  # type: ignore[attr-defined]
        assert beside.get_head("s") == a_head(counter=2)

    @pytest.mark.parametrize("moment", ["request", "answer"])
    def test_verbs_that_may_be_done_twice_are(self, pair: Any, line: CutLine, moment: Any) -> None:
        behind, beside = pair
        beside.append("s", records(0, 2), now=3.0, expect=None)
        for verb in (
            lambda: behind.put_row("s", "r1", "snapshot", "k", "1") is True,
            lambda: behind.put_row("s", "r1", "draft", "k", "1") is True,
            lambda: behind.add_reference(Reference("s", "r1", "c", "cr", 1)) is True,
            lambda: behind.mark_run("s", "r1", None, closed=False) is None,
            lambda: behind.drop_rows("s", "r1", "draft") is None,
            lambda: behind.remove_head("s", "r1", expect="r1.1") is True,
        ):
            line.cut(moment)
            assert verb()
        assert line.cuts == 6
        assert (beside.get_head("s"), all_ids(beside)) == (None, ["m0", "m1"])
        assert beside.get_rows("s", "r1", "snapshot") == {"k": "1"}


class TestRefusals:
    def test_a_wrong_password_is_named_as_that(self) -> None:
        with server("--auth") as private:
            backend = Driven(MongoBackend(private.url.replace("://", "://u:sesame@")))
            with pytest.raises(StorageError, match="check user, password") as caught:
                backend.get_head("s")
            assert "sesame" not in said(caught.value)
            backend.close()


@pytest.mark.soak
class TestReplicaSets:
    def test_a_store_on_a_replica_set_keeps_its_forks_and_rows(self) -> None:
        async def work(url: str) -> None:
            async with AsyncSessionStore(MongoBackend(url, asynchronous=True)) as store:
                await store.add_messages("s", [{"role": "user", "content": f"{n}"} for n in range(100)])
                mark = await store.create_snapshot("s")
                child = await store.fork_session("s", 59)
                await asyncio.gather(*(store.add_message(name, "user", f"more {n}") for name in ("s", child) for n in range(40)))
                await store.revert_to_snapshot("s", mark)
                await store.delete_session("s")
                history = await store.get_chat_history(child)
                assert [message["content"] for message in history[:60]] == [f"{n}" for n in range(60)]
                assert len(history) == 100

        with replica_set() as (url, _):
            asyncio.run(work(url))


class TestCallers:
    def test_a_cancelled_call_leaves_the_pool_whole(self) -> None:
        async def work(private: MongoServer) -> None:
            backend = MongoBackend(private.url, asynchronous=True, pool_size=2)
            await backend.put_head(a_head(), expect=None)
            private.pause()
            calls = [asyncio.create_task(backend.append("s", [record(f"m{n}")], now=1.0, expect=None)) for n in range(5)]
            await asyncio.sleep(0.3)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(result) for result in results] == [asyncio.CancelledError] * 5
            private.resume()
            again = await asyncio.gather(*(backend.append("s", [record(f"m{n}")], now=1.0, expect=None) for n in range(5)))
            assert None not in again
            assert sorted(r.id for r in await backend.read("s", [Stretch("r1", 0, 9)])) == [f"m{n}" for n in range(5)]
            await backend.close()

        with server() as private:
            asyncio.run(work(private))
