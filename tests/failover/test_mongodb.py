"""MongoDB under writers: a primary that is killed or hangs, with and without what the secondaries have not copied yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import pytest

from tests.backends.conftest import Driven
from tests.backends.mongodb_stores import Between
from tests.backends.samples import a_head, all_ids, record
from tests.failover.writers import kinds, watch
from tests.servers.mongodb import MongoServer, new_prefix, primary_of, replica_set, wait_for_primary
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.mongodb.documents import CHUNK
from turnlog.backends.mongodb.schema import Durability
from turnlog.errors import BackendUnavailableError
from turnlog.store.sync import SessionStore

SOON = 3.0
"""Seconds that the stores of these tests wait."""
LAG = 0.5
"""Seconds during which the secondaries copy nothing, before the primary goes."""


def opener(url: str, durability: Durability = "power") -> Callable[[], SessionStore]:
    """Opens stores with one prefix on what the URL names; which must not keep them from asking the primary."""
    prefix = new_prefix()
    return lambda: SessionStore(MongoBackend(f"{url}&readPreference=secondary", prefix=prefix, durability=durability, timeout=SOON))


def kill_primary(members: list[MongoServer], *, lag: float = 0.0) -> None:
    """Kill the primary, with what it has not passed on for a while, and start it again once there is another."""
    primary = primary_of(members)
    others = [member for member in members if member is not primary]
    if lag:
        for other in others:
            other.copy(go_on=False)
        time.sleep(lag)
    primary.stop()
    if lag:
        for other in others:
            other.copy(go_on=True)
    wait_for_primary(others)
    primary.start()


def hang_primary(members: list[MongoServer]) -> None:
    """Let the primary hang until there is another, and then go on as if it still were it."""
    primary = primary_of(members)
    primary.pause()
    wait_for_primary([member for member in members if member is not primary])
    primary.resume()


def test_a_primary_that_is_killed_with_what_no_other_has() -> None:
    with replica_set() as (url, members):
        seen = watch(opener(url), partial(kill_primary, members, lag=LAG))
    assert seen.anomalies == []


@pytest.mark.soak
@pytest.mark.parametrize("fault", [kill_primary, hang_primary])
def test_primaries_that_go_again_and_again(fault: Callable[[list[MongoServer]], None]) -> None:
    with replica_set() as (url, members):
        seen = watch(opener(url), *[partial(fault, members)] * 8)
    assert seen.anomalies == []


@pytest.mark.soak
def test_writes_that_wait_for_no_majority_are_lost() -> None:
    with replica_set() as (url, members):
        seen = watch(opener(url, "process"), partial(kill_primary, members, lag=LAG))
    assert "lost" in kinds(seen)


@pytest.mark.soak
def test_records_leave_the_buffer_only_once_a_majority_has_their_chunk() -> None:
    with replica_set() as (url, members):
        backend = Driven(MongoBackend(url, prefix=new_prefix(), timeout=10.0))
        backend.put_head(a_head(), expect=None)
        for number in range(2 * CHUNK - 1):
            backend.append("s", [record(f"m{number}")], now=1.0, expect=None)
        primary = primary_of(members)
        others = [member for member in members if member is not primary]

        def stop_copying() -> None:
            for other in others:
                other.copy(go_on=False)

        def lose_the_chunk() -> None:
            primary.stop()
            for other in others:
                other.copy(go_on=True)
            wait_for_primary(others)

        between = Between(backend)
        between.once("before", "aggregate", stop_copying)
        between.once("after", "aggregate", lose_the_chunk)
        backend.append("s", [record("last")], now=1.0, expect=None)
        for other in others:
            other.copy(go_on=True)
        assert all_ids(backend) == [*(f"m{number}" for number in range(2 * CHUNK - 1)), "last"]
        backend.close()


@pytest.mark.soak
def test_what_a_majority_lacks_is_neither_acknowledged_nor_read() -> None:
    with replica_set() as (url, members):
        prefix = new_prefix()
        backend, patient = (Driven(MongoBackend(url, prefix=prefix, timeout=seconds)) for seconds in (1.0, 60.0))
        backend.put_head(a_head(), expect=None)
        primary = primary_of(members)
        others = [member for member in members if member is not primary]
        for other in others:
            other.copy(go_on=False)
        for _ in range(3):
            # The second time the primary knows it already.
            with pytest.raises(BackendUnavailableError):
                backend.append("s", [record("m0")], now=1.0, expect=None)
            with pytest.raises(BackendUnavailableError):
                all_ids(backend)
            with pytest.raises(BackendUnavailableError):
                backend.get_head("s")
        for other in others:
            other.copy(go_on=True)
        assert patient.append("s", [record("m0")], now=1.0, expect=None).known
        assert patient.get_head("s").length == 1
        assert all_ids(patient) == ["m0"]
        backend.close()
        patient.close()
