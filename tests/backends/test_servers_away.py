"""Servers of each of the databases that are not there, hang, or come back: what is raised names them, and all goes on afterwards."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.lines import ENGINES, SOON, said
from tests.backends.samples import a_head, all_ids, record, run_threads
from tests.servers.cut_line import CutLine
from turnlog.errors import BackendUnavailableError
from turnlog.heads import Stretch


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_is_not_there_is_named_without_the_password(engine: str, asynchronous: bool) -> None:
    with CutLine(1) as unused:
        port = unused.port

    async def look() -> None:
        url = f"{ENGINES[engine].scheme}://u:sesame@127.0.0.1:{port}/d"
        backend = ENGINES[engine].backend(url, asynchronous=asynchronous, timeout=SOON)
        try:
            await backend.get_head("s")
        finally:
            await backend.close()

    begun = time.monotonic()
    with pytest.raises(BackendUnavailableError) as caught:
        asyncio.run(look())
    assert time.monotonic() - begun < 3 * SOON
    assert caught.value.host == f"127.0.0.1:{port}"  # type: ignore[attr-defined]
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "sesame" not in said(caught.value)


# While PostgreSQL is stopped, its port is free for a server of a test that runs beside it.
@pytest.mark.parametrize("engine", ["mongodb", pytest.param("postgres", marks=pytest.mark.soak)])
def test_a_server_that_comes_back_is_found_again(engine: str) -> None:
    ends = ENGINES[engine].ends
    with ENGINES[engine].server() as private:
        backend = Driven(ENGINES[engine].backend(private.url, timeout=SOON))
        backend.put_head(a_head(), expect=None)
        run_threads(lambda n: backend.append("s", [record(f"a{n}")], now=1.0, expect=None), 6)
        for how in ends:
            private.stop(how)
            with pytest.raises(BackendUnavailableError):
                backend.append("s", [record(f"while {how.name}")], now=1.0, expect=None)
            private.start()
            assert not backend.append("s", [record(f"after {how.name}")], now=1.0, expect=None).known
            backend.put_row("s", "r1", "draft", "k", how.name)
        # A restart that nobody saw: the pooled connections are dead, and the first verb finds out.
        private.stop(ends[0])
        private.start()
        assert backend.put_row("s", "r1", "draft", "k", "again") is True
        assert len(all_ids(backend)) == 6 + len(ends)
        backend.close()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_server_that_hangs_is_given_up(engine: str, asynchronous: bool) -> None:
    async def work(private: Any) -> None:
        backend = ENGINES[engine].backend(private.url, asynchronous=asynchronous, timeout=SOON)
        await backend.put_head(a_head(), expect=None)
        private.pause()
        begun = time.monotonic()
        with pytest.raises(BackendUnavailableError, match="did not answer"):
            await backend.append("s", [record("m0")], now=1.0, expect=None)
        assert SOON < time.monotonic() - begun < 8 * SOON
        private.resume()
        assert await backend.append("s", [record("m0")], now=1.0, expect=None) is not None
        assert [r.id for r in await backend.read("s", [Stretch("r1", 0, 9)])] == ["m0"]
        await backend.close()

    with ENGINES[engine].server() as private:
        asyncio.run(work(private))
