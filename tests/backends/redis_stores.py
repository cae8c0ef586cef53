"""Stores on a Redis server as the verification kit opens them, also from other processes: at the top of a module, with the URL bound."""

from __future__ import annotations

from pathlib import Path

from redis import Redis

from turnlog.backends.redis import RedisBackend, open_backend
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore


def sync_store(url: str, place: Path, max_messages: int | None = None) -> SessionStore:
    """The store of a place: its prefix is named after the place."""
    return SessionStore(backend_at(url, place, asynchronous=False), max_messages)


def async_store(url: str, place: Path, max_messages: int | None = None) -> AsyncSessionStore:
    """``sync_store`` for event loops."""
    return AsyncSessionStore(backend_at(url, place, asynchronous=True), max_messages)


def backend_at(url: str, place: Path, *, asynchronous: bool) -> RedisBackend:
    """The backend of a place that is there."""
    mark = "&" if "?" in url else "?"
    return open_backend(f"{url}{mark}prefix={prefix_of(place.resolve(strict=True))}", asynchronous=asynchronous)


def prefix_of(place: Path) -> str:
    """The prefix of the store of a place."""
    return "-".join(place.parts[-2:])


FORMAT_1 = (
    ("HSET", "{P}:format", "format", "1", "shards", "1"),
    ("HSET", "{P.0}:h:s", "counter", "3", "agent", "A", "updated", "1795701747.1951222", "offset", "-2", "length", "4", "run", "e134"),
    (
        "HSET",
        "{P.0}:h:s",
        "body",
        '{"born":"0f98","created_at":1795701747.1932282,"past":[],"past_count":0,"path":null,"tail":0,"shed":2,"fields":{"agent_name":"A"}}',
    ),
    ("HSET", "{P.0}:h:f", "counter", "0", "updated", "1795701747.1957877", "offset", "2", "length", "0", "run", "c42b", "parent", "s"),
    (
        "HSET",
        "{P.0}:h:f",
        "body",
        '{"born":"98c0","created_at":1795701747.1957877,"past":[["e134",0,4]],"past_count":4,"path":null,"tail":0,"shed":2,'
        '"parent":["s","0f98","e134",1],"fields":{"title":"F"}}',
    ),
    ("HSET", "{P.0}:r:e134", "2", '1795701747.1937716\n{"role":"user","content":"q1"}\n\nq1'),
    ("HSET", "{P.0}:r:e134", "3", '1795701747.1937993\n{"role":"assistant","content":"a1"}\n\na1'),
    ("HSET", "{P.0}:i:e134", "q1", "2", "a1", "3"),
    (
        "HSET",
        "{P.0}:w:snapshot:e134",
        "b466",
        '1\n{"past": [["", 0, 4]], "count": 4, "path": null, "index": 1, "label": "mark", "metadata": {}, "created_at": 1795701747.195285}',
    ),
    ("SET", "{P.0}:n", "1"),
    ("HSET", "{P.0}:c:e134", "c42b", '["s", "e134", "f", "c42b", 4]'),
    ("SADD", "{P.0}:c", "e134"),
    ("ZADD", "{P.0}:x:a:A", "1795701747.1951222", "s"),
    ("ZADD", "{P.0}:x:p:s", "1795701747.1957877", "f"),
    ("ZADD", "{P.0}:x:n", "0", "f", "0", "s"),
    ("ZADD", "{P.0}:x:t", "1795701747.1951222", "s", "1795701747.1957877", "f"),
)
"""What format 1 wrote for two turns of a session that keeps two messages, a snapshot and a fork of it; the prefix is P."""


def write_format_1(client: Redis, prefix: str) -> None:
    """Make a store as format 1 had it: the sessions "s" and "f", each of the messages q1 and a1."""
    for command, key, *values in FORMAT_1:
        client.execute_command(command, key.replace("{P", f"{{{prefix}"), *values)
