"""The tables as SQL, for turnlog and for a DBA: the newest format, the way to it from the one before, and the index of words.

``heads``     one row a session, rewritten by every append: primary key session_id; by time, agent, user, parent, and time of expiry,
              of which all but the first two are partial: sessions without such a value are not in them. With search: by run
``records``   one row a message, never rewritten: primary key (run, seq), unique (run, id). With search: the words, and a GIN index of them
``rows``      snapshots, undo points, paths, drafts, open turns: primary key (run, kind, key)
``runs``      one row a run, which heads, claims and the closing of a run meet on: primary key run; those that are marked by session
``claims``    what forks need of others: primary key (run, child_run)
``format``    one row: the number of this layout, and whether words are kept

Bytes of a message of 200 bytes, by pg_table_size and pg_relation_size after 100,000 messages in turns of ten and a VACUUM, PostgreSQL 15:

                  row   (run, seq)   (run, id)   words   together
without search    344           75          93       -        512
with search       677           74          96     149        996

A session takes one row of heads and runs. Deleting leaves dead rows, which autovacuum gives free for new ones, and ``compact`` takes out.
"""

from __future__ import annotations

from typing import Literal

from turnlog.errors import UnsupportedVerbError

Durability = Literal["power", "process"]
Words = Literal["none", "filling", "kept"]
"""Whether messages are stored with their words: not at all, new ones and some older ones, all."""

VERSION = 2
"""The number of the format that ``TABLES`` makes."""
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
    ttl float8,
    agent_name text COLLATE "C",
    user_id text COLLATE "C",
    parent_id text COLLATE "C",
    body text NOT NULL
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
CREATE INDEX heads_by_time ON {s}.heads (updated_at, session_id);
CREATE INDEX heads_by_agent ON {s}.heads (agent_name, updated_at, session_id) WHERE agent_name IS NOT NULL;
CREATE INDEX heads_by_user ON {s}.heads (user_id, updated_at, session_id) WHERE user_id IS NOT NULL;
CREATE INDEX heads_by_parent ON {s}.heads (parent_id, updated_at, session_id) WHERE parent_id IS NOT NULL;
CREATE INDEX heads_by_expiry ON {s}.heads ((updated_at + ttl)) WHERE ttl IS NOT NULL;
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
CREATE TABLE {s}.format (version int4 NOT NULL, words text NOT NULL DEFAULT 'none');
INSERT INTO {s}.format (version) VALUES ({version});
"""
DATA = ("heads", "records", "rows", "runs", "claims")

UPGRADE = """
ALTER TABLE {s}.heads ADD COLUMN IF NOT EXISTS ttl float8;
CREATE INDEX IF NOT EXISTS heads_by_expiry ON {s}.heads ((updated_at + ttl)) WHERE ttl IS NOT NULL;
ALTER TABLE {s}.format ADD COLUMN IF NOT EXISTS words text NOT NULL DEFAULT 'none';
UPDATE {s}.format SET version = 2;
"""
"""Makes format 2 of format 1, in one transaction: the columns cost nothing, the index one look at each head."""

# New entries of the index wait in a list that is merged 256 kB at a time: at 4 MB, the default, now and then an append would take long.
# The trigger refuses writers that were opened before there was an index, or that know of none; they send the words then, or fail.
WORDS = """
ALTER TABLE {s}.records ADD COLUMN IF NOT EXISTS words text[] COLLATE "C";
CREATE INDEX IF NOT EXISTS records_by_word ON {s}.records USING gin (words)
    WITH (fastupdate = on, gin_pending_list_limit = 256) WHERE words IS NOT NULL;
CREATE INDEX IF NOT EXISTS heads_by_run ON {s}.heads (run);
CREATE OR REPLACE FUNCTION {s}.refuse_without_words() RETURNS trigger LANGUAGE plpgsql AS $refuse$
BEGIN
    RAISE EXCEPTION 'this store keeps an index of words: a message must come with its words' USING ERRCODE = '{code}';
END $refuse$;
DROP TRIGGER IF EXISTS words_wanted ON {s}.records;
CREATE TRIGGER words_wanted BEFORE INSERT ON {s}.records FOR EACH ROW WHEN (new.words IS NULL)
    EXECUTE FUNCTION {s}.refuse_without_words();
UPDATE {s}.format SET words = 'filling' WHERE words = 'none';
"""
"""Adds the index of words, in one transaction. The words of messages that are there already are then filled in by turnlog."""
NO_WORDS = "TLW01"
"""The error code of the trigger."""


def quoted(schema: str) -> str:
    """The schema's name as SQL takes it; every legal name but for those with a quotation mark, a backslash, a dollar or percent sign."""
    if not schema or not schema.isprintable() or len(schema.encode()) > LONGEST_NAME or any(mark in schema for mark in "\"'\\$%{}"):
        text = f"{schema!r:.80} cannot name a schema: pass 1 to {LONGEST_NAME} bytes of letters, digits and _"
        raise UnsupportedVerbError(text, verb="open", reason="no such schema")
    return f'"{schema}"'


def filled_in(statements: str, schema: str) -> str:
    """The statements for the quoted name of a schema."""
    return statements.replace("{version}", str(VERSION)).replace("{code}", NO_WORDS).replace("{s}", schema)


def script(schema: str, *, search: bool) -> str:
    """What an account that may create tables runs by hand, for the quoted name of a schema: as a new store, or to upgrade an older one."""
    parts = [
        "-- A new store. Run as one transaction; the database's encoding must be UTF8.",
        "BEGIN;\nCREATE SCHEMA IF NOT EXISTS {s};" + TABLES + "COMMIT;",
        "-- In its place, a store of format 1 (SELECT version FROM {s}.format) becomes one of format 2 by:",
        "\n".join(f"-- {line}" for line in f"BEGIN;{UPGRADE}COMMIT;".splitlines()),
    ]
    if search:
        parts += [
            "-- The index of words, for new and old stores. A store that is opened with search=1 fills in the words of older messages.",
            f"BEGIN;{WORDS}COMMIT;",
        ]
    parts += [
        "-- What the accounts need that only use the store:",
        "-- GRANT USAGE ON SCHEMA {s} TO …;",
        "-- GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {s} TO …;",
    ]
    return filled_in("\n".join(parts) + "\n", schema)
