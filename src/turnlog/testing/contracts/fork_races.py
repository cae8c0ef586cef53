"""Cases 2.21 to 2.29: forks that meet: in one id, and with a parent that moves; whole or refused, and nothing of them stays behind."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from turnlog.errors import ConflictError, SessionNotFoundError
from turnlog.testing.checks import holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn


def _tried(call: Callable[[], Any]) -> str:
    try:
        call()
    except (ConflictError, SessionNotFoundError) as error:
        return type(error).__name__
    return "done"


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
