"""What a page of a listing costs among a million sessions in PostgreSQL and in MongoDB."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

from bench.listings import PAGE, ROWS_MS, page
from bench.material import history
from bench.measure import Bar, each, interleave, ratio_bar, time_bar
from bench.plan import Plan

OF_A_USER = 1_000
"""Sessions of each user."""
SAME = 1.25
"""Times the first page that the last one may take."""
ROUNDS = 60
SESSION, USER = "session-template", "person-template"
"""Ids of the one session that is stored through the store, and then multiplied by the database itself."""

POSTGRES = """
INSERT INTO turnlog.heads SELECT (jsonb_populate_record(
    NULL::turnlog.heads,
    replace(replace(to_jsonb(one)::text, '{session}', 'session-' || number), '{user}', 'person-' || number % {users})::jsonb
        || jsonb_build_object('updated_at', {begin} + number, 'run', one.run || '-' || number)
)).* FROM turnlog.heads one, generate_series(0, {count} - 1) number WHERE one.session_id = '{session}'
"""
"""Whatever the columns are, each row is the stored one with other ids, another time and another run."""


def server_listing_bars(plan: Plan) -> Iterator[Bar]:
    """Pages of all sessions and of one user's, first and last."""
    for group, opened in (("PostgreSQL", _postgres), ("MongoDB", _mongodb)):
        with ExitStack() as scope:
            yield from _bars(plan, group, partial(opened, scope))


def _bars(plan: Plan, group: str, opened: Callable[[Plan, float], Any]) -> Iterator[Bar]:
    begin = float(int(time.time()) - plan.rows)
    with plan.progress.step(f"{group}: writing {plan.rows:,} sessions"):
        store = opened(plan, begin)
    whole, own = "page of all", "page of one user's"
    wanted: dict[str, dict[str, Any]] = {whole: {}, own: {"user_id": "person-1"}}
    for name, apart in ((whole, 1), (own, _users(plan))):
        wanted[f"last {name}"] = {**wanted[name], "cursor": _before(store, begin + apart * PAGE * 1.5, wanted[name])}
    for name, query in wanted.items():
        if len(found := page(store, **query)) < PAGE:
            raise RuntimeError(f"{name} is not a full page")
        if sorted(found, key=lambda one: one.updated_at, reverse=True) != found:
            raise RuntimeError(f"{name} is not ordered, newest first")
    sides = {name: each(lambda query=query: page(store, **query)) for name, query in wanted.items()}  # type: ignore[misc]
    with plan.progress.step(f"{group}: listing"):
        taken = interleave(sides, rounds=min(plan.rounds, ROUNDS), batch=5)
    store.close()
    of = {whole: f"{PAGE} of {plan.rows:,}", own: f"{PAGE} of {OF_A_USER:,} of {plan.rows:,}"}
    for name, series in taken.items():
        yield time_bar(group, f"{name}, {of[name.removeprefix('last ')]}", series, limit_ms=ROWS_MS)
    for name in (whole, own):
        text = f"last {name} beside the first"
        yield ratio_bar(group, text, taken[f"last {name}"], taken[name], limit=SAME, against="the first page")


def _users(plan: Plan) -> int:
    return max(1, plan.rows // OF_A_USER)


def _before(store: Any, until: float, query: dict[str, Any]) -> str:
    """The cursor of the page that ends the listing: behind the sessions changed shortly before ``until``."""
    first = next(store.iter_sessions(page_size=PAGE // 2, until=until, **query))
    cursor: str = first.cursor
    return cursor


def _postgres(scope: ExitStack, plan: Plan, begin: float) -> Any:
    from tests.servers.postgres import server
    from turnlog.session import PostgresSessionStore

    private = scope.enter_context(server())
    store = scope.enter_context(PostgresSessionStore(private.url))
    _store_one(store)
    private.ask(POSTGRES.format(session=SESSION, user=USER, users=_users(plan), begin=begin, count=plan.rows))
    store.delete_session(SESSION)
    private.ask("VACUUM ANALYZE turnlog.heads")
    return store


def _mongodb(scope: ExitStack, plan: Plan, begin: float) -> Any:
    from tests.servers.mongodb import DATABASE, server
    from turnlog.session import MongoSessionStore

    private = scope.enter_context(server())
    store = scope.enter_context(MongoSessionStore(private.url))
    _store_one(store)
    number: dict[str, Any] = {"$add": [{"$multiply": ["$row", OF_A_USER]}, "$column"]}
    user = {"$concat": ["person-", {"$toString": {"$mod": ["$number", _users(plan)]}}]}
    of_one = {
        "s": {"$concat": ["session-", {"$toString": "$number"}]},
        "user": user,
        "body": {"$replaceAll": {"input": "$one.body", "find": USER, "replacement": user}},
        "run": {"$concat": ["$one.run", "-", {"$toString": "$number"}]},
        "own": {"$concat": ["$one.run", "-", {"$toString": "$number"}]},
        "updated_at": {"$add": [begin, "$number"]},
    }
    pipeline = [
        {"$match": {"s": SESSION, "live": True}},
        {"$project": {"_id": 0, "one": "$$ROOT", "row": {"$range": [0, -(-plan.rows // OF_A_USER)]}}},
        {"$unwind": "$row"},
        {"$addFields": {"column": {"$range": [0, OF_A_USER]}}},
        {"$unwind": "$column"},
        {"$addFields": {"number": number}},
        {"$match": {"number": {"$lt": plan.rows}}},
        {"$replaceWith": {"$mergeObjects": ["$one", of_one]}},
        {"$unset": "_id"},
        {"$out": "turnlog_history"},
    ]
    with private.client() as client:
        client[DATABASE]["turnlog_history"].aggregate(pipeline)
        if "by_user" not in client[DATABASE]["turnlog_history"].index_information():
            raise RuntimeError("the indexes are gone")
    return store


def _store_one(store: Any) -> None:
    """The session of which all others are copies."""
    store.add_messages(SESSION, history(10))
    store.set_agent_info(SESSION, "agent-7", USER)
