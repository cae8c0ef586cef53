"""Making a store ready with its first statement: what the server must be, the tables and their format, and the index of words.

An older format is upgraded in one transaction, so that nothing has changed where it is killed.

The index of words is added in one transaction, too, in which writers wait while the tables are read once: with many millions of
messages, choose a quiet hour. From then on a trigger refuses messages without words, whereupon stores that were open before send them
along (they go on scanning until they are opened anew). The words of older messages are filled in before the first verb of the store that
was opened with ``search``, ``BATCH`` messages to a transaction; if that is killed, the next store that is opened so goes on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from turnlog.backends.postgres.pools import Pool, Rows
from turnlog.backends.postgres.schema import TABLES, UPGRADE, VERSION, WORDS, Durability, Words, filled_in
from turnlog.backends.postgres.values import words_text
from turnlog.errors import FormatVersionError, StorageError

BATCH = 500
"""Messages whose words are filled in by one transaction."""
BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of messages after which a batch ends, too."""

_LOOK = """
SELECT current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit'),
    to_regclass('{s}.format') IS NOT NULL
"""
_LOCK = "pg_advisory_xact_lock(hashtextextended('turnlog {name}', 0))"
# Only the holder of the lock looks and creates. It looks at the catalog's tables: names that were looked up before are remembered.
_CREATE = f"""
DO $turnlog$ BEGIN
    PERFORM {_LOCK};
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = '{{name}}' AND tablename = 'format') THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{{name}}') THEN
            CREATE SCHEMA {{s}};
        END IF;
        {TABLES}
    END IF;
END $turnlog$
"""
# Whoever waits for a lock on a table lets everybody else wait behind it, so nobody does so for long.
_BRIEFLY = "PERFORM set_config('lock_timeout', '5s', true);"
_UPGRADE = f"""
DO $turnlog$ BEGIN
    PERFORM {_LOCK};
    IF (SELECT max(version) FROM {{s}}.format) = 1 THEN
        {_BRIEFLY}
        {UPGRADE}
    END IF;
END $turnlog$
"""
_ADD_WORDS = f"""
DO $turnlog$ BEGIN
    PERFORM {_LOCK};
    IF (SELECT words FROM {{s}}.format) = 'none' THEN
        {_BRIEFLY}
        {WORDS}
    END IF;
END $turnlog$
"""
_FORMAT = "SELECT version, coalesce(to_jsonb(format) ->> 'words', 'none') FROM {s}.format AS format"
_WITHOUT = f"""
SELECT run, seq, body FROM (
    SELECT run, seq, body, sum(octet_length(body)) OVER (ORDER BY run, seq) - octet_length(body) AS before FROM (
        SELECT run, seq, body FROM {{s}}.records WHERE words IS NULL AND (run, seq) > (%s::text, %s::int8) ORDER BY run, seq LIMIT {BATCH}
    ) AS next
) AS summed WHERE before < {BATCH_BYTES} ORDER BY run, seq
"""
_FILL = """
UPDATE {s}.records AS records SET words = string_to_array(given.words, ' ')
FROM unnest(%s::text[], %s::int8[], %s::text[]) AS given (run, seq, words)
WHERE records.run = given.run AND records.seq = given.seq AND records.words IS NULL
"""
_FILLED = "UPDATE {s}.format SET words = 'kept' WHERE words = 'filling'"


class Line:
    """A connection that one preparing has for itself, and the schema that is prepared (``schema`` is quoted)."""

    def __init__(self, pool: Pool, connection: Any, schema: str) -> None:
        self.schema = schema
        self._pool, self._connection = pool, connection

    async def ask(self, statement: str, values: Any = None) -> Rows:
        """Run one statement; its rows."""
        text = filled_in(statement, self.schema).replace("{name}", self.schema.strip('"'))
        return await self._pool.run(self._connection, text.encode(), values)

    @asynccontextmanager
    async def unhurried(self) -> AsyncIterator[None]:
        """A scope whose statements may take as long as they do; a transaction that is left open in it ends with it."""
        connection = self._connection
        patience, connection.patience = getattr(connection, "patience", None), None
        await self.ask("SET statement_timeout = 0")
        try:
            yield
        finally:
            if not connection.closed:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    await self.ask("ROLLBACK")
                await self.ask("RESET statement_timeout")
            connection.patience = patience


async def prepare(line: Line, durability: Durability, *, create: bool, search: bool) -> Words:
    """Check the server's settings and the tables' format; with ``create``, write the tables where there are none, and upgrade older ones.

    ``search``: see to it that the words of all messages are indexed. Says which are. Safe to race, to be killed and to repeat.
    Raises StorageError and FormatVersionError.
    """
    ((encoding, fsync, commit, stands),) = await line.ask(_LOOK)
    if encoding != "UTF8":
        raise StorageError(f"the database's encoding is {encoding}: turnlog needs one created with ENCODING 'UTF8'")
    if durability == "power" and "off" in (fsync, commit):
        wrong = "fsync" if fsync == "off" else "synchronous_commit"
        text = (
            f'the server\'s {wrong} is off, so power loss would take acknowledged messages: switch it on, or open with durability="process"'
        )
        raise StorageError(text)
    if not stands:
        if not create:
            raise StorageError(f"the schema {line.schema} holds no turnlog tables: {_BY_HAND}")
        await line.ask(_CREATE)
    words = await _upgrade(line, create)
    if search and words == "none":
        if not create:
            raise StorageError(f"the schema {line.schema} keeps no index of words: {_BY_HAND}")
        async with line.unhurried():
            await line.ask(_ADD_WORDS)
        words = "filling"
    if search and words == "filling":
        await _fill(line)
        words = "kept"
    return words


_BY_HAND = "run what `turnlog schema URL` prints, or let an account that may create tables open the store once"


async def _upgrade(line: Line, create: bool) -> Words:
    """Bring the tables to the newest format, and say which messages are stored with their words."""
    found, words = await _format(line)
    if found < VERSION:
        if not create:
            text = f"the schema {line.schema} has format {found}, this turnlog writes format {VERSION}: {_BY_HAND}"
            raise FormatVersionError(text, found=found, supported=VERSION)
        async with line.unhurried():
            await line.ask(_UPGRADE)
        found, words = await _format(line)
    if found != VERSION:
        text = f"the schema {line.schema} has format {found}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
        raise FormatVersionError(text, found=found, supported=VERSION)
    return words


async def _format(line: Line) -> tuple[int, Words]:
    rows = await line.ask(_FORMAT)
    version, words = max(rows, default=(0, "none"))
    return version, words


async def _fill(line: Line) -> None:
    """Store the words of older messages with them, a batch at a time; others that do the same take turns, each from where it stands."""
    run, seq = "", -1
    async with line.unhurried():
        while True:
            await line.ask("BEGIN")
            await line.ask(f"SELECT {_LOCK}")
            rows = await line.ask(_WITHOUT, (run, seq))
            if not rows:
                await line.ask(_FILLED)
                await line.ask("COMMIT")
                return
            runs, places, bodies = map(list, zip(*rows, strict=True))
            await line.ask(_FILL, (runs, places, list(map(words_text, bodies))))
            await line.ask("COMMIT")
            run, seq = runs[-1], places[-1]
