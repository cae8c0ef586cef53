"""Asking before something is erased."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from turnlog.cli import safe


def ask(told: Sequence[str], question: str, *, yes: bool) -> None:
    """Print on stderr what will be lost, one line each, and ask; ``yes`` answers beforehand.

    Ends with status 1 for a no, and with 2 where there is no terminal to ask on.
    """
    for each in told:
        print(safe.line(each), file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        print("refused: there is no terminal to ask on; --yes does it without asking", file=sys.stderr)
        raise typer.Exit(2)
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer not in ("y", "yes"):
        print("nothing was changed", file=sys.stderr)
        raise typer.Exit(1)
