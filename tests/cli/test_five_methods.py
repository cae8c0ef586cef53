"""The command on a class of one's own with the five methods, and on what is no store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import WEATHER, Run
from turnlog.cli.stores import open_any


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One store is enough here: nothing depends on which."""
    (tmp_path / "place").mkdir()
    return f"sqlite://{tmp_path}/place/s.sqlite"


@pytest.fixture(params=["FiveMethods", "AsyncFiveMethods"])
def five(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a class with the five methods, with one session ``trip``."""
    monkeypatch.setenv("FIVE_METHODS_FILE", str(tmp_path / "five.json"))
    name = f"tests.cli.five_methods:{request.param}"
    with open_any(name) as store:
        store.add_messages("trip", WEATHER)
        store.add_message("trip", "user", "Thanks")
    return name


def test_reading_a_store_with_five_methods(run: Run, five: str) -> None:
    text = run("--store", five, "show", "trip").stdout
    assert text.startswith("trip\n  messages    7\n")
    assert "  <- get_weather: rain\n" in text
    assert "#6 user" in run("tail", "trip", "-n", "1", "--store", five).stdout
    assert len(json.loads(run("show", "trip", "--json", "--store", five).stdout)["messages"]) == 7


def test_changing_a_store_with_five_methods(run: Run, five: str) -> None:
    assert run("--store", five, "fork", "trip", "--at", "1", "--id", "short").stdout == "short\n"
    assert run("--store", five, "diff", "trip", "short").stdout.startswith("2 messages in common\n")
    assert run("--store", five, "delete", "short", "--yes").stderr == "this erases:\n  short: 2 messages\n"
    assert run("--store", five, "erase", "trip", "--clear", "-y").stdout == "cleared trip\n"
    assert "(no" not in run("--store", five, "show", "trip").stdout
    run("--store", five, "show", "short", status=1)


def test_what_five_methods_cannot_do_is_said(run: Run, five: str) -> None:
    for command, said in (
        (["list"], "five methods cannot list sessions"),
        (["tree"], "five methods cannot list sessions"),
        (["search", "x"], "five methods cannot list sessions"),
        (["show", "tr"], "this store cannot list what it has: give a whole id"),
        (["snapshot", "trip"], "five methods cannot name a position"),
        (["revert", "trip", "0", "--yes"], "needs a full store"),
        (["undo", "trip"], "needs a full store"),
        (["rename", "trip", "x"], "needs a full store"),
        (["erase", "trip", "--compact", "--yes"], "needs a full store"),
    ):
        refused = run("--store", five, *command, status=1)
        assert said in refused.stderr, command
        assert refused.stdout == ""
    assert "needs a full store" in run("--store", five, "export", status=2).stderr
    assert "keeps no titles" in run("--store", five, "fork", "trip", "--title", "x", status=2).stderr
    assert "messages    7" in run("--store", five, "show", "trip").stdout


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.at:All", "No module named 'nowhere'"),
        ("os:nothing", "has no attribute 'nothing'"),
        ("os:getcwd", "is no session store"),
        ("turnlog.session:AsyncInMemorySessionStore", "an async store"),
    ],
)
def test_what_is_no_store_is_wrong_usage(run: Run, name: str, said: str) -> None:
    refused = run("--store", name, "list", status=2)
    assert "'--store'" in refused.stderr
    assert said in refused.stderr
