"""All commands, brought into the application in the order in which its help lists them, and the run of one."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from turnlog.cli import reading, trees, following, changing, erasing, moving, chat, serving, schema, checking  # noqa: F401  # isort: skip
from turnlog.cli.app import app

__all__ = ["run"]


def run(arguments: Sequence[str] | None) -> int:
    """Run the command line and give the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # A stored text may hold what this terminal's encoding does not.
            stream.reconfigure(errors="backslashreplace")
    try:
        typer.main.get_command(app)(arguments, prog_name="turnlog")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
