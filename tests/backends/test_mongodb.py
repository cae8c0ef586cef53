"""What only the MongoDB backend has: its collections and format, what compacting removes, options, clients of the caller's."""

from __future__ import annotations

import asyncio
import io
import logging
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from pymongo import AsyncMongoClient, MongoClient

from tests.backends.conftest import Driven
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.mongodb import DATABASE, new_prefix, server, shared_url
from turnlog.backends.mongodb import MongoBackend, open_backend
from turnlog.backends.mongodb import backend as backend_module
from turnlog.backends.port import Query
from turnlog.errors import FormatVersionError, StorageError, UnsupportedVerbError
from turnlog.heads import Stretch
from turnlog.store.sync import SessionStore

WHOLE = Stretch("r1", 0, 10**9)


class TestFormat:
    def test_sixteen_starters_make_it_once(self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any) -> None:
        backends = [mongodb_again() for _ in range(16)]
        run_threads(lambda number: backends[number].put_head(a_head(f"s{number}", f"r{number}"), expect=None), 16)
        assert len(backends[0].list_heads(Query(), cursor=None, limit=50).heads) == 16
        assert list(mongodb_database[f"{mongodb_prefix}format"].find()) == [{"_id": "format", "version": 2}]
        assert len(mongodb_database[f"{mongodb_prefix}history"].index_information()) == 15

    def test_tasks_of_one_loop_make_it_once(self, mongodb_prefix: str) -> None:
        async def start() -> int:
            backend = MongoBackend(shared_url(), asynchronous=True, prefix=mongodb_prefix, durability="process")
            await asyncio.gather(*(backend.put_head(a_head(f"s{n}", f"r{n}"), expect=None) for n in range(16)))
            page = await backend.list_heads(Query(), cursor=None, limit=50)
            await backend.close()
            return len(page.heads)

        assert asyncio.run(start()) == 16

    def test_a_newer_format_is_refused_and_left_alone(
        self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        mongodb_again().put_head(a_head(), expect=None)
        mongodb_database[f"{mongodb_prefix}format"].update_one({}, {"$set": {"version": 7}})
        for verb in (lambda backend: backend.get_head("s"), lambda backend: backend.append("s", records(0, 1), now=1.0, expect=None)):
            with pytest.raises(FormatVersionError) as caught:
                verb(mongodb_again())
            assert (caught.value.found, caught.value.supported) == (7, 2)  # type: ignore[attr-defined]
        assert mongodb_database[f"{mongodb_prefix}history"].find_one({"live": True})["length"] == 0

    def test_it_is_not_created_where_that_is_not_wanted(
        self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        with pytest.raises(StorageError, match="no turnlog collections"):
            mongodb_again(create=False).get_head("s")
        assert [name for name in mongodb_database.list_collection_names() if name.startswith(mongodb_prefix)] == []
        mongodb_again().put_head(a_head(), expect=None)
        assert mongodb_again(create=False).get_head("s") == a_head()

    def test_no_verb_looks_through_a_whole_collection(self) -> None:
        with server() as private, private.client() as client:
            store = SessionStore(MongoBackend(private.url, search=True))
            store.session_exists("s")
            database = client[DATABASE]
            database.command({"profile": 2})
            for number in range(3):
                store.add_messages("s", [{"role": "user", "content": f"{number} {n}", "id": f"{number} {n}"} for n in range(40)])
            store.get_chat_history("s", 10)
            store.create_snapshot("s")
            store.revert_to_message("s", 30)
            store.fork_session("s", 9, new_session_id="t")
            store.add_message("s", "user", "0 1", message_id="known")
            store.add_message("s", "user", "0 1", message_id="known")
            for query in (
                Query(),
                Query(expired_at=9.0),
                Query(prefix="s"),
                Query(agent_name="a"),
                Query(user_id="u"),
                Query(parent_id="s"),
                Query(since=1.0),
            ):
                Driven(store.backend).list_heads(query, cursor=None, limit=5)
            Driven(store.backend).find(["0"], limit=5)
            store.delete_session("s")
            store.sweep()
            database.command({"profile": 0})
            scans = list(database["system.profile"].find({"planSummary": "COLLSCAN"}))
            store.close()
        assert [(one["ns"], one["command"]) for one in scans] == []


class TestCompacting:
    def test_remains_go_and_what_is_named_stays(
        self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        backend = mongodb_again()
        long = record("long", "x" * 100_000)
        for number in range(3):
            backend.put_head(a_head(f"s{number}", f"r{number}", length=41), expect=None, records=[*records(0, 40), long])
            backend.put_row(f"s{number}", f"r{number}", "undo", "k", "😀" * 900_000)
        backend.mark_run("s1", "r1", None, closed=False)
        backend.remove_head("s1", "r1")
        mongodb_database[f"{mongodb_prefix}history"].delete_one({"s": "s2", "live": True})
        backend.compact()
        assert len(all_ids(backend, "s2", "r2")) == 41, "it may just be coming to be"
        monkeypatch.setattr(backend_module, "AGE", -3600.0)
        backend.compact()
        for number, expected in ((0, 41), (1, 41), (2, 0)):
            assert len(all_ids(backend, f"s{number}", f"r{number}")) == expected
            assert len(backend.get_rows(f"s{number}", f"r{number}", "undo")) == bool(expected)
        assert mongodb_database[f"{mongodb_prefix}texts"].count_documents({"run": "r2"}) == 0

    def test_the_server_gives_space_back(self) -> None:
        with server() as private:
            backend = Driven(MongoBackend(private.url))
            noise = random.Random(3)
            first = [record(f"m{n}", f"{noise.getrandbits(240_000):x}") for n in range(200)]
            backend.put_head(a_head(length=200), expect=None, records=first)
            backend.put_head(a_head("t", "r2", length=1), expect=None, records=records(0, 1))
            with private.client() as client:
                client.admin.command("fsync")
                backend.remove_head("s", "r1")
                backend.drop_records("s", "r1", 0, None)
                client.admin.command("fsync")
                size = sum(path.stat().st_size for path in (private.folder / "data").glob("collection*"))
                backend.compact()
                client.admin.command("fsync")
            assert sum(path.stat().st_size for path in (private.folder / "data").glob("collection*")) < size - 5_000_000
            assert all_ids(backend, "t", "r2") == ["m0"]
            backend.close()


class TestOptions:
    def test_a_url_says_what_is_turnlogs_and_what_is_the_drivers(self, mongodb_prefix: str, mongodb_database: Any) -> None:
        own = f"prefix={mongodb_prefix}&durability=process&pool_size=2&timeout=3.5&create=true"
        backend = open_backend(f"{shared_url()}?appname=mine&{own}", asynchronous=False)
        assert backend.blocking is True
        driven = Driven(backend)
        driven.put_head(a_head(), expect=None)
        assert mongodb_database[f"{mongodb_prefix}history"].count_documents({}) == 1
        operations = mongodb_database.client.admin.aggregate([{"$currentOp": {"idleConnections": True}}])
        assert "mine" in {one.get("appName") for one in operations}
        driven.close()
        assert open_backend(f"{shared_url()}?prefix={mongodb_prefix}", asynchronous=True).blocking is False

    def test_the_class_takes_as_arguments_what_open_store_takes_from_an_address(self) -> None:
        with pytest.raises(UnsupportedVerbError, match="prefix in this address would be ignored"):
            MongoBackend("mongodb://127.0.0.1/db?prefix=mine&tls=false")

    @pytest.mark.parametrize(
        "option", ["pool_size=many", "timeout=soon", "create=perhaps", "durability=none", "prefix=a%24b", "prefix=a%00b"]
    )
    def test_other_options_are_refused(self, option: str) -> None:
        with pytest.raises(UnsupportedVerbError) as caught:
            open_backend(f"mongodb://u:secret@h/d?{option}", asynchronous=False)
        assert "secret" not in str(caught.value)

    @pytest.mark.parametrize("url", ["mongodb://u:secret@h:port/d", "http://u:secret@h/d", "mongodb://u:se@cret@h/d", "mongodb://"])
    def test_an_address_that_is_none_is_named_without_the_password(self, url: str) -> None:
        with pytest.raises(UnsupportedVerbError) as caught:
            Driven(MongoBackend(url)).get_head("s")
        assert "cret" not in str(caught.value)

    def test_prefixes_keep_stores_apart(self) -> None:
        one, two = (Driven(MongoBackend(shared_url(), prefix=new_prefix(), durability="process")) for _ in range(2))
        one.put_head(a_head(), expect=None)
        assert two.get_head("s") is None
        one.close()
        two.close()

    def test_a_missing_driver_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in [name for name in sys.modules if name.startswith("turnlog.backends.mongodb")]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, "pymongo", None)
        with pytest.raises(ImportError, match=r"pip install 'turnlog\[mongodb\]'"):
            __import__("turnlog.backends.mongodb")

    def test_no_more_connections_than_the_pool_may_have(self, mongodb_prefix: str, mongodb_database: Any) -> None:
        url = f"{shared_url()}?appname={mongodb_prefix}"
        backend = Driven(MongoBackend(url, prefix=mongodb_prefix, durability="process", pool_size=3))
        backend.put_head(a_head(), expect=None)
        seen: list[int] = []

        def write(writer: int) -> None:
            for number in range(20):
                backend.append("s", [record(f"{writer}.{number}")], now=1.0, expect=None)
            steps = [{"$currentOp": {"idleConnections": True}}, {"$match": {"appName": mongodb_prefix}}]
            # Each client also has connections that watch the server.
            seen.append(sum("hello" not in one.get("command", {}) for one in mongodb_database.client.admin.aggregate(steps)))

        run_threads(write, 16)
        backend.close()
        assert len(seen) == 16
        assert 1 < max(seen) <= 3 + 1

    def test_the_drivers_log_shows_no_content_of_ours_and_all_of_others(self, mongodb_prefix: str, mongodb_database: Any) -> None:
        heard = io.StringIO()
        handler, log = logging.StreamHandler(heard), logging.getLogger("pymongo.command")
        log.addHandler(handler)
        level = log.level
        log.setLevel(logging.DEBUG)
        try:
            backend = Driven(MongoBackend(shared_url(), prefix=mongodb_prefix, durability="process"))
            backend.put_head(a_head(length=1), expect=None, records=[record("m0", "secret")])
            backend.read("s", [WHOLE])
            mongodb_database["elsewhere"].find_one({"theirs": "heard"})
            backend.close()
        finally:
            log.removeHandler(handler)
            log.setLevel(level)
        assert "heard" in heard.getvalue()
        assert "secret" not in heard.getvalue()


class TestClientsOfTheCaller:
    def test_a_client_that_was_given_is_used_and_left_open(self, mongodb_prefix: str) -> None:
        with MongoClient(shared_url(), w=1, tz_aware=True, document_class=dict) as client:
            backend = Driven(MongoBackend(client=client, database=DATABASE, prefix=mongodb_prefix))
            assert backend.backend.blocking is True
            backend.put_head(a_head(), expect=None)
            backend.append("s", records(0, 2), now=1.0, expect=None)
            backend.compact()
            backend.close()
            assert client[DATABASE][f"{mongodb_prefix}history"].find_one({"live": True})["length"] == 2

    def test_an_async_client_too(self, mongodb_prefix: str) -> None:
        async def work() -> None:
            async with AsyncMongoClient(shared_url()) as client:
                backend = MongoBackend(client=client, database=DATABASE, prefix=mongodb_prefix)
                assert backend.blocking is False
                await backend.put_head(a_head(), expect=None)
                await asyncio.gather(*(backend.append("s", [record(f"m{n}")], now=1.0, expect=None) for n in range(50)))
                await backend.close()
                head = await client[DATABASE][f"{mongodb_prefix}history"].find_one({"live": True})
                assert head is not None
                assert head["length"] == 50

        asyncio.run(work())
