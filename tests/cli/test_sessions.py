"""Naming a session by the beginning of its id, and completing it in a shell."""

from __future__ import annotations

import subprocess

from tests.cli.conftest import Run, command, variables
from turnlog.session import SessionStore


def test_a_beginning_is_enough(run: Run) -> None:
    assert run("show", "ot").stdout.startswith("other\n")
    assert run("show", "trip-").stdout.startswith("trip-train\n")


def test_an_exact_id_wins(run: Run, store: SessionStore) -> None:
    assert run("show", "trip").stdout.startswith("trip\n")
    for number in range(30):
        store.add_message(f"trip{number}", "user", "x")
    assert run("show", "trip2").stdout.startswith("trip2\n")


def test_an_ambiguous_beginning_lists_the_candidates(run: Run, store: SessionStore) -> None:
    said = run("show", "tri", status=1).stderr
    assert said == ('error: several sessions begin with \'tri\': trip-train "By train", trip "Trip to Lisbon"; give more of the id\n')
    for number in range(30):
        store.add_message(f"many{number}", "user", "x")
    said = run("delete", "many", "--yes", status=1).stderr
    assert said.count("many") == 11
    assert "and more; give more of the id" in said


def test_an_unknown_name_gives_similar_ones(run: Run) -> None:
    assert 'did you mean trip "Trip to Lisbon"' in run("show", "tripp", status=1).stderr
    assert 'did you mean trip "Trip to Lisbon"?' in run("show", "lisbon", status=1).stderr
    assert "turnlog list shows those there are" in run("show", "zzz", status=1).stderr
    assert "this store has none" in run("--store", "memory://", "show", "zzz", status=1).stderr
    assert "session_id is empty" in run("show", "", status=1).stderr


def test_a_beginning_is_no_pattern(run: Run, store: SessionStore) -> None:
    for name in ("a%b", "a_b", "a*b", "axb"):
        store.add_message(name, "user", name)
    for name in ("a%", "a_", "a*"):
        assert run("show", name).stdout.startswith(f"{name}b\n")


def test_a_shell_completes_ids(url: str, store: SessionStore) -> None:
    store.add_message("trip with spaces", "user", "x")
    asked = {"_TURNLOG_COMPLETE": "complete_bash", "COMP_WORDS": f"turnlog --store {url} show tr", "COMP_CWORD": "4"}
    done = subprocess.run(command(), env=variables(**asked), capture_output=True, text=True, timeout=60, check=False)
    assert sorted(done.stdout.split()) == ["trip", "trip-train"]


def test_a_shell_gets_nothing_where_nothing_can_be_read() -> None:
    asked = {"_TURNLOG_COMPLETE": "complete_bash", "COMP_WORDS": "turnlog --store nonsense show tr", "COMP_CWORD": "4"}
    done = subprocess.run(command(), env=variables(**asked), capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
