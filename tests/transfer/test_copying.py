"""copy_store: everything there, equal by digest, forks still forks, again after a kill, and what is in its way left alone."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.transfer.conftest import KINDS, Place, names, say, state, texts
from tests.transfer.test_own import filled
from turnlog.errors import SessionError, UnsupportedVerbError
from turnlog.session import SessionStore
from turnlog.transfer import CopyMismatchError, Progress, copy_store
from turnlog.transfer.carrying import Carrier

PAIRS = [(one, other) for one in KINDS for other in KINDS]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_everything_is_there(one: str, other: str, place: Place) -> None:
    source, target = place(one, "source"), place(other, "target")
    filled(source)
    source.set_gateway_info("parent", "gate", "agent")
    source.set_runtime_state("parent", "r", "t", {"n": 1})
    source.append_compaction_checkpoint("parent", "sum")
    source.share_session("parent")
    source.set_session_ttl("parent", 86_400.0)
    source.delete_session(source.fork_session("parent", new_session_id="gone"))
    source.fork_session("empty", new_session_id="of empty")
    before = state(source)
    seen: list[Progress] = []
    report = copy_store(source, target, progress=seen.append)
    assert (report.sessions, report.already_there, report.skipped) == (5, 0, ())
    assert state(target) == before == state(source)
    for name in names(source):
        # Not by the digest that the copy itself trusts in.
        assert target.export_session(name) == source.export_session(name)
    assert seen[-1] == Progress(5, 5, "sessions", seen[-1].label)
    assert target.get_ancestors("grand🙂") == ["../child", "parent"]
    assert [info.ttl for name in ("parent", "empty") if (info := target.get_session_info(name))] == [86_400.0, None]
    left, here = target.get_snapshots("../child")
    assert [(snapshot.created_at, snapshot.id) for snapshot in (left, here)] == [
        (snapshot.created_at, snapshot.id) for snapshot in source.get_snapshots("../child")
    ]
    for store in (source, target):
        store.revert_to_snapshot("../child", left.id)
        assert texts(store, "../child")[-3:] == ["x", "y", "z"]
        store.add_messages("../child", say("on"))
    again = copy_store(source, place(other, "third"))
    assert again.sessions == 5


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_again_is_nothing_and_later_is_the_rest(one: str, other: str, place: Place, tmp_path: Path) -> None:
    source, target = place(one, "source"), place(other, "target")
    filled(source)
    for state_path in (None, tmp_path / "state"):
        copy_store(source, target, state_path=state_path)
        report = copy_store(source, target, state_path=state_path)
        assert (report.sessions, report.messages, report.already_there, report.skipped) == (0, 0, 4, ())
    source.add_messages("parent", say("more"))
    source.create_snapshot("../child", "later")
    report = copy_store(source, target, state_path=tmp_path / "state")
    assert (report.sessions, report.already_there, report.skipped) == (2, 2, ())
    assert state(target) == state(source)
    assert target.get_children("parent") == ["../child"]
    assert target.get_children("../child") == ["grand🙂"]
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o600


def test_what_has_not_changed_is_not_read_again(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = place("sqlite", "source"), place("json")
    filled(source)
    copy_store(source, target, state_path=tmp_path / "state")
    taken: list[str] = []
    take = Carrier.take
    monkeypatch.setattr(Carrier, "take", lambda self, name: taken.append(name) or take(self, name))
    source.set_title("empty", "Other")
    with (tmp_path / "state").open("a", encoding="utf-8") as file:
        file.write('["../ch')
    report = copy_store(source, target, state_path=tmp_path / "state")
    assert (report.sessions, report.already_there) == (1, 3)
    assert set(taken) == {"empty"}


def test_some_sessions(place: Place) -> None:
    source, target = place("sqlite", "source"), place("sqlite")
    filled(source)
    report = copy_store(source, target, session_ids=["../child", "none"])
    assert (report.sessions, [skip.name for skip in report.skipped]) == (1, ["none"])
    assert (target.get_parent("../child"), target.get_session("../child").parent_id) == (None, "parent")
    copy_store(source, target, session_ids=["parent"])
    copy_store(source, target, session_ids=["grand🙂"])
    assert target.get_parent("grand🙂") == "../child"
    copy_store(source, target)
    assert state(target) == state(source)


def test_forks_share_where_the_target_can(place: Place, tmp_path: Path) -> None:
    source, target = place("json", "source"), place("sqlite")
    source.add_messages("p", say(*[str(number) * 500 for number in range(100)]))
    for number in range(30):
        source.fork_session("p", 90 - number, new_session_id=f"f{number}")
        source.add_messages(f"f{number}", say("own"))
    copy_store(source, target)
    assert state(target) == state(source)
    target.sweep(compact=True)
    files = sum(path.stat().st_size for path in (tmp_path / "source").iterdir())
    assert (tmp_path / "target.sqlite").stat().st_size < files / 8
    target.delete_session("p")
    assert len(texts(target, "f7")) == 85


def test_a_long_line_of_forks(place: Place) -> None:
    source, target = place("sqlite", "source"), place("sqlite")
    source.add_messages("f0", say("a"))
    for number in range(150):
        source.fork_session(f"f{number}", new_session_id=f"f{number + 1}")
        source.add_messages(f"f{number + 1}", say(str(number)))
    copy_store(source, target)
    assert state(target) == state(source)
    assert len(target.get_ancestors("f150")) == 150


def test_what_is_in_the_way_is_left_alone(target: SessionStore, place: Place) -> None:
    source = place("sqlite", "source")
    filled(source)
    target.add_messages("parent", say("mine"))
    report = copy_store(source, target)
    assert [skip.name for skip in report.skipped] == ["parent"]
    assert texts(target, "parent") == ["mine"]
    assert target.get_parent("../child") is None
    assert texts(target, "../child") == texts(source, "../child")
    target.delete_session("parent")
    assert copy_store(source, target).skipped == ()
    assert state(target) == state(source)


def test_a_half_copied_session_is_replaced(target: SessionStore, place: Place) -> None:
    source = place("sqlite", "source")
    filled(source)
    whole = Carrier(source).take("../child")
    assert whole is not None

    half = replace(whole, snapshots=(), origin=None, records=whole.records[:2])
    Carrier(target).put(half)
    assert copy_store(source, target).skipped == ()
    assert state(target) == state(source)


def test_what_cannot_be_read_is_told(place: Place, tmp_path: Path) -> None:
    source = place("json", "source")
    filled(source)
    (tmp_path / "source" / "torn.json").write_text('{"session_id": "torn", "mess', encoding="utf-8")
    (tmp_path / "source" / "notes.json").write_text("[]", encoding="utf-8")
    report = copy_store(source, place("sqlite"))
    assert (report.sessions, [skip.name for skip in report.skipped]) == (4, ["notes.json", "torn.json"])


def test_a_target_that_forgets_is_found(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = place("sqlite", "source"), place("memory")
    filled(source)
    put_head = target.backend.put_head

    async def forgetful(head, *, expect, records=()):  # type: ignore[no-untyped-def]
        changed = [record._replace(body=record.body.replace("q", "p")) for record in records]
        return await put_head(head, expect=expect, records=changed)

    monkeypatch.setattr(target.backend, "put_head", forgetful)
    with pytest.raises(CopyMismatchError, match="'parent'"):
        copy_store(source, target)
    with pytest.raises(UnsupportedVerbError, match="same store"):
        copy_store(source, source)
    assert issubclass(CopyMismatchError, SessionError)


COPY = """
import sys
from turnlog.session import open_store
from turnlog.transfer import copy_store
with open_store(sys.argv[1]) as source, open_store(sys.argv[2]) as target:
    copy_store(source, target, state_path=sys.argv[3] or None, progress=lambda progress: print(progress.done, flush=True))
"""


@pytest.mark.parametrize(("one", "other"), [("json", "sqlite"), ("sqlite", "json")])
@pytest.mark.parametrize("noted", [True, False])
def test_killed_and_run_again(one: str, other: str, noted: bool, place: Place, tmp_path: Path) -> None:
    source = place(one, "source")
    for family in range(12):
        source.add_messages(f"p{family}", say(*map(str, range(30))))
        source.create_snapshot(f"p{family}", "s")
        for number in range(4):
            source.fork_session(f"p{family}", 20, new_session_id=f"p{family}.{number}")
            source.add_messages(f"p{family}.{number}", say("own", "more"))
            source.create_snapshot(f"p{family}.{number}", "a")
            source.revert_to_message(f"p{family}.{number}", 10)
            source.create_snapshot(f"p{family}.{number}", "b")
    urls = [
        f"json://{tmp_path}/{name}" if kind == "json" else f"sqlite://{tmp_path}/{name}.sqlite"
        for kind, name in ((one, "source"), (other, "target"))
    ]
    chance = random.Random(f"{one}{noted}")
    command = [sys.executable, "-c", COPY, urls[0], urls[1] + "?durability=process", str(tmp_path / "state") if noted else ""]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    kills = 0
    for _ in range(8):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 60)):
            if not process.stdout.readline():
                break
        # A moment amid the next session rather than right behind the last.
        time.sleep(chance.random() / 100)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        process.stdout.close()
    assert kills >= 3
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    target = place(other, "target")
    target.sweep()
    assert state(target) == state(source)
    assert len(names(target)) == 60
    assert target.get_children("p7") == [f"p7.{number}" for number in range(4)]
    assert json.loads(json.dumps(sorted(names(target)))) == sorted(names(source))
