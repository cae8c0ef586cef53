"""What a statement can end in besides its rows, for the verbs to decide on."""

from __future__ import annotations

from turnlog.errors import BackendUnavailableError


class AnswerLostError(BackendUnavailableError):
    """A statement was sent and the connection broke before the answer came: it has taken place, or not, or it still will."""


class TakenError(Exception):
    """A unique constraint was violated, so nothing was written. ``constraint`` is its name."""

    def __init__(self, constraint: str) -> None:
        super().__init__(constraint)
        self.constraint = constraint


class UnindexedError(Exception):
    """Messages were sent without their words to a store that keeps an index of them by now, so nothing was written."""
