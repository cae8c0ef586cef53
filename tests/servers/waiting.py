"""What all servers of the tests need: a free port, a process that has come up, and patience."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""Within which a server must answer, and several must have found each other."""


def wait_until(done: Callable[[], bool], otherwise: Callable[[], str], *, seconds: float = SECONDS) -> None:
    """Look again and again until it is done. RuntimeError with a text after so many seconds."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            raise RuntimeError(otherwise())
        time.sleep(0.02)


def launch(
    command: Sequence[str | Path], folder: Path, answers: Callable[[], bool], *, install: str, **options: Any
) -> subprocess.Popen[bytes]:
    """A server that answers; it writes to the file ``log`` of the folder.

    RuntimeError where it does not come up: with the end of the log, and with ``install``, how to get a server that does.
    """
    log, instead = folder / "log", f"if this server cannot run here, install another: {install}"
    with log.open("ab") as output:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
        except OSError as error:
            raise RuntimeError(f"{command[0]}: {error}\n{instead}") from error
    try:
        wait_until(lambda: process.poll() is not None or answers(), lambda: "it does not answer")
        if process.poll() is not None:
            raise RuntimeError(f"it ended with {process.returncode}")
    except BaseException as error:
        process.kill()
        process.wait()
        if isinstance(error, RuntimeError):
            raise RuntimeError(f"{command[0]}: {error}\n{log.read_text()[-3000:]}\n{instead}") from error
        raise
    return process


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
