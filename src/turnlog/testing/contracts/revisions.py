"""Promise 3.2, revisions: never repeated whatever a session goes through, and what compare-and-set does to reverts and deletes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from turnlog.errors import ConflictError, NothingToUndoError, SessionNotFoundError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_all_there, texts, turn


@case("3.2.18", "A revision that was left never comes back, whatever changes, labels, drafts and snapshots a session goes through")
def never_back(trial: Trial) -> None:
    # Stores write short and long sessions in different ways, and small changes and large ones.
    for size in (0, 2_000, 30_000):
        for number in range(trial.many(1, 12)):
            name = f"s{size} {number}"
            trial.store.add_messages(name, [{"role": "user", "content": f"{i} {'x' * size}"} for i in range(8)])
            _walk(trial, name, trial.many(60, 300))


def _walk(trial: Trial, name: str, steps: int) -> None:
    current, left = trial.store.get_revision(name), set[str]()
    done: list[str] = []
    for number in range(steps):
        changes = _changes(trial.store, name, number)
        done.append(trial.random.choice(list(changes)))
        with suppress(NothingToUndoError):
            changes[done[-1]]()
        if number % 8 == 7 and trial.subject.takes_place:
            current = _another_tells_the_same(trial, name)
        revision = trial.store.get_revision(name)
        if revision != current:
            left.add(current)
            current = revision
        holds(revision not in left, "a revision that the session had not left before", f"an old one after {', '.join(done[-6:])}")
        if left and number % 5 == 4:
            old = trial.random.choice(sorted(left))
            stale = partial(trial.store.add_messages, name, turn("stale", number), expect_revision=old)
            raises(ConflictError, stale, f"an append that expects a revision that was left, after {', '.join(done[-6:])},")


def _another_tells_the_same(trial: Trial, name: str) -> str:
    again = trial.open_again()
    revision: str = again.get_revision(name)
    again.close()
    same(revision, trial.store.get_revision(name), "the revision that another instance sees")
    return revision


def _changes(store: Any, name: str, number: int) -> dict[str, Callable[[], Any]]:
    """What changes a session, or something about it; each leaves a message at least."""
    return {
        "add_message": partial(store.add_message, name, "user", f"more {number}"),
        "add_messages": partial(store.add_messages, name, turn("w", number)),
        "set_title": partial(store.set_title, name, f"title {number}"),
        "update_session_metadata": partial(store.update_session_metadata, name, **{f"key {number % 3}": number}),
        "set_agent_info": partial(store.set_agent_info, name, f"agent {number % 2}"),
        "set_runtime_state": partial(store.set_runtime_state, name, "r", "t", {"n": number}),
        "create_snapshot": partial(store.create_snapshot, name),
        "draft": partial(store.upsert_partial_assistant_message, name, f"draft {number}"),
        "finished draft": partial(store.upsert_partial_assistant_message, name, f"answer {number}", finalize=True),
        "discarded draft": partial(store.discard_partial_assistant_message, name),
        "checkpoint": partial(store.append_compaction_checkpoint, name, f"summary {number}"),
        "fork": partial(store.fork_session, name, 0),
        "revert": lambda: store.revert_to_message(name, len(store.get_messages(name)) * 2 // 3),
        "undo": partial(store.undo_revert, name),
        "sweep": partial(store.sweep, compact=number % 2 == 0),
        "share": partial(store.share_session, name),
    }


@case("3.2.19", "Reverts with expect_revision: who read the newest state wins, who did not gets ConflictError and changes nothing")
def revert_compares(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    snapshot, old = store.create_snapshot("s"), store.get_revision("s")
    store.add_messages("s", turn("w", 1))
    current = store.get_revision("s")
    for stale in (old, "", "no such revision"):
        for what, verb in _reverts(store, snapshot).items():
            error = raises(ConflictError, partial(verb, expect_revision=stale), f"{what} with the revision {stale!r:.20}")
            same((getattr(error, "expected", None), getattr(error, "actual", None)), (stale, current), "the error's expected and actual")
    same((store.get_revision("s"), len(store.get_messages("s"))), (current, 6), "the revision and the number of messages after conflicts")
    raises(NothingToUndoError, lambda: store.undo_revert("s"), "undo_revert after reverts that lost")
    same(store.revert_to_message("s", 4, expect_revision=current), True, "revert_to_message with the newest revision")
    same(len(store.get_messages("s")), 5, "the number of messages after the revert")
    raises(ConflictError, partial(store.revert_to_message, "s", 1, expect_revision=current), "a revision from before a revert")
    same(store.revert_to_snapshot("s", snapshot, expect_revision=store.get_revision("s")), True, "revert_to_snapshot with the newest one")
    same(texts(store.get_chat_history("s")), texts(turn("w", 0)), "the texts after revert_to_snapshot")
    raises(SessionNotFoundError, partial(store.revert_to_message, "none", 0, expect_revision=current), "a revert where there is no session")


def _reverts(store: Any, snapshot: str) -> dict[str, Callable[..., Any]]:
    return {
        "revert_to_message": partial(store.revert_to_message, "s", 0),
        "revert_to_message to where it is": partial(store.revert_to_message, "s", 5),
        "revert_to_snapshot": partial(store.revert_to_snapshot, "s", snapshot),
    }


@case("3.2.20", "delete_session with expect_revision: who did not read the newest state gets ConflictError, and nothing is deleted")
def delete_compares(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    store.create_snapshot("s", "label")
    old = store.get_revision("s")
    store.add_messages("s", turn("w", 1))
    current = store.get_revision("s")
    for stale in (old, "", "no such revision"):
        error = raises(ConflictError, partial(store.delete_session, "s", expect_revision=stale), f"the revision {stale!r:.20}")
        same((getattr(error, "expected", None), getattr(error, "actual", None)), (stale, current), "the error's expected and actual")
    same((store.session_exists("s"), store.get_revision("s")), (True, current), "session_exists and the revision after conflicts")
    same((len(store.get_messages("s")), len(store.get_snapshots("s"))), (6, 1), "messages and snapshots after conflicts")
    same(store.delete_session("s", expect_revision=current), True, "delete_session with the newest revision")
    same((store.session_exists("s"), store.get_chat_history("s")), (False, []), "the session after it was deleted")
    raises(ConflictError, partial(store.delete_session, "s", expect_revision=current), "the revision of a session that is gone")
    same(store.delete_session("s", expect_revision=""), True, "delete_session that expects no session, where there is none")
    store.add_messages("s", turn("w", 0))
    raises(ConflictError, partial(store.delete_session, "s", expect_revision=old), "a revision of a life before")


@case("3.2.21", "Threads that append and that revert or delete what they have read: no message goes that was not seen to go", seconds=40)
def only_what_was_read(trial: Trial) -> None:
    store = trial.store
    ways: dict[str, tuple[Callable[[str, str], Any], int]] = {
        "reverted": (lambda name, seen: store.revert_to_message(name, 0, expect_revision=seen), 1),
        "deleted": (lambda name, seen: store.delete_session(name, expect_revision=seen), 0),
    }
    for name, (verb, kept) in ways.items():
        store.add_message(name, "user", "w 0")
        gone: list[str] = []
        rounds = trial.many(30, 400)
        for number in range(1, rounds + 1):
            found = store.get_session(name)
            seen = [str(message.content) for message in found.messages]
            add = partial(store.add_message, name, "user", f"w {number}")
            won, _ = trial.race(partial(_wins, verb, name, found.revision), add)
            gone += seen[kept:] if won else []
        there = texts(store.get_chat_history(name))
        everything = [{"role": "user", "content": content} for content in [*gone, *there]]
        check_all_there(everything, [f"w {i}" for i in range(rounds + 1)])


@case("3.2.22", "set_chat_history with expect_revision: who did not read the newest state gets ConflictError, and nothing is replaced")
def replaces_what_was_read(trial: Trial) -> None:
    store = trial.store
    new = turn("new", 0)
    raises(ConflictError, partial(store.set_chat_history, "s", new, expect_revision="x"), "a revision where there is no session")
    same(store.session_exists("s"), False, "session_exists after a conflict")
    same(store.set_chat_history("s", turn("w", 0), expect_revision=""), True, "set_chat_history that expects no session")
    old = store.get_revision("s")
    store.add_messages("s", turn("w", 1))
    current = store.get_revision("s")
    for stale in ("", "x", old):
        error = raises(ConflictError, partial(store.set_chat_history, "s", new, expect_revision=stale), f"the revision {stale!r:.20}")
        same((getattr(error, "expected", None), getattr(error, "actual", None)), (stale, current), "the error's expected and actual")
    same((len(store.get_messages("s")), store.get_revision("s")), (6, current), "messages and revision after conflicts")
    for number in range(trial.many(10, 100)):
        seen = store.get_revision("s")
        ways = [partial(store.set_chat_history, "s", turn(f"t{number}", thread), expect_revision=seen) for thread in range(3)]
        won = trial.race(*(partial(_done, way) for way in ways))
        same(sum(won), 1, "how many of three who read the same state replaced it")
        same(texts(store.get_chat_history("s")), texts(turn(f"t{number}", won.index(True))), "the history that the winner gave")
        same(store.get_revision("s") in ("", seen), False, "whether the revision stayed")


def _done(verb: Callable[[], Any]) -> bool:
    """Whether the verb was done, and not refused for the revision."""
    try:
        return verb() is True
    except ConflictError:
        return False


def _wins(verb: Callable[[str, str], Any], name: str, revision: str) -> bool:
    """Whether the verb was done; a conflict means that something came in between, and then nothing may have gone."""
    try:
        return verb(name, revision) is True
    except ConflictError:
        return False
