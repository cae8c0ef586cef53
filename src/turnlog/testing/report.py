"""The report of a verification: every case with its outcome, in values and as a readable print-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not run"]


class VerificationFailed(AssertionError):
    """The store broke at least one promise; the text is the report."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one case came to."""

    number: str
    title: str
    status: Status
    seconds: float
    expected: str = ""
    seen: str = ""
    reason: str = ""
    """Why the case was not run."""
    reproduce: str = ""
    trace: str = ""
    """The last lines of the traceback, where the case or the store raised."""


@dataclass(frozen=True, slots=True)
class Report:
    """All outcomes of one run, in the order of the cases."""

    subject: str
    kind: str
    """Which contract was put to the store, such as ``full store, sync``."""
    level: str
    seed: int
    seconds: float
    outcomes: Sequence[Outcome]

    @property
    def passed(self) -> bool:
        """True when cases ran and none failed."""
        return bool(self._having("passed")) and not self.failures

    @property
    def failures(self) -> list[Outcome]:
        """The cases that failed, with ``expected``, ``seen`` and ``reproduce``."""
        return self._having("failed")

    @property
    def not_run(self) -> list[Outcome]:
        """The cases that could not be put to this store, with ``reason``."""
        return self._having("not run")

    def _having(self, status: Status) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == status]

    def raise_if_failed(self) -> None:
        """Raise VerificationFailed, with the whole print-out as its text, unless ``passed``."""
        if not self.passed:
            raise VerificationFailed(f"\n{self}")

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.kind}, {self.level} level, seed {self.seed}", ""]
        lines += [_line(outcome) for outcome in self.outcomes if outcome.status != "not run"]
        for reason in dict.fromkeys(outcome.reason for outcome in self.not_run):
            lines += ["", f"not run: {reason}"]
            lines += [_line(outcome) for outcome in self.not_run if outcome.reason == reason]
        for outcome in self.failures:
            lines += ["", *_failure(outcome)]
        counts = f"{len(self._having('passed'))} passed, {len(self.failures)} failed, {len(self.not_run)} not run"
        verdict = "keeps every promise that was tried" if self.passed else "BREAKS ITS PROMISES" if self.failures else "was not tried"
        lines += ["", f"{counts} in {self.seconds:.1f} s: {self.subject} {verdict}"]
        return "\n".join(lines)


def _line(outcome: Outcome) -> str:
    mark = {"passed": "ok  ", "failed": "FAIL", "not run": "-   "}[outcome.status]
    duration = "" if outcome.status == "not run" else f" [{outcome.seconds:.2f} s]"
    return f"{mark} {outcome.number:<8}{outcome.title}{duration}"


def _failure(outcome: Outcome) -> list[str]:
    lines = [
        f"FAIL {outcome.number} {outcome.title}",
        f"  expected:  {outcome.expected}",
        f"  seen:      {outcome.seen}",
        f"  reproduce: {outcome.reproduce}",
    ]
    return lines + [f"    {line}" for line in outcome.trace.splitlines()]
