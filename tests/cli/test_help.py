"""Every command explains itself, and docs/cli.md says the same."""

from __future__ import annotations

import re

import pytest
from typer.main import get_command

from tests.cli.help_page import BLOCK, PAGE, commands, help_of, with_help
from turnlog.cli.chat import HELP as CHAT_HELP
from turnlog.cli.commands import app


def test_the_page_is_what_the_commands_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert [found["command"] for found in BLOCK.finditer(page)] == commands(), "docs/cli.md has a block of help for each command, in order"
    assert page == with_help(page), "write it anew: python -m tests.cli.help_page"


def test_the_page_has_what_the_chat_itself_takes() -> None:
    assert f"```text\n{CHAT_HELP}\n```" in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", commands())
def test_help_is_complete(name: str) -> None:
    text = help_of(name)
    command = get_command(app)
    if name:
        command = command.commands[name]  # type: ignore[attr-defined]
    for each in command.params:
        assert getattr(each, "help", None), f"{each.name} says nothing"
        assert any(name in text for name in (*each.opts, each.metavar) if name), f"{each.name} is not in the help"
    assert "Examples:" in text
    assert re.search(rf"^    .*turnlog .*{name}", text, re.MULTILINE)
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_list_of_commands_cuts_no_sentence() -> None:
    assert "..." not in help_of("").partition("Commands:")[2]


def test_what_reads_has_json() -> None:
    for name in ("list", "show", "search", "diff", "tree", "tail", "snapshot", "doctor", "verify"):
        assert "--json" in help_of(name), name


def test_what_destroys_has_yes() -> None:
    for name in ("delete", "erase", "revert", "snapshot", "import"):
        assert "--yes" in help_of(name), name
    assert "--yes" not in help_of("undo")
