"""Sessions on a MongoDB server, for many threads, processes and machines, on a single node, a replica set or shards.

Collections, each with the store's prefix before its name (indexes: schema.py):

- ``history``. A *head*, one document a session: ``s`` the session, ``run``, ``counter``, ``length``, ``body`` and what listings ask for;
  ``buf``, the newest records, of which the first has the place ``base``; ``k``, ids of those that came after place ``mid``.
  *Chunks*, 32 records each: ``run``, ``base``, ``end``, ``buf``, ``k``. They do not change, but for records that are erased.
  *Marks* of runs that are leaving or have left; one that is closed ``own``\\ s its run, and so no head can.
- ``rows`` snapshots, undo points, paths, drafts, turns; ``claims`` of forks; ``texts`` too long to lie in a document with others;
  ``format``, one number.

An append is one ``find_one_and_update``: it pushes the batch to ``buf`` and its ids to ``k``, and raises counter and length. Ids in the
buffer are looked for by its filter, ids in chunks by the unique index on (s, run, k), so a known id is refused in the same
operation, whoever else writes. A full buffer is moved in steps that anyone may repeat: ids leave ``k`` (the filter guards them), the
server copies the records to chunks (the index guards them too), the records leave the buffer. No transaction is needed. Texts over 32 KB
are written before the append that names them. Shard ``history`` by ``s``, if at all; the others may stay whole, or be sharded by ``s``.

Durability: "power" writes with ``w="majority", j=True``: when a verb returns, the write is in the journal of a majority of the replica
set (of the one node, where there is one), and survives power loss and failover. The server must keep a journal, and disks that do
what fsync says. "process" writes with ``w=1, j=False``: it survives ``kill -9`` of whoever uses the store; the end or the failover of the
server may take the last tenth of a second. Reads ask the primary, whatever the URL or the client says. Open turns are
as durable as the rest.

Erased data is overwritten in the live files as the server reuses its blocks, which ``compact`` hastens; oplog and backups have it longer.
"""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from bson import ObjectId, Timestamp
from pymongo import AsyncMongoClient, MongoClient, WriteConcern

from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.mongodb.address import parts, split_url
from turnlog.backends.mongodb.driver import AsyncDriver, BlockingDriver, Document, Driver
from turnlog.backends.mongodb.rows import Rows
from turnlog.backends.mongodb.schema import Durability, names
from turnlog.backends.mongodb.server import Server
from turnlog.backends.port import Backend, Forked
from turnlog.errors import UnsupportedVerbError
from turnlog.heads import Head, Reference

AGE = 3600.0
"""Seconds after which what no head and no mark names is taken for the remains of a crash."""
IN_ONE_LOOK = 500
WORTH_COMPACTING = 1024 * 1024
"""Free bytes of a file from which the server itself thinks it worth while."""


class MongoBackend(Rows):
    """Implements Backend and SharedRuns in the database that ``url`` names ("turnlog" where it names none).

    ``client``: a MongoClient or AsyncMongoClient of the caller's, which stays open and keeps its own pool and timeouts; then ``database``
    names the database. ``prefix`` begins the names of the collections, so that several stores share a database. ``pool_size``:
    connections at most. ``timeout``: seconds to wait for a connection or an answer. ``create=False``: the collections must be there.
    """

    copies = False

    def __init__(
        self,
        url: str = "mongodb://localhost:27017",
        *,
        asynchronous: bool = False,
        client: MongoClient[Any] | AsyncMongoClient[Any] | None = None,
        database: str | None = None,
        prefix: str = "turnlog_",
        durability: Durability = "power",
        pool_size: int = 100,
        timeout: float = 10.0,
        create: bool = True,
    ) -> None:
        if durability not in ("power", "process"):
            text = f'durability must be "power" or "process", not {durability!r:.80}'
            raise UnsupportedVerbError(text, verb="open", reason="no such durability")
        milliseconds = max(1, int(timeout * 1000))
        majority = WriteConcern(w="majority", j=True, wtimeout=milliseconds)
        concern = majority if durability == "power" else WriteConcern(w=1, j=False)
        settings: Document = {
            "appname": "turnlog",
            "maxPoolSize": pool_size,
            "serverSelectionTimeoutMS": milliseconds,
            "connectTimeoutMS": milliseconds,
            "socketTimeoutMS": milliseconds + 2000,
            "waitQueueTimeoutMS": milliseconds,
        }
        if client is not None:
            asynchronous = isinstance(client, AsyncMongoClient)
            at = ",".join(sorted(f"{host}:{port}" for host, port in client.nodes)) or "the given client's server"
        else:
            at, named, given = parts(url)
            database = database or named
            settings = {name: value for name, value in settings.items() if name.lower() not in given}
        kind: type[AsyncDriver] | type[BlockingDriver] = AsyncDriver if asynchronous else BlockingDriver
        driver: Driver = kind(url, settings, database or "turnlog", concern, client)
        self.blocking = driver.blocking
        super().__init__(Server(driver, at, names(prefix), create=create))

    async def put_fork(self, child: Head, claim: Reference, *, shed: int) -> Forked:
        """See SharedRuns.put_fork."""
        return await put_fork_in_steps(self, self, child, claim, shed=shed)

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: nothing is held; compare-and-set and the order of the steps keep it safe."""
        return _Nothing()

    async def compact(self) -> None:
        """See Backend.compact: erases what crashes left that no session names, and has the server give back space where there is much.

        It needs the right to run the command ``compact``, and may take as long as copying the files. A mongos cannot do it: run it on
        each shard. Old bytes in a file's free blocks stay there until the server writes over them or gives the blocks back.
        """
        await self._erase_remains()
        for collection in self._server.collections:
            stats = await self._server.rows(collection, "aggregate", [{"$collStats": {"storageStats": {}}}])
            if sum(one["storageStats"].get("freeStorageSize", 0) for one in stats) >= WORTH_COMPACTING:
                await self._server.command({"compact": collection, "force": True})

    async def close(self) -> None:
        """See Backend.close."""
        await self._server.close()

    async def _erase_remains(self) -> None:
        """Erase chunks, rows and texts of runs that no head and no mark names, unless they may just be coming to be."""
        old = time.time() - AGE
        before = ObjectId.from_datetime(datetime.fromtimestamp(old, UTC))
        for collection, aged in (
            (self._history, {"end": {"$exists": True}, "live": {"$exists": False}, "op": {"$lt": before}}),
            (self._rows, {"n": {"$lt": Timestamp(int(old), 0)}}),
            (self._texts.collection, {"_id": {"$lt": before}}),
        ):
            steps: list[Document] = [{"$match": aged}, {"$group": {"_id": {"s": "$s", "run": "$run"}}}]
            runs = [one["_id"] for one in await self._server.rows(collection, "aggregate", steps)]
            for start in range(0, len(runs), IN_ONE_LOOK):
                some = runs[start : start + IN_ONE_LOOK]
                named = await self._named(some)
                for run in some:
                    if run["run"] not in named:
                        await self._server.call(collection, "delete_many", {**run, **aged})

    async def _named(self, runs: list[Document]) -> set[str]:
        """Those of the runs that live or left something to be shown. Heads first: a run is marked before its head goes."""
        wanted = [run["run"] for run in runs]
        heads = {"live": True, "s": {"$in": [run["s"] for run in runs]}, "run": {"$in": wanted}}
        found = {head["run"] for head in await self._server.rows(self._history, "find", heads, {"run": 1})}
        marks = {"_id": {"$in": [{"mark": run} for run in wanted]}}
        return found | {mark["of"] for mark in await self._server.rows(self._history, "find", marks, {"of": 1})}


class _Nothing:
    """A scope that holds nothing."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


def open_backend(url: str, *, asynchronous: bool) -> Backend:
    """The backend of a URL, ``mongodb://`` or ``mongodb+srv://``; turnlog's own options in it are those of MongoBackend."""
    plain, options = split_url(url)
    return MongoBackend(plain, asynchronous=asynchronous, **options)
