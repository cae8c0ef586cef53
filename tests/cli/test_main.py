"""The command as a process: exit statuses, errors, pipes, colours, the pager, and life without its packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import command, on_terminal, variables
from turnlog import __version__
from turnlog.session import SessionStore


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One store is enough here: nothing depends on which."""
    (tmp_path / "place").mkdir()
    return f"sqlite://{tmp_path}/place/s.sqlite"


def ran(*arguments: str, status: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    done = subprocess.run(
        command(*arguments), env=variables(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status, f"ended with {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
    return done


def test_version() -> None:
    assert ran("--version").stdout == f"turnlog {__version__}\n"


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(package: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; from turnlog.cli import main; sys.exit(main(['list']))"
    done = subprocess.run([sys.executable, "-c", code], env=variables(), capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: the turnlog command needs {package}: pip install 'turnlog[cli]'\n"


def test_the_installed_script_is_the_same_command() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("turnlog"), "--version"], env=variables(), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, f"turnlog {__version__}\n")


def test_the_default_is_the_directory_that_praisonaiagents_uses(home: Path) -> None:
    assert "no sessions" in ran("list").stderr
    (home / "elsewhere").mkdir()
    assert "no sessions" in ran("list", TURNLOG_STORE=f"json://{home}/elsewhere").stderr
    assert "no session" in ran("show", "x", status=1).stderr


def test_the_store_is_named_before_or_after_the_command_or_by_the_environment(url: str, store: SessionStore) -> None:
    wanted = ran("--store", url, "list").stdout
    assert "trip-train" in wanted
    assert ran("list", "--store", url).stdout == wanted
    assert ran("list", TURNLOG_STORE=url).stdout == wanted
    assert ran("--store", "json:///nowhere", "list", "--store", url, TURNLOG_STORE="json:///no").stdout == wanted


def test_errors_are_one_line_and_no_traceback(url: str, store: SessionStore, tmp_path: Path) -> None:
    done = ran("--store", url, "show", "nobody", status=1)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)
    assert done.stderr.startswith("error: there is no session 'nobody'")
    assert ran("--store", "foo", "list", status=1).stderr.startswith("error: 'foo' is no store URL: write json:///dir")
    assert "No such command 'lst'. Did you mean 'list'?" in ran("lst", status=2).stderr
    assert "No such option" in ran("list", "--nonsense", status=2).stderr
    (tmp_path / "broken.sqlite").write_text("this is no database" * 100)
    broken = ran("--store", f"sqlite://{tmp_path}/broken.sqlite", "list", status=1)
    assert broken.stderr.startswith("error: ")
    assert broken.stderr.count("\n") == 1


def test_a_pipe_that_closes_early_is_no_error(url: str, store: SessionStore) -> None:
    for number in range(40):
        store.add_message("long", "user", f"{number} " * 5000)
    process = subprocess.Popen(command("--store", url, "show", "long"), env=variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        assert process.stdout.readline() == b"long\n"
        process.stdout.close()
        assert process.stderr.read() == b""


def test_colours_are_for_terminals(url: str, store: SessionStore) -> None:
    assert "\x1b" not in ran("--store", url, "show", "trip").stdout
    shown = ["--store", url, "show", "trip", "--no-pager"]
    assert "\x1b[1;32muser\x1b[0m" in on_terminal(shown)[1]
    assert "\x1b[1;32m" not in on_terminal(shown, NO_COLOR="1")[1]
    assert "\x1b" not in on_terminal(shown, TERM="dumb")[1]


def test_a_terminal_gets_a_pager(url: str, store: SessionStore) -> None:
    pager = "sed 's/^/paged: /'"
    status, seen = on_terminal(["--store", url, "show", "trip"], PAGER=pager, NO_COLOR="1")
    assert status == 0
    assert "paged:   How is the weather in Lisbon?\n" in seen
    assert "paged:" not in on_terminal(["--store", url, "show", "trip", "--no-pager"], PAGER=pager)[1]
    assert "paged:" not in on_terminal(["--store", url, "show", "trip", "--json"], PAGER=pager)[1]
    assert "Lisbon" in on_terminal(["--store", url, "show", "trip"], PAGER="cat")[1]
    assert ran("--store", url, "show", "trip", PAGER=pager).stdout.startswith("trip\n")


def test_a_pager_may_be_left_early(url: str, store: SessionStore) -> None:
    store.add_messages("long", [{"role": "user", "content": "line\n" * 2000} for _ in range(50)])
    status, seen = on_terminal(["--store", url, "show", "long"], PAGER="head -1")
    assert (status, seen.count("line"), "Traceback" in seen) == (0, 0, False)


def test_a_narrow_terminal_cuts_titles_and_a_pipe_does_not(url: str, store: SessionStore) -> None:
    store.rename_session("other", "A title " * 30)
    assert ("A title " * 30).strip() in ran("--store", url, "list").stdout
    seen = on_terminal(["--store", url, "list", "--no-pager"], COLUMNS="80", NO_COLOR="1")[1]
    row = next(line for line in seen.splitlines() if "A title" in line)
    assert "…" in row
    assert len(row.replace("\x1b[0m", "")) <= 80


def test_a_terminal_without_utf8_gets_ascii(url: str, store: SessionStore) -> None:
    store.add_message("other", "user", "Olá ✓")
    latin = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    assert "Ol\\xe1 \\u2713" in ran("--store", url, "show", "other", **latin).stdout
    assert '"Ol\\u00e1 \\u2713"' in ran("--store", url, "show", "other", "--json", **latin).stdout


def test_json_is_the_same_on_a_terminal(url: str, store: SessionStore) -> None:
    arguments = ["--store", url, "show", "trip", "--json"]
    assert on_terminal(arguments)[1] == ran(*arguments).stdout


def test_nothing_is_left_behind(url: str, store: SessionStore, home: Path) -> None:
    ran("--store", url, "show", "trip")
    assert os.listdir(home) == []
