"""Promise 3.1: order is the sequence, never a clock; a turn is appended whole or not at all, and turns never interleave."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from turnlog.testing.checks import holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_all_there, check_order_per_writer, check_whole_turns, texts, turn


@contextmanager
def clock(now: Callable[[], float]) -> Iterator[None]:
    """Let time.time say what ``now`` gives."""
    real = time.time, time.time_ns
    time.time, time.time_ns = now, lambda: int(now() * 1e9)
    try:
        yield
    finally:
        time.time, time.time_ns = real


@case("3.1.1", "Messages come back in the order in which they were added", five=True)
def in_order(trial: Trial) -> None:
    wanted = [f"message {i}" for i in range(trial.many(130, 1500))]
    for text in wanted:
        trial.store.add_message("s", "user", text)
    same(texts(trial.store.get_chat_history("s")), wanted, "the texts of the history")


@case("3.1.2", "Order does not follow the clock, whether it stands still or runs backwards", five=True)
def no_clock(trial: Trial) -> None:
    beginning = time.time()
    ticks = iter(range(10**9))
    with clock(lambda: beginning - next(ticks)):
        for i in range(12):
            trial.store.add_message("backwards", "user", f"{i}")
    with clock(lambda: beginning):
        for i in range(12):
            trial.store.add_message("still", "user", f"{i}")
    for name in ("backwards", "still"):
        same(texts(trial.store.get_chat_history(name)), [f"{i}" for i in range(12)], f"the texts under a clock that goes {name}")
        same(texts(trial.store.get_chat_history(name, 3)), ["9", "10", "11"], f"the last 3 under a clock that goes {name}")


@case("3.1.3", "Timestamps that callers give do not change the order")
def no_timestamps(trial: Trial) -> None:
    for i in range(4):
        batch = [{"role": "user", "content": f"{i} {k}", "timestamp": 2e9 - 100.0 * i - k} for k in range(3)]
        same(trial.store.add_messages("s", batch), True, "add_messages")
    same(texts(trial.store.get_chat_history("s")), [f"{i} {k}" for i in range(4) for k in range(3)], "the texts of the history")


@case("3.1.4", "Threads that add messages to one session: each thread's own messages are in its order", five=True)
def threads_in_order(trial: Trial) -> None:
    count = trial.many(25, 200)

    def write(writer: str) -> None:
        for number in range(count):
            trial.store.add_message("s", "user", f"{writer} {number}")

    trial.race(*(partial(write, f"w{i}") for i in range(4)))
    check_order_per_writer(texts(trial.store.get_chat_history("s")))


@case("3.1.5", "A turn is in one piece, in its order, and returns True")
def one_turn(trial: Trial) -> None:
    for number in range(5):
        same(trial.store.add_messages("s", turn("w", number)), True, "add_messages")
        trial.store.add_messages("other", turn("w", number))
    same(check_whole_turns(trial.store.get_chat_history("s")), [f"w {i}" for i in range(5)], "the turns")
    same(trial.store.add_messages("s", []), True, "add_messages of no message")
    same(len(trial.store.get_chat_history("s")), 15, "the number of messages after adding none")


@case("3.1.6", "Threads' turns never interleave, and a reader sees only whole turns")
def threads_whole(trial: Trial) -> None:
    for session_id, length, count in (("short", 3, trial.many(20, 150)), ("long", 120, trial.many(4, 30))):

        def write(writer: str, session_id: str = session_id, length: int = length, count: int = count) -> None:
            for number in range(count):
                trial.store.add_messages(session_id, turn(writer, number, length=length))

        def check(_: object = None, session_id: str = session_id, length: int = length) -> list[str]:
            return check_whole_turns(trial.store.get_chat_history(session_id), length=length)

        trial.race(*(partial(write, f"w{i}") for i in range(3)), meanwhile=check)
        same(sorted(check()), sorted(f"w{i} {n}" for i in range(3) for n in range(count)), "the turns")


@case("3.1.7", "Turns and single messages of threads: a single message never falls into a turn")
def singles_between(trial: Trial) -> None:
    count = trial.many(25, 150)

    def turns() -> None:
        for number in range(count):
            trial.store.add_messages("s", turn("t", number))

    def singles() -> None:
        for number in range(count):
            trial.store.add_message("s", "user", f"single {number}")

    trial.race(turns, singles)
    history = trial.store.get_chat_history("s")
    starts = [i for i, text in enumerate(texts(history)) if text.startswith("t ") and text.split()[2] == "0"]
    for start in starts:
        group = texts(history)[start : start + 3]
        holds([t.split()[:1] for t in group] == [["t"]] * 3, "a turn in one piece", group)
    same(len(history), count * 4, "the number of messages")


@case("3.1.8", "A turn with one message that cannot be kept is refused whole")
def refused_whole(trial: Trial) -> None:
    trial.store.add_messages("s", turn("w", 0))
    before = trial.store.get_revision("s")
    for place in range(3):
        bad: list[dict[str, Any]] = turn("w", 1)
        bad[place]["content"] = float("nan")
        try:
            trial.store.add_messages("s", bad)
        except ValueError:
            pass
        else:
            holds(False, f"add_messages with NaN in message {place} raises a ValueError", "it returned")
        same(check_whole_turns(trial.store.get_chat_history("s")), ["w 0"], "the turns after a refused one")
    same(trial.store.get_revision("s"), before, "the revision after refused turns")


@case("3.1.9", "Turns of several processes never interleave, and each process's are in its order", needs=["process"], seconds=60)
def processes_whole(trial: Trial) -> None:
    count = trial.many(60, 200)
    each = [{"session_id": "s", "writer": f"p{i}", "count": count} for i in range(trial.many(2, 4))]
    writers = trial.writers("append_turns", each)
    acknowledged = [line for writer in writers for line in writer.wait()]
    history = trial.store.get_chat_history("s")
    check_whole_turns(history)
    check_all_there(history[::3], acknowledged)


@case("3.1.10", "A large turn stays whole", seconds=30)
def large_turn(trial: Trial) -> None:
    size = trial.many(200, 9000)
    batch = [{"role": "user", "content": f"{i} {'x' * (i % 50)}"} for i in range(size)]
    trial.store.add_message("s", "user", "before")
    trial.store.add_messages("s", batch)
    trial.store.add_message("s", "user", "after")
    same(trial.store.get_chat_history("s")[1:-1], batch, f"the turn of {size} messages")
