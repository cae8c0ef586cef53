"""Forks, deletes, sweeps, retention, open turns and the rest: every interleaving, with crashes; and planted faults, which must show.

``python -m tests.store.test_races`` prints what each race covers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.store.explorer import Found
from tests.store.faults import FAULTS
from tests.store.races import RACES, Race, explore
from tests.store.turn_races import TURN_RACES

ALL = [*RACES, *TURN_RACES]
SHORT = [race for race in ALL if not race.soak]
BY_NAME = {race.name: race for race in ALL}


@pytest.mark.parametrize("race", SHORT, ids=lambda race: race.name)
def test_every_interleaving_is_explained_and_leaves_nothing(race: Race, record_property: Callable[[str, object], None]) -> None:
    covered = explore(race)
    record_property("schedules", covered.schedules)
    assert covered.schedules >= 10


@pytest.mark.soak
@pytest.mark.parametrize("race", ALL, ids=lambda race: race.name)
def test_every_interleaving_with_every_actor_crashing(race: Race) -> None:
    assert explore(replace(race, crashes=1 if race.soak else len(race.actors))).schedules >= 10


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str) -> None:
    fault = FAULTS[name]
    with fault.planted(), pytest.raises(Found) as found:
        explore(BY_NAME[fault.race], fault.store)
    assert not str(found.value).startswith("TypeError"), "the fault no longer fits the verb that it stands for"


def test_a_schedule_that_goes_wrong_is_told_step_by_step() -> None:
    fault = FAULTS["the child's head before the claim"]
    with pytest.raises(Found) as found:
        explore(BY_NAME[fault.race], fault.store)
    lines = str(found.value).splitlines()
    assert "dangling" in lines[0]
    assert any("1:delete: remove_head('P'" in line for line in lines[1:])
    assert any("0:fork: put_head(C@" in line for line in lines[1:])


if __name__ == "__main__":
    total = 0
    for each in ALL:
        started = time.perf_counter()
        result = explore(each)
        total += result.schedules
        print(f"{result.schedules:>26,} schedules {result.places:>8,} places {time.perf_counter() - started:6.2f} s  {each.name}")
    print(f"{total:>26,} schedules")
