"""Cases 2.21 to 2.29: forks that meet: in one id, and with a parent that moves; whole or refused, and nothing of them stays behind."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

from turnlog.errors import ConflictError, MessageIndexError, SessionNotFoundError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn


def _tried(call: Callable[[], Any]) -> str:
    try:
        call()
    except (ConflictError, SessionNotFoundError) as error:
        return type(error).__name__
    return "done"


def _fill(store: Any, name: str, *contents: str) -> None:
    store.add_messages(name, [{"role": "user", "content": content} for content in contents])


@case("2.21", "Threads that fork into one id: one fork comes to be, the others are refused, and no claim of theirs stays")
def one_wins(trial: Trial) -> None:
    store = trial.store
    for number in range(4):
        store.add_messages(f"s{number}", turn(f"w{number}", 0))
    for round_number in range(trial.many(8, 60)):
        name = f"fork {round_number}"
        forks: list[Callable[[], Any]] = [
            partial(_tried, partial(store.fork_session, f"s{number}", new_session_id=name)) for number in range(4)
        ]
        outcomes = trial.race(*forks)
        same(sorted(outcomes), ["ConflictError", "ConflictError", "ConflictError", "done"], "the outcomes")
        winner = outcomes.index("done")
        same(texts(store.get_chat_history(name)), texts(turn(f"w{winner}", 0)), "the history of the fork")
        same(store.get_parent(name), f"s{winner}", "the parent of the fork")
        for number in range(4):
            same(name in store.get_children(f"s{number}"), number == winner, f"whether s{number} names the fork as its child")
    report = store.sweep()
    same((report.references_dropped, report.runs_collected), (0, 0), "what the sweep finds left behind")


@case("2.22", "Threads that fork a session and replace it: a fork has one of its histories whole, and nothing stays behind")
def parent_moves(trial: Trial) -> None:
    store = trial.store
    for round_number in range(trial.many(8, 60)):
        store.set_chat_history("s", turn("w", 0))
        names = [f"fork {round_number} {number}" for number in range(3)]
        forks: list[Callable[[], Any]] = [partial(_tried, partial(store.fork_session, "s", new_session_id=name)) for name in names]
        outcomes = trial.race(*forks, lambda: store.set_chat_history("s", turn("w", 1)))
        same(outcomes[:3], ["done"] * 3, "the outcomes of the forks")
        for name in names:
            found = texts(store.get_chat_history(name))
            holds(found in (texts(turn("w", 0)), texts(turn("w", 1))), "one history, whole", found)
            store.delete_session(name)
    report = store.sweep()
    same((report.references_dropped, report.runs_collected), (0, 0), "what the sweep finds left behind")


@case("2.23", "A fork shows its parent as it is, whatever another instance has done to it since this one forked it last", needs=["place"])
def fork_of_changed(trial: Trial) -> None:
    store, other = trial.store, trial.open_again()

    def anew(name: str) -> None:
        other.delete_session(name)
        _fill(other, name, "another life")

    changes: dict[str, Callable[[str], object]] = {
        "grew": lambda name: _fill(other, name, "d", "e"),
        "was reverted": lambda name: other.revert_to_message(name, 0),
        "was reverted twice": lambda name: (other.revert_to_message(name, 1), other.revert_to_message(name, 0)),
        "got another title": lambda name: other.create_session(name, title="Other"),
        "got other metadata": lambda name: other.update_session_metadata(name, model="m"),
        "was cleared": other.clear_session,
        "was replaced": lambda name: other.set_chat_history(name, [{"role": "user", "content": text} for text in "xyz"]),
        "was deleted and created again": anew,
    }
    for (done, change), own in itertools.product(changes.items(), ("", ", and was written to by this one")):
        what = f"{done}{own}"
        _fill(store, what, *"abc")
        store.fork_session(what)
        change(what)
        if own:
            _fill(store, what, "own", "words")
        child, parent = store.get_session(store.fork_session(what, title="T")), other.get_session(what)
        wanted = [message.content for message in parent.messages]
        same([message.content for message in child.messages], wanted, f"the fork of a session that {what}")
        same(child.metadata, parent.metadata, f"the metadata of the fork of a session that {what}")
    same(store.get_session(store.fork_session("got another title")).title, "Fork of Other", "the title of the fork")
    for text in "abc":
        _fill(store, "own", text)
        same(
            len(store.get_messages(store.fork_session("own"))), "abc".index(text) + 1, "the messages of a fork after an append of this one"
        )
    _fill(other, "grew", "f")
    same(texts(store.get_chat_history(store.fork_session("grew", 5))), [*"abcdef"], "the fork at a message that another instance has added")
    other.delete_session("grew")
    raises(SessionNotFoundError, partial(store.fork_session, "grew"), "the fork of a session that another instance has deleted")
    other.revert_to_message("was replaced", 0)
    raises(MessageIndexError, partial(store.fork_session, "was replaced", 1), "the fork at a message that another instance has reverted")
