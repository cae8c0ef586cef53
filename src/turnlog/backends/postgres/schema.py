"""The tables: their format number, how they come to be, and what a server must be to keep them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from turnlog.errors import FormatVersionError, StorageError, UnsupportedVerbError

Durability = Literal["power", "process"]
Ask = Callable[[str], Awaitable[list[tuple[Any, ...]]]]
"""Runs one statement without values on a connection that is kept for this, and gives its rows."""

VERSION = 1
LONGEST_NAME = 63
"""Bytes of a name; PostgreSQL cuts longer ones, and two schemas would become one."""

# Text is compared by code point, whatever the database's own order is. Rows of heads are rewritten by every append: the space left on
# their pages keeps the new versions near the old ones, and vacuum comes by often.
TABLES = """
CREATE TABLE {s}.heads (
    session_id text COLLATE "C" PRIMARY KEY,
    long_id text COLLATE "C",
    run text COLLATE "C" NOT NULL,
    counter int8 NOT NULL,
    length int8 NOT NULL,
    count_offset int8 NOT NULL,
    updated_at float8 NOT NULL,
    agent_name text COLLATE "C",
    user_id text COLLATE "C",
    parent_id text COLLATE "C",
    body text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX heads_by_time ON {s}.heads (updated_at, session_id);
CREATE INDEX heads_by_agent ON {s}.heads (agent_name, updated_at, session_id) WHERE agent_name IS NOT NULL;
CREATE INDEX heads_by_user ON {s}.heads (user_id, updated_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX heads_by_parent ON {s}.heads (parent_id, updated_at, session_id) WHERE parent_id IS NOT NULL;
CREATE TABLE {s}.records (
    run text COLLATE "C" NOT NULL,
    seq int8 NOT NULL,
    id text COLLATE "C" NOT NULL,
    time float8 NOT NULL,
    body text NOT NULL,
    meta text,
    CONSTRAINT records_by_place PRIMARY KEY (run, seq),
    CONSTRAINT records_by_id UNIQUE (run, id)
);
CREATE TABLE {s}.rows (
    number int8 GENERATED ALWAYS AS IDENTITY,
    run text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    long_key text,
    body text NOT NULL,
    PRIMARY KEY (run, kind, key)
) WITH (fillfactor = 80);
CREATE TABLE {s}.runs (
    run text COLLATE "C" PRIMARY KEY,
    session_id text COLLATE "C",
    long_id text,
    parent text,
    closed bool NOT NULL DEFAULT false,
    marked bool NOT NULL DEFAULT false
) WITH (fillfactor = 80);
CREATE INDEX marks_by_session ON {s}.runs (session_id) WHERE marked;
CREATE TABLE {s}.claims (
    run text COLLATE "C" NOT NULL,
    child_run text COLLATE "C" NOT NULL,
    session_id text NOT NULL,
    child_id text NOT NULL,
    stop int8 NOT NULL,
    PRIMARY KEY (run, child_run)
);
CREATE TABLE {s}.format (version int4 NOT NULL);
INSERT INTO {s}.format VALUES ({version});
"""
DATA = ("heads", "records", "rows", "runs", "claims")

_LOOK = """
SELECT current_setting('server_encoding'), current_setting('fsync'), current_setting('synchronous_commit'),
    to_regclass('{s}.format') IS NOT NULL
"""
# Only the holder of the lock looks and creates. It looks at the catalog's tables: names that were looked up before are remembered.
_CREATE = """
DO $turnlog$ BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('turnlog {name}', 0));
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = '{name}' AND tablename = 'format') THEN
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{name}') THEN
            CREATE SCHEMA {s};
        END IF;
        {tables}
    END IF;
END $turnlog$
"""


def quoted(schema: str) -> str:
    """The schema's name as SQL takes it; every legal name but for those with a quotation mark, a backslash, a dollar or percent sign."""
    if not schema or not schema.isprintable() or len(schema.encode()) > LONGEST_NAME or any(mark in schema for mark in "\"'\\$%{}"):
        text = f"{schema!r:.80} cannot name a schema: pass 1 to {LONGEST_NAME} bytes of letters, digits and _"
        raise UnsupportedVerbError(text, verb="open", reason="no such schema")
    return f'"{schema}"'


async def prepare(ask: Ask, schema: str, durability: Durability, *, create: bool) -> None:
    """Check the server's settings and the tables' format; with ``create``, write the tables where there are none. Safe to race.

    ``schema`` is quoted. Raises StorageError and FormatVersionError.
    """
    ((encoding, fsync, commit, stands),) = await ask(_LOOK.replace("{s}", schema))
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
            raise StorageError(f"the schema {schema} holds no turnlog tables: let an account that may create them open the store once")
        tables = TABLES.replace("{version}", str(VERSION))
        await ask(_CREATE.replace("{tables}", tables).replace("{name}", schema.strip('"')).replace("{s}", schema))
    found = max((version for (version,) in await ask(f"SELECT version FROM {schema}.format")), default=0)
    if found > VERSION:
        text = f"the schema {schema} has format {found}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
        raise FormatVersionError(text, found=found, supported=VERSION)
