"""The blocks of help in docs/cli.md, taken from the commands themselves; ``python -m tests.cli.help_page`` writes them anew."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from typer.main import get_command
from typer.testing import CliRunner

from turnlog.cli.commands import app

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
BLOCK = re.compile(r"```text\n\$ turnlog (?P<command>[a-z-]*) ?--help\n(?P<help>.*?)```\n", re.DOTALL)


def commands() -> list[str]:
    """The names of all commands; "" is the one that holds them."""
    return ["", *get_command(app).commands]  # type: ignore[attr-defined]


def help_of(command: str) -> str:
    """What ``turnlog COMMAND --help`` prints on a terminal of 100 columns."""
    arguments = [*filter(None, [command]), "--help"]
    result = CliRunner().invoke(app, arguments, prog_name="turnlog", env={"COLUMNS": "100", "TURNLOG_STORE": None})
    assert result.exit_code == 0, result.output
    return result.stdout


def with_help(page: str) -> str:
    """``page`` with each block of help as it is now."""
    return BLOCK.sub(lambda found: f"{found[0][: found.start('help') - found.start()]}{help_of(found['command'])}```\n", page)


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}", file=sys.stderr)
