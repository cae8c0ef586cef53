"""A torn file of ours that praisonaiagents set aside as ``*.corrupt-<time>`` before it was mended: its messages are not lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document
from tests.backends.samples import a_head, all_ids, record, records
from turnlog.backends.port import Query
from turnlog.heads import Stretch

FRESH = {
    "session_id": "s",
    "messages": [{"role": "user", "content": "begun anew", "timestamp": 9.0, "metadata": {}}],
    "created_at": "2026-11-23T22:35:56.890378+00:00",
    "agent_name": "Assistant",
    "metadata": {"model": "m"},
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A session of four messages, torn within the fifth and set aside."""
    backend = directory(tmp_path)
    backend.put_head(a_head(length=2, fields={"title": "T"}), expect=None, records=records(0, 2))
    backend.append("s", records(2, 4), now=1.0, expect=None)
    backend.append("s", records(4, 5), now=1.0, expect=None)
    backend.close()
    data = (tmp_path / "s.json").read_bytes()
    (tmp_path / "s.json").write_bytes(data[: data.rindex(b'"m4"')])
    (tmp_path / "s.json").rename(tmp_path / "s.json.corrupt-1795473357000")
    return tmp_path


def test_it_is_back_with_the_first_use(root: Path) -> None:
    backend = directory(root)
    assert all_ids(backend) == ["m0", "m1", "m2", "m3"]
    assert backend.get_head("s").fields == {"title": "T"}
    assert len(document(root / "s.json")["messages"]) == 4
    assert [name for name in beside(root / "s.json") if ".corrupt-" in name] == []
    backend.close()


def test_it_is_back_with_the_first_listing(root: Path) -> None:
    backend = directory(root)
    assert [head.session_id for head in backend.list_heads(Query(), cursor=None, limit=5).heads] == ["s"]
    backend.close()


def test_it_comes_before_what_was_begun_in_its_place(root: Path) -> None:
    (root / "s.json").write_text(json.dumps(FRESH, indent=2))
    backend = directory(root)
    head = backend.get_head("s")
    assert head.fields["agent_name"] == "Assistant"
    assert head.fields["title"] == "T"
    assert head.run != "r1"
    stored = backend.read("s", [*head.past, Stretch(head.run, head.tail, head.length)])
    assert [each.id for each in stored][:4] == ["m0", "m1", "m2", "m3"]
    assert [each["content"] for each in document(root / "s.json")["messages"]] == ["m0", "m1", "m2", "m3", "begun anew"]
    assert backend.append("s", [record("next")], now=2.0, expect=None).messages == 6
    backend.close()


def test_its_time_runs_from_the_last_change_of_either(root: Path) -> None:
    (root / "s.json").write_text(json.dumps(FRESH, indent=2))
    os.utime(root / "s.json.corrupt-1795473357000", (1000.0, 1000.0))
    os.utime(root / "s.json", (2000.0, 2000.0))
    backend = directory(root)
    assert backend.get_head("s").updated_at == 2000.0
    backend.close()


def test_a_session_that_goes_takes_it_along(root: Path) -> None:
    backend = directory(root)
    run = backend.get_head("s").run
    (root / "s.json.corrupt-1795473357001").write_text("what another program could not read")
    assert backend.remove_head("s", run) is True
    assert beside(root / "s.json") == []
    backend.close()


def test_what_is_not_ours_stays_where_it_is(tmp_path: Path) -> None:
    for name in ("s.json.corrupt-1", "t.json.corrupt-2"):
        (tmp_path / name).write_text('{"session_id": "s", "messages": [')
    (tmp_path / "s.json.lock").touch(0o600)
    backend = directory(tmp_path)
    for _ in range(2):
        assert backend.list_heads(Query(), cursor=None, limit=5).heads == []
        assert backend.get_head("s") is None
    assert (tmp_path / "s.json.corrupt-1").exists()
    assert (tmp_path / "t.json.corrupt-2").exists()
    backend.close()


def test_another_sessions_stays_where_it_is(root: Path) -> None:
    (root / "s.json.corrupt-1795473357000").rename(root / "t.json.corrupt-1795473357000")
    (root / "t.json.lock").touch(0o600)
    backend: Driven = directory(root)
    assert backend.get_head("t") is None
    assert backend.put_head(a_head("t"), expect=None) is True
    assert all_ids(backend, "t") == []
    backend.close()
