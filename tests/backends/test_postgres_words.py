"""PostgreSQL's index of words: turned on beside writers, filled in by steps that may be killed, erased with the messages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.backends.conftest import Driven
from tests.backends.postgres_stores import ask, openers, while_others
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from tests.servers.postgres import new_schema, server, shared_url
from turnlog.backends.port import Appended
from turnlog.backends.postgres import PostgresBackend, open_backend, preparing
from turnlog.errors import ConflictError, SessionError
from turnlog.messages import Record

Opener = Callable[..., Driven]


@pytest.fixture
def schema() -> str:
    return new_schema()


@pytest.fixture
def open_again(schema: str) -> Iterator[Opener]:
    """Opens backends on one schema; all are closed afterwards."""
    yield from openers(schema)


@pytest.fixture
def early(open_again: Opener) -> Driven:
    """A backend without an index, with a session of 1,200 messages."""
    backend = open_again()
    backend.put_head(a_head(length=1200), expect=None, records=[record(f"m{number}", f"early n{number}") for number in range(1200)])
    return backend


def count(backend: Driven, word: str) -> int:
    return len(backend.find([word], limit=5000))


class TestWritersFromBefore:
    def test_they_index_from_the_moment_it_is_turned_on(self, open_again: Opener, early: Driven) -> None:
        searching = open_again(search=True)
        assert count(searching, "early") == 1200
        assert early.append("s", [record("a", "late one")], now=3.0, expect=None) == Appended("r1.1", 1201, False)
        assert early.append("s", [record("b", "late two"), record("c", "late three")], now=3.0, expect="r1.1").messages == 1203
        assert early.append("s", [record("b", "late two"), record("c", "late three")], now=3.0, expect="r1.1").known is True
        with pytest.raises(ConflictError):
            early.append("s", [record("d", "late four")], now=3.0, expect="r1.1")
        assert [match.seq for match in searching.find(["late"], limit=9)] == [1202, 1201, 1200]

    @pytest.mark.parametrize("how", ["one", "many", "head", "renewed"])
    def test_each_way_to_write(self, open_again: Opener, early: Driven, how: str) -> None:
        searching = open_again(search=True)
        searching.get_head("s")
        if how == "one":
            assert early.append("s", [record("a", "late")], now=3.0, expect=None) is not None
        elif how == "many":
            assert early.append("s", [record("a", "late"), record("b")], now=3.0, expect=None) is not None
        elif how == "head":
            assert early.put_head(a_head("t", "r2", length=1), expect=None, records=[record("a", "late")])
        else:
            early.mark_run("s", "r1", None, closed=False)
            assert early.put_head(a_head("s", "r2", length=1), expect="r1.0", records=[record("a", "late")])
        assert count(searching, "late") == 1
        assert count(searching, "early") == 1200

    def test_one_that_is_amid_its_append_is_waited_for(self, open_again: Opener, early: Driven, schema: str) -> None:
        writing = f"INSERT INTO {schema}.records (run, seq, id, time, body) VALUES ('r1', 1200, 'x', 1, '{record('x', 'amid').body}')"
        searching = open_again(search=True)
        while_others(writing, lambda: searching.get_head("s"))
        assert count(searching, "amid") == 1

    def test_what_knows_of_no_words_is_refused_and_no_log_shows_the_message(self, open_again: Opener, schema: str) -> None:
        open_again(search=True).put_head(a_head(), expect=None)
        with pytest.raises(psycopg.Error) as caught:
            ask(f"INSERT INTO {schema}.records (run, seq, id, time, body) VALUES ('r1', 0, 'x', 1, 'secret')")
        said = caught.value.diag
        assert said.sqlstate == "TLW01"
        assert "secret" not in f"{said.message_primary} {said.message_detail} {said.context}"

    def test_turned_on_at_any_moment_none_is_missed(self, open_again: Opener, early: Driven) -> None:
        writers = [open_again() for _ in range(4)]
        for writer in writers:
            writer.get_head("s")

        def work(number: int) -> None:
            if number == 4:
                open_again(search=True).get_head("s")
                return
            for part in range(60):
                writers[number].append("s", [record(f"{number}.{part}", f"late w{number}")], now=3.0, expect=None)

        run_threads(work, 5)
        searching = open_again(search=True)
        assert (count(searching, "late"), count(searching, "early")) == (240, 1200)


class TestFilling:
    def test_killed_between_steps_it_goes_on(self, open_again: Opener, early: Driven, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
        name, steps, real = f"{schema}_filling", [0], preparing.words_text

        def words_text(body: str) -> str:
            steps[0] += 1
            if steps[0] == preparing.BATCH + 100:
                ask(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'")
            return real(body)

        monkeypatch.setattr(preparing, "words_text", words_text)
        with pytest.raises(SessionError):
            open_again(url=f"{shared_url()}?application_name={name}", search=True).get_head("s")
        assert ask(f"SELECT count(*) FROM {schema}.records WHERE words IS NULL") == [(1200 - preparing.BATCH,)]
        plain = open_again()
        plain.append("s", [record("a", "late")], now=3.0, expect=None)
        assert plain.backend.indexes_words is False
        steps[0] = -5000
        searching = open_again(search=True)
        assert (count(searching, "early"), count(searching, "late")) == (1200, 1)
        assert steps[0] == -5000 + 1200 - preparing.BATCH
        assert ask(f"SELECT words FROM {schema}.format") == [("kept",)]

    def test_messages_erased_meanwhile_do_not_come_back(self, open_again: Opener, early: Driven, monkeypatch: pytest.MonkeyPatch) -> None:
        real, once = preparing.words_text, [True]

        def words_text(body: str) -> str:
            if once and once.pop():
                early.drop_records("s", "r1", 0, 700)
            return real(body)

        monkeypatch.setattr(preparing, "words_text", words_text)
        searching = open_again(search=True)
        assert count(searching, "early") == 500
        assert len(all_ids(searching)) == 500

    def test_huge_messages_go_in_small_batches(self, open_again: Opener, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(preparing, "_WITHOUT", preparing._WITHOUT.replace(str(preparing.BATCH_BYTES), "1000"))
        asked: list[int] = []
        fill, real = preparing._FILL, preparing.Line.ask

        async def ask_and_count(self: Any, statement: str, values: Any = None) -> Any:
            if statement == fill:
                asked.append(len(values[0]))
            return await real(self, statement, values)

        monkeypatch.setattr(preparing.Line, "ask", ask_and_count)
        backend = open_again()
        backend.put_head(a_head(length=7), expect=None, records=[record(f"m{n}", "word " + "x" * 450) for n in range(7)])
        assert count(open_again(search=True), "word") == 7
        assert asked == [3, 3, 1]

    def test_a_damaged_body_has_no_words(self, open_again: Opener, early: Driven, schema: str) -> None:
        ask(f"UPDATE {schema}.records SET body = '{{' WHERE seq = 5")
        assert count(open_again(search=True), "early") == 1199


class TestFinding:
    def test_it_goes_by_the_index(self, open_again: Opener, early: Driven, schema: str) -> None:
        searching = open_again(search=True)
        searching.get_head("s")
        statement = "EXPLAIN " + searching.backend._sql.find
        with psycopg.connect(shared_url(), autocommit=True) as connection:
            connection.execute("SET enable_seqscan = off")
            plan = "\n".join(row[0] for row in connection.execute(statement.encode(), {"words": ["n7", "n8"], "limit": 10}))
        assert "records_by_word" in plan
        assert "Seq Scan" not in plan

    def test_a_session_of_any_name_is_named_after_it_is_gone(self, open_again: Opener) -> None:
        searching, name = open_again(search=True), "\U0010ffff" * 1024
        searching.put_head(a_head(name, length=1), expect=None, records=[record("a", "word")])
        assert searching.find(["word"], limit=5) == [(name, "r1", 0)]
        searching.mark_run(name, "r1", None, closed=False)
        searching.remove_head(name, "r1")
        assert searching.find(["word"], limit=5) == [(name, "r1", 0)]
        searching.forget_run(name, "r1")
        assert searching.find(["word"], limit=5) == []

    def test_many_words_in_one_message(self, open_again: Opener) -> None:
        searching = open_again(search=True)
        searching.put_head(a_head(), expect=None)
        text = " ".join(f"{number:x}ẞ" for number in range(40_000))
        searching.append("s", [Record(-1, "a", 1.0, json.dumps({"role": "user", "content": text}), None)], now=3.0, expect=None)
        assert searching.find(["1ss", "9000ss", "none"], limit=5) == [("s", "r1", 0)]

    def test_the_option_of_the_url(self, schema: str) -> None:
        backend = Driven(open_backend(f"{shared_url()}?schema={schema}&durability=process&search=1", asynchronous=False))
        backend.put_head(a_head(length=2), expect=None, records=records(0, 2))
        assert backend.backend.indexes_words is True
        assert [match.seq for match in backend.find(["m1"], limit=5)] == [1]
        backend.close()


def test_erased_words_leave_the_files() -> None:
    with server(autovacuum="off") as private:
        backend = Driven(PostgresBackend(private.url, search=True))
        backend.put_head(a_head(length=2), expect=None, records=[record("m0", "erasedmarker"), record("m1", "keptmarker")])
        backend.drop_records("s", "r1", 0, 1)
        assert backend.find(["erasedmarker"], limit=5) == []
        backend.compact()
        private.ask("CHECKPOINT")
        assert len(backend.find(["keptmarker"], limit=5)) == 1
        backend.close()
        data = b"".join(path.read_bytes() for path in (private.data / "base").rglob("*") if path.is_file())
    assert b"keptmarker" in data
    assert b"erasedmarker" not in data


def test_sixteen_fill_it_together(open_again: Opener, early: Driven) -> None:
    backends = [open_again(search=True) for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(lambda backend: count(backend, "early"), backends)) == {1200}
