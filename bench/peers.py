"""Side by side: what an append and a read cost in turnlog and in other programs' stores, at three lengths."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from bench.floors import JsonLines
from bench.material import history, messages
from bench.measure import Side, each, interleave
from bench.plan import Plan
from bench.reads import LAST
from bench.subjects import settle

SESSION = "one"
ROUNDS = {10: 15, 1_000: 15, 10_000: 5}
"""Rounds at a length: few where an append takes a tenth of a second."""
FEW = 9
BATCH = 4
"""Appends or reads of one store before the next has its turn: as many as the messages of a short turn."""


class Kept(Protocol):
    """One session in one store."""

    def fill(self, count: int) -> None:
        """Write that many messages."""

    def append(self, count: int) -> float:
        """Append as many, one by one, and give the seconds they took."""

    def last(self, count: int) -> float:
        """Read the last 50 messages as many times and give the seconds it took."""

    def close(self) -> None:
        """Close the store."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A store and how to open it in a folder."""

    name: str
    package: str
    """The distribution it comes from; "" for turnlog and the floor."""
    power: bool
    """Whether a message survives power loss once its append has returned: whether it waits for a sync of the disk."""
    open: Callable[[Path], Kept]

    @property
    def full_name(self) -> str:
        """The name with the program it belongs to."""
        return f"{self.package} {self.name}".lstrip()


@dataclass(frozen=True, slots=True)
class PeerFigure:
    """What one store took at one length; seconds."""

    name: str
    power: bool
    length: int
    append: float
    last: float | None
    """None for a store that reads nothing."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


class SyncKept:
    """A store with the verbs of praisonaiagents.session, which are turnlog's too."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._stream = messages()

    def fill(self, count: int) -> None:
        """See Kept.fill."""
        self._store.set_chat_history(SESSION, history(count))

    def append(self, count: int) -> float:
        """See Kept.append."""
        pairs = list(islice(self._stream, count))
        begin = time.perf_counter()
        for role, text in pairs:
            self._store.add_message(SESSION, role, text)
        return time.perf_counter() - begin

    def last(self, count: int) -> float:
        """See Kept.last."""
        return each(lambda: self._store.get_chat_history(SESSION, LAST))(count)

    def close(self) -> None:
        """See Kept.close."""
        if hasattr(self._store, "close"):
            self._store.close()


class ItemsKept:
    """A session with the verbs of the openai-agents package; measured inside one event loop, which runs all the time."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._loop = asyncio.new_event_loop()
        self._stream = messages()

    def fill(self, count: int) -> None:
        """See Kept.fill."""
        self._loop.run_until_complete(self._session.add_items(history(count)))

    def append(self, count: int) -> float:
        """See Kept.append."""
        items = [[{"role": role, "content": text}] for role, text in islice(self._stream, count)]

        async def run() -> float:
            begin = time.perf_counter()
            for item in items:
                await self._session.add_items(item)
            return time.perf_counter() - begin

        return self._loop.run_until_complete(run())

    def last(self, count: int) -> float:
        """See Kept.last."""

        async def run() -> float:
            begin = time.perf_counter()
            for _ in range(count):
                await self._session.get_items(LAST)
            return time.perf_counter() - begin

        return self._loop.run_until_complete(run())

    def close(self) -> None:
        """See Kept.close."""
        self._session.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


class LinesKept:
    """The floor: bare lines in a file. It reads nothing."""

    def __init__(self, floor: JsonLines) -> None:
        self._floor = floor
        self._stream = messages()

    def fill(self, count: int) -> None:
        """See Kept.fill."""
        self.append(count)

    def append(self, count: int) -> float:
        """See Kept.append."""
        return each(lambda: self._floor.add(*next(self._stream)))(count)

    def last(self, count: int) -> float:
        """Not measured."""
        raise NotImplementedError("the floor reads nothing")

    def close(self) -> None:
        """See Kept.close."""
        self._floor.close()


def _turnlog(store: str, keyword: str, file: str, durability: str) -> Callable[[Path], Kept]:
    def opened(folder: Path) -> Kept:
        kind = getattr(importlib.import_module("turnlog.session"), store)
        return SyncKept(kind(**{keyword: folder / file}, durability=durability))

    return opened


def _praisonai(module: str, store: str) -> Callable[[Path], Kept]:
    def opened(folder: Path) -> Kept:
        kind = getattr(importlib.import_module(module), store)
        return SyncKept(kind(session_dir=str(folder), retention="keep_all"))

    return opened


def _openai(module: str, session: str, **more: Any) -> Callable[[Path], Kept]:
    def opened(folder: Path) -> Kept:
        kind = getattr(importlib.import_module(module), session)
        return ItemsKept(kind(session_id=SESSION, db_path=folder / "items.db", **more))

    return opened


PEERS = (
    Peer("floor: a line by hand, synced", "", True, lambda folder: LinesKept(JsonLines(folder / "lines", "power"))),
    Peer("turnlog JSON files", "", True, _turnlog("DefaultSessionStore", "session_dir", "", "power")),
    Peer('turnlog JSON files, "process"', "", False, _turnlog("DefaultSessionStore", "session_dir", "", "process")),
    Peer("turnlog SQLite", "", True, _turnlog("SqliteSessionStore", "path", "sessions.sqlite", "power")),
    Peer('turnlog SQLite, "process"', "", False, _turnlog("SqliteSessionStore", "path", "sessions.sqlite", "process")),
    Peer("DefaultSessionStore", "praisonaiagents", False, _praisonai("praisonaiagents.session.store", "DefaultSessionStore")),
    Peer("HierarchicalSessionStore", "praisonaiagents", False, _praisonai("praisonaiagents.session.hierarchy", "HierarchicalSessionStore")),
    Peer(
        "SqliteTranscriptStore",
        "praisonaiagents",
        True,
        _praisonai("praisonaiagents.session.sqlite_transcript_store", "SqliteTranscriptStore"),
    ),
    Peer("SQLiteSession", "openai-agents", True, _openai("agents.memory", "SQLiteSession")),
    Peer(
        "AdvancedSQLiteSession",
        "openai-agents",
        True,
        _openai("agents.extensions.memory.advanced_sqlite_session", "AdvancedSQLiteSession", create_tables=True),
    ),
)


def present() -> tuple[list[Peer], list[str]]:
    """The peers that are installed here, and the packages that are not."""
    here, missing = [], []
    for peer in PEERS:
        try:
            if peer.package:
                version(peer.package)
            here.append(peer)
        except PackageNotFoundError:
            missing.append(peer.package)
    return here, sorted(set(missing))


def peer_figures(plan: Plan) -> Iterator[PeerFigure]:
    """Every store at every length."""
    # They must neither report home nor write into the home directory of whoever runs this.
    quiet = {"DO_NOT_TRACK": "1", "PRAISONAI_TELEMETRY_DISABLED": "true", "OPENAI_AGENTS_DISABLE_TRACING": "1"}
    os.environ.update(quiet, PRAISONAI_HOME=str(plan.folder("peer-home")))
    here, _ = present()
    for length in plan.peer_lengths:
        folders = {peer: plan.folder(f"peers/{length}/{place}") for place, peer in enumerate(here)}
        kept = {peer: peer.open(folder) for peer, folder in folders.items()}
        with plan.progress.step(f"side by side: {len(here)} stores at {length:,} messages") as step:
            for done, store in enumerate(kept.values()):
                store.fill(length)
                step.far(done, 2 * len(kept))
            rounds = min(ROUNDS.get(length, FEW), plan.rounds)
            appends = {peer.name: _settled(store.append, folders[peer]) for peer, store in kept.items()}
            reads = {peer.name: store.last for peer, store in kept.items() if not isinstance(store, LinesKept)}
            added = interleave(appends, rounds=rounds, batch=BATCH)
            read = interleave(reads, rounds=rounds, batch=BATCH)
        for peer, store in kept.items():
            store.close()
            last = read[peer.name].middle if peer.name in read else None
            yield PeerFigure(peer.full_name, peer.power, length, added[peer.name].middle, last)


def _settled(append: Side, folder: Path) -> Side:
    """``append``, behind which all it has written reaches the disk: a sync of the next store would have to carry it along."""

    def run(count: int) -> float:
        seconds = append(count)
        settle(folder)
        return seconds

    return run
