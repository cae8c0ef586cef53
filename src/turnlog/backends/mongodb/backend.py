"""Sessions on a MongoDB server, for many threads, processes and machines, on a single node, a replica set or shards.

Collections, each with the store's prefix before its name (indexes: schema.py; ``schema_text(url)`` prints them):

- ``history``. A *head*, one document a session: ``s`` the session, ``run``, ``counter``, ``length``, ``body`` and what listings ask for;
  ``buf``, the newest records, of which the first has the place ``base``; ``k``, ids of those that came after place ``mid``.
  *Chunks*, up to 32 records each: ``run``, ``base``, ``end``, ``buf``, ``k``. They do not change, but for records that are erased.
  *Marks* of runs that are leaving or have left; one that is closed ``own``\\ s its run, and so no head can. *Claims* of forks.
  *Watches* of sessions that end.
- ``rows`` snapshots, undo points, paths, drafts, turns; ``texts`` too long to lie in a document with others; ``format``, one number.

An append is one ``find_one_and_update``: it pushes the batch to ``buf`` and its ids to ``k``, and raises counter and length. Ids in the
buffer are looked for by its filter, ids in chunks by the unique index on (s, run, k), so a known id is refused in the same
operation, whoever else writes. A full buffer is moved in steps that anyone may repeat: ids leave ``k`` (the filter guards them), the
server copies the records to chunks (the index guards them too), and once a majority has these, the records leave the buffer. No
transaction is needed. Texts over 32 KB
are written before the append that names them. A fork is one command: the claim, a note in the parent's head, the child's head, in this
order. Shard ``history`` by ``s``, if at all; the others may stay whole, or be sharded by ``s``.

A head with a ttl has ``expires``, which each append asks for and raises, and the date ``gone``, five minutes later, at which a TTL index
removes it. A head that a fork has ever claimed has no ``gone``: that session ends, and stays until it is swept. What a removed head
leaves behind, its watch tells the sweep.

With search, each record in a buffer or a chunk has its words ``w``, and the index ``by_word`` on them is written with the append itself.
A document says ``words`` or ``plain``: an append asks for the one it was made for, so a writer that has not heard that words are indexed
hears it then, and what such a writer has begun alone is indexed before anything is looked for. More than 8 KB of words lie in
``texts``, written before the append; such words are found with their record, or not at all.

Format 1 kept claims in a collection of their own, and did not say beside the head's ``body`` how much retention had cut. End all
programs of that version before the first of this one opens the store: one that still runs finds a view in the place of the claims, so it
can read, append and delete, and cannot fork; drop ``claims`` once there is none.

Durability: "power" writes with ``w="majority", j=True``: when a verb returns, the write is in the journal of a majority of the replica
set (of the one node, where there is one), and survives power loss and failover. The server must keep a journal, and disks that do
what fsync says. "process" writes with ``w=1, j=False``: it survives ``kill -9`` of whoever uses the store; the end or the failover of the
server may take the last tenth of a second. Reads ask the primary, whatever the URL or the client says. Open turns are
as durable as the rest. With "power" on a replica set, messages are read as a majority has them, once it has all that the primary has: so
nobody sees a message that a failover takes back, and heads likewise. Listings do not wait for that.

Erased data is overwritten in the live files as the server reuses its blocks, which ``compact`` hastens; oplog and backups have it longer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from bson import ObjectId, Timestamp
from pymongo import AsyncMongoClient, MongoClient, WriteConcern

from turnlog.backends.mongodb.address import OWN_OPTIONS, parts, split_url
from turnlog.backends.mongodb.claims import IN_ONE_LOOK, Claims
from turnlog.backends.mongodb.driver import AsyncDriver, BlockingDriver, Document, Driver
from turnlog.backends.mongodb.lives import AGE
from turnlog.backends.mongodb.schema import DEFAULT_DATABASE, DEFAULT_PREFIX, Durability, names
from turnlog.backends.mongodb.server import Server
from turnlog.backends.port import Backend, Match
from turnlog.errors import UnsupportedVerbError

LONG = 24 * 3600.0
"""Seconds that a command may take which rewrites files."""
WORTH_COMPACTING = 1024 * 1024
"""Free bytes of a file from which the server itself thinks it worth while."""


class MongoBackend(Claims):
    """Implements Backend, SharedRuns and Searchable in the database that ``url`` names ("turnlog" where it names none).

    ``client``: a MongoClient or AsyncMongoClient of the caller's, which stays open and keeps its own pool and timeouts; then ``database``
    names the database. ``prefix`` begins the names of the collections, so that several stores share a database. ``pool_size``:
    connections at most. ``timeout``: seconds to wait for a connection or an answer. ``create=False``: the collections must be there, in the
    format of this version. ``search=True`` keeps an index of words, of what is stored already too; once it is there, all keep it.
    """

    copies = False

    def __init__(
        self,
        url: str = "mongodb://localhost:27017",
        *,
        asynchronous: bool = False,
        client: MongoClient[Any] | AsyncMongoClient[Any] | None = None,
        database: str | None = None,
        prefix: str = DEFAULT_PREFIX,
        durability: Durability = "power",
        pool_size: int = 100,
        timeout: float = 10.0,
        create: bool = True,
        search: bool = False,
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
            if ours := sorted(given.intersection(OWN_OPTIONS)):
                text = f"{', '.join(ours)} in this address would be ignored: pass {ours[0]}= beside it, or use open_store"
                raise UnsupportedVerbError(text, verb="open", reason="no such option")
            database = database or named
            settings = {name: value for name, value in settings.items() if name.lower() not in given}
        kind: type[AsyncDriver] | type[BlockingDriver] = AsyncDriver if asynchronous else BlockingDriver
        driver: Driver = kind(url, settings, database or DEFAULT_DATABASE, concern, client)
        self.blocking = driver.blocking
        super().__init__(Server(driver, at, names(prefix), create=create, search=search))
        self._server.when_ready = self._indexing.index_all

    @property
    def indexes_words(self) -> bool:
        """See Searchable.indexes_words; known from the first verb on."""
        return self._server.indexes_words

    async def find(self, words: Sequence[str], *, limit: int) -> list[Match]:
        """See Searchable.find. What a program wrote that was open before search was turned on is indexed first.

        Raises UnsupportedVerbError where words are not indexed.
        """
        await self._server.get_ready()
        if not self.indexes_words:
            raise UnsupportedVerbError("this store keeps no index of words: open it with search=True", verb="find", reason="no index")
        return await self._indexing.find(words, limit)

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        """See Backend.together: nothing is held; compare-and-set and the order of the steps keep it safe."""
        return _Nothing()

    async def compact(self) -> None:
        """See Backend.compact: erases what crashes left that no session names, and has the server give back space where there is much.

        It needs the right to run the command ``compact``, and may take as long as copying the files. A mongos cannot do it: run it on
        each shard. Old bytes in a file's free blocks stay there until the server writes over them or gives the blocks back.
        """
        await self._erase_remains()
        for collection in (self._history, self._rows, self._texts.collection):
            stats = await self._server.rows(collection, "aggregate", [{"$collStats": {"storageStats": {}}}])
            if sum(one["storageStats"].get("freeStorageSize", 0) for one in stats) >= WORTH_COMPACTING:
                await self._server.command({"compact": collection, "force": True}, seconds=LONG)

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
