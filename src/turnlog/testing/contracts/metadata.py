"""Cases 2.45 to 2.49: editing the metadata by compare-and-set, and what is told of a session without its messages."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from turnlog.errors import InvalidMessageError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_all_there, texts, turn

Metadata = dict[str, Any]


class Refusing(Exception):
    """What an edit of a case raises."""


def _full(store: Any, name: str) -> None:
    """A session with everything that a session may have, and a fork."""
    store.add_messages("above", turn("above", 0))
    store.fork_session("above", new_session_id=name)
    store.add_messages(name, [{**one, "id": f"id {i}", "metadata": {"k": [i]}} for i, one in enumerate(turn("w", 0, length=6))])
    store.append_compaction_checkpoint(name, "the summary")
    store.create_snapshot(name, "label")
    store.revert_to_message(name, 7)
    store.set_title(name, "title")
    store.set_agent_info(name, "agent", "user")
    store.set_runtime_state(name, "r", "t", {"n": 1})
    store.share_session(name)
    store.put_open_turn(name, "open", turn("open", 0), info={"n": 1})
    store.set_session_ttl(name, 3600.0)
    store.fork_session(name, 1, new_session_id=f"below {name}")


def _rest(store: Any, name: str) -> list[Any]:
    """Everything of a session but its metadata, its revision and the time of its last change."""
    whole = store.get_session(name).to_dict()
    for changing in ("metadata", "updated_at", "expires_at"):
        del whole[changing]
    snapshots = [one.to_dict() for one in store.get_snapshots(name)]
    turns = [one.to_dict() for one in store.get_open_turns(name)]
    family = [store.get_parent(name), store.get_children(name), store.is_shared(name)]
    return [whole, snapshots, turns, *family, store.get_chat_history(name), store.get_working_history(name)]


@case("2.45", "edit_session_metadata sets what the edit gives and gives it back; nothing else of the session changes")
def edits(trial: Trial) -> None:
    store = trial.store
    _full(store, "s")
    before = _rest(store, "s")
    metadata: Metadata = {}
    steps: list[Callable[[Metadata], Metadata]] = [
        lambda given: {**given, "a": 1, "nested": {"list": [1, None, "ü\0"]}},
        lambda given: {**given, "nested": {**given["nested"], "more": True}},
        lambda given: {key: value for key, value in given.items() if key != "a"},
        lambda given: {"only": [given]},
        lambda given: {},
    ]
    for number, step in enumerate(steps):
        wanted = step(metadata)

        def change(given: Metadata, number: int = number, metadata: Metadata = metadata, wanted: Metadata = wanted) -> Metadata:
            same(given, metadata, f"what edit {number} is given")
            if number % 2:
                given.clear()
                given.update(wanted)
                return given
            given["lost"] = 1
            return dict(wanted)

        answer = store.edit_session_metadata("s", change)
        same(answer, wanted, f"what edit {number} gives")
        answer["mine"] = 1
        same(store.get_session("s").metadata, wanted, f"the metadata after edit {number}")
        same(_rest(store, "s"), before, f"all else of the session after edit {number}")
        metadata = wanted
    store.update_session_metadata("s", k=1)
    seen = store.get_session_info("s")
    same(store.edit_session_metadata("s", lambda given: given), {"k": 1}, "an edit that changes nothing")
    same(store.get_session_info("s"), seen, "the session after an edit that changes nothing")
    store.add_messages("s", turn("w", 1), expect_revision=store.get_revision("s"))
    store.revert_to_message("s", 7)
    store.undo_revert("s")
    store.undo_revert("s")
    same(store.get_messages("s")[-1].content, "w 0 5", "the newest message when the revert before the edits is undone")
    same(store.edit_session_metadata("new", lambda given: {**given, "k": 1}), {"k": 1}, "an edit of an unknown session")
    same((store.session_exists("new"), store.get_chat_history("new")), (True, []), "the session that an edit created")


@case("2.46", "An edit of the metadata that raises, or gives what cannot be kept, changes nothing, creates nothing and holds nobody up")
def refused_edits(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.update_session_metadata("s", k=[1])
    before = (store.get_session("s"), store.list_sessions())

    def refuse(given: Metadata) -> Metadata:
        given["k"] = "changed"
        given.setdefault("list", []).append(1)
        raise Refusing

    # None is what an edit gives that changes its argument and forgets to return it.
    bad: list[Any] = [None, [], ["k"], "text", 1, {"k": b"bytes"}, {"k": float("nan")}, {"k": {1}}, {1: "k"}]
    for name in ("s", "nobody"):
        raises(Refusing, partial(store.edit_session_metadata, name, refuse), "an edit that raises")
        for value in bad:
            edit = partial(store.edit_session_metadata, name, lambda _, value=value: value)
            raises(InvalidMessageError, edit, f"an edit that gives {value!r:.40}")
        same(store.session_exists(name), name == "s", f"session_exists of {name} after refusals")
    same((store.get_session("s"), store.list_sessions()), before, "the session and the listing after refusals")
    # Threads of their own: what a refusal left locked would be open to the thread that locked it.
    trial.race(partial(store.add_message, "s", "user", "more"), partial(store.edit_session_metadata, "s", lambda given: {**given, "n": 1}))
    same((store.get_session("s").metadata, len(store.get_messages("s"))), ({"k": [1], "n": 1}, 4), "the session after going on")


@case("2.47", "Threads that edit the metadata, label the session and add to it: every edit takes place once, nothing is lost", seconds=40)
def racing_edits(trial: Trial) -> None:
    stores = [trial.store, trial.open_again() if trial.subject.takes_place else trial.store]
    count = trial.many(12, 150)

    def edit(writer: int) -> None:
        store = stores[writer % 2]
        for number in range(count):

            def change(given: Metadata, mark: str = f"w{writer} {number}") -> Metadata:
                return {**given, "marks": [*given.get("marks", []), mark], "count": given.get("count", 0) + 1}

            answer = store.edit_session_metadata("s", change)
            same(answer["marks"][-1], f"w{writer} {number}", "the newest mark in what the edit gives")
            same(len(answer["marks"]), answer["count"], "the number of marks in what the edit gives")

    def label() -> None:
        for number in range(count):
            stores[0].update_session_metadata("s", labelled=number)
            stores[1].set_title("s", f"title {number}")

    def add() -> None:
        for number in range(count):
            stores[1].add_message("s", "user", f"m {number}")

    trial.race(*(partial(edit, writer) for writer in range(3)), label, add)
    found = stores[1].get_session("s")
    for writer in range(3):
        marks = [mark for mark in found.metadata["marks"] if mark.startswith(f"w{writer} ")]
        same(marks, [f"w{writer} {number}" for number in range(count)], f"the marks of one thread, of {count} edits")
    last = (3 * count, count - 1, f"title {count - 1}")
    same((found.metadata["count"], found.metadata["labelled"], found.title), last, "count, label and title")
    check_all_there(stores[0].get_chat_history("s"), [f"m {number}" for number in range(count)])


def _agree(store: Any, name: str, what: str) -> None:
    """get_session_info against what other verbs say."""
    info, whole = store.get_session_info(name), store.get_session(name)
    line = next((one for one in store.iter_sessions() if one.session_id == name), None)
    if line is None:
        same((info, store.session_exists(name)), (None, False), f"get_session_info and session_exists {what}")
        return
    holds(info is not None, f"get_session_info of a session that is there, {what}", info)
    names = ("session_id", "title", "created_at", "updated_at", "agent_name", "user_id", "parent_id", "metadata", "ttl", "expires_at")
    for field in (*names, "revision"):
        same(getattr(info, field), getattr(whole, field), f"{field} of get_session_info and of get_session, {what}")
    same(info.message_count, len(store.get_messages(name)), f"message_count and the number of messages, {what}")
    same({**info.to_dict(), "cursor": None}, {**line.to_dict(), "cursor": None}, f"get_session_info and the line of a listing, {what}")
    same((info.revision, line.revision), (store.get_revision(name),) * 2, f"the revisions, {what}")


@case("2.48", "get_session_info tells what get_session and the listing tell, after every change; None where there is no session")
def told(trial: Trial) -> None:
    store = trial.store
    reader = trial.open_again() if trial.subject.takes_place else store
    _agree(reader, "s", "at the beginning")
    changes: list[Callable[[], Any]] = [
        lambda: _full(store, "s"),
        lambda: store.add_messages("s", turn("w", 1)),
        lambda: store.add_message("s", "user", "x"),
        lambda: store.edit_session_metadata("s", lambda given: {**given, "k": {"n": [1]}}),
        lambda: store.rename_session("s", "renamed"),
        lambda: store.set_agent_info("s", "another", "someone"),
        lambda: store.put_open_turn("s", "t", turn("open", 1)),
        lambda: store.set_session_ttl("s", None),
        lambda: store.revert_to_message("s", 2),
        lambda: store.undo_revert("s"),
        lambda: store.delete_session("above"),
        lambda: store.set_chat_history("s", turn("w", 2)),
        lambda: store.clear_session("s"),
        lambda: store.delete_session("s"),
        lambda: store.create_session("s", title="anew"),
    ]
    for number, change in enumerate(changes):
        change()
        for name in ("s", "below s", "nobody"):
            _agree(reader, name, f"of {name!r} after change {number}")
    store.edit_session_metadata("s", lambda _: {"k": {"n": [1]}})
    store.get_session_info("s").metadata["k"]["n"].append(2)
    same(store.get_session_info("s").metadata, {"k": {"n": [1]}}, "the metadata after a caller changed what it was given")


@case("2.49", "get_session_info is of one moment: its number of messages belongs to its revision, whoever writes meanwhile")
def of_one_moment(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "first")
    counts = {store.get_revision("s"): 1}
    seen: list[Any] = []

    def write() -> None:
        for number in range(trial.many(40, 400)):
            store.add_messages("s", turn("w", number, length=1 + number % 3))
            counts[store.get_revision("s")] = len(store.get_messages("s"))
            time.sleep(0)

    trial.race(write, meanwhile=lambda _: seen.append(store.get_session_info("s")))
    wrong = [(info.message_count, counts.get(info.revision)) for info in seen if info.message_count != counts.get(info.revision)]
    same(wrong, [], "numbers of messages beside those at the same revision")
    same(texts(store.get_chat_history("s"))[0], "first", "the first text")
