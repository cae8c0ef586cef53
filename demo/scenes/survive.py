"""SURVIVE: eight processes write one session while one after another is killed; then the books are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from demo.audit import Audit, Message, audit, messages_of_json, messages_of_sqlite
from demo.scenes import Outcome, Setting
from demo.stage import Stage, number
from demo.storm import SESSION, TURN, WRITERS, Account, OpenStore, store_turn, storm, turn_messages
from turnlog.session import DefaultSessionStore, SqliteSessionStore

BAR = 16
NEXT = "after.0"
"""The turn that is added when the storm is over."""


@dataclass(frozen=True)
class Trial:
    """One store under the storm."""

    name: str
    account: Account
    audit: Audit
    differences: int
    """Messages that the store reads otherwise than they stand in its file."""
    goes_on: bool
    """Whether a turn added after the storm stands whole at the end."""
    next_turn: float
    """Seconds that the first turn after the storm took."""


def play(setting: Setting) -> Outcome:
    """Run the storm on JSON files and on SQLite, and compare."""
    stage, folder = setting.stage, setting.folder
    stage.line(f"{WRITERS} processes add tool turns of {TURN} messages to one session. One after another is")
    stage.line("killed and replaced. A receipt for every stored turn goes through a pipe.", beat=0.6)
    stage.line()
    json_path, sqlite_path = folder / f"{SESSION}.json", folder / f"{SESSION}.sqlite"
    trials = [
        _trial(setting, "JSON file", lambda: DefaultSessionStore(folder), lambda: messages_of_json(json_path)),
        _trial(setting, "SQLite", lambda: SqliteSessionStore(sqlite_path), lambda: messages_of_sqlite(sqlite_path)),
    ]
    _show(stage, trials)
    kills, turns = sum(trial.account.kills for trial in trials), sum(len(trial.account.acknowledged) for trial in trials)
    lost, split = sum(trial.audit.lost for trial in trials), sum(trial.audit.split for trial in trials)
    return Outcome(
        proof=f"{number(kills)} kills, {number(turns)} turns acknowledged, {number(lost)} lost, {number(split)} split",
        broken=[text for trial in trials for text in _broken(trial)],
        look=[
            (f"jq '.messages | length' $D/{folder.name}/{json_path.name}", f"{number(len(messages_of_json(json_path)))} messages"),
            (
                f"sqlite3 $D/{folder.name}/{sqlite_path.name} 'select length from heads'",
                f"{number(len(messages_of_sqlite(sqlite_path)))} messages",
            ),
        ],
    )


def _trial(setting: Setting, name: str, open_store: OpenStore, read_file: Callable[[], list[Message]]) -> Trial:
    stage = setting.stage

    def watch(account: Account, killed: int | None, elapsed: float) -> None:
        stage.live(_picture(stage, name, account, killed, elapsed, setting.seconds))

    account = storm(open_store, setting.seconds, watch)
    stage.live_end()
    stage.line(_picture(stage, name, account, None, account.seconds, setting.seconds))
    with open_store() as store:
        before = time.perf_counter()
        store_turn(store, NEXT, 20)
        next_turn = time.perf_counter() - before
        history = store.get_chat_history(SESSION)
    in_file = [_bare(message) for message in read_file()]
    differences = sum(one != other for one, other in zip_longest(history, in_file))
    goes_on = history[-TURN:] == turn_messages(NEXT, 20)
    return Trial(name, account, audit(in_file[:-TURN], account.acknowledged), differences, goes_on, next_turn)


def _bare(message: Message) -> Message:
    """A message of a file without its envelope."""
    return {key: value for key, value in message.items() if key not in ("id", "timestamp", "metadata")}


def _picture(stage: Stage, name: str, account: Account, killed: int | None, elapsed: float, seconds: float) -> str:
    """One line: the writers, how far the storm is, kills and receipts so far."""
    writers = "".join(stage.paint("red", "✗") if place == killed else stage.paint("green", "●") for place in range(WRITERS))
    if account.seconds:
        writers = stage.paint("red", "✗" * WRITERS)
    done = min(BAR, round(BAR * elapsed / seconds)) if seconds else BAR
    bar = stage.paint("cyan", "━" * done) + stage.paint("dim", "╌" * (BAR - done))
    return f"{name:<9}  {writers}  {bar}  {elapsed:4.1f} s {account.kills:5} kills {number(len(account.acknowledged)):>8} turns"


def _show(stage: Stage, trials: Sequence[Trial]) -> None:
    widths = (38, 12, 12)

    def row(text: str, values: Sequence[str], note: str = "") -> None:
        stage.columns([text, *values, stage.paint("dim", note)], (*widths, 0), right_from=1, beat=0.1)

    stage.line()
    stage.columns(["", *(stage.paint("bold", trial.name) for trial in trials)], widths, right_from=1)
    row("turns acknowledged, by the pipe", [number(len(trial.account.acknowledged)) for trial in trials])
    row("turns stored, by json and sqlite3", [number(trial.audit.stored) for trial in trials])
    row("  stored, killed before the receipt", [number(trial.audit.unacknowledged) for trial in trials])
    row("kills inside add_messages", [f"{trial.account.hits} of {trial.account.kills}" for trial in trials])
    row(stage.paint("bold", "lost turns"), [stage.count(trial.audit.lost, wanted=0) for trial in trials])
    row(stage.paint("bold", "split turns"), [stage.count(trial.audit.split, wanted=0) for trial in trials])
    row("messages stored twice", [stage.count(trial.audit.doubled, wanted=0) for trial in trials])
    if any(trial.account.refusals for trial in trials):
        row("writers refused with an error", [number(len(trial.account.refusals)) for trial in trials])
    row("the next turn, after all that", [f"{1000 * trial.next_turn:.1f} ms" for trial in trials])


def _broken(trial: Trial) -> list[str]:
    found, name, refusals = trial.audit, trial.name, trial.account.refusals
    given = ", ".join(sorted(set(refusals)))
    counted = (
        (found.lost, "acknowledged turns are lost"),
        (found.split, "turns are torn apart"),
        (found.doubled, "messages are stored twice"),
        (found.disordered, "turns stand before an earlier one of the same writer"),
        (trial.differences, "messages are read otherwise than they stand in the file"),
    )
    broken = [f"{name}: {number(count)} {what}." for count, what in counted if count]
    if not trial.goes_on:
        broken.append(f"{name}: a turn added after the storm does not stand whole at the end.")
    if not trial.account.acknowledged:
        broken.append(f"{name}: nothing was acknowledged. Writers were given: {given or 'nothing'}.")
    # Waiting too long for a lock is an honest refusal; any other error has no reason here.
    elif set(refusals) - {"LockTimeoutError"}:
        broken.append(f"{name}: {number(len(refusals))} writers were given {given}.")
    return broken
