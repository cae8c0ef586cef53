"""BRANCH: one conversation forks, is reverted, and the revert is undone; nothing is copied on the way."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

from demo.graph import beside, graph
from demo.model import answer, turn
from demo.scenes import Outcome, Setting
from demo.stage import Stage, number
from turnlog.session import SessionStore, SqliteSessionStore

MAIN, FORK = "main", "rail"
SHARED = ("I go to Rome", "I have a week")
ON_MAIN, ON_FORK = ("I take a plane", "I need a hotel"), "I take a train"
ASKED = "What do I take?"
PANEL = 26
"""Columns of one drawing."""
SHORT, LONG = 8, 20_000
"""Messages of the two sessions on which the verbs are timed."""
TIMES = 5


@dataclass(frozen=True)
class View:
    """Both branches at one moment, as the store reads them and as the model answers them."""

    title: str
    main: list[str]
    fork: list[str]
    answers: tuple[str, str]
    records: int
    """Messages that lie in the file, counted by sqlite3."""


def play(setting: Setting) -> Outcome:
    """Fork, revert and undo on SQLite, each drawn from what the store then reads."""
    stage, path = setting.stage, setting.folder / "trip.sqlite"
    with SqliteSessionStore(path) as store:
        for text in SHARED:
            _take_turn(store, MAIN, text)
        before = _records(path)
        store.fork_session(MAIN, new_session_id=FORK)
        copied = _records(path) - before
        for session, text in ((MAIN, ON_MAIN[0]), (FORK, ON_FORK), (MAIN, ON_MAIN[1])):
            _take_turn(store, session, text)
        views = [_view(store, path, "fork after turn 2")]
        store.revert_to_message(MAIN, 1)
        views.append(_view(store, path, "revert main to turn 1"))
        store.undo_revert(MAIN)
        views.append(_view(store, path, "undo the revert"))
        _draw(stage, views)
    costs = [_costs(setting.folder / "short.sqlite", SHORT), _costs(setting.folder / "long.sqlite", LONG)]
    _show_costs(stage, costs)
    copied += sum(cost.copied for cost in costs)
    return Outcome(
        proof=f"a fork of {number(costs[1].messages)} messages took {costs[1].fork:.2f} ms and copied {number(costs[1].copied)}",
        broken=_broken(views, copied),
        look=[(f"sqlite3 $D/{setting.folder.name}/{path.name} 'select * from heads'", "two small rows")],
    )


def _take_turn(store: SessionStore, session: str, text: str) -> None:
    store.add_messages(session, turn(store.get_chat_history(session), text))


def _records(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        count: int = db.execute("SELECT count(*) FROM records").fetchone()[0]
        return count


def _view(store: SessionStore, path: Path, title: str) -> View:
    histories = [store.get_chat_history(session) for session in (MAIN, FORK)]
    told = [[str(message["content"]) for message in history if message["role"] == "user"] for history in histories]
    said = [str(answer([*history, {"role": "user", "content": ASKED}])["content"]) for history in histories]
    return View(title, told[0], told[1], (said[0], said[1]), _records(path))


def _draw(stage: Stage, views: list[View]) -> None:
    for line in beside([[stage.paint("bold", view.title)] for view in views], PANEL):
        stage.line(line, beat=0.3)
    stage.line()
    for line in beside([graph(stage, view.main, view.fork, (MAIN, FORK)) for view in views], PANEL):
        stage.line(line, beat=0.15)
    for line in beside([[stage.paint("dim", f"{view.records} messages in the file")] for view in views], PANEL):
        stage.line(line, beat=0.6)
    stage.line()
    stage.line(f"{stage.paint('blue', 'you')}  {ASKED}", beat=0.4)
    for place, (name, style) in enumerate(((MAIN, "yellow"), (FORK, "magenta"))):
        cells = [[f"{stage.paint(style, name)}  {view.answers[place]}"] for view in views]
        stage.line(*beside(cells, PANEL), beat=0.4)
    stage.line()


@dataclass(frozen=True)
class Costs:
    """What the verbs cost on a session of some length: medians, in milliseconds."""

    messages: int
    fork: float
    revert: float
    undo: float
    copied: int
    """Messages that all of it added to the file."""


def _costs(path: Path, messages: int) -> Costs:
    forks, reverts, undos = [], [], []
    with SqliteSessionStore(path) as store:
        store.add_messages(MAIN, [{"role": ("user", "assistant")[place % 2], "content": f"message {place}"} for place in range(messages)])
        before = _records(path)
        for place in range(TIMES):
            forks.append(_milliseconds(partial(store.fork_session, MAIN, new_session_id=f"fork-{place}")))
            reverts.append(_milliseconds(lambda: store.revert_to_message(MAIN, messages // 2)))
            undos.append(_milliseconds(lambda: store.undo_revert(MAIN)))
        copied = _records(path) - before
    return Costs(messages, median(forks), median(reverts), median(undos), copied)


def _milliseconds(verb: Callable[[], object]) -> float:
    before = time.perf_counter()
    verb()
    return 1000 * (time.perf_counter() - before)


def _show_costs(stage: Stage, costs: list[Costs]) -> None:
    widths = (18, 10, 10, 10, 18)
    stage.columns(["", "fork", "revert", "undo", "messages copied"], widths, right_from=1)
    for cost in costs:
        cells = [f"{number(cost.messages)} messages", *(f"{value:.2f} ms" for value in (cost.fork, cost.revert, cost.undo))]
        stage.columns([*cells, stage.count(cost.copied, wanted=0)], widths, right_from=1, beat=0.2)


def _broken(views: list[View], copied: int) -> list[str]:
    forked, reverted, undone = views
    broken = []
    if forked.main != [*SHARED, *ON_MAIN] or forked.fork != [*SHARED, ON_FORK]:
        broken.append("The branches do not share their beginning and go their own ways after it.")
    if reverted.main != forked.main[:1] or reverted.fork != forked.fork:
        broken.append("The revert did not leave main at its first turn, and rail as it was.")
    if (undone.main, undone.fork) != (forked.main, forked.fork):
        broken.append("Undoing the revert did not bring every message back.")
    if copied:
        broken.append(f"{number(copied)} messages were copied by fork, revert and undo.")
    return broken
