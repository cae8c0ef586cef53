"""A store of PostgreSQL's format 1, as the turnlog of then made it: its tables, and one session with a history."""

from __future__ import annotations

import json

import psycopg

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
INSERT INTO {s}.format VALUES (1);
"""
SESSION = """
INSERT INTO {s}.runs (run) VALUES ('r1');
INSERT INTO {s}.heads (session_id, run, counter, length, count_offset, updated_at, user_id, body)
    VALUES ('old', 'r1', 3, 1200, -2, 2.5, 'u', '{body}');
INSERT INTO {s}.records (run, seq, id, time, body)
    SELECT 'r1', n, 'm' || n, 7.25, '{"role":"user","content":"early n' || n || '"}' FROM generate_series(2, 1199) AS n;
"""
BODY = {
    "born": "b",
    "created_at": 1.5,
    "past": [],
    "past_count": 0,
    "path": None,
    "tail": 0,
    "shed": 2,
    "fields": {"user_id": "u", "title": "T"},
}


def write(url: str, schema: str) -> None:
    """Write the store into a schema of that name."""
    body = json.dumps(BODY, separators=(",", ":"))
    statements = f"CREATE SCHEMA {schema};{TABLES}{SESSION}".replace("{s}", schema).replace("{body}", body)
    with psycopg.connect(url) as connection:
        connection.execute(statements.encode())
