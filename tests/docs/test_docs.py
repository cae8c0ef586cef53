"""Every python block of the README and of docs/ runs as it stands, in a home that was empty, with no key and no warning."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FENCE = re.compile(r"^(?P<indent> *)(?P<marks>`{3,}|~{3,})(?P<info>.*)$")
LINK = re.compile(r"\]\((?!\w+:)(?P<target>[^)#\s]+)")

Run = Callable[..., subprocess.CompletedProcess[str]]


def program(page: str) -> str:
    """The python blocks of a page as one program, each line where it stands in the page, so that a traceback's line numbers fit."""
    lines: list[str] = []
    closing = ""
    indent = 0
    python = False
    for line in page.splitlines():
        fence = FENCE.match(line)
        kept = ""
        if closing:
            if line.strip() == closing:
                closing = ""
            elif python:
                kept = line[indent:] if not line[:indent].strip() else line
        elif fence:
            closing, indent = fence["marks"], len(fence["indent"])
            language = fence["info"].strip().split(" ")[0]
            assert language not in ("py", "python3", "pycon"), f"write ```python, not ```{language}, so that the block is run"
            python = language == "python"
        lines.append(kept)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_run(page: Path, run_python: Run, tmp_path: Path) -> None:
    script = tmp_path / f"run_{page.stem}.py"  # not the name of a module that it imports
    script.write_text(program(page.read_text(encoding="utf-8")), encoding="utf-8")
    # Where a page names no model, the stand-in that needs no key answers.
    run_python("-W", "error", script.name, TURNLOG_MODEL="test", OPENAI_API_KEY="", ANTHROPIC_API_KEY="")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    targets = [match["target"] for match in LINK.finditer(page.read_text(encoding="utf-8"))]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_blocks_keep_their_place() -> None:
    first = "# Page\n\n```python\na = 1\n```\n\n- item\n\n  ```python\n  if a:\n      b = a\n  ```\n\n"
    text = program(first + "```sh\nmake\n```\n\n````python\nassert b == 1\n````\n")
    assert text.splitlines()[3] == "a = 1"
    assert text.splitlines()[9:11] == ["if a:", "    b = a"]
    assert "make" not in text
    assert text.splitlines()[18] == "assert b == 1"


def test_a_block_that_would_not_be_run_is_refused() -> None:
    with pytest.raises(AssertionError, match="write ```python"):
        program("```py\n1\n```\n")
