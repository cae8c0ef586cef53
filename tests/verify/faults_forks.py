"""Planted faults in what a store remembers of a session that it forks again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.backends.port import Appended
from turnlog.heads import Head, Reference
from turnlog.session import SqliteSessionStore
from turnlog.store.core import REMEMBERED
from turnlog.store.seen import Seen


@fault("2.23")
class ForksWhatItRemembers(SqliteSessionStore):
    """A fork goes by the head that this instance saw last, also where the session has changed since."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        engine: Any = self.backend
        put_fork = engine.put_fork

        async def careless(*values: Any, expect: Any = None, **options: Any) -> Any:
            return await put_fork(*values, **options)

        engine.put_fork = careless


class _Remembering(SqliteSessionStore):
    """Remembers by ``remembers``, over an engine that compares revisions only, so that nothing else catches what is wrong there."""

    remembers: type[Seen]

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(path, max_messages, **options)
        self._core._seen = self.remembers(REMEMBERED)
        engine: Any = self.backend
        put_fork = engine.put_fork

        async def careless(child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Any:
            above = await engine.get_head(claim.session_id)
            if expect is not None and above is not None:
                expect = replace(expect, length=above.length)
            return await put_fork(child, claim, shed=shed, expect=expect)

        engine.put_fork = careless


class _Trusting(Seen):
    def grow(self, session_id: str, by: int, done: Appended, now: float) -> None:
        head = self.get(session_id)
        if head is not None:
            self.note(replace(head, counter=int(done.revision.rpartition(".")[2]) - 1))
        super().grow(session_id, by, done, now)


@fault("2.23")
class TakesOwnAppendsForAll(_Remembering):
    """After an append of its own, this instance thinks that it has seen all that others did before."""

    remembers = _Trusting


class _Still(Seen):
    def grow(self, session_id: str, by: int, done: Appended, now: float) -> None:
        super().grow(session_id, 0, done, now)


@fault("2.23")
class ForgetsOwnAppends(_Remembering):
    """The head that this instance remembers does not grow with what it appends."""

    remembers = _Still
