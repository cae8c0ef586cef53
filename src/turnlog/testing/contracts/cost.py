"""Promise 3.10: cost does not grow with length; counted in bytes and steps, with what each may vary by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from turnlog.testing.checks import Mismatch, NotRun
from turnlog.testing.histories import group, stored, text
from turnlog.testing.meters import Meter, Steps
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial

ALLOWED = {"bytes allocated": 6_000, "bytes read": 24_000, "bytes written": 40_000, "SQLite steps": 150, "Python operations": 600}
"""By how much a call may cost more than in a session a quarter as long, over a half more: a tree that became a level deeper.

The shorter session is long enough to fill any block that a store reads at once; a cost in bytes that does not grow from there
does not grow.
"""

ROUNDS = 8
SETTLING = 1.0
"""Seconds after which what was written has settled for any store."""
LAST = 10


def _fill(store: Any, name: str, count: int) -> None:
    for start in range(0, count, 100):
        store.add_messages(name, [{"role": "user", "content": f"message {i} {'x' * 150}"} for i in range(start, min(count, start + 100))])


def _cost(meter: Meter, call: Callable[[int], object], *, trace: bool) -> dict[str, int]:
    """The cost of a call that has been made before, without the one round in which an engine tidied up."""
    call(0)
    rounds = [meter.cost(lambda number=number: call(number)) for number in range(1, ROUNDS)]  # type: ignore[misc]
    costs = {name: sum(sorted(one[name] for one in rounds)[:-1]) // (ROUNDS - 2) for name in rounds[0]}
    return {**costs, **(meter.operations(lambda: call(ROUNDS)) if trace else {})}


@contextmanager
def _metered(trial: Trial) -> Iterator[Meter]:
    """A meter that also counts for the SQLite connections of the stores that are first opened in this scope."""
    steps = Steps()
    with steps.watching():
        yield Meter(steps, trial.subject.meter)


def _compare(what: str, small: dict[str, int], large: dict[str, int], at: str) -> None:
    for name, before in small.items():
        allowed = before * 1.5 + ALLOWED.get(name, 5)
        if large[name] > allowed:
            raise Mismatch(f"{what} {at} costs about the {before} {name} of a shorter one", f"{large[name]} {name}")


def _check(trial: Trial, what: str, operation: Callable[[Any, str, int], object]) -> None:
    """``operation(store, session, round)`` costs the same in a session and in one that is four times as long."""
    lengths = {"short": trial.many(400, 5_000), "long": trial.many(1_600, 20_000)}
    trace = not trial.subject.asynchronous
    costs = {}
    with _metered(trial) as meter:
        for name, length in lengths.items():
            _fill(trial.store, name, length)
            costs[name] = _cost(meter, lambda number, name=name: operation(trial.store, name, number), trace=trace)  # type: ignore[misc]
    _compare(what, costs["short"], costs["long"], f"at message {lengths['long']}")


def _need_shared(trial: Trial) -> None:
    if getattr(getattr(trial.raw, "backend", None), "copies", False):
        raise NotRun(
            "the store says that each of its sessions stands alone (backend.copies): there a fork copies and a head change rewrites"
        )


@case("3.10.1", "An append costs the same in a long session", seconds=60)
def append(trial: Trial) -> None:
    _check(trial, "an append", lambda store, name, number: store.add_message(name, "user", f"more {number}"))


@case("3.10.2", "A turn with ids and a compare-and-set costs the same in a long session", seconds=60)
def turn_append(trial: Trial) -> None:
    def add(store: Any, name: str, number: int) -> None:
        turn = [{"role": "user", "content": f"{i}", "id": f"{name} {number} {i}"} for i in range(3)]
        store.add_messages(name, turn, expect_revision=store.get_revision(name))

    _check(trial, "a turn", add)


@case("3.10.3", "Reading the last messages costs the same in a long session", seconds=60)
def read_last(trial: Trial) -> None:
    _check(trial, f"reading the last {LAST}", lambda store, name, _: store.get_chat_history(name, LAST))


@case("3.10.4", "session_exists, get_revision and get_session_info cost the same in a long session", seconds=60)
def look(trial: Trial) -> None:
    def use(store: Any, name: str, number: int) -> None:
        store.session_exists(name)
        store.get_revision(name)
        store.get_session_info(name)

    _check(trial, "session_exists with get_revision and get_session_info", use)


@case("3.10.5", "A page of a listing costs the same when the sessions are long: it reads heads only", seconds=60)
def list_page(trial: Trial) -> None:
    stores = []
    with _metered(trial) as meter:
        for count in (trial.many(400, 2000), trial.many(1600, 8000)):
            stores.append(store := trial.another())
            for number in range(5):
                _fill(store, f"s{number}", count)
        # A store may look closer at what has just been written, until that has settled: the cheapest look at each counts.
        best: list[dict[str, int]] = []
        until = time.monotonic() + SETTLING
        while True:
            looks = [_cost(meter, lambda _, store=store: store.list_sessions(limit=10), trace=False) for store in stores]  # type: ignore[misc]
            best = [{name: min(one[name], two[name]) for name in one} for one, two in zip(looks, best or looks, strict=True)]
            try:
                _compare("a page of 5 sessions", best[0], best[1], "of many messages")
            except Mismatch:
                if time.monotonic() > until:
                    raise
                time.sleep(SETTLING / 20)
            else:
                return


@case("3.10.6", "A snapshot costs the same in a long session", seconds=60)
def snapshot(trial: Trial) -> None:
    _need_shared(trial)
    _check(trial, "create_snapshot", lambda store, name, number: store.create_snapshot(name, f"label {number}"))


@case("3.10.7", "A revert and its undo cost the same in a long session", seconds=60)
def revert(trial: Trial) -> None:
    _need_shared(trial)
    half = {"short": trial.many(200, 2_500), "long": trial.many(800, 10_000)}

    def there_and_back(store: Any, name: str, number: int) -> None:
        store.revert_to_message(name, half[name])
        store.undo_revert(name)

    _check(trial, "a revert", there_and_back)


@case("3.10.8", "A fork costs the same in a long session", seconds=60)
def fork(trial: Trial) -> None:
    _need_shared(trial)
    _check(trial, "a fork", lambda store, name, number: store.fork_session(name, 5, new_session_id=f"fork {name} {number}"))


@case("3.10.9", "Appending to a fork of a long session and reading its last messages costs the same", seconds=60)
def in_fork(trial: Trial) -> None:
    _need_shared(trial)

    def use(store: Any, name: str, number: int) -> None:
        if number == 0:
            store.fork_session(name, new_session_id=f"fork {name}")
        store.add_message(f"fork {name}", "user", f"more {number}")
        store.get_chat_history(f"fork {name}", LAST)

    _check(trial, "an append and a read in a fork", use)


@case("3.10.10", "Hundreds of forks, snapshots and reverts make no append and no read of the last messages dearer", seconds=90)
def after_many(trial: Trial) -> None:
    _need_shared(trial)
    trace = not trial.subject.asynchronous
    kept, costs = 1, []

    def use(number: int) -> None:
        store.add_message("s", "user", f"more {number}")
        store.get_chat_history("s", LAST)

    with _metered(trial) as meter:
        store = trial.store
        store.add_message("s", "user", "first")
        for first, stop in ((0, 30), (30, trial.many(180, 3000))):
            for number in range(first, stop):
                kept = _branch(store, kept, number)
            costs.append(_cost(meter, use, trace=trace))
            kept += ROUNDS + trace
    _compare("an append and a read", costs[0], costs[1], "after hundreds of branches")


def _branch(store: Any, kept: int, number: int) -> int:
    """Three messages, of which a revert keeps two; every third time a snapshot and a fork. Gives how many messages there are."""
    store.add_messages("s", [{"role": "user", "content": f"{number} {i}"} for i in range(3)])
    store.revert_to_message("s", kept + 1)
    if number % 3 == 0:
        store.create_snapshot("s")
        store.fork_session("s", new_session_id=f"fork {number}")
    return kept + 2


@case("3.10.11", "A page of a listing costs the same among many sessions", seconds=60)
def page_of_many(trial: Trial) -> None:
    _need_shared(trial)
    costs = []
    with _metered(trial) as meter:
        store = trial.store
        for first, count in ((0, 30), (30, trial.many(400, 6000))):
            for number in range(first, count):
                store.add_message(f"s{number:06}", "user", "x")
            page = lambda _: list(islice(store.iter_sessions(page_size=10), 10))  # noqa: E731
            costs.append(_cost(meter, page, trace=not trial.subject.asynchronous))
    _compare("a page of 10 sessions", costs[0], costs[1], f"of {trial.many(400, 6000)}")


@case("3.10.12", "Files grow with what is stored, and not with every change of it", needs=["place"], seconds=60)
def files_grow(trial: Trial) -> None:
    store = trial.store
    count, size = trial.many(200, 2000), 400
    for number in range(count):
        store.add_message("s", "user", f"{number} {'x' * size}")
    store.close()
    total = sum(path.stat().st_size for path in trial.files())
    allowed = count * (size + 500) * 3 + 1_000_000
    if total > allowed:
        raise Mismatch(f"files of at most {allowed} bytes for {count} messages of {size} characters", f"{total} bytes")


@case("3.10.13", "Reading the last messages costs the same in a long session, also where the cut falls into a long tool group", seconds=60)
def read_last_of_group(trial: Trial) -> None:
    calls = [f"call {i}" for i in range(30)]

    def use(store: Any, name: str, number: int) -> None:
        if number == 0:
            store.add_messages(name, stored([text("user", "all of them"), group(*calls), text("assistant", "done")]))
        store.get_chat_history(name, LAST)

    _check(trial, f"reading the last {LAST}, of which a group of {len(calls) + 1} lets through one,", use)


@case("3.10.14", "Putting an open turn, looking at it, taking it over and dropping it cost the same in a long session", seconds=60)
def open_turn(trial: Trial) -> None:
    def use(store: Any, name: str, number: int) -> None:
        store.put_open_turn(name, "t", [{"role": "user", "content": "x", "id": f"t {number}"}])
        (seen,) = store.get_open_turns(name)
        store.put_open_turn(name, "t", [], expect_updated_at=seen.updated_at)
        store.drop_open_turn(name, "t")

    _check(trial, "an open turn", use)


@case("3.10.15", "Editing the metadata costs the same in a long session", seconds=60)
def edit(trial: Trial) -> None:
    _need_shared(trial)
    _check(trial, "an edit", lambda store, name, number: store.edit_session_metadata(name, lambda given: {**given, "n": number}))
