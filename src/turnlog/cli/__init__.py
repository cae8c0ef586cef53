"""The command line: ``turnlog`` and ``python -m turnlog``; needs the extra ``[cli]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

EXTRA = ("typer", "rich")
NOT_INSTALLED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` for None) and give the exit status.

    0: done. 1: a SessionError, told on stderr as ``error: …``. 2: wrong usage, a refusal to ask where nobody can answer, or a package that
    is not installed. 3: ``verify`` or ``doctor`` found something. 130: interrupted.
    """
    try:
        from turnlog.cli.commands import run

        return run(arguments)
    except ModuleNotFoundError as missing:
        package = (missing.name or "").partition(".")[0]
        if package not in EXTRA:
            raise
        print(f"error: the turnlog command needs {package}: pip install 'turnlog[cli]'", file=sys.stderr)
        return NOT_INSTALLED
    except KeyboardInterrupt:
        return INTERRUPTED
