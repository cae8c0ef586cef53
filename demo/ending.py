"""The last lines: what held, which files to look at and how, and what to type next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.scenes import Outcome
from demo.stage import WIDTH, Stage, pad, wrapped

LOOK, NEXT = 58, 46
"""Columns of a command; what it shows stands behind it."""
NAME = 12


def show_ending(stage: Stage, outcomes: Mapping[str, Outcome], folder: Path, seconds: float) -> None:
    """Print the result of every scene, the commands that show its files, and the next steps."""
    held = sum(not outcome.broken for outcome in outcomes.values())
    stage.heading("RESULT", f"{held} of {len(outcomes)} promises held, in {seconds:.0f} s")
    for name, outcome in outcomes.items():
        first, *more = wrapped(" ".join(outcome.broken) or outcome.proof, WIDTH - NAME - 6)
        stage.line(f"{stage.mark(not outcome.broken)} {pad(stage.paint('bold', name), NAME)}{first}", beat=0.15)
        for line in more:
            stage.line(" " * (NAME + 2) + line)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    stage.heading("LOOK", f"at the files they left, {size / 1e6:.1f} MB")
    place = shlex.quote(str(folder))
    stage.line(f"D={place}")
    # A folder with a space in its name makes the commands longer than their column, but right.
    folder_word = "$D" if place == str(folder) else '"$D"'
    commands = [(command.replace("$D", folder_word), what) for outcome in outcomes.values() for command, what in outcome.look]
    for command, what in commands:
        _command(stage, command, what, LOOK)
    if missing := [tool for tool in ("jq", "sqlite3") if not shutil.which(tool) and any(tool in command for command, _ in commands)]:
        stage.line(stage.paint("dim", f"not installed here: {' '.join(missing)} (Debian: apt-get install {' '.join(missing)})"))
    stage.heading("NEXT", "from this folder")
    python = Path(sys.executable).name if shutil.which(Path(sys.executable).name) else sys.executable
    if "REMEMBER" in outcomes:
        _command(stage, f"{python} -m demo.chat {folder_word}/remember", "go on as Ada", NEXT)
    _command(stage, f"{python} -m demo --scene survive --seconds 20", "a longer storm", NEXT)
    _command(stage, "less README.md", "use it in your own program", NEXT)
    _command(stage, "make test", "every promise, as a test", NEXT)
    _command(stage, f"rm -r {folder_word}", "when you have seen enough", NEXT)
    stage.write("\n")


def _command(stage: Stage, command: str, what: str, width: int) -> None:
    note = stage.paint("dim", f"# {what}")
    stage.line(f"{pad(stage.paint('green', command), width)}  {note}", beat=0.05)
