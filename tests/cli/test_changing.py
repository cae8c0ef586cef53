"""fork, snapshot, revert, undo and rename."""

from __future__ import annotations

from tests.cli.conftest import Run
from tests.cli.test_reading import Read
from turnlog.session import SessionStore


def test_fork_prints_the_id_of_the_fork(run: Run, store: SessionStore) -> None:
    child = run("fork", "trip", "--at", "1", "--title", "Short").stdout.strip()
    assert store.get_session(child).title == "Short"
    assert len(store.get_messages(child)) == 2
    assert run("fork", "other", "--id", "mine").stdout == "mine\n"
    assert store.get_parent("mine") == "other"


def test_fork_refuses_what_is_not_there(run: Run) -> None:
    assert run("fork", "trip", "--at", "9", status=1).stderr == ("error: session 'trip' has no message with the index 9; it has 0 to 5\n")
    assert "exists already" in run("fork", "trip", "--id", "other", status=1).stderr


def test_snapshot_revert_undo(run: Run, store: SessionStore) -> None:
    made = run("snapshot", "trip", "--label", "before booking").stdout.strip()
    store.add_message("trip", "user", "Book it")
    told = run("revert", "trip", "--snapshot", "before booking", "--yes")
    assert told.stderr.splitlines() == [
        "this takes session trip with 7 messages back to the snapshot before booking (after #5)",
        "turnlog undo trip takes it back",
    ]
    assert told.stdout == "trip now has 6 messages\n"
    assert run("undo", "trip").stdout == "trip now has 7 messages\n"
    assert "no revert to undo" in run("undo", "trip", status=1).stderr
    assert run("revert", "trip", "--snapshot", made[:6], "-y").stdout == "trip now has 6 messages\n"


def test_snapshots_are_listed_and_forgotten(run: Run, read: Read, store: SessionStore) -> None:
    assert "no snapshots" in run("snapshot", "trip", "--list").stderr
    made = run("snapshot", "trip", "-l", "one").stdout.strip()
    row = run("snapshot", "trip", "--list").stdout.splitlines()[1].split()
    assert row[:3] == [made, "one", "5"]
    assert read("snapshot", "trip", "--list")[0].items() >= {"id": made, "label": "one", "message_index": 5}.items()
    assert "--yes" in run("snapshot", "trip", "--delete", "one", status=2).stderr
    assert len(store.get_snapshots("trip")) == 1
    assert run("snapshot", "trip", "--delete", "one", "--yes").stdout == "forgot one\n"
    assert store.get_snapshots("trip") == []


def test_a_snapshot_is_named_without_doubt(run: Run) -> None:
    first = run("snapshot", "trip", "-l", "same").stdout.strip()
    run("snapshot", "trip", "-l", "same")
    assert "several snapshots" in run("revert", "trip", "--snapshot", "same", "-y", status=1).stderr
    run("revert", "trip", "--snapshot", first, "-y")
    assert "it has same (after #5), same (after #5)" in run("revert", "trip", "--snapshot", "x", "-y", status=1).stderr
    assert "--list and --delete do not go together" in run("snapshot", "trip", "--list", "--delete", first, status=2).stderr


def test_revert_to_a_message(run: Run, store: SessionStore) -> None:
    refused = run("revert", "trip", "1", status=2)
    assert refused.stderr.splitlines() == [
        "this takes 4 messages, #2 to #5, off the end of session trip",
        "turnlog undo trip takes it back",
        "refused: there is no terminal to ask on; --yes does it without asking",
    ]
    assert len(store.get_messages("trip")) == 6
    assert run("revert", "trip", "1", "--yes").stdout == "trip now has 2 messages\n"
    assert run("revert", "trip", "2", "--yes", status=1).stderr == "error: session 'trip' has no message 2; it has 0 to 1\n"
    assert "either the INDEX" in run("revert", "trip", status=2).stderr
    assert "either the INDEX" in run("revert", "trip", "1", "--snapshot", "x", status=2).stderr


def test_rename(run: Run, store: SessionStore) -> None:
    assert run("rename", "other", "A day\nout").stdout == "other is now 'A day\\nout'\n"
    assert store.get_session("other").title == "A day\nout"
    assert run("rename", "other", "").stdout == "other has no title now\n"
    assert store.get_session("other").title is None
