"""Opening a store: making its collections, bringing an older format up to date, turning on the index of words. Any step may be repeated."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from turnlog.backends.head_json import decode_head
from turnlog.backends.mongodb.documents import NOT_THERE
from turnlog.backends.mongodb.driver import Document
from turnlog.backends.mongodb.outcomes import TakenError
from turnlog.backends.mongodb.schema import FORMAT, VERSION, indexes
from turnlog.backends.text_keys import from_key
from turnlog.errors import CorruptSessionError, FormatVersionError, StorageError

if TYPE_CHECKING:
    from turnlog.backends.mongodb.server import Server

IN_ONE_COMMAND = 500
BY_HAND = "or run by hand what the command `turnlog schema URL` prints"
LEFT = "_of_format_1"
"""Ends the name of the old collection of claims while it is emptied."""
AS_BEFORE = {"$project": {"_id": {"run": "$of", "child_run": "$child_run"}, "s": 1, "run": "$of", "child": 1, "child_run": 1, "stop": 1}}
"""A claim as format 1 kept it."""


class Opening:
    """One opening of the store behind ``server``. Many processes may do it at once, and each may end at any step."""

    def __init__(self, server: Server, *, create: bool, search: bool) -> None:
        self._server = server
        self._names = server.collections
        self._create, self._search = create, search
        self._new = False

    async def run(self) -> bool:
        """Have the store in the format of this version, and with an index of words if that is wanted; whether it has that index."""
        found = await self._format()
        self._new = found is None
        if found is None:
            if not self._create:
                text = "holds no turnlog collections by these names: let an account that may create them open the store once"
                raise StorageError(f"{self._server.where} {text}, {BY_HAND}")
            await self._make_indexes(search=False)
            # Written last: whoever sees it may rely on the indexes.
            await self._change_format({"$setOnInsert": {"version": VERSION}}, upsert=True)
            found = await self._format() or {"version": VERSION}
        if found["version"] < VERSION:
            await self._bring_up_to_date(found["version"])
        if found["version"] > VERSION:
            text = f"the store on {self._server.where} has format {found['version']}, this turnlog knows formats up to {VERSION}"
            raise FormatVersionError(f"{text}: use a newer turnlog", found=found["version"], supported=VERSION)
        if self._search and not found.get("search"):
            await self._turn_on_words()
            return True
        return bool(found.get("search"))

    # The format -------------------------------------------------------------------------------------------------------

    async def _format(self) -> Document | None:
        found: Document | None = await self._server.twice(self._names.format, "find_one", {"_id": FORMAT})
        if found is not None and not isinstance(found.get("version"), int):
            raise CorruptSessionError(f"the format document of the store on {self._server.where} holds no number: restore a copy")
        return found

    async def _change_format(self, change: Document, **options: Any) -> None:
        where = {"_id": FORMAT} if options else {"_id": FORMAT, "version": {"$lte": VERSION}}
        await self._server.twice(self._names.format, "update_one", where, change, **options)

    async def _make_indexes(self, *, search: bool) -> None:
        for collection, models in indexes(self._names, search=search).items():
            if self._new:
                # Else each of many starters that make an index makes the collection with it, and all but one of them in vain.
                with suppress(StorageError):
                    await self._server.command({"create": collection})
            await self._server.twice(collection, "create_indexes", list(models))

    # Words ------------------------------------------------------------------------------------------------------------

    async def _turn_on_words(self) -> None:
        """From here on records are written with their words; those that are there wait in the index ``by_plain``.

        Documents of format 1 say nothing of words. They are told to be plain before anyone writes a document that says it is not.
        """
        if not self._create:
            text = f"the store on {self._server.where} keeps no index of words: let an account that may create indexes open it once"
            raise StorageError(f"{text} with search=True, {BY_HAND}")
        await self._make_indexes(search=True)
        old = {"buf": {"$exists": True}, "words": NOT_THERE, "plain": NOT_THERE, "look": NOT_THERE}
        await self._server.twice(self._names.history, "update_many", old, {"$set": {"plain": True}})
        await self._change_format({"$set": {"search": True}})

    # Format 1: claims lay in a collection of their own, and a head did not tell how much retention had cut ------------------

    async def _bring_up_to_date(self, version: int) -> None:
        if not self._create:
            text = f"the store on {self._server.where} has format {version}, this turnlog needs {VERSION}: let an account that may create"
            raise FormatVersionError(f"{text} indexes open it once, {BY_HAND}", found=version, supported=VERSION)
        await self._make_indexes(search=False)
        await self._note_cuts()
        await self._move_claims()
        await self._change_format({"$set": {"version": VERSION}})

    async def _note_cuts(self) -> None:
        where = {"live": True, "shed": NOT_THERE, "body": {"$regex": '"shed":[1-9]'}}
        names = ("s", "run", "counter", "length", "updated_at", "body")
        cut = await self._server.rows_twice(self._names.history, "find", where, dict.fromkeys(names, 1))
        changes = []
        for one in cut:
            shed = decode_head(one["body"], from_key(one["s"]), *(one[name] for name in names[1:-1])).shed
            if shed:
                changes.append(UpdateOne({"_id": one["_id"], "s": one["s"], "body": one["body"]}, {"$set": {"shed": shed}}))
        await self._change_many(changes)

    async def _move_claims(self) -> None:
        """Claims go to ``history``, and a view takes their place: a program of the older version that still runs sees them, and its
        own forks fail, rather than that it claims what nobody looks at any more."""
        claims, left = self._names.claims, self._names.claims + LEFT
        while True:
            kind = await self._kind_of(claims)
            if kind == "collection":
                await self._copy_claims(claims)
                await self._unless_done(self._server.twice(claims, "rename", left), claims, "collection")
            elif kind is None:
                view = {"create": claims, "viewOn": self._names.history, "pipeline": [{"$match": {"claim": True}}, AS_BEFORE]}
                await self._unless_done(self._server.command(view), claims, None)
            if await self._kind_of(left) is not None:
                # What was claimed while the others were copied.
                await self._unless_done(self._copy_claims(left), left, "collection")
                await self._unless_done(self._server.command({"drop": left}), left, "collection")
            elif kind == "view":
                return

    async def _copy_claims(self, collection: str) -> None:
        claims = await self._server.rows_twice(collection, "find", {})
        await self._change_many([change for claim in claims for change in claim_writes(claim)])

    async def _unless_done(self, step: Awaitable[Any], collection: str, kind: str | None) -> None:
        """Take a step that fails when somebody else has taken it meanwhile: then the collection is no longer of that kind."""
        try:
            await step
        except StorageError:
            if await self._kind_of(collection) == kind and await self._kind_of(self._names.claims + LEFT) is None:
                raise

    async def _kind_of(self, collection: str) -> str | None:
        """ "collection", "view", or None for nothing of that name."""
        answer = await self._server.command({"listCollections": 1, "filter": {"name": collection}, "nameOnly": True})
        found = answer["cursor"]["firstBatch"]
        return found[0]["type"] if found else None

    async def _change_many(self, changes: Sequence[UpdateOne]) -> None:
        for start in range(0, len(changes), IN_ONE_COMMAND):
            some = list(changes[start : start + IN_ONE_COMMAND])
            while some:
                try:
                    await self._server.twice(self._names.history, "bulk_write", some)
                    break
                except TakenError as error:
                    # Somebody else has just written the same claim.
                    some = some[error.number :]


def claim_writes(claim: Document) -> tuple[UpdateOne, UpdateOne]:
    """The write of a claim (``s``, ``run``, ``child``, ``child_run``, ``stop``), and of the note in the head of its run, which so stays.

    The note also takes away the time at which the server would remove the head by itself.
    """
    run = claim["run"]
    where = {"_id": {"claim": run, "by": claim["child_run"]}, "s": claim["s"]}
    values = {"claim": True, "of": run, **{name: claim[name] for name in ("child", "child_run", "stop")}}
    noted = UpdateOne({"s": claim["s"], "live": True, "run": run}, {"$set": {"claimed": True}, "$unset": {"gone": ""}})
    return UpdateOne(where, {"$set": values}, upsert=True), noted
