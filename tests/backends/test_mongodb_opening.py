"""MongoDB stores that are opened: of an older format, with words to be indexed, killed at any step, by many at once, and by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pymongo.errors import OperationFailure

from tests.backends.conftest import Driven
from tests.backends.mongodb_format_1 import CHILD, CLAIMS, LENGTH, PARENT, PLAIN, write_format_1
from tests.backends.mongodb_stores import Between
from tests.backends.samples import a_head, all_ids, record, run_threads
from tests.servers.mongodb import new_prefix, shared_url
from turnlog.backends.mongodb import MongoBackend, schema_text
from turnlog.backends.mongodb.schema import names
from turnlog.errors import FormatVersionError, StorageError, UnsupportedVerbError
from turnlog.heads import Reference

Again = Callable[..., Driven]


class Ending:
    """A driver that ends, as its process would, after so many calls to the server."""

    def __init__(self, backend: Any, calls: int) -> None:
        server = backend.backend._server
        self._driver, self._left = server.driver, calls
        server.driver = self

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StorageError("the machine ends here")

    async def call(self, *arguments: Any, **options: Any) -> Any:
        self._step()
        return await self._driver.call(*arguments, **options)

    async def rows(self, *arguments: Any, **options: Any) -> Any:
        self._step()
        return await self._driver.rows(*arguments, **options)

    async def command(self, *arguments: Any, **options: Any) -> Any:
        self._step()
        return await self._driver.command(*arguments, **options)


def check_upgraded(backend: Driven, database: Any, prefix: str) -> None:
    """All that format 1 held is there, and works."""
    assert [backend.get_head(head.session_id) for head in (PARENT, CHILD, PLAIN)] == [PARENT, CHILD, PLAIN]
    assert sorted(backend.referenced_runs()) == sorted(CLAIMS)
    assert sorted(backend.references("s", "r1")) == sorted(CLAIMS)
    assert all_ids(backend) == [f"r1-m{number}" for number in range(LENGTH)]
    assert backend.get_rows("s", "r1", "snapshot") == {"k": "{}"}
    claim = Reference("s", "r1", "new", "nr", 5)
    for shed, outcome in ((0, "moved"), (1, "moved"), (2, "stored")):
        assert backend.put_fork(replace(CHILD, session_id="new", run="nr"), claim, shed=shed) == outcome
    assert backend.put_fork(a_head("q", "qr"), Reference("p", "pr", "q", "qr", 1), shed=0) == "stored"
    backend.drop_reference("s", "r1", "gr")
    assert sorted(backend.references("s", "r1")) == [CLAIMS[0], claim]
    assert database[f"{prefix}format"].find_one()["version"] == 2
    # A session that a fork claimed long ago is not removed by the server either.
    head = replace(PARENT, counter=10, ttl=1.0)
    assert backend.put_head(head, expect=PARENT.revision)
    assert "gone" not in database[f"{prefix}history"].find_one({"s": "s", "live": True})
    assert backend.append("p", [record("p-new")], now=9.0, expect="pr.0").messages == 2


class TestUpgrade:
    def test_a_store_of_format_1_goes_on(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        write_format_1(mongodb_database, mongodb_prefix)
        check_upgraded(mongodb_again(), mongodb_database, mongodb_prefix)

    def test_it_may_be_killed_at_any_step(self, mongodb_database: Any) -> None:
        ended = steps = 0
        while ended == steps:
            prefix = new_prefix()
            write_format_1(mongodb_database, prefix)
            killed, after = (Driven(MongoBackend(shared_url(), prefix=prefix, durability="process", search=True)) for _ in range(2))
            Ending(killed, steps)
            try:
                killed.get_head("s")
            except StorageError:
                ended += 1
            steps += 1
            assert len(after.find(["old"], limit=500)) == LENGTH + 1
            check_upgraded(after, mongodb_database, prefix)
            for backend in (killed, after):
                backend.close()
        assert steps > 20

    def test_sixteen_do_it_at_once(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        write_format_1(mongodb_database, mongodb_prefix)
        backends = [mongodb_again(search=number % 2 == 0) for number in range(16)]
        run_threads(lambda number: backends[number].append("s", [record(f"w{number}", "new word")], now=3.0, expect=None), 16)
        assert all_ids(backends[0])[:LENGTH] == [f"r1-m{number}" for number in range(LENGTH)]
        assert sorted(all_ids(backends[0])[LENGTH:]) == sorted(f"w{number}" for number in range(16))
        for backend in (backends[0], mongodb_again()):
            assert len(backend.find(["old"], limit=500)) == LENGTH + 1
            assert len(backend.find(["new"], limit=500)) == 16
        assert sorted(backends[1].referenced_runs()) == sorted(CLAIMS)

    def test_a_program_of_the_older_version_sees_claims_and_makes_none(
        self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        write_format_1(mongodb_database, mongodb_prefix)
        old = mongodb_database[f"{mongodb_prefix}claims"]
        before = sorted(old.find({}, {"_id": 0}), key=str)
        backend = mongodb_again()
        backend.get_head("s")
        assert sorted(old.find({}, {"_id": 0}), key=str) == before
        backend.add_reference(Reference("p", "pr", "x", "xr", 1))
        assert [claim["child_run"] for claim in old.find({"run": "pr"})] == ["xr"]
        with pytest.raises(OperationFailure):
            old.update_one({"_id": {"run": "pr", "child_run": "yr"}}, {"$set": {"stop": 1}}, upsert=True)

    def test_claims_that_are_made_meanwhile_are_moved_too(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        write_format_1(mongodb_database, mongodb_prefix)
        backend = mongodb_again()
        late = {"_id": {"run": "pr", "child_run": "xr"}, "s": "p", "run": "pr", "child": "x", "child_run": "xr", "stop": 1}
        between = Between(backend)
        between.once("before", "rename", lambda: mongodb_database[f"{mongodb_prefix}claims"].insert_one(late))
        assert backend.references("p", "pr") == [Reference("p", "pr", "x", "xr", 1)]

    def test_it_is_not_done_where_that_is_not_wanted(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        write_format_1(mongodb_database, mongodb_prefix)
        with pytest.raises(FormatVersionError, match="turnlog schema URL") as caught:
            mongodb_again(create=False).get_head("s")
        assert (caught.value.found, caught.value.supported) == (1, 2)  # type: ignore[attr-defined]
        assert mongodb_database[f"{mongodb_prefix}claims"].count_documents({}) == 2
        assert mongodb_database[f"{mongodb_prefix}format"].find_one()["version"] == 1


class TestWords:
    def test_turning_it_on_may_be_killed_at_any_step(self, mongodb_again: Again) -> None:
        before = mongodb_again()
        for number in range(6):
            before.put_head(
                a_head(f"s{number}", f"r{number}", length=90), expect=None, records=[record(f"m{n}", "early") for n in range(90)]
            )
            before.append(f"s{number}", [record("long", "early " + " ".join(f"w{n}" for n in range(2_000)))], now=3.0, expect=None)
        steps = 0
        while True:
            killed = mongodb_again(search=True)
            Ending(killed, steps)
            try:
                killed.get_head("s")
                break
            except StorageError:
                steps += 1
        assert steps > 6
        assert len(mongodb_again().find(["early"], limit=5_000)) == 6 * 91
        assert sorted(mongodb_again().find(["w1999"], limit=50)) == [(f"s{number}", f"r{number}", 90) for number in range(6)]

    def test_writers_that_have_not_heard_of_it_lose_nothing(self, mongodb_again: Again) -> None:
        """They begin sessions, append, spill and erase; whatever they do is found at once."""
        unaware, choose = [mongodb_again() for _ in range(4)], random.Random(5)
        for backend in unaware:
            backend.get_head("s")
        unaware[0].put_head(a_head(), expect=None)
        aware = mongodb_again(search=True)
        aware.get_head("s")
        assert not any(backend.backend.indexes_words for backend in unaware)
        expected: set[tuple[str, str, int]] = set()
        for number, backend in enumerate(unaware):
            session, run = f"t{number}", f"tr{number}"
            assert backend.put_head(a_head(session, run, length=2), expect=None, records=[record("a", "word"), record("b", "word")])
            expected |= {(session, run, 0), (session, run, 1)}
            assert set(aware.find(["word"], limit=5_000)) == expected
            backend.append(session, [record(f"c{n}", "word") for n in range(choose.choice([1, 40]))], now=3.0, expect=None)
            length = backend.get_head(session).length
            expected |= {(session, run, n) for n in range(length)}
            assert set(aware.find(["word"], limit=5_000)) == expected
            assert backend.backend.indexes_words

    def test_a_writer_that_has_not_heard_of_it_hears_at_the_next_append(self, mongodb_again: Again) -> None:
        unaware = mongodb_again()
        unaware.put_head(a_head(), expect=None)
        unaware.append("s", [record("a", "word")], now=3.0, expect=None)
        aware = mongodb_again(search=True)
        aware.append("s", [record("b", "word")], now=3.0, expect=None)
        unaware.append("s", [record("c", "word"), record("d", "word")], now=3.0, expect=None)
        assert len(aware.find(["word"], limit=9)) == 4

    def test_moving_and_indexing_at_once(self, mongodb_again: Again) -> None:
        before = mongodb_again()
        for number in range(3):
            before.put_head(a_head(f"s{number}", f"r{number}"), expect=None)
        backends = [mongodb_again(search=number == 3) for number in range(6)]
        for backend in backends[:3]:
            backend.get_head("s")

        def work(number: int) -> None:
            for each in range(60):
                if number < 3:
                    backends[number].append(f"s{number}", [record(f"m{each}", f"word n{each}")], now=3.0, expect=None)
                elif each % 20 == 0:
                    backends[3].find(["word"], limit=5)

        run_threads(work, 6)
        found = backends[3].find(["word"], limit=5_000)
        assert sorted(found) == sorted((f"s{number}", f"r{number}", each) for number in range(3) for each in range(60))

    def test_many_words_at_once(self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again(search=True)
        backend.put_head(
            a_head(length=3),
            expect=None,
            records=[record(f"f{n}", f"first {' '.join(f'x{n}y{w}' for w in range(3_000))}") for n in range(3)],
        )
        batch = [record(f"m{n}", f"batch number{n} " + " ".join(f"w{n}v{w}" for w in range(20))) for n in range(4_000)]
        assert backend.append("s", batch, now=3.0, expect=None).messages == 4_003
        assert backend.append("s", batch, now=3.0, expect=None).known
        assert backend.find(["number3999"], limit=5) == [("s", "r1", 4_002)]
        assert backend.find(["x2y2999"], limit=5) == [("s", "r1", 2)]
        assert len(backend.find(["batch"], limit=9_000)) == 4_000
        assert [match[2] for match in backend.find(["batch", "w5v1", "w5v2", "w7v1"], limit=2)] == [8, 10]
        backend.drop_records("s", "r1", 2, 10)
        assert [len(backend.find([word], limit=5)) for word in ("x2y2999", "number6", "number7")] == [0, 0, 1]
        backend.remove_head("s", "r1")
        assert len(backend.find(["first", "batch"], limit=9_000)) == 4_003 - 8
        backend.drop_records("s", "r1", 0, None)
        assert backend.find(["first", "batch"], limit=5) == []
        assert mongodb_database[f"{mongodb_prefix}texts"].count_documents({}) == 0

    def test_it_is_not_turned_on_where_that_is_not_wanted(self, mongodb_again: Again) -> None:
        mongodb_again().put_head(a_head(), expect=None)
        with pytest.raises(StorageError, match="turnlog schema URL"):
            mongodb_again(create=False, search=True).get_head("s")
        mongodb_again(search=True).get_head("s")
        assert mongodb_again(create=False, search=True).get_head("s") == a_head()


class TestByHand:
    @pytest.mark.parametrize("search", [False, True])
    def test_what_an_administrator_types_makes_the_same(
        self, mongodb_again: Again, mongodb_prefix: str, mongodb_database: Any, search: bool
    ) -> None:
        text = schema_text(f"mongodb://u:secret@h/chats?prefix={mongodb_prefix}&search={int(search)}&replicaSet=x")
        assert "secret" not in text
        assert text.startswith('db = db.getSiblingDB("chats")\n')
        run_in_python(text, mongodb_database)
        by_hand = {name: mongodb_database[name].index_information() for name in names(mongodb_prefix)[:4]}
        backend = mongodb_again(create=False, search=search)
        backend.put_head(a_head(length=1), expect=None, records=[record("m0", "word")])
        if search:
            assert backend.find(["word"], limit=5) == [("s", "r1", 0)]
        else:
            with pytest.raises(UnsupportedVerbError, match="search=True"):
                backend.find(["word"], limit=5)
        for name in names(mongodb_prefix):
            mongodb_database.drop_collection(name)
        mongodb_again(search=search).get_head("s")
        assert {name: mongodb_database[name].index_information() for name in by_hand} == by_hand


def run_in_python(text: str, database: Any) -> None:
    """Do what the lines of a mongosh script say, as far as ``schema_text`` writes such."""
    import json
    import re

    for line in text.splitlines()[1:]:
        if line.startswith("//"):
            continue
        collection, verb, rest = re.fullmatch(r"db\.getCollection\((\".*?\")\)\.(\w+)\((.*)\)", line).groups()  # type: ignore[union-attr]
        arguments = json.loads(f"[{rest}]")
        place = database[json.loads(collection)]
        if verb == "insertOne":
            place.insert_one(*arguments)
        else:
            place.create_index(list(arguments[0].items()), **arguments[1])
