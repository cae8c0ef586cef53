"""What is said of what takes long: nothing in the first second, nothing off a terminal, a bar after that."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from turnlog.cli import progress, screen
from turnlog.cli.progress import Moving
from turnlog.cli.screen import waiting
from turnlog.transfer import Progress


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool, patience: float) -> io.StringIO:
    """Where what is said on stderr arrives."""
    out = io.StringIO()
    made = Console(file=out, force_terminal=terminal, width=100)
    for module in (progress, screen):
        monkeypatch.setattr(module, "errors", lambda: made)
        monkeypatch.setattr(module, "PATIENCE", patience)
    return out


def test_a_bar_for_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(monkeypatch, terminal=True, patience=0.0)
    with Moving() as moving:
        moving(Progress(3, 12, "sessions", "evil\x1b[2J"))
    assert "3/12" in out.getvalue()
    assert r"evil\x1b[2J" in out.getvalue()
    with Moving() as moving:
        moving(Progress(5_000_000, None, "bytes", "file"))
    assert "5.0/? MB" in out.getvalue()


@pytest.mark.parametrize(("terminal", "patience"), [(True, 1000.0), (False, 0.0)])
def test_silence_otherwise(monkeypatch: pytest.MonkeyPatch, terminal: bool, patience: float) -> None:
    out = shown(monkeypatch, terminal=terminal, patience=patience)
    with Moving() as moving:
        moving(Progress(1, 2, "sessions", "s"))
    with waiting("searching"):
        pass
    assert out.getvalue() == ""


def test_a_word_for_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(monkeypatch, terminal=True, patience=0.0)
    with waiting("searching"):
        while "searching …" not in out.getvalue():
            pass
    assert out.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in out.getvalue()
