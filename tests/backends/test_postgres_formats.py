"""PostgreSQL's layouts: an older one is upgraded whole or not at all, by hand or by turnlog, and create=False changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.backends import postgres_format_1
from tests.backends.conftest import Driven
from tests.backends.postgres_stores import ask, openers
from tests.backends.samples import a_head, record, records, run_threads
from tests.servers.postgres import new_schema, shared_url
from turnlog.backends.port import Appended, Query
from turnlog.backends.postgres import schema_text
from turnlog.errors import FormatVersionError, SessionError, StorageError, UnsupportedVerbError
from turnlog.heads import Stretch

Opener = Callable[..., Driven]


@pytest.fixture
def schema() -> str:
    return new_schema()


@pytest.fixture
def open_again(schema: str) -> Iterator[Opener]:
    """Opens backends on one schema; all are closed afterwards."""
    yield from openers(schema)


@pytest.fixture
def old(schema: str) -> str:
    """A schema with a store of format 1."""
    postgres_format_1.write(shared_url(), schema)
    return schema


def layout(schema: str) -> dict[str, list[tuple[Any, ...]]]:
    """Columns, indexes, constraints and triggers of a schema, in an order that does not depend on how they came to be."""
    named = f"WHERE table_schema = '{schema}'"
    return {
        what: [tuple(str(part).replace(schema, "S") for part in row) for row in sorted(ask(statement), key=str)]
        for what, statement in {
            "columns": f"SELECT table_name, column_name, data_type, is_nullable, column_default, collation_name "
            f"FROM information_schema.columns {named}",
            "indexes": f"SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{schema}'",
            "constraints": f"SELECT table_name, constraint_name, constraint_type FROM information_schema.table_constraints {named} "
            "AND constraint_type <> 'CHECK'",
            "triggers": f"SELECT tgname, pg_get_triggerdef(pg_trigger.oid) FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            f"WHERE relnamespace = '{schema}'::regnamespace AND NOT tgisinternal",
            "format": f"SELECT * FROM {schema}.format",
        }.items()
    }


def check_upgraded(backend: Driven, schema: str) -> None:
    """All that was in the old store is there, and it can do what is new."""
    head = backend.get_head("old")
    assert (head.ttl, head.shed, head.count, head.fields) == (None, 2, 1198, {"user_id": "u", "title": "T"})
    assert [stored.id for stored in backend.read("old", [Stretch("r1", 0, 5)])] == ["m2", "m3", "m4"]
    assert ask(f"SELECT version FROM {schema}.format") == [(2,)]
    assert backend.put_head(replace(head, counter=head.counter + 1, ttl=10.0, updated_at=5.0), expect=head.revision)
    assert backend.list_heads(Query(expired_at=14.9), cursor=None, limit=5).heads == []
    assert [found.ttl for found in backend.list_heads(Query(expired_at=15.0), cursor=None, limit=5).heads] == [10.0]
    assert backend.append("old", [record("new")], now=15.0, expect=None) is None
    assert backend.append("old", [record("new")], now=14.0, expect=None) == Appended(f"r1.{head.counter + 2}", 1199, False)


class TestUpgrading:
    def test_an_old_store_goes_on_in_place(self, open_again: Opener, old: str) -> None:
        check_upgraded(open_again(), old)

    def test_it_has_the_layout_of_a_new_one(self, open_again: Opener, old: str) -> None:
        new = new_schema()
        open_again(search=True).get_head("s")
        open_again(schema=new, search=True).get_head("s")
        assert layout(old) == layout(new)

    def test_sixteen_starters_upgrade_it_once_beside_writers(self, open_again: Opener, old: str) -> None:
        backends = [open_again() for _ in range(16)]

        def start(number: int) -> None:
            for part in range(5):
                assert backends[number].append("old", [record(f"{number}.{part}")], now=3.0, expect=None) is not None

        run_threads(start, 16)
        assert backends[0].get_head("old").length == 1200 + 80
        assert layout(old)["format"] == [("2", "none")]

    def test_killed_amid_it_nothing_has_changed(self, open_again: Opener, old: str) -> None:
        before = layout(old)
        name = f"{old}_upgrading"
        with psycopg.connect(shared_url()) as other, ThreadPoolExecutor(1) as thread:
            # The index comes after the column; whoever reads heads lets it wait for the column.
            other.execute(f"SELECT 1 FROM {old}.heads".encode())
            answer = thread.submit(lambda: open_again(url=f"{shared_url()}?application_name={name}").get_head("old"))
            while not ask(f"SELECT 1 FROM pg_stat_activity WHERE application_name = '{name}' AND wait_event_type = 'Lock'"):
                assert not answer.done()
            ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")
            with pytest.raises(SessionError):
                answer.result()
        assert layout(old) == before
        check_upgraded(open_again(), old)

    def test_others_do_not_wait_long_behind_it(self, open_again: Opener, old: str) -> None:
        with psycopg.connect(shared_url()) as other:
            other.execute(f"SELECT 1 FROM {old}.heads".encode())
            with pytest.raises(StorageError):
                open_again(timeout=60.0).get_head("old")
            assert ask(f"SELECT count(*) FROM {old}.heads") == [(1,)]
        check_upgraded(open_again(), old)

    def test_a_pool_of_the_callers_is_given_back_as_it_was(self, open_again: Opener, old: str) -> None:
        from psycopg_pool import ConnectionPool

        with ConnectionPool(shared_url(), min_size=1, max_size=1, open=True) as pool:
            with pool.connection() as connection:
                before = connection.execute("SHOW statement_timeout").fetchone()
            check_upgraded(open_again(url="", client=pool, search=True), old)
            with pool.connection() as connection:
                assert connection.execute("SHOW statement_timeout").fetchone() == before

    def test_an_account_that_may_not_is_told_what_to_do(self, open_again: Opener, old: str) -> None:
        role = old + "_role"
        ask(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'")
        ask(f"GRANT USAGE ON SCHEMA {old} TO {role}")
        ask(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {old} TO {role}")
        limited = open_again(url=f"postgresql://{role}:pw@{shared_url().rpartition('@')[2]}")
        with pytest.raises(StorageError, match="turnlog schema URL"):
            limited.get_head("old")
        assert ask(f"SELECT version FROM {old}.format") == [(1,)]
        limited.close()
        ask(f"DROP OWNED BY {role}")
        ask(f"DROP ROLE {role}")


class TestNotCreating:
    def test_an_old_store_is_left_alone(self, open_again: Opener, old: str) -> None:
        before = layout(old)
        with pytest.raises(FormatVersionError, match="turnlog schema URL") as caught:
            open_again(create=False).get_head("old")
        assert (caught.value.found, caught.value.supported) == (1, 2)  # type: ignore[attr-defined]
        assert layout(old) == before

    def test_where_there_is_nothing_nothing_comes_to_be(self, open_again: Opener, schema: str) -> None:
        with pytest.raises(StorageError, match="turnlog schema URL"):
            open_again(create=False).get_head("s")
        assert ask(f"SELECT 1 FROM pg_namespace WHERE nspname = '{schema}'") == []

    def test_no_index_of_words_comes_to_be(self, open_again: Opener, schema: str) -> None:
        open_again().get_head("s")
        before = layout(schema)
        with pytest.raises(StorageError, match="turnlog schema URL"):
            open_again(create=False, search=True).get_head("s")
        assert layout(schema) == before


class TestByHand:
    @pytest.mark.parametrize("search", [False, True])
    def test_a_new_store(self, open_again: Opener, schema: str, search: bool) -> None:
        other = new_schema()
        ask(schema_text(f"{shared_url()}?schema={schema}&search={int(search)}"))
        backend = open_again(create=False, search=search)
        backend.put_head(a_head(length=3), expect=None, records=records(0, 3))
        if search:
            assert [match.seq for match in backend.find(["m1"], limit=5)] == [1]
        open_again(schema=other, search=search).get_head("s")
        assert layout(schema) == layout(other)

    def test_an_old_store(self, open_again: Opener, old: str) -> None:
        text = schema_text(f"postgresql://u:secret@nowhere.invalid/d?schema={old}&search=1")
        assert "secret" not in text
        after = text[text.index("-- In its place") :]
        upgrade = "\n".join(line.removeprefix("-- ") for line in after.splitlines()[1:] if not line.startswith("-- The index of words"))
        ask(upgrade[: upgrade.index("What the accounts need")])
        backend = open_again(create=False, search=True)
        assert len(backend.find(["early"], limit=5000)) == 1198
        check_upgraded(backend, old)

    @pytest.mark.parametrize("options", ["schema=a%22b", "search=perhaps"])
    def test_what_is_no_option_is_refused(self, options: str) -> None:
        with pytest.raises(UnsupportedVerbError):
            schema_text(f"postgresql://h/d?{options}")

    def test_without_options_it_is_the_usual_schema(self) -> None:
        text = schema_text("postgresql://h/d")
        assert 'CREATE TABLE "turnlog".heads' in text
        assert "words_wanted" not in text


def test_the_body_of_the_old_session_is_what_was_written_then() -> None:
    text = json.dumps(postgres_format_1.BODY, separators=(",", ":"))
    assert text.index('"shed":2') < text.index('"fields"')
