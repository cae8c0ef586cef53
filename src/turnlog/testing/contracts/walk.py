"""Case 3.0.1: random walks over all verbs at once, against the model; a walk that fails is made as short as it can be."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from turnlog.testing.checks import Mismatch
from turnlog.testing.registry import case
from turnlog.testing.steps import SESSIONS, VERBS, Pair, Step
from turnlog.testing.trial import Trial

SHRINK_SECONDS = 6.0


def draw(source: random.Random, length: int) -> list[Step]:
    """A walk of ``length`` steps."""
    verbs = source.choices(list(VERBS), weights=list(VERBS.values()), k=length)
    # Few sessions at a time, and some more than others, so that steps meet; all of them over the walk.
    upto = [1 + (at * SESSIONS) // length for at in range(length)]
    return [
        Step(verb, min(source.randrange(limit), source.randrange(limit)), source.randrange(1000))
        for verb, limit in zip(verbs, upto, strict=True)
    ]


def play(trial: Trial, steps: Sequence[Step]) -> Mismatch | None:
    """Play a walk on a fresh store; what went wrong, or None."""
    place = trial.new_place()
    reopen = (lambda: trial.open_again(place)) if trial.subject.takes_place else None
    pair = Pair(reopen() if reopen else trial.another(), reopen)
    step = None
    try:
        for at, step in enumerate(steps):
            pair.do(step)
            if at % 10 == 9:
                pair.check_all()
        pair.check_all()
    except Mismatch as mismatch:
        return Mismatch(f"after {step}, {mismatch.expected}", mismatch.seen)
    except Exception as error:  # noqa: BLE001  # whatever the store raises where it must not
        return Mismatch(f"{step} works", f"{type(error).__name__}: {error}")
    finally:
        # Each may hold connections, and a server takes only so many.
        trial.close_stores()
    return None


def shrink(trial: Trial, steps: list[Step]) -> list[Step]:
    """Leave out steps, in ever smaller pieces, as long as the walk still fails."""
    end = time.monotonic() + SHRINK_SECONDS
    piece = len(steps) // 2
    while piece and time.monotonic() < end:
        at = 0
        while at < len(steps) and time.monotonic() < end:
            shorter = steps[:at] + steps[at + piece :]
            if play(trial, shorter) is not None:
                steps = shorter
            else:
                at += piece
        piece //= 2
    return steps


@case("3.0.1", "Random walks over all verbs agree with a model of plain lists", seconds=60)
def walks(trial: Trial) -> None:
    for _ in range(trial.many(5, 100)):
        steps = draw(trial.random, trial.many(110, 220))
        if play(trial, steps) is not None:
            shortest = shrink(trial, steps)
            mismatch = play(trial, shortest) or play(trial, steps)
            if mismatch is None:
                raise Mismatch("the same walk ends alike each time", "it failed once and not again")
            walk = ", ".join(str(step) for step in shortest)
            raise Mismatch(mismatch.expected, f"{mismatch.seen}; the walk: {walk}")
