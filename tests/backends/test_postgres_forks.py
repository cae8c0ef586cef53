"""PostgreSQL's fork in one statement against what moves its parent at the same moment, and appends against expiry."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.postgres_stores import ask, openers, while_others
from tests.backends.samples import a_head, record, records, run_threads
from tests.servers.postgres import new_schema, shared_url
from turnlog.backends.port import Query
from turnlog.backends.postgres.values import fork_values, head_values
from turnlog.heads import Head, Parent, Reference, Stretch

CHILD = a_head("c", "cr", past=(Stretch("r1", 0, 3),), past_count=3, parent=Parent("s", "b", "r1", 2))
CLAIM = Reference("s", "r1", "c", "cr", 3)
PARENT = a_head(length=5)


@pytest.fixture
def schema() -> str:
    return new_schema()


@pytest.fixture
def backend(schema: str) -> Iterator[Driven]:
    """A backend with a session of five messages."""
    for opening in openers(schema):
        made = opening()
        made.put_head(PARENT, expect=None, records=records(0, 5))
        yield made


def changing(backend: Driven, after: Head) -> tuple[str, dict[str, Any]]:
    """The statement of the backend that changes the parent's head, and its values."""
    return backend.backend._sql.update_head, {**head_values(after), "old_run": "r1", "old_counter": 0}


class TestTogetherWithOthers:
    def test_after_retention_it_sees_what_is_gone(self, backend: Driven) -> None:
        statement, values = changing(backend, replace(PARENT, shed=2, counter=1))
        assert while_others(statement, lambda: backend.put_fork(CHILD, CLAIM, shed=0), values) == "moved"
        assert (backend.get_head("c"), backend.references("s", "r1")) == (None, [])

    def test_after_an_edit_it_goes_through(self, backend: Driven) -> None:
        statement, values = changing(backend, replace(PARENT, counter=1, fields={"title": '"shed":3'}))
        assert while_others(statement, lambda: backend.put_fork(CHILD, CLAIM, shed=0), values) == "stored"

    def test_retention_waits_and_finds_the_claim(self, backend: Driven) -> None:
        def retain() -> list[Reference]:
            assert backend.put_head(replace(PARENT, shed=2, counter=1), expect="r1.0")
            found: list[Reference] = backend.references("s", "r1")
            return found

        assert while_others(backend.backend._sql.put_fork, retain, fork_values(CHILD, CLAIM, 0, None)) == [CLAIM]
        assert backend.get_head("c") == CHILD

    def test_a_delete_waits_and_finds_the_claim(self, backend: Driven) -> None:
        def delete() -> list[Reference]:
            assert backend.remove_head("s", "r1")
            found: list[Reference] = backend.references("s", "r1")
            return found

        assert while_others(backend.backend._sql.put_fork, delete, fork_values(CHILD, CLAIM, 0, None)) == [CLAIM]

    def test_closing_waits_and_finds_the_claim(self, backend: Driven) -> None:
        def close() -> list[Reference]:
            backend.mark_run("s", "r1", None, closed=True)
            found: list[Reference] = backend.references("s", "r1")
            return found

        assert while_others(backend.backend._sql.put_fork, close, fork_values(CHILD, CLAIM, 0, None)) == [CLAIM]

    @pytest.mark.parametrize("leaving", ["DELETE FROM {}.heads", "UPDATE {}.heads SET run = 'r2'", "UPDATE {}.runs SET closed = true"])
    def test_after_what_ends_the_run_it_does_not_come_to_be(self, backend: Driven, schema: str, leaving: str) -> None:
        assert while_others(leaving.format(schema), lambda: backend.put_fork(CHILD, CLAIM, shed=0)) == "moved"
        assert (backend.get_head("c"), backend.references("s", "r1")) == (None, [])

    def test_after_an_append_it_goes_through(self, backend: Driven, schema: str) -> None:
        appending = f"UPDATE {schema}.heads SET counter = counter + 1, length = length + 1 WHERE session_id = 's'"
        assert while_others(appending, lambda: backend.put_fork(CHILD, CLAIM, shed=0)) == "stored"

    def test_forks_do_not_wait_for_each_other(self, backend: Driven) -> None:
        with psycopg.connect(shared_url()) as other, ThreadPoolExecutor(1) as thread:
            other.execute(backend.backend._sql.put_fork.encode(), fork_values(CHILD, CLAIM, 0, None))
            second = replace(CHILD, session_id="d", run="dr"), CLAIM._replace(child_id="d", child_run="dr")
            assert thread.submit(backend.put_fork, *second, shed=0).result(timeout=5) == "stored"
            other.commit()
        assert {claim.child_id for claim in backend.references("s", "r1")} == {"c", "d"}

    def test_retention_knows_of_every_fork_of_what_it_drops(self, backend: Driven) -> None:
        cuts: list[tuple[int, set[str]]] = []
        stored: dict[str, int] = {}

        def work(writer: int) -> None:
            for number in range(40):
                head, name = backend.get_head("s"), f"{writer}.{number}"
                if writer == 0:
                    after = replace(head, counter=head.counter + 1, shed=head.shed + 1)
                    if backend.put_head(after, expect=head.revision):
                        cuts.append((after.shed, {claim.child_id for claim in backend.references("s", "r1")}))
                elif writer == 1:
                    backend.append("s", [record(name)], now=3.0, expect=None)
                else:
                    child = replace(CHILD, session_id=name, run=f"run {name}")
                    if backend.put_fork(child, CLAIM._replace(child_id=name, child_run=child.run), shed=head.shed) == "stored":
                        stored[name] = head.shed

        run_threads(work, 6)
        assert min(len(cuts), len(stored)) > 5
        assert {claim.child_id for claim in backend.references("s", "r1")} == set(stored)
        for shed, known in cuts:
            assert {name for name, at in stored.items() if at < shed} <= known

    def test_a_run_that_was_marked_and_lives_again_is_forked(self, backend: Driven) -> None:
        backend.mark_run("s", "r1", None, closed=False)
        backend.forget_run("s", "r1")
        assert backend.put_fork(CHILD, CLAIM, shed=0) == "stored"
        assert backend.put_fork(CHILD, CLAIM._replace(run="nobody's"), shed=0) == "moved"

    def test_a_fork_of_what_is_gone_leaves_nothing(self, backend: Driven, schema: str) -> None:
        backend.remove_head("s", "r1")
        backend.mark_run("s", "r1", None, closed=True)
        backend.forget_run("s", "r1")
        with psycopg.connect(shared_url()) as other:
            other.execute(f"DELETE FROM {schema}.runs")
        assert backend.put_fork(CHILD, CLAIM, shed=0, expect=PARENT) == "moved"
        with psycopg.connect(shared_url()) as other:
            assert other.execute(f"SELECT count(*) FROM {schema}.runs").fetchall() == [(0,)]


@pytest.mark.parametrize(
    "fields",
    [
        {"title": '"shed":7,'},
        {"shed": 7},
        {"metadata": {"shed": 7, "fields": {"shed": 8}}},
        {"user_id": '","fields":{"shed":7}', "fields": 1},
        {"title": "\x00 \ud800", "metadata": {"x": [{"shed": 9}]}},
    ],
)
@pytest.mark.parametrize("shed", [0, 1, 12])
@pytest.mark.parametrize("parent", [None, Parent('"shed":7', ',"fields":', '"fields":{"shed":3}', 1)])
def test_what_was_shed_is_read_from_any_head(backend: Driven, fields: dict[str, Any], shed: int, parent: Parent | None) -> None:
    above = a_head("above", "ar", length=20, shed=shed, fields=fields, parent=parent, ttl=1e9, undo='"shed":5')
    backend.put_head(above, expect=None)
    claim = CLAIM._replace(session_id="above", run="ar")
    for wrong in (shed + 1, 7, 2):
        assert backend.put_fork(CHILD, claim, shed=wrong) == "moved"
    assert backend.put_fork(CHILD, claim, shed=shed) == "stored"


class TestExpiry:
    def test_an_append_that_waited_finds_the_session_expired(self, backend: Driven, schema: str) -> None:
        expiring = f"UPDATE {schema}.heads SET ttl = 1 WHERE session_id = 's'"
        for batch in ([record("x")], records(10, 12)):
            ask(f"UPDATE {schema}.heads SET ttl = NULL")
            assert while_others(expiring, lambda batch=batch: backend.append("s", batch, now=100.0, expect=None)) is None
        assert backend.get_head("s").length == 5
        assert backend.append("s", [record("m1")], now=100.0, expect=None) is None

    def test_an_append_that_waited_finds_the_session_renewed(self, backend: Driven, schema: str) -> None:
        ask(f"UPDATE {schema}.heads SET ttl = 1")
        renewing = f"UPDATE {schema}.heads SET updated_at = 99.5"
        # What it looked at first had expired; it looks again, and says what is so then.
        backend.append("s", [record("x")], now=100.0, expect=None)
        ask(renewing)
        assert backend.append("s", [record("x")], now=100.0, expect=None).messages == 6

    def test_expired_sessions_are_found_by_their_index(self, backend: Driven, schema: str) -> None:
        ask(
            f"INSERT INTO {schema}.heads (session_id, run, counter, length, count_offset, updated_at, ttl, body) "
            "SELECT 'n' || n, 'run' || n, 0, 0, 0, n, CASE WHEN n % 1000 = 0 THEN 5 END, body "
            f"FROM generate_series(1, 20000) AS n, {schema}.heads WHERE session_id = 's'"
        )
        ask(f"ANALYZE {schema}.heads")
        query = Query(expired_at=15_005.0)
        first = backend.list_heads(query, cursor=None, limit=10)
        assert [head.session_id for head in first.heads] == [f"n{n}000" for n in range(15, 5, -1)]
        assert len(backend.list_heads(query, cursor=first.cursor, limit=10).heads) == 5
        seen: list[tuple[str, Any]] = []
        backend.backend._run = lambda statement, values: _note(seen, statement, values)
        backend.list_heads(query, cursor=None, limit=10)
        with psycopg.connect(shared_url()) as connection:
            plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {seen[0][0]}".encode(), seen[0][1]))
        assert "heads_by_expiry" in plan


async def _note(seen: list[tuple[str, Any]], statement: str, values: Any) -> list[Any]:
    seen.append((statement, values))
    return []


def test_a_plan_made_on_small_tables_goes_by_the_indexes(backend: Driven) -> None:
    run = backend._run
    for setting in ("enable_seqscan", "jit"):
        assert run(f"SHOW {setting}") == [("off",)]
    plan = "\n".join(row[0] for row in run(f"EXPLAIN {backend.backend._sql.put_fork}", fork_values(CHILD, CLAIM, 0, None)))
    assert "Seq Scan" not in plan
