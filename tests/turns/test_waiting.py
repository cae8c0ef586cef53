"""Turns that wait for each other: threads, tasks and processes; a killed one never blocks, and nobody waits longer than was asked."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.turns.conftest import Place
from turnlog import turn
from turnlog.errors import LockTimeoutError, StorageError
from turnlog.session import AsyncInMemorySessionStore, InMemorySessionStore, OpenTurn, SessionStore, open_store
from turnlog.session.awaiting import AwaitedStore
from turnlog.turns import Turn, is_running
from turnlog.turns.owner import LEASE, Owner

HOLD = """
import sys
from turnlog import turn

url, wait = sys.argv[1], float(sys.argv[2])
with turn(url, "s", wait=wait) as t:
    print(len(t.history), flush=True)
    if sys.stdin.readline():
        t.add({"role": "user", "content": "theirs"}, {"role": "assistant", "content": "theirs"})
"""
"""Begins a turn, tells how long the history is, and ends it when told to."""


def hold(url: str, wait: float = 30.0) -> subprocess.Popen[str]:
    """A process in the middle of a turn, or waiting for one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", HOLD, url, str(wait)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def begun(process: subprocess.Popen[str]) -> int:
    """How long the history was when the process began its turn."""
    assert process.stdout is not None
    return int(process.stdout.readline())


def talk(t: Turn, text: str = "ours") -> None:
    t.add({"role": "user", "content": text}, {"role": "assistant", "content": text})


@pytest.fixture(params=["json", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where processes meet."""
    return f"{request.param}://{tmp_path / 'place'}?durability=process"


def until(what: Callable[[], Any]) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.01)


class TestProcesses:
    def test_one_goes_on_when_the_other_has_ended(self, url: str) -> None:
        first = hold(url)
        assert begun(first) == 0
        second = hold(url)
        with open_store(url) as store:
            until(lambda: len(store.get_open_turns("s")) == 2)
            first.communicate("end\n", timeout=30)
            assert begun(second) == 2
            second.communicate("end\n", timeout=30)
            assert (first.returncode, second.returncode) == (0, 0)
            assert (len(store.get_chat_history("s")), store.get_open_turns("s")) == (4, [])

    def test_a_killed_one_never_blocks(self, url: str) -> None:
        killed = hold(url)
        begun(killed)
        killed.kill()
        killed.communicate(timeout=30)
        with open_store(url) as store:
            assert [is_running(one) for one in store.get_open_turns("s")] == [False]
            with turn(store, "s", wait=30.0) as t:
                # It had produced nothing: nothing is there to go on with.
                assert [one.id for one in store.get_open_turns("s")] == [t.id]
                talk(t)
            assert (len(store.get_chat_history("s")), store.get_open_turns("s")) == (2, [])

    def test_one_killed_but_not_reaped_never_blocks(self, url: str) -> None:
        killed = hold(url)
        begun(killed)
        killed.kill()
        until(lambda: Path(f"/proc/{killed.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        with turn(url, "s", wait=30.0) as t:
            talk(t)
        killed.communicate(timeout=30)

    def test_a_stopped_one_is_waited_for_as_long_as_was_asked(self, url: str) -> None:
        stopped = hold(url)
        begun(stopped)
        os.kill(stopped.pid, signal.SIGSTOP)
        with open_store(url) as store:
            started = time.monotonic()
            with pytest.raises(LockTimeoutError, match=r"has not ended within 0\.3 s") as late, turn(store, "s", wait=0.3):
                raise AssertionError("the turn began")
            assert 0.3 <= time.monotonic() - started < 10
            assert late.value.session_id == "s"
            assert len(store.get_open_turns("s")) == 1
            os.kill(stopped.pid, signal.SIGCONT)
            stopped.communicate("end\n", timeout=30)
            with turn(store, "s", wait=30.0) as t:
                assert len(t.history) == 2

    def test_who_waits_and_is_killed_blocks_nobody_behind(self, url: str) -> None:
        first = hold(url)
        begun(first)
        waiting = hold(url)
        with open_store(url) as store:
            until(lambda: len(store.get_open_turns("s")) == 2)
            waiting.kill()
            waiting.communicate(timeout=30)
            first.communicate("end\n", timeout=30)
            with turn(store, "s", wait=30.0) as t:
                assert len(t.history) == 2
                talk(t)
            assert store.get_open_turns("s") == []

    def test_work_of_a_killed_turn_stays_to_be_gone_on_with(self, url: str) -> None:
        with open_store(url) as store:
            gone = subprocess.Popen([sys.executable, "-c", "pass"])
            gone.wait()
            info = {"state": "running", "host": socket.gethostname(), "pid": gone.pid, "began": "1"}
            store.put_open_turn("s", "old", [{"role": "user", "content": "q", "id": "q"}], info=info)
            with turn(store, "s", wait=30.0) as t:
                talk(t)
            assert [one.id for one in store.get_open_turns("s")] == ["old"]


class TestThreadsAndTasks:
    def test_threads_take_turns(self, full: Place) -> None:
        if full.way == "async with":
            return self._tasks_take_turns(full)
        seen: list[int] = []

        def body(t: Turn) -> None:
            seen.append(len(t.history))
            talk(t)

        threads = [threading.Thread(target=lambda: [full.take(body, wait=60.0) for _ in range(3)]) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [2 * number for number in range(9)]
        assert (len(full.history()), full.opened()) == (18, {})
        return None

    @staticmethod
    def _tasks_take_turns(full: Place) -> None:
        seen: list[int] = []

        async def work() -> None:
            for _ in range(3):
                async with turn(full.store, "s", wait=60.0) as t:
                    seen.append(len(t.history))
                    await asyncio.sleep(0)
                    talk(t)

        async def run() -> None:
            await asyncio.gather(*(work() for _ in range(3)))

        asyncio.run(run())
        assert seen == [2 * number for number in range(9)]
        assert (len(full.history()), full.opened()) == (18, {})

    def test_other_sessions_are_not_waited_for(self) -> None:
        store = InMemorySessionStore()
        with turn(store, "a", wait=5.0) as one, turn(store, "b", wait=5.0) as other:
            talk(one)
            talk(other)
        assert len(store.get_chat_history("a")) == len(store.get_chat_history("b")) == 2

    def test_interrupted_turns_are_not_waited_for(self, full: Place) -> None:
        def body(t: Turn) -> None:
            t.add({"role": "user", "content": "q"})
            raise ValueError

        with pytest.raises(ValueError):
            full.take(body, wait=5.0)
        assert full.take(talk, wait=5.0).landed
        assert [state for state, _ in full.opened().values()] == ["interrupted"]

    def test_who_does_not_wait_is_not_waited_for(self) -> None:
        store = InMemorySessionStore()
        with turn(store, "s") as careless, turn(store, "s", wait=5.0) as t:
            talk(t)
            talk(careless, "careless")
        assert len(store.get_chat_history("s")) == 4

    def test_a_clear_ends_the_wait(self) -> None:
        store = InMemorySessionStore()
        with turn(store, "s", wait=5.0) as first:
            store.clear_session("s")
            with turn(store, "s", wait=5.0) as second:
                talk(second)
            talk(first)
        assert (len(store.get_chat_history("s")), store.get_open_turns("s")) == (4, [])


class TestLeavingTheQueue:
    @pytest.mark.parametrize("error", [KeyboardInterrupt, StorageError, SystemExit])
    @pytest.mark.parametrize("where", ["pause", "window"])
    def test_what_ends_the_beginning_leaves_nobody_waiting(
        self, error: type[BaseException], where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = InMemorySessionStore()

        async def fail(*arguments: Any) -> None:
            raise error("now")

        with turn(store, "s", wait=5.0) if where == "pause" else turn(store, "other"):
            with monkeypatch.context() as patch:
                patch.setattr(AwaitedStore, where, fail)
                with pytest.raises(error), turn(store, "s", wait=5.0):
                    raise AssertionError("the turn began")
            assert len(store.get_open_turns("s")) == (1 if where == "pause" else 0)
        with turn(store, "s", wait=5.0) as t:
            talk(t)
        assert store.get_open_turns("s") == []

    def test_a_cancelled_wait_leaves_nobody_waiting(self) -> None:
        async def run() -> None:
            async with AsyncInMemorySessionStore() as store:
                async with turn(store, "s", wait=5.0) as first:
                    waiting = asyncio.create_task(turn(store, "s", wait=30.0).__aenter__())
                    while len(await store.get_open_turns("s")) < 2:  # noqa: ASYNC110  # there is nothing to be woken by
                        await asyncio.sleep(0)
                    waiting.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await waiting
                    assert [one.id for one in await store.get_open_turns("s")] == [first.id]
                    talk(first)

        asyncio.run(run())

    def test_what_a_resumed_turn_had_produced_survives_the_wait(self) -> None:
        """The turn of the interrupted one's id waits behind another; if that takes too long, the work is still there."""
        store = InMemorySessionStore()
        with turn(store, "s", wait=5.0):
            store.put_open_turn("s", "old", [{"role": "user", "content": "q", "id": "q"}], info={"state": "interrupted"})
            (kept,) = [one for one in store.get_open_turns("s") if one.id == "old"]
            again = turn(store, "s", wait=0.1)

            async def begin() -> None:
                await again.begin(kept)

            with pytest.raises(LockTimeoutError):
                begin().send(None)
            found = {one.id: one for one in store.get_open_turns("s")}
            assert [message.id for message in found["old"].messages] == ["q"]
            assert found["old"].info["state"] == "interrupted"


class TestOwners:
    def one(self, store: SessionStore, **info: Any) -> OpenTurn:
        store.put_open_turn("s", "t", info={"state": "running", **Owner.here().to_dict(), **info})
        return store.get_open_turns("s")[0]

    @pytest.fixture
    def store(self) -> InMemorySessionStore:
        return InMemorySessionStore()

    def test_this_process_is_at_work(self, store: InMemorySessionStore) -> None:
        assert is_running(self.one(store))

    @pytest.mark.parametrize("info", [{"state": "interrupted"}, {"state": None}, {"pid": None}, {"pid": "x"}, {"pid": 2**22 + 1}])
    def test_others_are_not(self, store: InMemorySessionStore, info: dict[str, Any]) -> None:
        assert not is_running(self.one(store, **info))

    def test_a_turn_that_says_nothing_of_its_owner_counts_as_interrupted(self, store: InMemorySessionStore) -> None:
        store.put_open_turn("s", "t")
        assert not is_running(store.get_open_turns("s")[0])

    def test_a_number_that_was_used_again_is_another_process(self, store: InMemorySessionStore) -> None:
        assert not is_running(self.one(store, began="1"))

    def test_on_another_machine_a_sign_of_life_holds_for_some_time(self, store: InMemorySessionStore) -> None:
        elsewhere = self.one(store, host="elsewhere", pid=1)
        assert is_running(elsewhere)
        assert not is_running(replace(elsewhere, updated_at=time.time() - LEASE - 1))
