"""What a Redis URL says of the connections: options, logins and services of Cluster and Sentinel, and what is said where they are wrong."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from tests.backends.lines import said
from tests.servers.redis import RedisServer, running, running_cluster, running_sentinel, shared_url
from turnlog.backends.redis import RedisBackend, open_backend, schema_text
from turnlog.backends.redis.opening import RedisUrlError
from turnlog.errors import BackendUnavailableError, StorageError
from turnlog.session import AsyncRedisSessionStore, RedisSessionStore, open_store
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

RIGHT, WRONG, OF_SENTINEL = "open-it", "hunter2", "sesame"
ALL_RIGHTS = ("~*", "+@all")


class Watched(NamedTuple):
    """A primary, and the port of the Sentinel that names it, which has a password of its own."""

    primary: RedisServer
    port: int


def admit(server: RedisServer, *rights: str) -> RedisServer:
    """The server, which from now on knows the user ``me``."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "on", f">{RIGHT}", *rights)
    return server


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """One server."""
    with running("valkey") as made:
        yield admit(made, *ALL_RIGHTS)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisServer]:
    """The one server of a Cluster."""
    with running_cluster("valkey", 1) as (made,):
        yield admit(made, *ALL_RIGHTS)


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched]:
    """A Sentinel group."""
    with ExitStack() as stack:
        primary = admit(stack.enter_context(running("valkey")), *ALL_RIGHTS)
        stack.enter_context(running("valkey", "--replicaof", f"127.0.0.1 {primary.port}"))
        port = stack.enter_context(running_sentinel("valkey", primary, "sessions"))
        with redis.Redis(host="127.0.0.1", port=port) as admin:
            admin.execute_command("ACL", "SETUSER", "default", f">{OF_SENTINEL}")
        yield Watched(primary, port)


@pytest.fixture(params=["sync", "async"])
def asynchronous(request: pytest.FixtureRequest) -> bool:
    """Whether the store is one for event loops."""
    return bool(request.param == "async")


def kept_by(backend: RedisBackend) -> list[dict[str, Any]]:
    """The history of a session that was given a message, by a store that is closed then."""

    async def keep() -> list[dict[str, Any]]:
        async with AsyncSessionStore(backend) as store:
            await store.add_message("s", "user", "x")
            return await store.get_chat_history("s")

    if not backend.blocking:
        return asyncio.run(keep())
    with SessionStore(backend) as store:
        store.add_message("s", "user", "x")
        return store.get_chat_history("s")


def kept(url: str, prefix: str, *, asynchronous: bool) -> list[dict[str, Any]]:
    """The same at ``url``."""
    return kept_by(open_backend(f"{url}{'&' if '?' in url else '?'}prefix={prefix}", asynchronous=asynchronous))


STORED = [{"role": "user", "content": "x"}]


# Logins -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["server", "cluster"])
@pytest.mark.parametrize("login", [f"me:{WRONG}@", f"nobody:{RIGHT}@"])
def test_a_wrong_login_is_no_server_that_is_away(
    request: pytest.FixtureRequest, redis_prefix: str, kind: str, login: str, asynchronous: bool
) -> None:
    port = request.getfixturevalue(kind).port
    scheme = "redis+cluster" if kind == "cluster" else "redis"
    with pytest.raises(StorageError, match=f"127.0.0.1:{port} refuses the name or the password") as caught:
        kept(f"{scheme}://{login}127.0.0.1:{port}", redis_prefix, asynchronous=asynchronous)
    assert not isinstance(caught.value, BackendUnavailableError)
    assert WRONG not in said(caught.value)
    assert RIGHT not in said(caught.value)


def test_a_missing_login_too(cluster: RedisServer, redis_prefix: str, asynchronous: bool) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster.port}"
    with redis.Redis(port=cluster.port, username="me", password=RIGHT) as admin:
        admin.config_set("requirepass", "another")
        try:
            with pytest.raises(StorageError, match="refuses the name or the password"):
                kept(url, redis_prefix, asynchronous=asynchronous)
        finally:
            admin.config_set("requirepass", "")
    assert kept(url, redis_prefix, asynchronous=asynchronous) == STORED


def test_the_rights_that_the_schema_names_are_enough_on_a_cluster(cluster: RedisServer, redis_prefix: str, asynchronous: bool) -> None:
    url = f"redis+cluster://few:{RIGHT}@127.0.0.1:{cluster.port}"
    rights = next(line for line in schema_text(f"{url}?prefix={redis_prefix}").splitlines() if "ACL SETUSER" in line)
    with cluster.client() as admin:
        given = rights.split("<name>")[1].split()
        admin.execute_command("ACL", "SETUSER", "few", "reset", "on", f">{RIGHT}", *given)
        assert kept(url, redis_prefix, asynchronous=asynchronous) == STORED
        admin.execute_command("ACL", "SETUSER", "few", "-cluster|slots")
    with pytest.raises(StorageError, match="NOPERM"):
        kept(url, redis_prefix, asynchronous=asynchronous)


# Cluster ----------------------------------------------------------------------------------------------------------------


def test_ssl_false_is_no_tls(cluster: RedisServer, redis_prefix: str, asynchronous: bool) -> None:
    options = "ssl=false&require_full_coverage=no&dynamic_startup_nodes=true"
    url = f"redis+cluster://me:{RIGHT}@127.0.0.1:{cluster.port}?{options}"
    assert kept(url, redis_prefix, asynchronous=asynchronous) == STORED


def test_a_server_that_is_no_cluster_says_so(server: RedisServer, redis_prefix: str, asynchronous: bool) -> None:
    with pytest.raises(StorageError, match="is no Cluster"):
        kept(f"redis+cluster://127.0.0.1:{server.port}", redis_prefix, asynchronous=asynchronous)


# Sentinel ---------------------------------------------------------------------------------------------------------------


def test_options_in_the_url_are_for_the_primary(watched: Watched, redis_prefix: str, asynchronous: bool) -> None:
    login = f"me:{RIGHT}@127.0.0.1:{watched.port}"
    url = f"redis+sentinel://{login}/sessions/3?sentinel_password={OF_SENTINEL}&client_name=it-is-me&prefix={redis_prefix}"
    backend = open_backend(url, asynchronous=asynchronous)
    seen: list[dict[str, Any]] = []

    async def look() -> None:
        async with AsyncSessionStore(backend) as store:
            await store.add_message("s", "user", "x")
            seen.extend(clients())

    def clients() -> list[dict[str, Any]]:
        with watched.primary.client() as admin:
            return [client for client in admin.client_list() if client["name"] == "it-is-me"]

    if asynchronous:
        asyncio.run(look())
    else:
        with SessionStore(backend) as store:
            store.add_message("s", "user", "x")
            seen.extend(clients())
    assert [(client["user"], client["db"]) for client in seen] == [("me", "3")]


@pytest.mark.parametrize(
    ("login", "service", "options", "text"),
    [
        (f"me:{WRONG}@", "sessions", f"sentinel_password={OF_SENTINEL}", "refuses the name or the password: check the URL"),
        (
            "",
            "sessions",
            f"sentinel_password={OF_SENTINEL}&username=me&password={WRONG}",
            "refuses the name or the password: check the URL",
        ),
        (f"me:{RIGHT}@", "sessions", f"sentinel_password={WRONG}", "refuses the name or the password of Sentinel"),
        (f"me:{RIGHT}@", "others", f"sentinel_username=default&sentinel_password={OF_SENTINEL}", "know no such service"),
    ],
)
def test_what_is_wrong_with_a_sentinel_url_is_said(
    watched: Watched, redis_prefix: str, asynchronous: bool, login: str, service: str, options: str, text: str
) -> None:
    with pytest.raises(StorageError, match=text) as caught:
        kept(f"redis+sentinel://{login}127.0.0.1:{watched.port}/{service}/0?{options}", redis_prefix, asynchronous=asynchronous)
    assert isinstance(caught.value, BackendUnavailableError) == ("service" in text)
    for secret in (WRONG, RIGHT, OF_SENTINEL):
        assert secret not in said(caught.value)


def test_a_login_among_the_options(watched: Watched, redis_prefix: str, asynchronous: bool) -> None:
    options = f"username=me&password={RIGHT}&sentinel_password={OF_SENTINEL}"
    url = f"redis+sentinel://127.0.0.1:1,127.0.0.1:{watched.port}/sessions?{options}"
    assert kept(url, redis_prefix, asynchronous=asynchronous) == STORED


# Clients of the user's --------------------------------------------------------------------------------------------------


def test_a_cluster_client_stays_open(cluster: RedisServer, redis_prefix: str) -> None:
    with redis.RedisCluster(host="127.0.0.1", port=cluster.port) as client:
        assert kept_by(RedisBackend(client=client, prefix=redis_prefix)) == STORED
        assert client.ping()


def test_an_async_cluster_client_stays_open(cluster: RedisServer, redis_prefix: str) -> None:
    async def use() -> None:
        async with redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.port) as client:
            async with AsyncSessionStore(RedisBackend(client=client, prefix=redis_prefix)) as store:
                await store.add_message("s", "user", "x")
                assert await store.get_chat_history("s") == STORED
            assert await client.ping()

    asyncio.run(use())


def test_a_client_from_sentinel_stays_open_and_an_error_names_its_sentinels(watched: Watched, redis_prefix: str) -> None:
    of: Any = redis.sentinel.Sentinel
    asked = of([("127.0.0.1", watched.port)], sentinel_kwargs={"password": OF_SENTINEL})
    with asked.sentinels[0], asked.master_for("sessions") as client, asked.master_for("others") as other:
        assert kept_by(RedisBackend(client=client, prefix=redis_prefix)) == STORED
        assert client.ping()
        with pytest.raises(BackendUnavailableError, match=f"127.0.0.1:{watched.port} know no such service"):
            kept_by(RedisBackend(client=other, prefix=redis_prefix))


def test_an_async_client_from_sentinel_stays_open(watched: Watched, redis_prefix: str) -> None:
    async def use() -> None:
        of: Any = redis.asyncio.sentinel.Sentinel
        asked = of([("127.0.0.1", watched.port)], sentinel_kwargs={"password": OF_SENTINEL})
        async with asked.sentinels[0], asked.master_for("sessions") as client:
            async with AsyncSessionStore(RedisBackend(client=client, prefix=redis_prefix)) as store:
                await store.add_message("s", "user", "x")
                assert await store.get_chat_history("s") == STORED
            assert await client.ping()

    asyncio.run(use())


# URLs -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "redis://host?ssl=maybe",
        "redis://host?ssl=",
        "redis://host?ssl",
        "redis://host?client_name=",
        "redis+sentinel://host/service/0?password=",
        "redis://host?search=yes",
        "rediss://host?ssl=false",
        "rediss://host?ssl_cert_reqs=perhaps",
        "redis://host?ssl_ca_certs=/file",
        "unix:///socket?ssl=true",
        "redis+cluster://host?no_such_option=1",
        "redis+cluster://host?ssl_ca_certs=/file",
        "redis+cluster://host?read_from_replicas=perhaps",
        "redis+cluster://host?retry=3",
        "redis+cluster://host/1",
        "redis+cluster://host/chats",
        "redis+sentinel://host",
        "redis+sentinel://host/",
        "redis+sentinel://host//0",
        "redis+sentinel://host/service/chats",
        "redis+sentinel://host/service/0?no_such_option=1",
        "redis+sentinel://host/service/0?ssl_ca_certs=/file",
        "redis+sentinel://host/service/0?is_master=false",
        "redis+sentinel://host/service/0?socket_timeout=long",
        "redis://host:99999",
        "redis://[host",
    ],
)
def test_what_would_have_no_effect_is_refused(url: str, asynchronous: bool) -> None:
    with pytest.raises(RedisUrlError):
        open_backend(url, asynchronous=asynchronous)


@pytest.mark.parametrize(
    "url",
    ["redis://me:hunt/er2@host", "redis://me:hunt?er2@host", "redis://me:1#er2@host/0", "redis://me:1/hunter2@host", "redis://:h[er2@host"],
)
def test_a_password_that_takes_a_url_apart_is_not_shown(url: str) -> None:
    with pytest.raises(RedisUrlError) as caught:
        open_backend(url, asynchronous=False)
    assert "hunt" not in said(caught.value)
    assert "er2" not in said(caught.value)


def test_a_cluster_option_that_redis_py_would_drop_is_named() -> None:
    with pytest.raises(RedisUrlError, match="ssl_ciphers"):
        open_backend("rediss+cluster://host?ssl_ciphers=ALL", asynchronous=False)


def test_a_socket(redis_prefix: str, asynchronous: bool) -> None:
    with running("valkey") as made:
        place = made.folder / "socket"
        made.kill()
        made.start("--unixsocket", str(place))
        assert kept(f"unix://{place}?db=2", redis_prefix, asynchronous=asynchronous) == STORED
    with pytest.raises(BackendUnavailableError, match="the path of the socket"):
        kept(f"unix://{place}", redis_prefix, asynchronous=asynchronous)


def test_something_that_is_no_redis(redis_prefix: str, asynchronous: bool) -> None:
    def serve() -> None:
        for _ in range(2):
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(BackendUnavailableError, match="does not speak as Redis does"):
            kept(f"redis://127.0.0.1:{listener.getsockname()[1]}", redis_prefix, asynchronous=asynchronous)
        thread.join()


def test_search_is_taken_and_changes_nothing(redis_prefix: str) -> None:
    with RedisSessionStore(shared_url(), search=True, prefix=redis_prefix) as store:
        store.add_message("s", "user", "so many words")
        found = store.search("words")
    with open_store(f"{shared_url()}?search=1&prefix={redis_prefix}") as other:
        assert other.search("words") == found
    with open_store(f"{shared_url()}?search=0&prefix={redis_prefix}") as third:
        assert third.search("words") == found
    assert [hit.session_id for hit in found] == ["s"]

    async def look() -> Any:
        async with AsyncRedisSessionStore(shared_url(), search=True, prefix=redis_prefix) as last:
            return await last.search("words")

    assert asyncio.run(look()) == found
