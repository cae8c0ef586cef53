"""doctor and verify: what they find, and with which status they end."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.cli.conftest import Run
from tests.cli.test_reading import Read
from turnlog.cli.commands import app
from turnlog.session import DefaultSessionStore


def test_a_store_in_order(run: Run, read: Read) -> None:
    assert run("doctor").stdout == "nothing wrong was found\n"
    assert read("doctor") == []


def test_doctor_finds_and_fixes(run: Run, read: Read, tmp_path: Path) -> None:
    place = tmp_path / "sick"
    with DefaultSessionStore(place, durability="process") as store:
        store.add_message("s", "user", "x")
    (place / "foreign.json").write_text('{"x": 1}')
    os.chmod(place / "foreign.json", 0o600)
    os.chmod(place / "s.json", 0o644)
    url = f"json://{place}"
    found = run("--store", url, "doctor", status=3)
    assert f"permissions  {place}/s.json\n" in found.stdout
    assert f"foreign  {place}/foreign.json\n" in found.stdout
    assert found.stdout.endswith("2 findings: 2 left; turnlog doctor --fix mends what is safe to mend\n")
    assert {each["kind"] for each in read("--store", url, "doctor", status=3)} == {"foreign", "permissions"}
    mended = run("--store", url, "doctor", "--fix", status=3).stdout
    assert f"mended  {place}/s.json\n" in mended
    assert mended.endswith("2 findings: 1 mended, 1 left\n")
    (place / "foreign.json").unlink()
    assert run("--store", url, "doctor").stdout == "nothing wrong was found\n"


def test_doctor_of_the_default_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRAISONAI_HOME", str(home / "with space%20"))
    with DefaultSessionStore(durability="process") as store:
        store.add_message("s", "user", "x")
    os.chmod(home / "with space%20" / "sessions" / "s.json", 0o644)
    found = CliRunner().invoke(app, ["doctor"])
    assert found.exit_code == 3
    assert f"permissions  {home}/with space%20/sessions/s.json" in found.stdout


def test_doctor_refuses_what_has_no_files(run: Run) -> None:
    run("--store", "tests.cli.five_methods:FiveMethods", "doctor", status=1)


def test_verify_a_store_that_keeps_its_promises(run: Run) -> None:
    done = run("verify", "memory://", "--only", "3.6.3")
    assert "ok   3.6.3" in done.stdout
    assert "1 passed, 0 failed" in done.stdout
    assert "keeps every promise that was tried" in done.stdout
    assert "1 passed" in run("verify", "sqlite://{place}/s.sqlite", "--only", "2.1").stdout


def test_verify_a_store_that_breaks_them(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVE_METHODS_FILE", str(tmp_path / "five.json"))
    broken = run("verify", "tests.cli.five_methods:forgetful", "--only", "1.4", "--only", "1.10", "--json", status=3)
    document = json.loads(broken.stdout)
    assert document["passed"] is False
    assert [(case["number"], case["status"]) for case in document["outcomes"]] == [("1.4", "failed"), ("1.10", "passed")]
    assert "BREAKS ITS PROMISES" in run("verify", "tests.cli.five_methods:forgetful", "--only", "1.4", status=3).stdout


def test_verify_leaves_real_sessions_alone(run: Run, url: str) -> None:
    refused = run("verify", url, status=2)
    assert "put {place} into the URL" in refused.stderr
    assert "no installed backend" in run("verify", "nosuch://host/0", "--yes", "--only", "1.4", status=3).stdout
    assert "refused: there is no terminal" in run("verify", "nosuch://host/0", status=2).stderr
    for target in ("nowhere.at:All", "os:nothing", "nonsense"):
        assert "gives no store" in run("verify", target, status=2).stderr
    assert "'--only'" in run("verify", "memory://", "--only", "99", status=2).stderr
