"""Who runs an open turn, and whether that process still lives."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from turnlog.store.values import OpenTurn

LEASE = 600.0
"""Seconds without a sign of life after which a turn on another machine counts as interrupted; here the process itself is looked at."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process: its machine, its number there, and when it began, as numbers are used again ("" where that cannot be told)."""

    host: str
    pid: int
    began: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return _owner(os.getpid())

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        return asdict(self)


@lru_cache(maxsize=1)
def _owner(pid: int) -> Owner:
    return Owner(socket.gethostname(), pid, _began(pid) or "")


def is_running(turn: OpenTurn) -> bool:
    """Whether someone is at work on the turn; else it is an interrupted one."""
    info = turn.info
    if info.get("state") != "running":
        return False
    if info.get("host") != socket.gethostname():
        return time.time() - turn.updated_at < LEASE
    return not has_ended(info)


def has_ended(owner: Mapping[str, Any]) -> bool:
    """Whether a process, as ``Owner.to_dict`` noted it, is one of this machine that has ended; False for another machine's."""
    if owner.get("host") != socket.gethostname():
        return False
    pid = owner.get("pid")
    began = _began(pid) if isinstance(pid, int) else None
    return began is None or began != owner.get("began")


def _began(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; "" where the system does not tell; None if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return None if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (FileNotFoundError, ProcessLookupError):
        # The second where the process ended between the opening and the reading.
        if os.path.isdir("/proc/self"):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        return ""
    return ""
