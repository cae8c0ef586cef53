"""export, import and copy, as commands; what they carry is tested in tests/transfer."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from tests.cli.conftest import Run, on_terminal
from tests.cli.test_reading import Read
from turnlog.session import SessionStore, open_store


def test_export_and_import_again(run: Run, store: SessionStore, tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    assert run("export", "-o", str(file)).stdout == "exported 3 sessions with 14 messages\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    into = f"sqlite://{tmp_path}/new.sqlite"
    assert run("--store", into, "import", str(file)).stdout == "imported 3 sessions with 14 messages\n"
    assert run("--store", into, "import", str(file)).stdout == "imported 0 sessions with 0 messages; 3 sessions already there\n"
    with open_store(into) as new:
        assert new.get_chat_history("trip") == store.get_chat_history("trip")


def test_export_to_stdout_is_the_document_alone(run: Run, store: SessionStore) -> None:
    document = json.loads(run("export", "tri", "other", status=1).stdout or "{}")
    assert document == {}
    done = run("export", "trip-", "other")
    assert [session["session_id"] for session in json.loads(done.stdout)["sessions"]] == ["trip-train", "other"]
    assert done.stderr == "exported 2 sessions with 8 messages\n"
    (line,) = run("export", "other", "--format", "jsonl").stdout.splitlines()
    assert json.loads(line) == {"messages": [{"role": "user", "content": "Hello"}]}


def test_export_replaces_no_file_and_leaves_no_half_one(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "there.json"
    file.write_text("mine")
    assert "--overwrite" in run("export", "-o", str(file), status=2).stderr
    assert file.read_text() == "mine"
    run("export", "-o", str(file), "--overwrite")
    assert len(json.loads(file.read_text())["sessions"]) == 3
    assert "cannot be written" in run("export", "-o", str(tmp_path / "no" / "where.json"), status=2).stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["place", "there.json"]


def test_import_of_a_conversation(run: Run, store: SessionStore, tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"
    file.write_text('{"role": "user", "content": "Hi"}\n{"role": "assistant", "content": "Hello"}\n')
    assert run("import", str(file), "--format", "jsonl", "--id", "talk-1").stdout == "imported 1 session with 2 messages\n"
    assert len(store.get_messages("talk-1")) == 2


def test_import_says_what_it_left_out_and_ends_with_1(run: Run, read: Read, store: SessionStore, tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    run("export", "other", "-o", str(file))
    store.delete_session("other")
    store.add_message("other", "user", "Something else")
    refused = run("import", str(file), status=1)
    assert refused.stdout == "imported 0 sessions with 0 messages\n"
    assert refused.stderr.startswith("skipped other: ")
    assert read("import", str(file), status=1)["skipped"][0]["name"] == "other"
    assert "--yes" in run("import", str(file), "--overwrite", status=2).stderr
    assert run("import", str(file), "--overwrite", "--yes").stdout == "imported 1 session with 1 message\n"
    assert store.get_messages("other")[0].content == "Hello"


def test_import_of_nonsense_is_an_error(run: Run, tmp_path: Path) -> None:
    assert "does not exist" in run("import", str(tmp_path / "nothing"), status=2).stderr
    (tmp_path / "x.txt").write_text("nonsense")
    assert run("import", str(tmp_path / "x.txt"), status=1).stderr.startswith("error: ")


def test_copy(run: Run, read: Read, url: str, store: SessionStore, tmp_path: Path) -> None:
    target = f"sqlite://{tmp_path}/copy.sqlite"
    assert run("copy", url, target, "--session", "oth").stdout == "copied 1 session with 1 message\n"
    assert run("copy", url, target).stdout == "copied 2 sessions with 13 messages; 1 session already there\n"
    assert read("copy", url, target) == {"sessions": 0, "messages": 0, "already_there": 3, "skipped": []}
    assert run("--store", target, "tree", "trip").stdout.count("*") == 2
    assert "no store URL" in run("copy", url, "nonsense", status=1).stderr


def test_copy_of_nothing_says_where_to_look(run: Run, tmp_path: Path) -> None:
    copied = run("copy", f"sqlite://{tmp_path}/mistyped.sqlite", f"sqlite://{tmp_path}/new.sqlite")
    assert (copied.stdout, copied.stderr.partition(":")[0]) == (
        "copied 0 sessions with 0 messages\n",
        "there are no sessions in the source",
    )


def test_what_is_quick_shows_no_progress(url: str, store: SessionStore, tmp_path: Path) -> None:
    quick = on_terminal(["--store", url, "export", "other", "-o", str(tmp_path / "a.json")])[1]
    assert quick == "exported 1 session with 1 message\n"
