"""Passwords in store URLs: whatever is wrong with a URL or with the server behind it, no error shows any part of one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.backends.conftest import Driven
from turnlog.backends.addresses import fault, hosts_of, shown
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend
from turnlog.backends.redis import RedisBackend
from turnlog.backends.redis.opening import RedisUrlError
from turnlog.errors import BackendUnavailableError, SessionError, UnsupportedVerbError
from turnlog.session import open_async_store, open_store
from turnlog.session.databases import ENGINES
from turnlog.session.opening import StoreUrlError, schema_text

SCHEMES = ["json", "sqlite", "memory", *ENGINES, "nosuch"]
AWAY = "127.0.0.1:1"
"""Where no server listens."""
URLS = [
    "{scheme}://me:{password}@127.0.0.1:1/0",
    "{scheme}://me:{password}@127.0.0.1:port/0",
    "{scheme}://me:{password}@127.0.0.1",
    "{scheme}://:{password}@[::1/0",
    "{scheme}://me:{password}@127.0.0.1:1/0?ttl=never",
    "{scheme}://me:{password}@127.0.0.1:1/0?wait=x&pool_size=x&durability=x",
    "{scheme}://127.0.0.1:1/0?password={password}&wait=x&pool_size=x",
    "{scheme}://127.0.0.1:1/0?ttl=never&password={password}",
    "{scheme}:me:{password}@127.0.0.1",
    "{scheme}:me:{password}",
    "me:{password}@127.0.0.1/0?x={scheme}://",
    "host=127.0.0.1 user=me password={password}",
    "host=127.0.0.1 user=me passwd = '{password}'",
]
PASSWORDS = [
    "jqxk8",
    "jqx/k87",
    "jqx#k87",
    "jqx?k87",
    "jqx@k87",
    "jqx:k87",
    "jqx%k87",
    "jqx k87",
    "%87%8Fjqx",
    "jqx\udc87kq",
    "jqxü℀k87",
    "[jqxk",
    "jqx]kq",
    "789/897",
    "789?897",
    "789#897",
    "789@897",
    "789/jqx@897",
    "jqx?ttl=kqx",
    "87?ttl=-789&x",
    "jqx?pool_size=kqx",
]


def said(error: BaseException | None) -> str:
    """All that an error shows: its text, its attributes, and the texts of the causes that a traceback prints."""
    shows = [repr(vars(error))]
    while error is not None:
        shows += [str(error), repr(error)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(shows)


def check_hidden(password: str, error: BaseException) -> None:
    """Three characters of the password on end are nowhere in it, but for marks alone and for what the URL says elsewhere."""
    parts = [password[at : at + 3] for at in range(len(password) - 2)]
    assert [part for part in parts if part in said(error) and any(map(str.isalnum, part)) and part not in "?ttl=?pool_size="] == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("opens", [open_store, open_async_store, schema_text])
def test_no_part_of_a_password_is_shown(scheme: str, opens: Callable[[str], Any]) -> None:
    refused = 0
    for url in URLS:
        for password in PASSWORDS:
            try:
                opens(url.format(scheme=scheme, password=password))
            except SessionError as error:
                refused += 1
                check_hidden(password, error)
    # Of what is well formed much is taken, and memory:// takes nearly all.
    assert refused > len(PASSWORDS) * 5


@pytest.mark.parametrize("scheme", SCHEMES)
@settings(max_examples=60, deadline=None)
@given(password=st.text("jqxk789/#?@:% []ü℀", min_size=3, max_size=12), url=st.sampled_from(URLS))
def test_no_part_of_any_password_is_shown(scheme: str, password: str, url: str) -> None:
    try:
        open_async_store(url.format(scheme=scheme, password=password))
    except SessionError as error:
        check_hidden(password, error)


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "mongodb", "postgresql"])
@pytest.mark.parametrize("password", PASSWORDS)
def test_no_part_of_a_password_is_shown_by_a_server_that_is_away(scheme: str, password: str) -> None:
    kind = "" if ENGINES[scheme][2] == "redis" else "?timeout=0.05"
    with pytest.raises(SessionError) as caught:
        with open_store(f"{scheme}://me:{password}@{AWAY}/0{kind}") as store:
            store.get_messages("s")
    check_hidden(password, caught.value)
    if password == PASSWORDS[0]:
        assert isinstance(caught.value, BackendUnavailableError)
        assert caught.value.host == AWAY  # type: ignore[attr-defined]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    ("kind", "url"),
    [
        (MongoBackend, "mongodb://me:{}@127.0.0.1:1/0"),
        (MongoBackend, "mongo:me:{}@127.0.0.1:1/0"),
        (PostgresBackend, "postgresql://me:{}@127.0.0.1:1/0"),
        (PostgresBackend, "postgres:me:{}@127.0.0.1:1/0"),
        (PostgresBackend, "host=127.0.0.1 port=1 user=me password={}"),
        (RedisBackend, "redis://me:{}@127.0.0.1:1/0"),
        (RedisBackend, "redis+sentinel://me:{}@127.0.0.1:port/service"),
        (RedisBackend, "redis:me:{}@127.0.0.1:1/0"),
        (PostgresBackend, "host=127.0.0.1 port=1 user=me password='{}' nonsense"),
    ],
)
def test_a_backend_that_is_given_an_address_hides_it_too(kind: Callable[..., Any], url: str, password: str) -> None:
    def look() -> None:
        backend = Driven(kind(url.format(password), timeout=0.05))
        try:
            backend.get_head("s")
        finally:
            backend.close()

    with pytest.raises((UnsupportedVerbError, BackendUnavailableError, RedisUrlError)) as caught:
        look()
    check_hidden(password, caught.value)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_name_that_cannot_be_resolved_is_a_server_that_is_away(asynchronous: bool) -> None:
    async def look() -> None:
        backend = MongoBackend("mongodb+srv://me:jqxk8@nowhere.invalid/d", asynchronous=asynchronous, timeout=1.0)
        try:
            await backend.get_head("s")
        finally:
            await backend.close()

    with pytest.raises(BackendUnavailableError, match="nowhere.invalid cannot be resolved") as caught:
        asyncio.run(look())
    assert caught.value.host == "nowhere.invalid"  # type: ignore[attr-defined]
    check_hidden("jqxk8", caught.value)


class TestAddresses:
    @pytest.mark.parametrize("url", ["foo", "/plain/path", "json:/one/slash", "sqlite:s.sqlite", "json://x", "sqlite:///d/f?ttl=x&cache=1"])
    def test_what_holds_no_password_is_shown(self, url: str) -> None:
        assert shown(url) == repr(url)

    @pytest.mark.parametrize(
        "url", ["json://me:pw@x", "redis:me:pw", "me:pw", "host=x", "sqlite:///f?password=pw", "json:///f?pwd=pw", "a pw@b", "x?y://pw"]
    )
    def test_what_may_hold_one_is_not(self, url: str) -> None:
        assert "pw" not in shown(url)
        assert shown(url).startswith("this")

    @pytest.mark.parametrize(
        ("url", "hosts"),
        [
            ("redis://host", "host"),
            ("redis://:p@ss@host:1/0", "host:1"),
            ("rediss://me:p%2Fw%40@[::1]:6379/0?prefix=a%40b", "[::1]:6379"),
            ("redis+sentinel://me:pw@a:1,b/service/0", "a:1,b"),
            ("mongodb://me:p#w@a:1,[::1]:2,c/d?replicaSet=x", "a:1,[::1]:2,c"),
            ("mongodb://%2Ftmp%2Fmongodb-27017.sock/d", "%2Ftmp%2Fmongodb-27017.sock"),
            ("mongodb+srv://me:p%3Fw@cluster.example/?w=1", "cluster.example"),
            ("postgresql://me:p#w@a:1,b:2/d?options=-c%20x%3Dy", "a:1,b:2"),
            ("postgresql:///d?host=/run/postgresql", ""),
        ],
    )
    def test_hosts_are_told_from_the_rest(self, url: str, hosts: str) -> None:
        assert fault(url) is None
        assert hosts_of(url) == hosts

    @pytest.mark.parametrize(
        ("url", "way"),
        [
            ("redis://me:p#w@host", "%23 for #"),
            ("redis://me:p/w@host", "%2F for /"),
            ("mongodb://me:p?w@host", "%3F for ?"),
            ("postgresql://me:p@w@host", "%40 for @"),
            ("redis://me:[pw@host", "percent form"),
            ("redis://host:pw", "no number"),
            ("mongodb://me:pw", "no number"),
        ],
    )
    def test_a_fault_names_the_way_out(self, url: str, way: str) -> None:
        found = fault(url)
        assert found is not None
        assert way in found
        with pytest.raises(StoreUrlError, match=r"this .*:// URL cannot be taken") as caught:
            open_store(url)
        assert way in str(caught.value)
        assert "pw" not in str(caught.value)
