"""Running cases: each on a fresh store, under a time limit, every failure reported."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnlog.testing.checks import Mismatch, NotRun, show
from turnlog.testing.faces import declared_async, returned_async
from turnlog.testing.registry import Case, Level, choose
from turnlog.testing.report import Outcome, Report
from turnlog.testing.subject import NO_PLACE, Factory, Subject
from turnlog.testing.trial import Trial

FULL_TIME = 6.0
"""How many times longer than at the quick level a case may take at the full level."""

TRACE_LINES = 12

PROBE_SECONDS = 2.0
"""How long the first look at a store may take."""


@dataclass(frozen=True, slots=True)
class Verification:
    """A subject and how it is to be verified; runs cases one by one or all."""

    subject: Subject
    level: Level = "quick"
    seed: int = 0
    command: str = ""
    """The command line that verifies the subject, where it came from one."""
    time_limit: float | None = None
    """Seconds after which every case is cut, in place of its own limit."""

    def cases(self, only: Iterable[str] = ()) -> list[Case]:
        """The cases that belong to the subject and the level."""
        return choose(five=self.subject.five, level=self.level, only=only)

    def outcomes(self, only: Iterable[str] = (), *, stop_at_failure: bool = False) -> Iterator[Outcome]:
        """Run the cases in order, and give each outcome as it comes."""
        for one in self.cases(only):
            outcome = self.run(one)
            yield outcome
            if stop_at_failure and outcome.status == "failed":
                return

    def run(self, one: Case) -> Outcome:
        """Run one case on a fresh store."""
        if self.subject.asynchronous is None:
            self.subject.asynchronous = _looks_async(self.subject)
        begun = time.perf_counter()
        limit = self.time_limit or one.seconds * (FULL_TIME if self.level == "full" else 1.0)
        trial = Trial(self.subject, level=self.level, seed=f"{self.seed} {one.number}")
        error, trace, hangs = _within(limit, lambda: self._attempt(one, trial))
        (trial.abandon if hangs else trial.close)()
        seconds = time.perf_counter() - begun
        if error is None:
            return Outcome(one.number, one.title, "passed", seconds)
        if isinstance(error, NotRun):
            return Outcome(one.number, one.title, "not run", seconds, reason=str(error))
        if isinstance(error, Mismatch):
            expected, seen = error.expected, error.seen
        else:
            expected, seen = "no error", f"{type(error).__name__}: {show(str(error))[1:-1]}"
        return Outcome(one.number, one.title, "failed", seconds, expected=expected, seen=seen, reproduce=self._reproduce(one), trace=trace)

    def _attempt(self, one: Case, trial: Trial) -> None:
        subject = self.subject
        for need, missing in self._missing(subject).items():
            if need in one.needs and missing is not None:
                raise NotRun(missing)
        if "async" in one.needs and not subject.asynchronous:
            raise NotRun("the store is sync")
        if "process" in one.needs:
            subject.child_header()
        try:
            one.check(trial)
        finally:
            trial.close_stores()

    def _missing(self, subject: Subject) -> dict[str, str | None]:
        place = None if subject.takes_place else NO_PLACE
        limit = None if subject.takes_limit else "the factory takes no max_messages, so stores cannot be made to shed old turns"
        newer = None if subject.make_newer else "no make_newer was given, which would write what a newer version writes"
        return {"place": place, "process": place, "max_messages": limit, "make_newer": newer}

    def _reproduce(self, one: Case) -> str:
        if self.command:
            return f"{self.command} --level {self.level} --only {one.number} --seed {self.seed}"
        verb = "verify_protocol_store" if self.subject.five else "verify_store"
        return f'{verb}({self.subject.name}, level="{self.level}", only=["{one.number}"], seed={self.seed})'

    def report(self, only: Iterable[str] = (), *, stop_at_failure: bool = False) -> Report:
        """Run the cases and collect the outcomes."""
        begun = time.perf_counter()
        outcomes = tuple(self.outcomes(only, stop_at_failure=stop_at_failure))
        return self.summary(outcomes, time.perf_counter() - begun)

    def summary(self, outcomes: Iterable[Outcome], seconds: float) -> Report:
        """The report of outcomes that were run one by one."""
        way = {True: ", async", False: ", sync", None: ""}[self.subject.asynchronous]
        kind = f"{'five methods' if self.subject.five else 'full store'}{way}"
        return Report(self.subject.name, kind, self.level, self.seed, seconds, tuple(outcomes))


def verify_protocol_store(
    factory: Factory,
    *,
    level: Level = "quick",
    only: Iterable[str] = (),
    seed: int = 0,
    stop_at_failure: bool = False,
    time_limit: float | None = None,
) -> Report:
    """Put every promise that five methods can keep to a class with just these, sync or async.

    ``factory()`` gives a fresh, empty store. Where it takes one argument it is called with a place, a ``pathlib.Path`` of a
    new directory: the same place must give the same sessions again, also in another process; then durability is tried too.
    ``level``: "quick" (seconds) or "full" (a few minutes). ``only``: numbers of cases or promises, such as ``["3.1", "3.7.2"]``.
    ``seed`` makes the random cases repeat. ``time_limit``: seconds after which every case is cut, in place of its own limit.
    Returns the report; raises ValueError for an unknown number.
    """
    return Verification(Subject(factory, five=True), level, seed, time_limit=time_limit).report(only, stop_at_failure=stop_at_failure)


def verify_store(
    factory: Factory,
    *,
    level: Level = "quick",
    only: Iterable[str] = (),
    seed: int = 0,
    meter: Callable[[], int] | None = None,
    make_newer: Callable[[Path], None] | None = None,
    stop_at_failure: bool = False,
    time_limit: float | None = None,
) -> Report:
    """Put every promise to a full store, SessionStore or AsyncSessionStore.

    As ``verify_protocol_store``, and: a factory that takes ``max_messages=`` is tried for retention too. ``meter()`` gives a
    count, of operations or bytes, that the store's engine has spent so far; the kit itself counts the bytes that this process
    reads, writes and allocates, Python's operations and the steps of SQLite. ``make_newer(place)`` changes a closed store's
    data into what a newer version would write.
    """
    subject = Subject(factory, five=False, meter=meter, make_newer=make_newer)
    return Verification(subject, level, seed, time_limit=time_limit).report(only, stop_at_failure=stop_at_failure)


def _looks_async(subject: Subject) -> bool:
    """Whether any of the five methods is declared as a coroutine function, or gives something to await all the same."""
    trial = Trial(subject, level="quick", seed="")
    answers: list[bool] = []

    def look() -> None:
        answers.extend(declared_async(trial.raw))
        if not any(answers):
            answers.extend(returned_async(trial.raw, trial.loop))
        trial.close_stores()

    # A store that fails or hangs here does so in its own cases too, where that is reported.
    _, _, hangs = _within(PROBE_SECONDS, look)
    (trial.abandon if hangs else trial.close)()
    return any(answers)


def _within(limit: float, action: Callable[[], None]) -> tuple[BaseException | None, str, bool]:
    """The error of the action, its traceback, and whether it still runs after ``limit`` seconds, which is a Mismatch."""
    error: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as raised:  # noqa: BLE001  # whatever it is, it belongs in the report of this case
            error.append(raised)

    thread = threading.Thread(target=run, name="turnlog-testing-case", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        where = "".join(traceback.format_stack(frame)[-4:]) if frame else ""
        return Mismatch(f"the case ends within {limit:g} s", "it hangs; the last lines show where"), where, True
    if not error:
        return None, "", False
    raised: Any = error[0]
    return raised, "" if isinstance(raised, NotRun) else _trace(raised), False


def _trace(error: BaseException) -> str:
    """The calls that led to the error, without the kit's own machinery, and its cause."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.endswith(("runner.py", "checks.py"))]
    lines = "".join(traceback.format_list(frames)).splitlines()[-TRACE_LINES:]
    if error.__cause__ is not None:
        lines.append(f"  caused by {type(error.__cause__).__name__}: {show(str(error.__cause__))[1:-1]}")
    return "\n".join(lines)
