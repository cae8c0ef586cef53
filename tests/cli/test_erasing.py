"""delete and erase: what they say, what they ask, and what is gone."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from tests.cli.conftest import Run, on_terminal
from tests.servers.mongodb import new_prefix, shared_url
from turnlog import backends
from turnlog.backends.memory import MemoryBackend
from turnlog.cli.commands import app
from turnlog.cli.erasing import COMPACTED, ELSEWHERE, IN_FILES, left_of_the_erased
from turnlog.session import SessionStore, open_store


def test_delete_says_what_goes_and_what_stays(run: Run, store: SessionStore) -> None:
    store.create_snapshot("trip", "one")
    told = [
        "this erases:",
        '  trip "Trip to Lisbon": 6 messages and 1 snapshot (kept: what trip-train shares with it)',
        "  other: 1 message",
    ]
    refused = run("delete", "trip", "other", "trip", status=2)
    assert refused.stderr.splitlines() == [*told, "refused: there is no terminal to ask on; --yes does it without asking"]
    assert store.session_exists("trip")
    done = run("delete", "trip", "other", "--yes")
    assert done.stderr.splitlines() == told
    assert done.stdout == "deleted trip\ndeleted other\n"
    assert not store.session_exists("trip")
    assert len(store.get_messages("trip-train")) == 7


def test_delete_erases_nothing_when_one_name_is_wrong(run: Run, store: SessionStore) -> None:
    run("delete", "trip", "nobody", "--yes", status=1)
    assert store.session_exists("trip")


def test_delete_asks_on_a_terminal(url: str, store: SessionStore) -> None:
    for answer in ("n\n", "\n", "nonsense\n", "\x04"):
        status, seen = on_terminal(["--store", url, "delete", "other"], answer)
        assert status == 1
        assert "  other: 1 message\nerase? [y/N]" in seen
        assert "nothing was changed" in seen
        assert store.session_exists("other")
    status, seen = on_terminal(["--store", url, "delete", "other"], "y\n")
    assert (status, seen.endswith("deleted other\n")) == (0, True)
    assert not store.session_exists("other")


def test_erase_clears(run: Run, store: SessionStore) -> None:
    run("erase", "trip", "--clear", status=2)
    assert len(store.get_messages("trip")) == 6
    done = run("erase", "trip", "--clear", "--yes")
    assert done.stdout == "cleared trip\n"
    assert done.stderr.startswith("this erases all messages, snapshots and undo points of:\n  trip")
    assert store.get_messages("trip") == []
    assert store.get_session("trip").title == "Trip to Lisbon"


def test_erase_and_compact_leave_nothing_in_the_files(run: Run, url: str, store: SessionStore) -> None:
    store.add_message("secret", "user", "the-secret-word")
    run("erase", "secret", "--compact", "--yes")
    place = Path(url.partition("://")[2]).parent
    assert [path for path in place.rglob("*") if path.is_file() and b"the-secret-word" in path.read_bytes()] == []
    assert run("erase", "--compact").stdout == f"compacted: {IN_FILES}\n"


def test_erase_and_compact_promise_no_more_than_mongodb_keeps() -> None:
    url = f"{shared_url()}?prefix={new_prefix()}"
    with open_store(url) as store:
        store.add_message("secret", "user", "the-secret-word")
        done = CliRunner().invoke(app, ["--store", url, "erase", "secret", "--compact", "--yes"])
        assert not store.session_exists("secret")
    assert done.exit_code == 0
    assert done.stdout == f"deleted secret\ncompacted: {COMPACTED['mongodb']}\n"
    assert "may stay in the live data files" in done.stdout
    assert IN_FILES not in done.stdout


def test_what_a_compaction_leaves_is_said_of_every_backend() -> None:
    folder = Path(backends.__file__).parent
    assert {path.parent.name for path in folder.glob("*/backend.py")} | {"memory"} == set(COMPACTED)
    with SessionStore(MemoryBackend()) as ours:
        assert left_of_the_erased(ours) == COMPACTED["memory"]

    class Brought(MemoryBackend):
        """The backend of another package."""

    with SessionStore(Brought()) as theirs:
        assert left_of_the_erased(theirs) == ELSEWHERE


def test_erase_needs_something_to_do(run: Run) -> None:
    assert "name sessions to erase, choose them by --user, --agent or --older-than, or give --compact" in run("erase", status=2).stderr
    assert "name the sessions to clear" in run("erase", "--clear", "--compact", status=2).stderr


def test_erase_by_what_sessions_have_in_common(run: Run, store: SessionStore) -> None:
    for number in range(12):
        store.create_session(f"m{number:02}", agent_name="Machine")
    store.set_agent_info("m00", user_id="u-17")
    refused = run("erase", "--agent", "Machine", "--user", "u-17", status=2)
    assert refused.stderr.splitlines()[:2] == ["this erases 1 session:", "  m00: 0 messages"]
    assert store.session_exists("m00")
    assert run("erase", "--agent", "Machine", "--user", "u-17", "--yes").stdout == "deleted 1 session\n"
    done = run("erase", "--agent", "Machine", "--yes", "--compact")
    assert done.stderr.splitlines()[0] == "this erases 11 sessions:"
    assert done.stderr.splitlines()[-1] == "  and 1 more"
    assert done.stdout.startswith("deleted 11 sessions\ncompacted")
    assert sorted(line["session_id"] for line in store.list_sessions()) == ["other", "trip", "trip-train"]
    nothing = run("erase", "--agent", "Machine")
    assert (nothing.stdout, nothing.stderr) == ("deleted 0 sessions\n", "")


def test_erase_by_age(run: Run, store: SessionStore) -> None:
    assert run("erase", "--older-than", "90d", "--yes").stdout == "deleted 0 sessions\n"
    assert run("erase", "--older-than", "2100-01-01", "--yes").stdout == "deleted 3 sessions\n"
    assert store.list_sessions() == []


def test_erase_takes_names_or_conditions(run: Run, store: SessionStore) -> None:
    assert "name none" in run("erase", "trip", "--user", "u", "--yes", status=2).stderr
    assert "name none" in run("erase", "--clear", "--agent", "A", "--yes", status=2).stderr
    assert "no time" in run("erase", "--older-than", "long", "--yes", status=2).stderr
    run("erase", "--user", "", "--yes", status=1)
    assert len(store.list_sessions()) == 3
