"""Cases 2.50 to 2.59: listings: each session once, newest first, in pages with cursors, by prefix, agent, user and time."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import islice

from turnlog.errors import SessionError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.contracts.order import clock
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import turn


def _fill(trial: Trial, count: int) -> list[str]:
    """Sessions in the order of their last change, each at a later second."""
    names = [f"s{number:03}" for number in range(count)]
    trial.random.shuffle(names)
    start = time.time() - 10 * count
    for number, name in enumerate(names):
        with clock(lambda number=number: start + 10 * number):  # type: ignore[misc]
            trial.store.add_message(name, "user", name)
    return names


@case("2.50", "A walk over all pages meets every session once, whatever the size of a page")
def pages(trial: Trial) -> None:
    names = _fill(trial, trial.many(23, 230))
    for size in (1, 2, 7, 22, 23, 24, 1000):
        seen = [info.session_id for info in trial.store.iter_sessions(page_size=size)]
        same(sorted(seen), sorted(names), f"the ids with page_size={size}")
    same(len(trial.store.list_sessions(limit=10)), 10, "the number of sessions with limit=10")
    for number in range(60):
        trial.store.add_message(f"more {number}", "user", "x")
    same((len(trial.store.list_sessions()), len(trial.store.recent())), (50, 10), "the numbers of list_sessions() and recent()")


@case("2.51", "Listings show what changed last first")
def newest_first(trial: Trial) -> None:
    names = _fill(trial, 12)
    trial.store.add_message(names[3], "user", "again")
    wanted = [names[3], *(name for name in reversed(names) if name != names[3])]
    same([info.session_id for info in trial.store.iter_sessions(page_size=5)], wanted, "the ids of iter_sessions")
    same([one["session_id"] for one in trial.store.list_sessions()], wanted, "the ids of list_sessions")
    same([one["session_id"] for one in trial.store.list_sessions(limit=4)], wanted[:4], "the ids of list_sessions(limit=4)")
    same([one.session_id for one in trial.store.recent(limit=3)], wanted[:3], "the ids of recent(limit=3)")


@case("2.52", "A cursor goes on after its page, also in another instance and when sessions tie in time")
def cursors(trial: Trial) -> None:
    now = time.time()
    names = [f"t{number:02}" for number in range(20)]
    with clock(lambda: now):
        for name in names:
            trial.store.add_message(name, "user", "x")
    other = trial.open_again() if trial.subject.takes_place else trial.store
    seen: list[str] = []
    cursor = None
    for _ in range(30):
        page = list(islice(other.iter_sessions(page_size=3, cursor=cursor), 3))
        if not page:
            break
        seen += [info.session_id for info in page]
        cursor = page[-1].cursor
        if cursor is None:
            break
    same(sorted(seen), names, "the ids of pages that were fetched one by one")


@case("2.53", "A walk that writers disturb meets every untouched session once")
def disturbed(trial: Trial) -> None:
    names = _fill(trial, 24)
    walk = trial.store.iter_sessions(page_size=4)
    seen = [next(walk).session_id for _ in range(6)]
    touched = set()
    for number, name in enumerate(names[:6]):
        trial.store.add_message(name, "user", "moved to the front")
        touched.add(name)
        trial.store.add_message(f"new {number}", "user", "x")
        touched.add(f"new {number}")
    trial.store.delete_session(names[8])
    touched.add(names[8])
    seen += [info.session_id for info in walk]
    untouched = [name for name in seen if name not in touched]
    same(sorted(untouched), sorted(name for name in names if name not in touched), "the untouched sessions")


@case("2.54", "Filters: by agent, by user, by time of the last change, alone and together")
def filters(trial: Trial) -> None:
    store = trial.store
    names = _fill(trial, 12)
    for number, name in enumerate(names):
        store.set_agent_info(name, f"agent {number % 3}", f"user {number % 2}")
    times = {info.session_id: datetime.fromisoformat(info.updated_at).timestamp() for info in store.iter_sessions()}

    def check(wanted: list[str], **how: object) -> None:
        same(sorted(info.session_id for info in store.iter_sessions(page_size=5, **how)), sorted(wanted), f"the ids with {how}")

    check(names[0::3], agent_name="agent 0")
    check(names[1::2], user_id="user 1")
    check(names[0::6], agent_name="agent 0", user_id="user 0")
    check([], agent_name="nobody")
    check([], agent_name="agent")
    # Between two changes: times are shown in microseconds, and may be kept finer.
    middle = sum(sorted(times.values())[5:7]) / 2
    check([name for name in names if times[name] >= middle], since=middle)
    check([name for name in names if times[name] < middle], until=middle)
    check([], since=middle, until=middle)
    wanted = [name for name in names[0::3] if name.startswith("s00")]
    check(wanted, prefix="s00", agent_name="agent 0")
    same(sorted(store.list_sessions_by_agent("agent 2")), sorted(names[2::3]), "the ids of list_sessions_by_agent")
    same(len(store.list_sessions_by_agent("agent 2", limit=2)), 2, "the number with limit=2")


@case("2.55", "A line of a listing tells title, counts, times, agent and user as they are now")
def lines(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.set_title("s", "title")
    store.set_agent_info("s", "agent", "user")
    store.update_session_metadata("s", key=1)
    store.revert_to_message("s", 1)
    child = store.fork_session("s", 0)
    by_id = {info.session_id: info for info in store.iter_sessions()}
    info = by_id["s"]
    same((info.title, info.message_count, info.agent_name, info.user_id), ("title", 2, "agent", "user"), "title, count, agent and user")
    same((by_id[child].parent_id, by_id[child].message_count), ("s", 1), "parent and count of a fork")
    same(info.metadata.get("key"), 1, "the metadata")
    line = next(one for one in store.list_sessions() if one["session_id"] == "s")
    wanted = ("title", 2, "agent")
    same((line["title"], line["message_count"], line["agent_name"]), wanted, "title, count and agent of list_sessions")
    holds(datetime.fromisoformat(line["updated_at"]) >= datetime.fromisoformat(line["created_at"]), "updated_at after created_at", line)
    created = store.get_session("s").created_at
    store.clear_session("s")
    same(store.get_session("s").created_at, created, "created_at after clear_session")
    same(next(i for i in store.iter_sessions() if i.session_id == "s").message_count, 0, "the count after clear_session")


@case("2.56", "A cursor that is none is a SessionError and a ValueError")
def bad_cursors(trial: Trial) -> None:
    trial.store.add_message("s", "user", "x")
    for bad in ("x", "%%%", "é", "0" * 500, "eyJ4IjogMX0="):
        error = raises(SessionError, lambda bad=bad: list(trial.store.iter_sessions(cursor=bad)), f"the cursor {bad!r:.30}")  # type: ignore[misc]
        holds(isinstance(error, ValueError), "an error that is also a ValueError", type(error).__mro__)
