"""Promise 3.13: retention: with max_messages whole turns go, oldest first; snapshots and undo points before the cut go with them."""

from __future__ import annotations

from functools import partial
from typing import Any

from turnlog.errors import SessionError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.contracts.validity import check_valid
from turnlog.testing.histories import call, result
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts

LIMIT = 22
MOST = LIMIT * 5 // 4
"""Messages that may be kept, so that cutting is amortised."""


def _turn(number: int) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": f"question {number}"},
        {"role": "assistant", "content": None, "tool_calls": [call(f"a{number}"), call(f"b{number}")]},
        result(f"a{number}"),
        result(f"b{number}"),
        {"role": "assistant", "content": f"answer {number}"},
    ]


def _kept(store: Any, name: str) -> list[dict[str, Any]]:
    return [dict(message.record) for message in store.get_messages(name)]


@case("3.13.1", "A session keeps the newest messages, at most a quarter more than max_messages", needs=["max_messages"])
def newest(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    for number in range(trial.many(80, 800)):
        store.add_message("s", "user", f"{number}")
        kept = texts(_kept(store, "s"))
        same(kept, [f"{i}" for i in range(number + 1 - len(kept), number + 1)], "the newest messages, with no gap")
        holds(min(LIMIT, number + 1) <= len(kept) <= MOST, f"{LIMIT} to {MOST} messages", len(kept))
        same(len(store.get_chat_history("s")), min(LIMIT, number + 1), "the number of messages that the model gets")


@case("3.13.2", "Whole turns go: what is kept begins with a user message, and no tool group is split", needs=["max_messages"])
def whole_turns(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    for number in range(trial.many(30, 300)):
        if number % 2:
            store.add_messages("s", _turn(number))
        else:
            for message in _turn(number):
                store.add_messages("s", [message])
        kept = _kept(store, "s")
        same(kept[0]["role"], "user", "the role of the first message kept")
        check_valid(kept, "what is kept")
        same(kept[-5:], _turn(number), "the newest turn")
        holds(len(kept) <= MOST, f"at most {MOST} messages", len(kept))


@case("3.13.3", "Indexes count kept history, for reading, forking and reverting", needs=["max_messages"])
def indexes(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    for number in range(17):
        store.add_messages("s", _turn(number))
    kept = _kept(store, "s")
    same([dict(m.record) for m in store.get_messages("s", 0, 2)], kept[:2], "get_messages('s', 0, 2)")
    child = store.fork_session("s", 4)
    same(_kept(store, child), kept[:5], "the fork at 4")
    store.revert_to_message("s", 9)
    same(_kept(store, "s"), kept[:10], "the history after revert_to_message 9")
    store.undo_revert("s")
    same(_kept(store, "s"), kept, "the history after undo")
    raises((ValueError,), partial(store.revert_to_message, "s", len(kept)), "an index after the kept history")
    line = next(info for info in store.iter_sessions() if info.session_id == "s")
    same(line.message_count, len(kept), "the count in the listing")


@case("3.13.4", "Snapshots before the cut go with it; those after it stay right", needs=["max_messages"])
def snapshots(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    taken: dict[str, int] = {}
    for number in range(20):
        store.add_messages("s", _turn(number))
        taken[store.create_snapshot("s", f"{number}")] = number
    left = store.get_snapshots("s")
    holds(0 < len(left) < 20, "some snapshots are left, and not all", len(left))
    same([one.id for one in left], list(taken)[-len(left) :], "the newest snapshots")
    for one in reversed(left):
        store.revert_to_snapshot("s", one.id)
        kept = _kept(store, "s")
        same(len(kept), one.message_index + 1, "the number of messages at a snapshot")
        same(kept[-1]["content"], f"answer {taken[one.id]}", "the newest message at a snapshot")
        check_valid(kept, "the history at a snapshot")
    for gone in list(taken)[: -len(left)]:
        raises(SessionError, partial(store.revert_to_snapshot, "s", gone), "revert_to_snapshot of a snapshot before the cut")


@case("3.13.5", "Forks keep what they took over, whatever the parent sheds", needs=["max_messages"])
def forks(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    for number in range(3):
        store.add_messages("s", _turn(number))
    child = store.fork_session("s")
    wanted = _kept(store, child)
    for number in range(3, 30):
        store.add_messages("s", _turn(number))
    store.sweep(compact=True)
    same(_kept(store, child), wanted, "the fork's messages after its parent shed them")
    for number in range(30, 50):
        store.add_messages(child, _turn(number))
    same(_kept(store, child)[-5:], _turn(49), "the fork's newest turn")
    holds(len(_kept(store, child)) <= MOST, f"at most {MOST} messages in the fork", len(_kept(store, child)))


@case("3.13.6", "What was shed cannot be reached, and a turn longer than the limit stays whole", needs=["max_messages"])
def shed(trial: Trial) -> None:
    store = trial.another(max_messages=LIMIT)
    store.add_message("s", "user", "zebra: the very first")
    for number in range(20):
        store.add_messages("s", _turn(number))
    same(store.search("zebra"), [], "what search finds of a message that was shed")
    holds("the very first" not in str(store.export_all()), "nothing of what was shed in an export")
    long_turn = [{"role": "user", "content": "go"}, *({"role": "assistant", "content": f"{i}"} for i in range(LIMIT * 2))]
    store.add_messages("long", long_turn)
    same(_kept(store, "long"), long_turn, "a turn longer than max_messages")


@case("3.13.7", "Without max_messages nothing is ever shed")
def nothing(trial: Trial) -> None:
    count = trial.many(1200, 12_000)
    for start in range(0, count, 200):
        trial.store.add_messages("s", [{"role": "user", "content": f"{i}"} for i in range(start, start + 200)])
    same(len(trial.store.get_chat_history("s")), count, "the number of messages")
    same(trial.store.get_chat_history("s")[0]["content"], "0", "the first message")
