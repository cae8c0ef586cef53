"""The contract of the port on every backend, with many threads at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.backends.samples import a_head, all_ids, record, records, run_threads


def test_no_append_is_lost_and_no_batch_split(backend: Any) -> None:
    backend.put_head(a_head(), expect=None)
    counts: list[int] = []

    def write(writer: int) -> None:
        for number in range(100):
            for size in (1, 3):
                batch = [record(f"{writer}.{number}.{size}.{part}") for part in range(size)]
                counts.append(backend.append("s", batch, now=3.0, expect=None).messages)

    run_threads(write, 8)
    ids = all_ids(backend)
    assert len(ids) == len(set(ids)) == 8 * 100 * 4
    assert len(set(counts)) == 8 * 200
    turns = [identity.rsplit(".", 1)[0] for identity in ids]
    starts = [turn for index, turn in enumerate(turns) if index == 0 or turns[index - 1] != turn]
    assert len(starts) == len(set(starts))
    for writer in range(8):
        own = [tuple(map(int, turn.split(".")[1:])) for turn in starts if turn.startswith(f"{writer}.")]
        assert own == sorted(own)


def test_compare_and_set_lets_one_through(backend: Any) -> None:
    backend.put_head(a_head(), expect=None)
    wins: list[int] = []

    def change(writer: int) -> None:
        for _ in range(50):
            while True:
                head = backend.get_head("s")
                raised = replace(head, counter=head.counter + 1, fields={"n": head.fields.get("n", 0) + 1})
                if backend.put_head(raised, expect=head.revision):
                    wins.append(writer)
                    break

    def write(writer: int) -> None:
        for number in range(100):
            assert backend.append("s", [record(f"{writer}.{number}")], now=3.0, expect=None)

    run_threads(lambda writer: (change if writer % 2 else write)(writer), 4)
    assert len(wins) == 100
    head = backend.get_head("s")
    assert (head.fields["n"], head.counter, head.length) == (100, 300, 200)
    assert len(all_ids(backend)) == 200


def test_one_of_many_creates_the_session(backend: Any) -> None:
    made: list[tuple[int, int]] = []

    def create(writer: int) -> None:
        for number in range(30):
            head = a_head(f"s{number}", f"r{number}.{writer}", length=1)
            if backend.put_head(head, expect=None, records=[record(f"of {writer}")]):
                made.append((number, writer))

    run_threads(create, 4)
    assert sorted(number for number, _ in made) == list(range(30))
    for number, writer in made:
        assert backend.get_head(f"s{number}").run == f"r{number}.{writer}"
        for other in range(4):
            expected = [f"of {writer}"] if other == writer else []
            assert all_ids(backend, f"s{number}", f"r{number}.{other}") == expected


def test_an_id_is_stored_once_however_often_it_is_sent(backend: Any) -> None:
    backend.put_head(a_head(), expect=None)
    known: list[bool] = []

    def send(writer: int) -> None:
        for number in range(50):
            batch = records(2 * number, 2 * number + 2)
            known.append(backend.append("s", batch, now=3.0, expect=None).known)

    run_threads(send, 4)
    assert sorted(all_ids(backend)) == sorted(f"m{number}" for number in range(100))
    assert known.count(False) == 50
