"""Cases 2.70 to 2.79: open turns: kept beside the history, part of no read of it, gone once they land, taken over by one of many."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from turnlog.errors import ConflictError, InvalidMessageError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.contracts.order import clock
from turnlog.testing.histories import call, result
from turnlog.testing.registry import case
from turnlog.testing.samples import CONTENTS, NUL_TEXTS, SURROGATE_TEXTS, TEXTS
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

WORD = "zebra"
"""A word that only open turns hold."""


def produced(number: int, length: int = 3) -> list[dict[str, Any]]:
    """What a turn has produced so far: messages with the ids under which it will land."""
    return [{**message, "id": f"turn-{number}-{i}"} for i, message in enumerate(turn(WORD, number, length=length))]


def open_ids(store: Any, session_id: str) -> list[str]:
    """The ids of the open turns."""
    return [one.id for one in store.get_open_turns(session_id)]


@case("2.70", "What an open turn has produced comes back as it went in, with ids, metadata, info and times")
def comes_back(trial: Trial) -> None:
    store = trial.store
    same(store.get_open_turns("s"), [], "the open turns of an unknown session")
    contents = [*CONTENTS.values(), *TEXTS.values(), *NUL_TEXTS.values(), *SURROGATE_TEXTS.values()]
    messages = [{"role": "user", "content": one, "extra": [1]} for one in contents]
    messages += [{"role": "assistant", "content": None, "tool_calls": [call("a")]}, result("a")]
    enveloped = [{**one, "id": f"m{i}", "metadata": {"k": [i]}, "timestamp": 1000.5 + i} for i, one in enumerate(messages)]
    same(store.put_open_turn("s", "t", enveloped, info={"who": "me", "n": [1, None]}), True, "put_open_turn")
    same(store.session_exists("s"), True, "session_exists after put_open_turn")
    (found,) = store.get_open_turns("s")
    same((found.id, found.session_id, found.info), ("t", "s", {"who": "me", "n": [1, None]}), "id, session_id and info")
    same([dict(one.record) for one in found.messages], messages, "the messages")
    same(
        [(one.id, one.metadata, one.timestamp) for one in found.messages],
        [(f"m{i}", {"k": [i]}, 1000.5 + i) for i in range(len(messages))],
        "envelopes",
    )
    holds(0 < found.started_at <= found.updated_at, "times in their order", (found.started_at, found.updated_at))
    json.dumps(found.to_dict())
    for bad in ("", None, 7, "x" * 257, "a\nb"):
        raises(InvalidMessageError, partial(store.put_open_turn, "s", bad, []), f"put_open_turn with the turn id {bad!r:.20}")
    raises(InvalidMessageError, partial(store.put_open_turn, "s", "u", [{"role": "user", "content": b"x"}]), "put_open_turn of bytes")
    same(open_ids(store, "s"), ["t"], "the open turns after refusals")


@case("2.71", "An open turn is part of no read of the history, of no search, count and export, and changes no revision")
def apart(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.create_snapshot("s")

    def told() -> list[Any]:
        found = store.get_session("s")
        reads = [store.get_chat_history("s"), store.get_chat_history("s", 2), store.get_working_history("s"), store.get_revision("s")]
        reads += [[one.id for one in found.messages], len(store.get_messages("s")), store.window("s"), found.revision, found.title]
        reads += [[line["message_count"] for line in store.list_sessions()], store.export_session("s"), store.search(WORD)]
        return [*reads, [one.message_index for one in store.get_snapshots("s")]]

    before = told()
    for number in (1, 2):
        store.put_open_turn("s", f"t{number}", produced(number), info={"k": WORD})
        same(told(), before, f"all reads of the session, with {number} open turns")
    child = store.fork_session("s")
    same((len(store.get_messages(child)), open_ids(store, child)), (3, []), "messages and open turns of a fork")
    store.revert_to_message("s", 0)
    store.undo_revert("s")
    same(len(store.get_messages("s")), 3, "the number of messages after a revert and its undo")
    same(open_ids(store, "s"), ["t1", "t2"], "the open turns after a revert and its undo")


@case("2.72", "put_open_turn replaces what was kept of a turn; turns are listed in the order in which they began, and dropped one by one")
def replaced(trial: Trial) -> None:
    store = trial.store
    for length in (0, 1, 3):
        for number in (2, 1):
            same(store.put_open_turn("s", f"t{number}", produced(number, length)), True, "put_open_turn")
    found = store.get_open_turns("s")
    same([(one.id, len(one.messages)) for one in found], [("t2", 3), ("t1", 3)], "ids and numbers of messages")
    same([one.content for one in found[0].messages], texts(produced(2)), "the contents")
    for name in ("t2", "t2", "unknown"):
        same(store.drop_open_turn("s", name), True, f"drop_open_turn of {name}")
    same((open_ids(store, "s"), store.drop_open_turn("nobody", "t1")), (["t1"], True), "what is left, and dropping in an unknown session")
    same((store.get_chat_history("s"), store.session_exists("nobody")), ([], False), "the history, and session_exists of the unknown one")


@case("2.73", "An open turn is gone with the append that names it, and stays where that append is refused")
def lands(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    for number in (1, 2):
        store.put_open_turn("s", f"t{number}", produced(number, 2))
    refused = partial(store.add_messages, "s", produced(1), expect_revision="no such revision", turn_id="t1")
    raises(ConflictError, refused, "an append that expects another revision")
    raises(InvalidMessageError, partial(store.add_messages, "s", [{"role": "user", "content": b"x"}], turn_id="t1"), "an append of bytes")
    same((open_ids(store, "s"), len(store.get_messages("s"))), (["t1", "t2"], 3), "open turns and messages after refusals")
    for attempt in ("first", "second"):
        same(store.add_messages("s", produced(1), turn_id="t1"), True, f"the {attempt} append that lands the turn")
        same((open_ids(store, "s"), texts(store.get_chat_history("s"))), (["t2"], texts([*turn("w", 0), *produced(1)])), "what is there")
    store.add_messages("s", produced(3), turn_id="never opened")
    same((open_ids(store, "s"), len(store.get_messages("s"))), (["t2"], 9), "after a turn that never was open")


@case("2.74", "Clearing, replacing and deleting a session end its open turns, also for a session of the same id that comes to be")
def ended(trial: Trial) -> None:
    store = trial.store
    ends = {
        "clear_session": store.clear_session,
        "delete_session": store.delete_session,
        "set_chat_history": partial(store.set_chat_history, messages=[]),
    }
    for what, end in ends.items():
        store.put_open_turn("s", "t", produced(1))
        store.put_open_turn("other", "t", produced(2))
        end("s")
        same(open_ids(store, "s"), [], f"the open turns after {what}")
        store.add_message("s", "user", "new")
        same(open_ids(store, "s"), [], f"the open turns after {what} and a new message")
        same(open_ids(store, "other"), ["t"], f"the open turns of another session after {what}")
        store.put_open_turn("s", "t", produced(3))
        same(texts([dict(one.record) for one in store.get_open_turns("s")[0].messages]), texts(produced(3)), "a turn that is opened anew")
        store.delete_session("s")


@case("2.75", "Another instance sees the open turns, lands them and drops them", needs=["place"])
def elsewhere(trial: Trial) -> None:
    store, other = trial.store, trial.open_again()
    for size in (10, 30_000):
        name = f"s{size}"
        store.add_messages(name, turn("w", 0, size))
        store.add_messages(name, turn("w", 1, size))
        for number in (1, 2, 3):
            store.put_open_turn(name, f"t{number}", produced(number))
        same(open_ids(other, name), ["t1", "t2", "t3"], "the open turns that another instance sees")
        other.add_messages(name, produced(1), turn_id="t1")
        other.drop_open_turn(name, "t2")
        other.set_title(name, "t")
        same(open_ids(store, name), ["t3"], "the open turns after the other landed one and dropped one")
        same(len(store.get_chat_history(name)), 9, "the number of messages")


@case("2.76", "Open turns of threads in one session do not disturb each other, nor appends", seconds=40)
def side_by_side(trial: Trial) -> None:
    store, count = trial.store, trial.many(12, 80)

    def run(writer: int) -> None:
        for number in range(count):
            name = f"t{writer} {number}"
            messages = [{**one, "id": f"{name} {i}"} for i, one in enumerate(turn(f"w{writer}", number))]
            for length in (1, 2):
                store.put_open_turn("s", name, messages[:length])
            mine = [len(one.messages) for one in store.get_open_turns("s") if one.id == name]
            same(mine, [2], f"what a thread finds of its own turn {name}")
            store.add_messages("s", messages, turn_id=name)

    trial.race(*(partial(run, writer) for writer in range(3)))
    same((open_ids(store, "s"), len(store.get_messages("s"))), ([], 9 * count), "open turns and the number of messages")


def _seen(store: Any, session_id: str, turn_id: str = "t") -> float:
    """When an open turn last changed, as who takes it over has seen it."""
    seen: float = next(one.updated_at for one in store.get_open_turns(session_id) if one.id == turn_id)
    return seen


def _taken(store: Any, session_id: str, seen: float, number: int) -> str:
    """What comes of taking a turn over as it was seen."""
    try:
        return str(store.put_open_turn(session_id, "t", produced(number), info={"by": number}, expect_updated_at=seen))
    except ConflictError:
        return "ConflictError"


@case(
    "2.77",
    "put_open_turn with expect_updated_at takes over a turn as it was seen; ConflictError, and no change, where it is not so any more",
)
def taken_over(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.put_open_turn("s", "t", produced(1, 2), info={"by": 0})
    store.put_open_turn("s", "other", produced(9))
    (began,) = (one.started_at for one in store.get_open_turns("s") if one.id == "t")
    seen = _seen(store, "s")
    same(_taken(store, "s", seen, 1), "True", "taking over a turn as it was seen")
    found = store.get_open_turns("s")
    same([(one.id, len(one.messages), one.info) for one in found], [("t", 3, {"by": 1}), ("other", 3, {})], "the open turns after that")
    same(found[0].started_at, began, "started_at of a turn that was taken over")
    holds(found[0].updated_at > seen, f"updated_at after {seen}", found[0].updated_at)
    same(_taken(store, "s", found[0].updated_at, 1), "True", "taking over a turn once more, as it is now")
    ends: dict[str, Callable[[str], Any]] = {
        "another took it over": lambda name: _taken(store, name, _seen(store, name), 1),
        "its owner went on": lambda name: store.put_open_turn(name, "t", produced(1)),
        "it was dropped": lambda name: store.drop_open_turn(name, "t"),
        "it was dropped and opened anew": lambda name: (store.drop_open_turn(name, "t"), store.put_open_turn(name, "t", produced(1))),
        "it landed": lambda name: store.add_messages(name, produced(1), turn_id="t"),
        "it landed, and a crash kept it from being dropped": lambda name: store.add_messages(name, produced(1)),
        "the session was cleared": store.clear_session,
        "the session was deleted": store.delete_session,
    }
    for number, (what, end) in enumerate(ends.items()):
        name = f"s{number}"
        store.add_messages(name, turn("w", 0))
        store.put_open_turn(name, "t", produced(1, 2))
        seen = _seen(store, name)
        end(name)
        before = (store.get_session(name), store.get_open_turns(name))
        same(_taken(store, name, seen, 2), "ConflictError", f"taking over a turn after {what}")
        same(
            (store.get_session(name), store.get_open_turns(name)), before, f"session and open turns, when {what} and nobody could take over"
        )
    same(_taken(store, "nobody", seen, 1), "ConflictError", "taking over a turn of an unknown session")
    same(store.session_exists("nobody"), False, "session_exists of the unknown session after that")
    beginning = time.time()
    with clock(lambda: beginning):
        store.put_open_turn("still", "t", produced(1))
        seen = _seen(store, "still")
        same(
            [_taken(store, "still", seen, number) for number in (1, 2)],
            ["True", "ConflictError"],
            "two who take over while a clock stands still",
        )


@case("2.78", "Of several who take over one turn as they have seen it, one does; the others get ConflictError", seconds=40)
def one_takes_over(trial: Trial) -> None:
    stores = [trial.store, trial.open_again() if trial.subject.takes_place else trial.store]
    for number in range(trial.many(10, 100)):
        name = f"s{number}"
        stores[0].put_open_turn(name, "t", produced(0, 1))
        seen = _seen(stores[1], name)
        outcomes = trial.race(*(partial(_taken, stores[taker % 2], name, seen, taker) for taker in range(4)))
        same(sorted(outcomes), ["ConflictError"] * 3 + ["True"], "the outcomes of four who take over")
        winner = outcomes.index("True")
        (found,) = stores[0].get_open_turns(name)
        kept = (found.info, texts([dict(one.record) for one in found.messages]))
        same(kept, ({"by": winner}, texts(produced(winner))), "what is kept of the turn")


@case("2.79", "One who takes over a turn while its owner lands it: it is in the history once, and not open any more", seconds=40)
def lands_meanwhile(trial: Trial) -> None:
    stores = [trial.store, trial.open_again() if trial.subject.takes_place else trial.store]
    for number in range(trial.many(10, 100)):
        name = f"s{number}"
        stores[0].put_open_turn(name, "t", produced(1, 2))
        seen = _seen(stores[1], name)
        trial.race(lambda: stores[0].add_messages(name, produced(1), turn_id="t"), lambda: _taken(stores[1], name, seen, 1))  # noqa: B023
        same(
            (texts(stores[1].get_chat_history(name)), open_ids(stores[0], name)), (texts(produced(1)), []), "the history and the open turns"
        )
