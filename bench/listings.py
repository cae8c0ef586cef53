"""What a page of a listing costs: among a thousand JSON files, among a million sessions in SQLite."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bench.material import history
from bench.measure import Bar, Series, each, interleave, time_bar
from bench.plan import Plan
from bench.subjects import JSON, SQLITE

PAGE = 50
FILES_MS = 20.0
ROWS_MS = 5.0
TURNS = 20
"""Messages in each listed JSON session."""
AGENTS = 100
USERS = 1_000


def file_bars(plan: Plan) -> Iterator[Bar]:
    """A page of JSON sessions, in a store that has listed before and in one that was just opened."""
    folder = plan.folder("files")
    with plan.progress.step(f"{JSON.group}: writing {plan.files:,} sessions") as step:
        with JSON.open(folder, "process") as store:
            for number in range(plan.files):
                store.add_messages(f"user-{number}", history(TURNS))
                store.set_agent_info(f"user-{number}", f"agent-{number % AGENTS}", f"person-{number % USERS}")
                step.far(number, plan.files)
    name = f"page of {PAGE} of {plan.files:,}"
    with JSON.open(folder, "process") as store:
        sides = {"opened": each(lambda: page(store)), "fresh": each(lambda: _fresh_page(folder))}
        with plan.progress.step(f"{JSON.group}: listing"):
            taken = interleave(sides, rounds=max(plan.rounds // 10, 3), batch=1)
    yield time_bar(JSON.group, name, taken["opened"], limit_ms=FILES_MS)
    yield time_bar(JSON.group, f"{name}, store just opened", taken["fresh"], limit_ms=FILES_MS)


def _fresh_page(folder: Path) -> list[Any]:
    with JSON.open(folder, "process") as store:
        return page(store)


def page(store: Any, *, cursor: str | None = None, **wanted: Any) -> list[Any]:
    """One page of sessions, newest first."""
    return list(islice(store.iter_sessions(page_size=PAGE, cursor=cursor, **wanted), PAGE))


def row_bars(plan: Plan) -> Iterator[Bar]:
    """A page of SQLite sessions: first, last, of one agent, of one user."""
    folder = plan.folder("rows")
    begin = time.time() - plan.rows
    _write_heads(plan, folder, begin)
    agent, user = "agent-7", "person-77"
    wanted: dict[str, dict[str, Any]] = {
        "first page": {},
        "first page of an agent": {"agent_name": agent},
        "first page of a user": {"user_id": user},
    }
    with SQLITE.open(folder, "process") as store:
        wanted["last page"] = {"cursor": _near_end(store, begin + PAGE * 1.5)}
        wanted["last page of an agent"] = {"cursor": _near_end(store, begin + AGENTS * PAGE * 1.5, agent_name=agent), "agent_name": agent}
        full = min(PAGE, plan.rows // USERS)
        for name, query in wanted.items():
            if len(page(store, **query)) < full:
                raise RuntimeError(f"{name} is not a full page")
        sides = {name: each(lambda query=query: page(store, **query)) for name, query in wanted.items()}  # type: ignore[misc]
        with plan.progress.step(f"{SQLITE.group}: listing"):
            taken: dict[str, Series] = interleave(sides, rounds=plan.rounds, batch=3)
    for name, series in taken.items():
        yield time_bar(SQLITE.group, f"{name} of {plan.rows:,} sessions", series, limit_ms=ROWS_MS)


def _near_end(store: Any, until: float, **wanted: Any) -> str | None:
    """The cursor of the page that ends the listing: behind the sessions changed shortly before ``until``."""
    first = next(store.iter_sessions(page_size=PAGE // 2, until=until, **wanted))
    cursor: str | None = first.cursor
    return cursor


def _write_heads(plan: Plan, folder: Path, begin: float) -> None:
    """Sessions a second apart, written through the backend in large transactions: a million commits would take minutes."""
    from turnlog.store.core import new_head
    from turnlog.store.drive import drive

    with SQLITE.open(folder, "process") as store, plan.progress.step(f"{SQLITE.group}: writing {plan.rows:,} sessions") as step:
        backend = store.backend
        note = json.dumps({"source": "chat", "model": "small"})

        async def write(start: int, stop: int) -> None:
            async with backend.together("many"):
                for number in range(start, stop):
                    at = begin + number
                    owner = {"agent_name": f"agent-{number % AGENTS}", "user_id": f"person-{number % USERS}"}
                    fields = {"title": f"Session {number}", "metadata": json.loads(note), **owner}
                    head = new_head(f"bot_telegram_{number}", created_at=at, updated_at=at, fields=fields)
                    await backend.put_head(head, expect=None)

        for start in range(0, plan.rows, 10_000):
            drive(write(start, min(start + 10_000, plan.rows)))
            step.far(start, plan.rows)
