"""What the figures were measured on, without a path or a name that would tell whose machine it was."""

from __future__ import annotations

import os
import platform
import sqlite3
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def facts(scratch: Path) -> dict[str, str]:
    """Processor, memory, system, file system, versions, date."""
    known = {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "file system": file_system(scratch),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": sqlite3.sqlite_version,
        "turnlog": _turnlog(),
    }
    for package in ("praisonaiagents", "openai-agents"):
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "not installed"
    return known


def file_system(path: Path) -> str:
    """The type of the file system that ``path`` lies on, such as ext4; "unknown" where the system does not say."""
    mounts = Path("/proc/self/mountinfo")
    lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines() if mounts.exists() else []
    best, kind = -1, "unknown"
    for line in lines:
        before, _, after = line.partition(" - ")
        point = Path(before.split()[4].replace("\\040", " "))
        if path.resolve().is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), after.split()[0]
    return kind


def in_memory(path: Path) -> bool:
    """Whether ``path`` lies in memory, where waiting for the disk costs nothing."""
    return file_system(path) in ("tmpfs", "ramfs")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    models = [" ".join(line.partition(":")[2].split()) for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _turnlog() -> str:
    import turnlog

    return turnlog.__version__
