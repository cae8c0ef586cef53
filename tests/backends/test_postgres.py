"""What only the PostgreSQL backend has: its schema and format, its options, long keys, races on runs, pools of the caller's."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from tests.backends.conftest import Driven
from tests.backends.postgres_stores import ask, openers, while_others
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.postgres import new_schema, server, shared_url
from turnlog.backends.port import Appended, Query
from turnlog.backends.postgres import PostgresBackend, open_backend
from turnlog.backends.postgres.keys import index_key, prefix_bounds, tag
from turnlog.errors import FormatVersionError, StorageError, UnsupportedVerbError
from turnlog.heads import Parent, Reference


@pytest.fixture
def schema() -> str:
    return new_schema()


@pytest.fixture
def open_again(schema: str) -> Iterator[Callable[..., Driven]]:
    """Opens backends on one schema; all are closed afterwards."""
    yield from openers(schema)


def schemas(name: str) -> int:
    return len(ask(f"SELECT 1 FROM pg_namespace WHERE nspname = '{name}'"))


class TestSchema:
    def test_sixteen_starters_make_it_once(self, open_again: Callable[..., Driven], schema: str) -> None:
        backends = [open_again() for _ in range(16)]
        assert schemas(schema) == 0
        run_threads(lambda number: backends[number].put_head(a_head(f"s{number}", f"r{number}"), expect=None), 16)
        assert len(backends[0].list_heads(Query(), cursor=None, limit=50).heads) == 16
        assert ask(f"SELECT version FROM {schema}.format") == [(2,)]

    def test_tasks_of_one_loop_make_it_once(self, schema: str) -> None:
        async def start() -> int:
            backend = PostgresBackend(shared_url(), asynchronous=True, schema=schema, durability="process")
            await asyncio.gather(*(backend.put_head(a_head(f"s{n}", f"r{n}"), expect=None) for n in range(16)))
            page = await backend.list_heads(Query(), cursor=None, limit=50)
            await backend.close()
            return len(page.heads)

        assert asyncio.run(start()) == 16

    def test_a_newer_format_is_refused_and_left_alone(self, open_again: Callable[..., Driven], schema: str) -> None:
        open_again().put_head(a_head(), expect=None)
        ask(f"UPDATE {schema}.format SET version = 7")
        for verb in (lambda backend: backend.get_head("s"), lambda backend: backend.append("s", records(0, 1), now=1.0, expect=None)):
            with pytest.raises(FormatVersionError) as caught:
                verb(open_again())
            assert (caught.value.found, caught.value.supported) == (7, 2)  # type: ignore[attr-defined]
        assert ask(f"SELECT length FROM {schema}.heads") == [(0,)]

    def test_it_is_not_created_where_that_is_not_wanted(self, open_again: Callable[..., Driven], schema: str) -> None:
        with pytest.raises(StorageError, match="no turnlog tables"):
            open_again(create=False).get_head("s")
        assert schemas(schema) == 0
        open_again().put_head(a_head(), expect=None)
        assert open_again(create=False).get_head("s") == a_head()

    def test_an_account_that_may_not_create_can_use_it(self, open_again: Callable[..., Driven], schema: str) -> None:
        open_again().put_head(a_head(), expect=None)
        role = schema + "_role"
        ask(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
        ask(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        ask(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role}")
        where = shared_url().rpartition("@")[2]
        limited = Driven(PostgresBackend(f"postgresql://{role}:pw@{where}", schema=schema, durability="process"))
        assert limited.append("s", records(0, 1), now=1.0, expect=None) == Appended("r1.1", 1, False)
        assert limited.put_row("s", "r1", "undo", "k", "1") is True
        with pytest.raises(StorageError, match="the account that owns them"):
            limited.compact()
        limited.close()
        ask(f"DROP OWNED BY {role}")
        ask(f"DROP ROLE {role}")

    def test_tables_of_others_are_left_alone(self, open_again: Callable[..., Driven], schema: str) -> None:
        ask(f"CREATE SCHEMA {schema}")
        ask(f"CREATE TABLE {schema}.records (theirs int)")
        with pytest.raises(StorageError):
            open_again().put_head(a_head(), expect=None)
        assert ask(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{schema}'") == [(1,)]

    @pytest.mark.parametrize("name", ["", "x" * 64, "é" * 32, 'a"b', "a'b", "a\\b", "a$b", "a%b", "a\x00b", "a{b"])
    def test_names_that_could_become_another_are_refused(self, name: str) -> None:
        with pytest.raises(UnsupportedVerbError, match="cannot name a schema"):
            PostgresBackend(shared_url(), schema=name)

    @pytest.mark.parametrize("name", ["Tür lög", "select", "a.b", "x" * 63])
    def test_other_names_are_taken_as_they_are(self, name: str) -> None:
        backend = Driven(PostgresBackend(shared_url(), schema=name, durability="process"))
        try:
            assert backend.put_head(a_head(), expect=None) is True
            assert schemas(name) == 1
        finally:
            backend.close()
            ask(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')

    def test_erased_data_leaves_the_files(self) -> None:
        with server(autovacuum="off") as private:
            backend = Driven(PostgresBackend(private.url))
            backend.put_head(a_head(length=2), expect=None, records=[record("m0", "erased-marker" * 9), record("m1", "kept-marker" * 9)])
            backend.drop_records("s", "r1", 0, 1)
            backend.compact()
            private.ask("CHECKPOINT")
            assert all_ids(backend) == ["m1"]
            backend.close()
            data = b"".join(path.read_bytes() for path in (private.data / "base").rglob("*") if path.is_file())
        assert b"kept-marker" in data
        assert b"erased-marker" not in data


class TestOptions:
    def test_a_url_says_what_is_turnlogs_and_what_is_libpqs(self, schema: str) -> None:
        own = f"schema={schema}&durability=process&pool_size=2&timeout=3.5&create=true"
        backend = open_backend(f"{shared_url()}?application_name=mine&{own}", asynchronous=False)
        assert backend.blocking is True
        assert backend.schema == schema
        driven = Driven(backend)
        driven.get_head("s")
        assert ask("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mine'") == [(1,)]
        driven.close()
        assert open_backend(f"{shared_url()}?schema={schema}", asynchronous=True).blocking is False

    @pytest.mark.parametrize("option", ["pool_size=many", "timeout=soon", "create=perhaps", "durability=none", "pool_size=0", "nonsense=1"])
    def test_other_options_are_refused(self, option: str) -> None:
        with pytest.raises(UnsupportedVerbError) as caught:
            open_backend(f"postgresql://u:secret@h/d?{option}", asynchronous=False)
        assert "secret" not in str(caught.value)

    def test_a_server_that_does_not_sync_is_refused_for_power(self, schema: str) -> None:
        relaxed = f"{shared_url()}?options=-c%20synchronous_commit%3Doff"
        for url in (shared_url(), relaxed):
            backend = Driven(PostgresBackend(url, schema=schema, durability="power"))
            with pytest.raises(StorageError, match='is off, so power loss .* durability="process"'):
                backend.get_head("s")
        assert schemas(schema) == 0

    def test_the_isolation_of_the_database_does_not_matter(self, schema: str) -> None:
        url = f"{shared_url()}?options=-c%20default_transaction_isolation%3Dserializable"
        backend = Driven(PostgresBackend(url, schema=schema, durability="process"))
        backend.put_head(a_head(), expect=None)
        run_threads(lambda n: [backend.append("s", [record(f"{n}.{i}")], now=1.0, expect=None) for i in range(20)], 8)
        assert len(all_ids(backend)) == 160
        backend.close()

    @pytest.mark.parametrize("module", ["psycopg", "psycopg_pool"])
    def test_a_missing_driver_is_named(self, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r"pip install 'turnlog\[postgres\]'"):
            open_backend("postgresql://h/d", asynchronous=False)

    def test_no_more_connections_than_the_pool_may_have(self, schema: str) -> None:
        name = schema + "_limit"
        backend = Driven(PostgresBackend(f"{shared_url()}?application_name={name}", schema=schema, durability="process", pool_size=3))
        backend.put_head(a_head(), expect=None)
        seen: list[int] = []

        def write(writer: int) -> None:
            for number in range(20):
                backend.append("s", [record(f"{writer}.{number}")], now=1.0, expect=None)
            seen.append(ask(f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{name}'")[0][0])

        run_threads(write, 16)
        backend.close()
        assert len(seen) == 16
        assert 1 < max(seen) <= 3


class TestPoolsOfTheCaller:
    @pytest.mark.parametrize("autocommit", [False, True])
    def test_a_pool_that_was_given_is_used_and_left_open(self, schema: str, autocommit: bool) -> None:
        with ConnectionPool(shared_url(), min_size=1, max_size=4, open=True, kwargs={"autocommit": autocommit}) as pool:
            backend = Driven(PostgresBackend(client=pool, schema=schema, durability="process"))
            assert backend.backend.blocking is True
            backend.put_head(a_head(), expect=None)
            backend.append("s", records(0, 2), now=1.0, expect=None)
            with psycopg.connect(shared_url()) as other:
                assert other.execute(f"SELECT count(*) FROM {schema}.records".encode()).fetchone() == (2,)
            backend.compact()
            backend.close()
            with pool.connection() as connection:
                assert connection.autocommit is autocommit
                assert connection.execute("SELECT 1").fetchone() == (1,)

    @pytest.mark.parametrize("autocommit", [False, True])
    def test_an_async_pool_too(self, schema: str, autocommit: bool) -> None:
        async def work() -> None:
            async with AsyncConnectionPool(shared_url(), min_size=1, max_size=4, open=False, kwargs={"autocommit": autocommit}) as pool:
                backend = PostgresBackend(client=pool, schema=schema, durability="process")
                assert backend.blocking is False
                await backend.put_head(a_head(), expect=None)
                await asyncio.gather(*(backend.append("s", [record(f"m{n}")], now=1.0, expect=None) for n in range(9)))
                await backend.close()
                async with pool.connection() as connection:
                    assert connection.autocommit is autocommit
                    cursor = await connection.execute(f"SELECT count(*) FROM {schema}.records".encode())
                    assert await cursor.fetchone() == (9,)

        asyncio.run(work())

    def test_neither_nor_both_nor_anything_else(self) -> None:
        for arguments in ({}, {"client": object()}, {"url": shared_url(), "client": object()}):
            with pytest.raises(UnsupportedVerbError):
                PostgresBackend(**arguments)  # type: ignore[arg-type]


class TestLongKeys:
    def test_no_two_meet_and_prefixes_stay(self) -> None:
        choose = random.Random(3)
        texts = {
            "".join(choose.choice("a\x00\ud800😀é\x01") for _ in range(choose.choice([1, 470, 480, 640, 960, 1024]))) for _ in range(400)
        }
        texts |= {"😀" * n for n in range(440, 500)} | {index_key("x" * 5_000)[0]}
        keys = {index_key(text)[0] for text in texts}
        assert len(keys) == len(texts)
        assert max(len(key.encode()) for key in keys) < 2_000
        assert len({tag(text) for text in texts}) == len(texts)
        for text in texts:
            for cut in (1, len(text) // 2, len(text)):
                start, stop, _ = prefix_bounds(text[:cut])
                assert start <= index_key(text)[0]
                assert stop is None or index_key(text)[0] < stop

    def test_the_longest_ids_are_kept(self, open_again: Callable[..., Driven]) -> None:
        backend, choose = open_again(), random.Random(5)
        common = "".join(chr(choose.randrange(0x10000, 0x10FFFF)) for _ in range(1_000))
        names = [common + "".join(chr(choose.randrange(0x10000, 0x10FFFF)) for _ in range(24)) for _ in range(5)]
        for number, name in enumerate(names):
            fields = {"agent_name": name, "user_id": name}
            head = a_head(name, f"r{number}", updated_at=float(number), parent=Parent(name, "b", "r", 0), fields=fields)
            assert backend.put_head(head, expect=None)
            assert backend.get_head(name) == head
            assert backend.put_row(name, head.run, "undo", name, "1")
            assert backend.get_rows(name, head.run, "undo") == backend.get_rows(name, head.run, "undo", [name]) == {name: "1"}
            backend.mark_run(name, head.run, head.parent, closed=False)
            assert [mark.session_id for mark in backend.marked_runs(name)] == [name]
        newest_first = names[::-1]
        for query, expected in (
            (Query(prefix=common), newest_first),
            (Query(prefix=names[2]), [names[2]]),
            (Query(prefix=names[2][:-1]), [names[2]]),
            (Query(agent_name=names[1]), [names[1]]),
            (Query(user_id=names[1], parent_id=names[1]), [names[1]]),
        ):
            assert [head.session_id for head in backend.list_heads(query, cursor=None, limit=9).heads] == expected
        first = backend.list_heads(Query(), cursor=None, limit=2)
        assert [head.session_id for head in backend.list_heads(Query(), cursor=first.cursor, limit=9).heads] == newest_first[2:]


def test_many_records_go_in_several_statements(open_again: Callable[..., Driven], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnlog.backends.postgres.backend.DROPPED_AT_ONCE", 3)
    backend = open_again()
    backend.put_head(a_head(length=20), expect=None, records=records(0, 20))
    backend.put_head(a_head("t", "r2", length=20), expect=None, records=records(0, 20))
    backend.drop_records("s", "r1", 2, 13)
    assert all_ids(backend) == ["m0", "m1", *(f"m{n}" for n in range(13, 20))]
    backend.drop_records("s", "r1", 1, 15)
    assert all_ids(backend) == ["m0", *(f"m{n}" for n in range(15, 20))]
    backend.drop_records("s", "r1", 0, None)
    assert all_ids(backend) == []
    assert len(all_ids(backend, "t", "r2")) == 20


def test_a_head_is_removed_at_the_revision_expected(open_again: Callable[..., Driven], schema: str) -> None:
    backend = open_again()
    backend.put_head(a_head(counter=4), expect=None)
    for stale in ("r1.3", "r2.4", "r1.04", "", "4", "\ud800.4", "r1.\u0664"):
        assert backend.remove_head("s", "r1", expect=stale) is False
    assert backend.remove_head("s", "r2", expect="r2.4") is False
    appending = f"UPDATE {schema}.heads SET counter = 5"
    assert while_others(appending, lambda: backend.remove_head("s", "r1", expect="r1.4")) is False
    assert backend.remove_head("s", "r1", expect="r1.5") is True
    assert backend.get_head("s") is None


class TestRaces:
    def test_a_closed_run_gets_no_head_and_no_claim_afterwards(self, open_again: Callable[..., Driven]) -> None:
        backend = open_again()
        for number in range(150):
            run, after = f"r{number}", []

            def close(writer: int, run: str = run, after: list[Any] = after) -> None:
                if writer == 0:
                    backend.mark_run("p", run, None, closed=True)
                    after.append((backend.get_head(run), backend.references("p", run)))
                elif writer == 1:
                    backend.put_head(a_head(run, run), expect=None)
                else:
                    backend.add_reference(_claim(run))

            run_threads(close, 3)
            assert after == [(backend.get_head(run), backend.references("p", run))]

    @pytest.mark.parametrize("kind", ["turn", "draft"])
    def test_no_row_comes_to_a_run_that_is_just_leaving(self, open_again: Callable[..., Driven], schema: str, kind: Any) -> None:
        backend = open_again()
        backend.put_head(a_head(), expect=None)
        leaving = f"UPDATE {schema}.heads SET run = 'r2'"
        assert while_others(leaving, lambda: backend.put_row("s", "r1", kind, "k", "1")) is False
        assert backend.get_rows("s", "r1", kind) == {}
        assert while_others(leaving, lambda: backend.put_row("s", "r2", kind, "k", "1")) is True

    def test_no_head_and_no_claim_comes_to_a_run_that_is_just_being_closed(self, open_again: Callable[..., Driven], schema: str) -> None:
        backend = open_again()
        backend.put_head(a_head(), expect=None)
        for number, verb in enumerate(
            (
                lambda run: backend.add_reference(_claim(run)),
                lambda run: backend.put_head(a_head("t", run), expect=None),
                lambda run: backend.put_head(a_head("s", run, length=1), expect="r1.0", records=records(0, 1)),
            )
        ):
            for known in (False, True):
                run = f"closing {number} {known}"
                if known:
                    backend.mark_run("x", run, None, closed=False)
                closing = f"INSERT INTO {schema}.runs (run, closed) VALUES ('{run}', true) ON CONFLICT (run) DO UPDATE SET closed = true"
                assert while_others(closing, lambda run=run, verb=verb: verb(run)) is False  # type: ignore[misc]
        assert (backend.get_head("t"), backend.get_head("s"), backend.referenced_runs()) == (None, a_head(), [])

    def test_head_changes_and_appends_do_not_lock_each_other_out(self, open_again: Callable[..., Driven]) -> None:
        backend = open_again()
        backend.put_head(a_head(), expect=None)

        def work(writer: int) -> None:
            for number in range(60):
                head = backend.get_head("s")
                if writer % 2:
                    backend.put_head(replace(head, counter=head.counter + 1), expect=head.revision)
                    backend.put_row("s", "r1", "turn", f"{writer}", "1")
                else:
                    backend.append("s", [record(f"{writer}.{number}.{part}") for part in range(3)], now=1.0, expect=None)

        run_threads(work, 8)
        assert len(all_ids(backend)) == backend.get_head("s").length == 4 * 60 * 3


def _claim(run: str) -> Any:
    return Reference("p", run, "c", "cr", 1)
