"""Side by side on database servers: what an append and a read cost in turnlog and in other programs' stores, and what four writers keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from bench.measure import WARM_ROUNDS, Series, interleave
from bench.plan import Plan
from bench.server_kept import MONGODB, PEERS, POSTGRESQL, REDIS, ServerPeer, stay_quiet
from bench.server_writer import EACH, WRITERS, texts

BATCH = 4
ROUNDS = 25
COUNTED = 40
"""Appends whose syncs are counted."""
ROOT = Path(__file__).parents[1]
PATIENCE = 120.0
"""Seconds for a writer to load its packages and to connect."""


@dataclass(frozen=True, slots=True)
class ServerFigure:
    """What one store took at one length; seconds, and times what turnlog took on the same server in the same round."""

    name: str
    engine: str
    power: bool
    length: int
    append: float
    last: float
    append_ratio: float
    last_ratio: float


@dataclass(frozen=True, slots=True)
class Race:
    """What is left of the messages of several writers to one session."""

    kept: int
    refused: int
    """Appends that raised; none is tried again."""
    errors: tuple[str, ...]

    @property
    def lost(self) -> int:
        """Messages whose append returned, and that are not there."""
        return WRITERS * EACH - self.kept - self.refused


@dataclass(slots=True)
class Databases:
    """All that is measured beside other stores on servers; by the stores' names."""

    versions: Mapping[str, str]
    figures: list[ServerFigure] = field(default_factory=list)
    races: dict[str, Race] = field(default_factory=dict)
    syncs: dict[str, float] = field(default_factory=dict)
    """Syncs of the disk for an append, where the server counts them."""

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Engine:
    """A server that runs."""

    url: str
    version: str
    syncs: Callable[[], int] | None
    """How often it has synced its log; None where it does not count."""


def present() -> tuple[list[ServerPeer], list[str]]:
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


def measure(plan: Plan) -> Databases:
    """All stores at all lengths, on servers of their own that sync every write they acknowledge, unless they are told not to wait."""
    stay_quiet()
    peers, _ = present()
    with ExitStack() as scope:
        with plan.progress.step("starting PostgreSQL, Redis and MongoDB"):
            engines = {POSTGRESQL: _postgresql(scope), REDIS: _redis(scope), MONGODB: _mongodb(scope)}
        results = Databases(_versions(peers, engines))
        results.figures.extend(figures(plan, peers, engines))
        for peer in peers:
            with plan.progress.step(f"{WRITERS} writers: {peer.full_name}"):
                results.races[peer.full_name] = race(peer, engines[peer.engine].url)
        for peer in peers:
            if count := engines[peer.engine].syncs:
                results.syncs[peer.full_name] = _syncs(peer, engines[peer.engine].url, count)
    return results


def figures(plan: Plan, peers: Sequence[ServerPeer], engines: Mapping[str, Engine]) -> Iterator[ServerFigure]:
    """Every store at every length; the sessions grow from one length to the next."""
    kept = {peer: peer.open(engines[peer.engine].url, "one") for peer in peers}
    rounds, have = min(ROUNDS, plan.rounds), 0
    for length in plan.peer_lengths:
        with plan.progress.step(f"side by side: {len(kept)} stores at {length:,} messages") as step:
            for done, one in enumerate(kept.values()):
                one.fill(max(0, length - have))
                step.far(done, 2 * len(kept))
            have = max(length, have) + BATCH * (WARM_ROUNDS + rounds)
            added = interleave({peer.name: one.append for peer, one in kept.items()}, rounds=rounds, batch=BATCH)
            read = interleave({peer.name: one.last for peer, one in kept.items()}, rounds=rounds, batch=BATCH)
        for peer in kept:
            append, last = added[peer.name], read[peer.name]
            ratios = _ratio(append, added[peer.beside]), _ratio(last, read[peer.beside])
            yield ServerFigure(peer.full_name, peer.engine, peer.power, length, append.middle, last.middle, *ratios)
    for one in kept.values():
        one.close()


def _ratio(one: Series, other: Series) -> float:
    return median(mine / theirs for mine, theirs in zip(one.rounds, other.rounds, strict=True))


def race(peer: ServerPeer, url: str) -> Race:
    """Let several processes write to one session at once, and count what is there afterwards."""
    kept = peer.open(url, "race")
    kept.fill(2)
    with ExitStack() as scope:
        processes = [scope.enter_context(_writer(peer, url, number)) for number in range(WRITERS)]
        for process in processes:
            _expect(process, "ready")
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        said = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in processes]
    # A client that has read this session before must not be believed.
    kept.close()
    kept = peer.open(url, "race")
    found = set(kept.texts())
    kept.close()
    written = {text for number in range(WRITERS) for text in texts(number)}
    errors = tuple(sorted({error for one in said for error in one["errors"]}))
    return Race(len(written & found), sum(one["refused"] for one in said), errors)


def _writer(peer: ServerPeer, url: str, number: int) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.server_writer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"peer": peer.full_name, "url": url, "session_id": "race", "writer": number}) + "\n")
    process.stdin.flush()
    return process


def _expect(process: subprocess.Popen[str], word: str) -> None:
    assert process.stdout is not None
    if (line := process.stdout.readline()).strip() != word:
        raise RuntimeError(f"a writer said {line!r} in place of {word!r}")


def _syncs(peer: ServerPeer, url: str, count: Callable[[], int]) -> float:
    """Syncs for an append: of a client that connects, appends and leaves, less those of one that only connects and leaves."""
    taken = []
    for number in (0, COUNTED):
        before = count()
        kept = peer.open(url, "one")
        kept.append(number)
        kept.close()
        taken.append(count() - before)
    return max(0, taken[1] - taken[0]) / COUNTED


def _postgresql(scope: ExitStack) -> Engine:
    from tests.servers.postgres import server

    private = scope.enter_context(server())

    def syncs() -> int:
        # A backend reports what it has synced when it ends.
        deadline = time.monotonic() + PATIENCE
        while private.ask("SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"):
            if time.monotonic() > deadline:
                raise RuntimeError("a client stays connected, and so its syncs are not known")
            time.sleep(0.05)
        ((number,),) = private.ask("SELECT wal_sync FROM pg_stat_wal")
        return int(number)

    ((said,),) = private.ask("SHOW server_version")
    return Engine(private.url, said.split()[0], syncs)


def _redis(scope: ExitStack) -> Engine:
    from tests.servers.redis import running

    private = scope.enter_context(running("redis", "--appendonly", "yes", "--appendfsync", "always"))
    with private.client() as client:
        return Engine(private.url, client.info("server")["redis_version"], None)


def _mongodb(scope: ExitStack) -> Engine:
    from tests.servers.mongodb import server

    private = scope.enter_context(server())

    def syncs() -> int:
        with private.client() as client:
            return int(client.admin.command("serverStatus")["wiredTiger"]["log"]["log sync operations"])

    with private.client() as client:
        return Engine(private.url, client.server_info()["version"], syncs)


PACKAGES = ("openai-agents", "google-adk", "langgraph", "langgraph-checkpoint-postgres")
DRIVERS = ("SQLAlchemy", "asyncpg", "psycopg", "redis", "pymongo")


def _versions(peers: Iterable[ServerPeer], engines: Mapping[str, Engine]) -> dict[str, str]:
    wanted = [*(name for name in PACKAGES if any(name.startswith(peer.package) for peer in peers if peer.package)), *DRIVERS]
    known = {engine: one.version for engine, one in engines.items()}
    for name in wanted:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            known[name] = "not installed"
    return known
