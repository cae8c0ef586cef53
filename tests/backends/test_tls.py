"""Stores that speak TLS with their server, by URL and by a client of the user's own; what is said where it fails."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg_pool
import pymongo
import pytest
import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel

from tests.servers import mongodb, postgres
from tests.servers.redis import RedisServer, running, running_cluster, running_sentinel
from tests.servers.tls import HOST, Certificates, TlsFront, certificates
from turnlog.backends.mongodb import MongoBackend
from turnlog.backends.postgres import PostgresBackend
from turnlog.backends.redis import RedisBackend
from turnlog.errors import BackendUnavailableError, UnsupportedVerbError
from turnlog.session import open_async_store, open_store
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.sync import SessionStore

PASSWORD = "hunter2"
OF_SENTINEL = "sesame"


class Place(NamedTuple):
    """A server that speaks TLS."""

    url: str
    """With room for the name of the file with the authority that is trusted."""
    client: Callable[..., Any]
    """The scope of a client of one's own, given that name; with ``asynchronous`` one for event loops."""
    backend: Callable[..., Any]
    """The engine, given ``client``."""
    answers: Callable[[Any], Any]
    """What a client gives, or raises if it is closed."""
    secured: Callable[[], bool]
    """Whether TLS has been spoken."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What the servers show."""
    return certificates(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What has nothing to do with them."""
    return certificates(tmp_path_factory.mktemp("stranger"))


def login(server: RedisServer) -> dict[str, Any]:
    """Makes a user known to a Redis server: name and password."""
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "me", "on", f">{PASSWORD}", "~*", "+@all")
    return {"username": "me", "password": PASSWORD}


@contextmanager
def one_redis(made: Certificates) -> Iterator[Place]:
    """One server."""
    with running("valkey") as server, TlsFront(server.port, made) as front:
        me = login(server)

        def client(authority: str, *, asynchronous: bool) -> Any:
            of = redis.asyncio.Redis if asynchronous else redis.Redis
            return of(host=HOST, port=front.port, ssl=True, ssl_ca_certs=authority, **me)

        url = f"rediss://me:{PASSWORD}@{HOST}:{front.port}/0?ssl_ca_certs={{}}"
        yield Place(url, client, RedisBackend, lambda client: client.ping(), lambda: front.secured > 0)


@contextmanager
def a_cluster(made: Certificates) -> Iterator[Place]:
    """A Cluster whose one server tells the clients the port where TLS is spoken."""
    with running_cluster("valkey", 1) as (server,), TlsFront(server.port, made) as front:
        me = login(server)
        with server.client() as admin:
            admin.config_set("cluster-announce-port", front.port)

        def client(authority: str, *, asynchronous: bool) -> Any:
            of = redis.asyncio.RedisCluster if asynchronous else redis.RedisCluster
            return of(host=HOST, port=front.port, ssl=True, ssl_ca_certs=authority, **me)

        url = f"redis+cluster://me:{PASSWORD}@{HOST}:{front.port}?ssl=true&ssl_ca_certs={{}}"
        yield Place(url, client, RedisBackend, lambda client: client.ping(), lambda: front.secured > 0)


@contextmanager
def sentinels(made: Certificates) -> Iterator[Place]:
    """A primary and the Sentinel that names it, which has a password too."""
    with ExitStack() as stack:
        primary = stack.enter_context(running("valkey"))
        stack.enter_context(running("valkey", "--replicaof", f"{HOST} {primary.port}"))
        # Sentinel comes without TLS itself, and tells the clients the port that it uses.
        front: Any = stack.enter_context(TlsFront(primary.port, made, plain=True))
        port = stack.enter_context(running_sentinel("valkey", front, "sessions"))
        watcher = stack.enter_context(TlsFront(port, made))
        me = login(primary)
        with redis.Redis(host=HOST, port=port) as admin:
            admin.execute_command("ACL", "SETUSER", "default", f">{OF_SENTINEL}")

        def group(of: Any, authority: str) -> Any:
            return of([(HOST, watcher.port)], sentinel_kwargs={"password": OF_SENTINEL, "ssl": True, "ssl_ca_certs": authority})

        @contextmanager
        def blocking(authority: str) -> Iterator[Any]:
            asked = group(redis.sentinel.Sentinel, authority)
            with asked.sentinels[0], asked.master_for("sessions", ssl=True, ssl_ca_certs=authority, **me) as client:
                yield client

        @asynccontextmanager
        async def awaiting(authority: str) -> AsyncIterator[Any]:
            asked = group(redis.asyncio.sentinel.Sentinel, authority)
            async with asked.sentinels[0], asked.master_for("sessions", ssl=True, ssl_ca_certs=authority, **me) as client:
                yield client

        def client(authority: str, *, asynchronous: bool) -> Any:
            return awaiting(authority) if asynchronous else blocking(authority)

        url = f"rediss+sentinel://me:{PASSWORD}@{HOST}:{watcher.port}/sessions/0?sentinel_password={OF_SENTINEL}&ssl_ca_certs={{}}"
        yield Place(url, client, RedisBackend, lambda client: client.ping(), lambda: front.secured > 0 < watcher.secured)


@contextmanager
def a_postgres(made: Certificates) -> Iterator[Place]:
    """A server that also takes connections without TLS; verify-full makes none."""
    with postgres.server(fsync="off") as server:
        owner = server.data.stat()
        for name, source in (("server.crt", made.server), ("server.key", made.key)):
            place = server.data / name
            shutil.copy(source, place)
            place.chmod(0o600)
            os.chown(place, owner.st_uid, owner.st_gid)
        server.ask("ALTER SYSTEM SET ssl = on")
        server.ask("SELECT pg_reload_conf()")
        url = server.url + "?sslmode=verify-full&sslrootcert={}"

        def client(authority: str, *, asynchronous: bool) -> Any:
            of: Any = psycopg_pool.AsyncConnectionPool if asynchronous else psycopg_pool.ConnectionPool
            return of(url.format(authority), min_size=1, max_size=2, open=False)

        backend = partial(PostgresBackend, durability="process")
        yield Place(f"{url}&timeout=2&durability=process", client, backend, lambda pool: pool.check(), lambda: True)


@contextmanager
def a_mongodb(made: Certificates) -> Iterator[Place]:
    """A server that takes no connection without TLS."""
    with mongodb.server("--tlsMode", "requireTLS", "--tlsCertificateKeyFile", str(made.both)) as server:

        def client(authority: str, *, asynchronous: bool) -> Any:
            of: Any = pymongo.AsyncMongoClient if asynchronous else pymongo.MongoClient
            return of(server.url, tls=True, tlsCAFile=authority)

        yield Place(
            f"{server.url}?tls=true&tlsCAFile={{}}&timeout=1",
            client,
            MongoBackend,
            lambda client: client.admin.command("ping"),
            lambda: True,
        )


ENGINES = {"redis": one_redis, "cluster": a_cluster, "sentinel": sentinels, "postgres": a_postgres, "mongodb": a_mongodb}


@pytest.fixture(scope="module", params=ENGINES)
def place(request: pytest.FixtureRequest, made: Certificates) -> Iterator[Place]:
    """Each of the servers."""
    with ENGINES[request.param](made) as running:
        yield running


@pytest.fixture(scope="module")
def redis_place(made: Certificates) -> Iterator[Place]:
    """One Redis server."""
    with one_redis(made) as running:
        yield running


@contextmanager
def deaf(answer: bytes) -> Iterator[int]:
    """The port of a server that answers so to all that it is sent, or not at all."""

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            clients.append(client)
            client.recv(4096)
            client.sendall(answer)

    clients: list[socket.socket] = []
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    for client in clients:
        client.close()


async def kept(store: AsyncSessionStore) -> list[dict[str, Any]]:
    """The history of a new session that was given a message."""
    name = uuid4().hex
    await store.add_message(name, "user", "x")
    return await store.get_chat_history(name)


def kept_by(url: str, *, asynchronous: bool) -> list[dict[str, Any]]:
    """The same on the store at ``url``, which is closed then."""

    async def keep() -> list[dict[str, Any]]:
        async with open_async_store(url) as store:
            return await kept(store)

    if asynchronous:
        return asyncio.run(keep())
    with open_store(url) as store:
        name = uuid4().hex
        store.add_message(name, "user", "x")
        return store.get_chat_history(name)


STORED = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_store_by_url(place: Place, made: Certificates, asynchronous: bool) -> None:
    assert kept_by(place.url.format(made.authority), asynchronous=asynchronous) == STORED
    assert place.secured()


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_certificate_that_is_not_trusted_is_refused(place: Place, stranger: Certificates, asynchronous: bool) -> None:
    with pytest.raises(BackendUnavailableError) as caught:
        kept_by(place.url.format(stranger.authority), asynchronous=asynchronous)
    assert PASSWORD not in str(caught.value)
    assert OF_SENTINEL not in str(caught.value)
    hints = {"redis": ["TLS", "ssl_ca_certs"], "mongodb": ["TLS", "tlsCAFile"], "postgresql": ["SSL", "certificate"]}
    for hint in next(words for scheme, words in hints.items() if place.url.startswith(scheme)):
        assert hint in str(caught.value)
    if "sentinel" not in place.url:
        assert caught.value.__cause__ is not None


def test_a_client_of_ones_own(place: Place, made: Certificates) -> None:
    with place.client(str(made.authority), asynchronous=False) as client:
        with SessionStore(place.backend(client=client)) as store:
            store.add_message("own", "user", "x")
            assert store.get_chat_history("own") == STORED
            store.delete_session("own")
        place.answers(client)


def test_an_async_client_of_ones_own(place: Place, made: Certificates) -> None:
    async def use() -> None:
        async with place.client(str(made.authority), asynchronous=True) as client:
            async with AsyncSessionStore(place.backend(client=client)) as store:
                assert await kept(store) == STORED
            await place.answers(client)

    asyncio.run(use())


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", ["", "+cluster"])
def test_tls_with_a_redis_server_that_speaks_none(kind: str, asynchronous: bool) -> None:
    with deaf(b"-ERR unknown command\r\n") as port, pytest.raises(BackendUnavailableError, match="TLS with .* failed"):
        kept_by(f"rediss{kind}://me:{PASSWORD}@{HOST}:{port}", asynchronous=asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", ["", "+cluster"])
def test_tls_with_a_redis_server_that_waits_for_the_end_of_a_command(kind: str, asynchronous: bool) -> None:
    limits = "socket_timeout=0.2&socket_connect_timeout=0.2"
    with deaf(b"") as port, pytest.raises(BackendUnavailableError, match="TLS is asked for"):
        kept_by(f"rediss{kind}://me:{PASSWORD}@{HOST}:{port}?{limits}", asynchronous=asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("kind", ["", "+cluster"])
def test_no_tls_with_a_redis_server_that_wants_it(redis_place: Place, kind: str, asynchronous: bool) -> None:
    port = urlsplit(redis_place.url).port
    with pytest.raises(BackendUnavailableError, match="whether it wants TLS"):
        kept_by(f"redis{kind}://me:{PASSWORD}@{HOST}:{port}", asynchronous=asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_the_user_is_handling_is_no_cause(asynchronous: bool) -> None:
    try:
        raise ssl.SSLError(1, "of something else")
    except ssl.SSLError:
        with pytest.raises(BackendUnavailableError, match="cannot be reached"):
            kept_by(f"redis://{HOST}:1", asynchronous=asynchronous)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_certificates_that_are_not_there(redis_place: Place, asynchronous: bool) -> None:
    with pytest.raises(BackendUnavailableError, match="ssl_ca_certs"):
        kept_by(redis_place.url.format("/no/such/file"), asynchronous=asynchronous)
    with pytest.raises(UnsupportedVerbError, match="address or the options"):
        kept_by(f"mongodb://me:{PASSWORD}@{HOST}:1/db?tls=true&tlsCAFile=/no/such/file", asynchronous=asynchronous)
