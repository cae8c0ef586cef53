"""What a transfer tells: its progress, its report, what it left out, and its own errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from turnlog.errors import CorruptSessionError, SessionError

Unit = Literal["sessions", "bytes"]


class Progress(NamedTuple):
    """How far a transfer has come: ``done`` of ``total`` (None: unknown), counted in ``unit``; ``label`` names the session at hand."""

    done: int
    total: int | None
    unit: Unit
    label: str


OnProgress = Callable[[Progress], None]


class Skip(NamedTuple):
    """What was left out: a session, or a named part of one, and why. No content of messages."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TransferReport:
    """What a transfer did. ``sessions`` were written with ``messages``; ``already_there`` were found as they should be."""

    sessions: int = 0
    messages: int = 0
    already_there: int = 0
    skipped: tuple[Skip, ...] = ()


class UnknownFormatError(SessionError, ValueError):
    """What a path holds is in no format that can be imported. Attribute: ``path``."""


class BrokenImportError(SessionError, ValueError):
    """A file to import cannot be read on. What was read of it before is stored, session by session. Attribute: ``path``."""


class CopyMismatchError(CorruptSessionError):
    """A copied session read back from the target is not what was written. Attribute: ``session_id``."""


class Tally:
    """A report in the making."""

    def __init__(self) -> None:
        self.sessions = self.messages = self.already_there = 0
        self.skipped: list[Skip] = []

    def report(self) -> TransferReport:
        """What has been counted."""
        return TransferReport(self.sessions, self.messages, self.already_there, tuple(self.skipped))


def tell_nobody(progress: Progress) -> None:
    """The progress of a transfer that nobody watches."""
