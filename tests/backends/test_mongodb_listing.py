"""What a page of a listing costs on MongoDB, counted: the last page is one scan of an index and one answer, as the first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient
from pymongo.server_api import ServerApi

from tests.backends.conftest import Driven
from tests.servers.mongodb import DATABASE, shared_url
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.port import Query
from turnlog.heads import Head, Parent

COUNT = 600
PAGE = 50
QUERIES = {
    "all": Query(),
    "agent": Query(agent_name="A"),
    "user": Query(user_id="U"),
    "parent": Query(parent_id="p"),
    "since": Query(since=-1.0, user_id="U"),
    "until": Query(until=9e9, agent_name="A"),
}
NOTED = {"_id": 0, "op": 1, "keysExamined": 1, "docsExamined": 1, "planSummary": 1}


def put_many(backend: Any, times: Callable[[int], float]) -> list[str]:
    """Store sessions with these times; their ids, as every listing of the store must give them."""
    names = [f"s{number:04d}" for number in range(COUNT)]
    for number, name in enumerate(names):
        fields = {"agent_name": "A", "user_id": "U"}
        head = Head(session_id=name, run=f"r{number}", born="b", updated_at=times(number), parent=Parent("p", "b", "r", 0), fields=fields)
        assert backend.put_head(head, expect=None)
    return sorted(names, key=lambda name: (times(int(name[1:])), name), reverse=True)


def pages_of(backend: Any, query: Query, limit: int) -> Iterator[list[str]]:
    """The ids of page after page."""
    cursor = None
    while True:
        page = backend.list_heads(query, cursor=cursor, limit=limit)
        yield [head.session_id for head in page.heads]
        if (cursor := page.cursor) is None:
            return


@pytest.mark.parametrize(
    "times", [float, lambda number: float(number // 7), lambda number: 5.0], ids=["distinct", "some alike", "all alike"]
)
def test_every_page_is_one_scan_of_as_many_keys_as_the_first(
    mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any, times: Callable[[int], float]
) -> None:
    backend = mongodb_again()
    expected = put_many(backend, times)
    for name, query in QUERIES.items():
        mongodb_database.command({"profile": 2})
        pages = list(pages_of(backend, query, PAGE))
        mongodb_database.command({"profile": 0})
        assert list(chain(*pages)) == expected
        wanted = {"ns": f"{mongodb_database.name}.{mongodb_prefix}history"}
        noted = list(mongodb_database["system.profile"].find(wanted, NOTED, sort=[("$natural", 1)]))
        mongodb_database["system.profile"].drop()
        scans = [one.pop("planSummary").count("IXSCAN") for one in noted]
        full = {"op": "query", "keysExamined": PAGE + 1, "docsExamined": PAGE + 1}
        assert (scans, noted) == ([1] * len(pages), [full] * (len(pages) - 1) + [{**full, "keysExamined": PAGE, "docsExamined": PAGE}]), (
            name
        )


def test_a_large_page_is_one_answer(mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any) -> None:
    backend = mongodb_again()
    expected = put_many(backend, float)
    mongodb_database.command({"profile": 2})
    assert list(chain(*pages_of(backend, Query(), COUNT // 2))) == expected
    mongodb_database.command({"profile": 0})
    noted = mongodb_database["system.profile"].find({"ns": f"{mongodb_database.name}.{mongodb_prefix}history"}, NOTED)
    assert [one["op"] for one in noted] == ["query", "query"]
    mongodb_database["system.profile"].drop()


def test_a_cursor_beyond_the_times_that_are_asked_for(mongodb_again: Callable[..., Driven]) -> None:
    backend = mongodb_again()
    put_many(backend, float)
    oldest = backend.list_heads(Query(since=10.0), cursor=None, limit=COUNT - 11).cursor
    newest = backend.list_heads(Query(), cursor=None, limit=1).cursor
    for query in (Query(since=11.0), Query(since=11.0, user_id="U"), Query(since=20.0)):
        assert backend.list_heads(query, cursor=oldest, limit=5) == ([], None)
    page = backend.list_heads(Query(until=3.0), cursor=newest, limit=9)
    assert ([head.session_id for head in page.heads], page.cursor) == (["s0002", "s0001", "s0000"], None)


STRICT = ServerApi("1", strict=True)


def test_a_client_that_keeps_to_the_stable_interface_has_pages_too(mongodb_again: Callable[..., Driven], mongodb_prefix: str) -> None:
    expected = put_many(mongodb_again(), lambda number: float(number // 7))

    async def walk() -> list[str]:
        async with AsyncMongoClient(shared_url(), server_api=STRICT) as client:
            backend = MongoBackend(client=client, database=DATABASE, prefix=mongodb_prefix)
            first = await backend.list_heads(Query(user_id="U"), cursor=None, limit=COUNT // 2)
            second = await backend.list_heads(Query(user_id="U"), cursor=first.cursor, limit=COUNT)
            return [head.session_id for head in (*first.heads, *second.heads)]

    assert asyncio.run(walk()) == expected
    with MongoClient(shared_url(), server_api=STRICT) as client:
        backend = Driven(MongoBackend(client=client, database=DATABASE, prefix=mongodb_prefix))
        for query in (Query(), Query(user_id="U"), Query(since=0.0, until=1e3)):
            assert list(chain(*pages_of(backend, query, 250))) == expected
