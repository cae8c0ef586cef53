"""MongoDB's buffers and chunks: at every step of moving, with texts of any length, and while others change the session."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.mongodb_stores import Between
from tests.backends.samples import a_head, all_ids, record, records, run_threads
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.mongodb.documents import CHUNK, LARGEST_BATCH
from turnlog.backends.port import Appended
from turnlog.errors import ConflictError, InvalidMessageError, StorageError
from turnlog.heads import Reference, Stretch
from turnlog.messages import encode_message

WHOLE = Stretch("r1", 0, 10**9)


class TestBuffers:
    def test_a_walk_of_appends_cuts_and_new_runs_is_like_memory(self, mongodb_again: Callable[..., Driven]) -> None:
        ours, plain, choose = mongodb_again(), Driven(MemoryBackend()), random.Random(7)
        for backend in (ours, plain):
            backend.put_head(a_head(), expect=None)
        runs = ["r1"]
        for number in range(400):
            head = plain.get_head("s")
            what = choose.random()
            if what < 0.75:
                size = choose.choice([1, 1, 1, 2, 5, 40, 70])
                batch = [record(f"{number}.{part}", "x" * choose.choice([1, 1, 1, 20_000])) for part in range(size)]
                steps = [lambda b, batch=batch, now=head.updated_at + 1: b.append("s", batch, now=now, expect=None)]
                steps.append(lambda b, batch=batch: b.append("s", batch, now=9.0, expect="stale"))
            elif what < 0.93 and head.length:
                start = choose.randrange(head.length)
                stop = choose.choice([None, start + choose.randrange(1, 90), head.length])
                run = choose.choice(runs)
                steps = [lambda b, run=run, start=start, stop=stop: b.drop_records("s", run, start, stop)]
            else:
                fresh = a_head(run=f"r{number}", length=choose.choice([0, 3, 100]))
                runs = [*runs[-2:], fresh.run]
                first = records(0, fresh.length)
                steps = [lambda b, fresh=fresh, first=first, head=head: b.put_head(fresh, expect=head.revision, records=first)]
            for step in steps:
                assert step(ours) == step(plain)
            assert ours.get_head("s") == plain.get_head("s")
            if number % 10 == 0:
                spans = [Stretch(run, 0, 10**6) for run in runs]
                length = plain.get_head("s").length
                spans.append(Stretch(runs[-1], length // 2, length // 2 + 9))
                assert ours.read("s", spans) == plain.read("s", spans)

    @pytest.mark.parametrize("kept", [0, 1, 31])
    def test_an_id_is_known_at_every_step_of_moving(self, mongodb_again: Callable[..., Driven], kept: int) -> None:
        """Each step of a spill is followed by retries of everything, by reads, and by one new record."""
        backend = mongodb_again()
        backend.put_head(a_head(length=kept), expect=None, records=records(0, kept))
        between = Between(backend)
        seen: list[int] = []
        looking = False

        def look() -> None:
            nonlocal looking
            if looking:
                return
            looking = True
            length = backend.get_head("s").length
            assert [r.seq for r in backend.read("s", [WHOLE])] == list(range(length))
            for number in range(length):
                assert backend.append("s", [record(f"m{number}")], now=1.0, expect="stale").known
            if length:
                with pytest.raises(ConflictError):
                    backend.append("s", [record("new"), record("m0")], now=1.0, expect=None)
            seen.append(length)
            looking = False

        for number in range(kept, 150):
            for moment in ("before", "after"):
                for method in ("aggregate", "find_one_and_update"):
                    between.once(moment, method, look if method == "aggregate" or number % CHUNK in (0, 1, 31) else lambda: None)
            assert not backend.append("s", [record(f"m{number}")], now=1.0, expect=None).known
            between._hooks.clear()
        look()
        assert len(seen) > 10
        assert all_ids(backend) == [f"m{number}" for number in range(150)]

    def test_a_spill_that_stops_anywhere_is_ended_by_the_next(self, mongodb_again: Callable[..., Driven]) -> None:
        for step in range(8):
            backend = mongodb_again()
            session, run = f"s{step}", f"r{step}"
            backend.put_head(a_head(session, run), expect=None)
            between = Between(backend)
            left = [step]

            def stop(left: list[int] = left) -> None:
                left[0] -= 1
                if left[0] < 0:
                    raise StorageError("the machine ends here")

            for number in range(100):
                for moment in ("before", "after"):
                    between.once(moment, "aggregate", stop)
                assert not backend.append(session, [record(f"m{number}")], now=1.0, expect=None).known
                between._hooks.clear()
            done = mongodb_again()
            assert done.append(session, records(0, 100), now=1.0, expect=None).known
            done.append(session, records(100, 200), now=1.0, expect=None)
            assert all_ids(done, session, run) == [f"m{number}" for number in range(200)]
            assert done.append(session, records(0, 200), now=1.0, expect=None) == Appended(f"{run}.101", 200, True)

    def test_threads_that_send_the_same_again_and_again_store_it_once(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        fresh: list[bool] = []

        def send(writer: int) -> None:
            choose = random.Random(writer)
            for number in range(240):
                fresh.append(not backend.append("s", records(3 * number, 3 * number + 3), now=1.0, expect=None).known)
                # Now and then something long ago, which is in a chunk, or is just on its way there.
                again = max(0, number - choose.choice([0, 1, 20, 40, 64]))
                expect = choose.choice([None, "stale"])
                assert backend.append("s", records(3 * again, 3 * again + 3), now=1.0, expect=expect).known

        run_threads(send, 8)
        assert sorted(all_ids(backend)) == sorted(f"m{number}" for number in range(720))
        assert sum(fresh) == 240

    def test_a_reader_beside_hot_writers_sees_every_place(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        writing = [3]

        def work(writer: int) -> None:
            if writer < 3:
                for number in range(250):
                    backend.append("s", [record(f"{writer}.{number}")], now=1.0, expect=None)
                writing[0] -= 1
                return
            while writing[0]:
                length = backend.get_head("s").length
                assert [r.seq for r in backend.read("s", [Stretch("r1", 0, length)])] == list(range(length))

        run_threads(work, 4)
        assert len(all_ids(backend)) == 750

    def test_the_head_stays_small(self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        for size, text in ((1, "x" * 30_000), (200, "x"), (1_000, "x" * 600), (1, "x" * 12_000_000)):
            for number in range(40 if size == 1 else 2):
                if len(text) < 10**6 or number == 0:
                    backend.append("s", [record(f"{size} {len(text)} {number}.{n}", text) for n in range(size)], now=1.0, expect=None)
                (stats,) = mongodb_database[f"{mongodb_prefix}history"].aggregate(
                    [{"$match": {"live": True}}, {"$project": {"size": {"$bsonSize": "$$ROOT"}}}]
                )
                assert stats["size"] < 2_000_000
        assert len(all_ids(backend)) == 40 + 400 + 2_000 + 1

    def test_a_head_whose_words_are_indexed_holds_few_records(
        self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        backend, history = mongodb_again(search=True), mongodb_database[f"{mongodb_prefix}history"]
        backend.put_head(a_head(), expect=None)
        held = []
        for number in range(6 * CHUNK):
            backend.append("s", [record(f"m{number}", "some words")], now=1.0, expect=None)
            held.append(len(history.find_one({"s": "s", "live": True})["buf"]))
        # The server looks at the words of all of them at each append.
        assert max(held) < CHUNK
        assert [len(chunk["buf"]) for chunk in history.find({"op": {"$exists": True}, "live": {"$exists": False}})] == [CHUNK] * 6
        assert all_ids(backend) == [f"m{number}" for number in range(6 * CHUNK)]


class TestLongTexts:
    @pytest.mark.parametrize("content", ["x" * 12_000_000, "😀" * 3_000_000, "\x00" * 1_900_000], ids=["ascii", "emoji", "nul"])
    def test_the_longest_messages_come_back(
        self, mongodb_again: Callable[..., Driven], content: str, mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        backend = mongodb_again()
        given = [
            encode_message({"role": "user", "content": content, "id": f"m{n}", "metadata": {"long": content[: 10**6]}}) for n in range(3)
        ]
        backend.put_head(a_head(length=1), expect=None, records=given[:1])
        assert backend.append("s", given[1:], now=1.0, expect=None) == Appended("r1.1", 3, False)
        assert [r[1:] for r in backend.read("s", [WHOLE])] == [r[1:] for r in given]
        assert backend.append("s", given[1:], now=1.0, expect=None) == Appended("r1.1", 3, True)
        with pytest.raises(ConflictError):
            backend.append("s", [given[1]._replace(body=given[1].body[:-2] + '!"}')], now=1.0, expect=None)
        texts = mongodb_database[f"{mongodb_prefix}texts"]
        assert sum(len(piece) for one in texts.find() for piece in one["d"]) >= 3 * len(content)
        backend.drop_records("s", "r1", 1, 2)
        assert [r.id for r in backend.read("s", [WHOLE])] == ["m0", "m2"]
        backend.remove_head("s", "r1")
        backend.drop_records("s", "r1", 0, None)
        assert texts.count_documents({}) == 0

    def test_a_batch_that_fills_many_documents_is_one_append(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        batch = [record(f"m{n}", "x" * 9_000) for n in range(3_000)]
        assert backend.append("s", batch, now=1.0, expect=None) == Appended("r1.1", 3_000, False)
        assert backend.append("s", batch, now=1.0, expect=None).known
        assert [r[1:] for r in backend.read("s", [WHOLE])] == [r[1:] for r in batch]
        backend.drop_records("s", "r1", 10, 2_990)
        assert [r.seq for r in backend.read("s", [WHOLE])] == [*range(10), *range(2_990, 3_000)]

    def test_a_run_may_begin_with_any_number(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        first = records(0, 70_000)
        assert backend.put_head(a_head(length=len(first)), expect=None, records=first) is True
        assert backend.put_head(a_head(run="r2", length=len(first)), expect=None, records=first) is False
        assert backend.append("s", [record("m69999")], now=1.0, expect=None).known
        assert backend.append("s", [record("m70000")], now=1.0, expect=None) == Appended("r1.1", 70_001, False)
        assert [r.id for r in backend.read("s", [Stretch("r1", 69_990, 80_000)])] == [f"m{n}" for n in range(69_990, 70_001)]
        assert all_ids(backend, run="r2") == []

    def test_more_at_once_than_a_document_takes_is_refused(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        with pytest.raises(InvalidMessageError, match="smaller batches"):
            backend.append("s", records(0, LARGEST_BATCH + 1), now=1.0, expect=None)
        assert backend.append("s", records(0, LARGEST_BATCH), now=1.0, expect=None) == Appended("r1.1", LARGEST_BATCH, False)
        assert backend.get_head("s").length == LARGEST_BATCH

    def test_a_long_row_is_replaced_and_dropped_whole(
        self, mongodb_again: Callable[..., Driven], mongodb_prefix: str, mongodb_database: Any
    ) -> None:
        backend = mongodb_again()
        backend.put_head(a_head(), expect=None)
        texts = mongodb_database[f"{mongodb_prefix}texts"]
        for kind in ("draft", "snapshot"):
            for text in ("a" * 40_000_000, "short", "😀" * 700_000, "é" * 700_000):
                assert backend.put_row("s", "r1", kind, "k", text) is True
                assert backend.get_rows("s", "r1", kind) == {"k": text}
            assert texts.count_documents({}) == 1
            assert backend.put_row("s", "other", kind, "k", text) is False
            assert texts.count_documents({}) == 1
            backend.drop_rows("s", "r1", kind, ["k"])
            assert texts.count_documents({}) == 0


class TestRaces:
    def test_a_closed_run_gets_no_head_afterwards(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        for number in range(60):
            run, after = f"r{number}", []

            def close(writer: int, run: str = run, after: list[Any] = after) -> None:
                if writer == 0:
                    backend.mark_run(run, run, None, closed=True)
                    after.append(backend.get_head(run))
                elif writer == 1:
                    backend.put_head(a_head(run, run), expect=None)
                elif backend.add_reference(Reference(run, run, "c", "cr", 1)):
                    after.append("claimed")

            run_threads(close, 3)
            assert backend.get_head(run) in after
            assert len(backend.references(run, run)) == ("claimed" in after)
            assert backend.put_head(a_head(run, run, counter=1), expect=f"{run}.0") is False

    def test_a_claim_on_a_run_that_is_closed_meanwhile_is_taken_back(self, mongodb_again: Callable[..., Driven]) -> None:
        backend, other = mongodb_again(), mongodb_again()
        between = Between(backend)
        between.once("after", "update_one", lambda: other.mark_run("s", "r1", None, closed=True))
        assert backend.add_reference(Reference("s", "r1", "c", "cr", 1)) is False
        assert other.referenced_runs() == []

    @pytest.mark.parametrize("kind", ["turn", "draft", "snapshot"])
    def test_no_row_stays_of_a_run_that_left_meanwhile(self, mongodb_again: Callable[..., Driven], kind: Any) -> None:
        backend, other = mongodb_again(), mongodb_again()
        backend.put_head(a_head(), expect=None)
        between = Between(backend)

        def leave() -> None:
            other.put_head(a_head(run="r2"), expect="r1.0")
            other.drop_rows("s", "r1")

        between.once("before", "insert_one", leave)
        assert backend.put_row("s", "r1", kind, "k", "1") is False
        assert other.get_rows("s", "r1", kind) == {}

    def test_a_run_that_is_left_while_it_grows_is_left_whole(self, mongodb_again: Callable[..., Driven]) -> None:
        backend, other = mongodb_again(), mongodb_again()
        for method in ("find_one", "aggregate", "find_one_and_update", "update_one"):
            session, run = f"s {method}", f"r {method}"
            backend.put_head(a_head(session, run, length=20), expect=None, records=records(0, 20))
            between = Between(backend)
            for moment in ("before", "after"):
                between.once(
                    moment, method, lambda session=session, moment=moment: other.append(session, [record(moment)], now=1.0, expect=None)
                )
            stored = backend.put_head(a_head(session, f"{run} 2"), expect=f"{run}.0")
            head = other.get_head(session)
            assert head.run == (f"{run} 2" if stored else run)
            kept = all_ids(other, session, run)
            assert kept[:20] == [f"m{n}" for n in range(20)]
            assert len(kept) + (head.length if stored else 0) == 22

    def test_appends_and_removals_lose_nothing(self, mongodb_again: Callable[..., Driven]) -> None:
        backend = mongodb_again()
        acknowledged: list[tuple[str, str]] = []
        ended = [False]

        def work(writer: int) -> None:
            if writer == 0:
                for number in range(40):
                    run = f"r{number}"
                    backend.put_head(a_head(run=run), expect=None)
                    while len(acknowledged) < 10 * number:
                        pass
                    assert backend.remove_head("s", run) is True
                ended[0] = True
                return
            number = 0
            while not ended[0]:
                name = f"{writer}.{number}"
                number += 1
                if (done := backend.append("s", [record(name)], now=1.0, expect=None)) is not None:
                    acknowledged.append((done.revision.partition(".")[0], name))

        run_threads(work, 4)
        for number in range(40):
            stored = all_ids(backend, run=f"r{number}")
            assert sorted(stored) == sorted(name for run, name in acknowledged if run == f"r{number}")
