"""Whose a lease is: told apart by each worker's own token, given up by time, or at once where a process is seen to have ended."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable

import pytest

from tests.bots.stores import Open
from turnlog.bots import leases
from turnlog.bots.leases import Leases
from turnlog.session.awaiting import AwaitedStore


def test_an_ended_process_is_taken_over_from_at_once(opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        store = AwaitedStore(opened("memory")())
        await store.call("create_session", "s")
        gone, here = (Leases(store, 1000.0, lambda error: None) for _ in range(2))
        gone._me["pid"] = 2**22 + 1
        lost = await gone.take("s", "x")
        assert lost is not None and lost.held
        taken = await here.take("s", "x")
        assert taken is not None
        assert await gone.take("s", "x") is None
        await taken.release()
        lost._renewing.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("system", ["another", None])
def test_a_process_of_another_container_with_this_host_name_is_not_taken_for_an_ended_one(
    system: str | None, opened: Callable[[str], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        store = AwaitedStore(opened("memory")())
        there = Leases(store, 1000.0, lambda error: None)
        # Its number is of another kernel or another namespace: none here has it, or a process that began at another time.
        there._me |= {"pid": 2**22 + 1, "system": system}
        lost = await there.take("s", "x")
        assert lost is not None
        monkeypatch.setattr(leases, "_system", lambda: system if system is None else "this one")
        assert await Leases(store, 1000.0, lambda error: None).take("s", "x") is None
        lost._renewing.cancel()

    asyncio.run(run())


def test_workers_that_were_forked_from_one_process_are_two(opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = AwaitedStore(opened("memory")())
        made = Leases(store, 1000.0, lambda error: None)
        # As each of two processes has it that began after the bot was made.
        one, two = copy.copy(made), copy.copy(made)
        lost = await one.take("s", "x")
        assert lost is not None
        assert await two.take("s", "x") is None
        lost._renewing.cancel()

    asyncio.run(run())
