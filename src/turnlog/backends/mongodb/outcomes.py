"""What may come of a write that is neither done nor simply failed."""

from __future__ import annotations

from turnlog.errors import BackendUnavailableError


class AnswerLostError(BackendUnavailableError):
    """Something was sent and the connection broke before the answer came: it has taken place, or not, or it still will."""


class TakenError(Exception):
    """A unique index refused the write; of several writes in one command, the one of this number, and with it all after it."""

    def __init__(self, number: int = 0) -> None:
        super().__init__(number)
        self.number = number
