"""Sessions that arrive in any order: stored parents first, each once, with a count of what was stored, known and left out."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from turnlog.errors import ClosedStoreError, SessionError, StorageError
from turnlog.session import SessionStore
from turnlog.transfer.carried import Carried, begins_with
from turnlog.transfer.carrying import Carrier
from turnlog.transfer.report import Skip, Tally

TAKEN = "a session of this id with other messages exists already: pass overwrite, or import it under another id"


class Arrivals:
    """Stores what arrives. A fork that comes before its parent waits in a temporary file, so memory holds one session.

    A fork whose parent is neither in the import nor in the store is stored whole, with its parent's name.
    """

    def __init__(self, store: SessionStore, *, overwrite: bool) -> None:
        self.tally = Tally()
        self._store = store
        self._carrier = Carrier(store)
        self._overwrite = overwrite
        self._seen: set[str] = set()
        self._placed: set[str] = set()
        self._waiting: dict[str, list[tuple[str, int]]] = {}
        """By parent, the forks that wait for it, each with its place in the spool."""
        self._spool = tempfile.TemporaryFile()  # noqa: SIM115  # closed in __exit__

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._spool.close()

    def add(self, item: Carried | Skip) -> None:
        """Take a session, or note what its reader left out. Raises StorageError; what came before is stored."""
        if isinstance(item, Skip):
            self.tally.skipped.append(item)
        elif item.session_id in self._seen:
            self.tally.skipped.append(Skip(item.session_id, "another session of this id came earlier in the import"))
        else:
            self._seen.add(item.session_id)
            if item.origin is None or item.origin.session_id in self._placed:
                self._place([item])
            else:
                self._wait(item)

    def finish(self) -> None:
        """Store what still waits: forks of sessions that are not in the import, then those whose parents go in a circle."""
        waiting = {name for forks in self._waiting.values() for name, _ in forks}
        for parent in [parent for parent in self._waiting if parent not in waiting]:
            there = parent not in self._seen and self._store.session_exists(parent)
            self._place(self._released(parent, alive=there))
        while self._waiting:
            parent = next(iter(self._waiting))
            for fork in self._released(parent, alive=False):
                self.tally.skipped.append(
                    Skip(f"{fork.session_id}: its parent", "the parents go in a circle; the session is there without")
                )
                self._place([replace(fork, origin=None)])

    def _wait(self, item: Carried) -> None:
        assert item.origin is not None
        place = self._spool.seek(0, 2)
        pickle.dump(item, self._spool)
        self._waiting.setdefault(item.origin.session_id, []).append((item.session_id, place))

    def _released(self, parent: str, *, alive: bool) -> Iterable[Carried]:
        for _, place in self._waiting.pop(parent, []):
            self._spool.seek(place)
            item: Carried = pickle.load(self._spool)
            assert item.origin is not None
            yield replace(item, origin=item.origin._replace(alive=alive))

    def _place(self, first: Iterable[Carried]) -> None:
        """Store sessions, and the forks that waited for them, and theirs."""
        lines = [iter(first)]
        while lines:
            item = next(lines[-1], None)
            if item is None:
                lines.pop()
                continue
            if item.origin is not None and item.origin.session_id in self._placed:
                item = replace(item, origin=item.origin._replace(alive=True))
            stored = self._store_one(item)
            if stored:
                self._placed.add(item.session_id)
            lines.append(iter(self._released(item.session_id, alive=stored)))

    def _store_one(self, item: Carried) -> bool:
        """Whether the session is in the store now."""
        tally = self.tally
        try:
            added = self._carrier.add_missing(item) if not self._overwrite else self._replaced(item)
        except (StorageError, ClosedStoreError):
            raise
        except SessionError as refusal:
            tally.skipped.append(Skip(item.session_id, str(refusal)))
            return False
        if added is None:
            tally.skipped.append(Skip(item.session_id, TAKEN))
            return False
        if added < 0:
            tally.already_there += 1
        else:
            tally.sessions += 1
            tally.messages += added
        return True

    def _replaced(self, item: Carried) -> int | None:
        existing = self._carrier.take(item.session_id)
        if existing is not None and _same(existing, item):
            return -1
        self._carrier.put(item, over=existing is not None)
        return len(item.records)


def _same(there: Carried, item: Carried) -> bool:
    """Whether the store holds just these messages, as a fork where they are one."""
    linked = [session.origin is not None and session.origin.alive for session in (there, item)]
    return linked[0] == linked[1] and len(there.records) == len(item.records) and begins_with(there.records, item.records)
