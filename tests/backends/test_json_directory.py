"""A directory of JSON files: listings, what lies beside a document, links, permissions."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.backends.conftest import Driven
from tests.backends.json_files import beside, directory, document, locked, long_session, set_title
from tests.backends.samples import a_head, all_ids, record, records
from turnlog.backends.json_file.session_file import SessionFile
from turnlog.backends.port import Query
from turnlog.errors import FormatVersionError, SessionError, StorageError


class TestListing:
    def test_what_cannot_be_read_is_named_and_left_out(self, json_backend: Driven, root: Path, caplog: Any) -> None:
        for name in ("good", "newer", "cut"):
            json_backend.put_head(a_head(name, length=1), expect=None, records=records(0, 1))
        (root / "empty.json").write_text("")
        (root / "list.json").write_text("[1, 2]")
        (root / "text.json").write_bytes(b"\xff\xfe not json")
        (root / "deep.json").write_text("[" * 100_000)
        (root / "folder.json").mkdir()
        os.mkfifo(root / "pipe.json")
        os.symlink("/etc/hostname", root / "link.json")
        newer = (root / "newer.json").read_text().replace('"format":1', '"format":99')
        (root / "newer.json").write_text(newer)
        cut = (root / "cut.json").read_bytes()
        (root / "cut.json").write_bytes(cut[:-9])
        with caplog.at_level(logging.WARNING, "turnlog"):
            heads = json_backend.list_heads(Query(), cursor=None, limit=50).heads
        assert sorted(head.session_id for head in heads) == ["cut", "good"]
        for name in ("empty", "text", "deep", "newer"):
            assert f"{name}.json" in caplog.text
        assert (root / "newer.json").read_text() == newer
        for name in ("empty", "list", "text", "deep", "folder", "pipe", "link"):
            with pytest.raises(StorageError):
                json_backend.get_head(name)
            with pytest.raises(StorageError):
                json_backend.put_head(a_head(name), expect=None)
        with pytest.raises(FormatVersionError) as caught:
            directory(root).get_head("newer")
        assert "newer.json" in str(caught.value)

    def test_a_listing_shows_the_latest_of_many_quick_changes(self, json_backend: Driven) -> None:
        long_session(json_backend)
        for number in range(60):
            set_title(json_backend, f"title {number % 10}")
            (head,) = json_backend.list_heads(Query(), cursor=None, limit=5).heads
            assert head.fields["title"] == f"title {number % 10}"

    def test_what_a_listing_gives_is_the_callers(self, json_backend: Driven, root: Path) -> None:
        json_backend.put_head(a_head(fields={"metadata": {"list": [1]}}), expect=None)
        os.utime(root / "s.json", (5, 5))
        for _ in range(2):
            (head,) = json_backend.list_heads(Query(), cursor=None, limit=5).heads
            assert head.fields == {"metadata": {"list": [1]}}
            head.fields["metadata"]["list"].append(2)

    def test_a_prefix_finds_sessions_under_every_kind_of_name(self, json_backend: Driven, root: Path) -> None:
        names = ["a/b", "a/", "a_b", "A/b", "a/" + "x" * 200, "a/ü", "b"]
        for name in names[1:]:
            json_backend.put_head(a_head(name), expect=None)
        (root / "a_b.json").rename(root / "kept")
        (root / "a_b.json").write_text(json.dumps({"session_id": "a/b", "messages": []}))
        found = {head.session_id for head in json_backend.list_heads(Query(prefix="a/"), cursor=None, limit=50).heads}
        assert found == {"a/b", "a/", "a/" + "x" * 200, "a/ü"}


class TestBeside:
    def test_removing_a_session_removes_all_that_lies_beside_it(self, json_backend: Driven, root: Path) -> None:
        long_session(json_backend)
        set_title(json_backend, "T")
        json_backend.put_row("s", "r1", "draft", "d", "1")
        for name in ("torn-1", "torn-3", "torn-12", "side.tmp", "tmp"):
            (root / f"s.json.{name}").write_text("secret")
        json_backend.put_head(a_head("s2"), expect=None)
        (root / "s2.json.torn-1").write_text("of another session")
        assert json_backend.remove_head("s", "r1") is True
        assert beside(root / "s.json") == []
        assert beside(root / "s2.json") == ["s2.json.torn-1"]

    def test_a_new_run_leaves_nothing_of_the_old(self, json_backend: Driven, root: Path) -> None:
        long_session(json_backend)
        set_title(json_backend, "T")
        (root / "s.json.torn-2").write_text("secret")
        assert json_backend.put_head(a_head(run="r2"), expect=json_backend.get_head("s").revision) is True
        assert beside(root / "s.json") == []

    def test_what_a_killed_removal_left_goes_with_the_next_listing_or_session(self, json_backend: Driven, root: Path) -> None:
        for name in ("s", "t"):
            long_session(json_backend, name)
            set_title(json_backend, "secret", name)
            (root / f"{name}.json.torn-1").write_text("secret")
        json_backend.close()
        for name in ("s", "t"):
            (root / f"{name}.json").unlink()
        again = directory(root)
        assert again.put_head(a_head("t"), expect=None) is True
        assert beside(root / "t.json") == []
        assert beside(root / "s.json") != []
        again.compact()
        assert beside(root / "s.json") == []
        again.close()

    def test_temporary_files_of_killed_writers_go_at_the_next_use(self, json_backend: Driven, root: Path) -> None:
        for name in ("used", "listed", "busy"):
            json_backend.put_head(a_head(name), expect=None)
            for kind in ("tmp", "side.tmp"):
                (root / f"{name}.json.{kind}").write_text("half")
        again = directory(root, lock_timeout=0.1)
        again.append("used", records(0, 1), now=1.0, expect=None)
        assert beside(root / "used.json") == []
        with locked(root / "busy.json"):
            again.list_heads(Query(), cursor=None, limit=1)
            assert beside(root / "listed.json") == []
            assert len(beside(root / "busy.json")) == 2
        again.compact()
        assert beside(root / "busy.json") == []
        again.close()

    @pytest.mark.parametrize("step", ["before the closing tail", "before the rename"])
    def test_a_change_of_fields_that_was_cut_short_is_there_or_not(
        self, json_backend: Driven, root: Path, monkeypatch: pytest.MonkeyPatch, step: str
    ) -> None:
        long_session(json_backend)
        set_title(json_backend, "first")
        watching = directory(root)
        assert watching.get_head("s").fields == {"title": "first"}
        with monkeypatch.context() as patch:
            if step == "before the closing tail":
                patch.setattr(SessionFile, "take_side", _killed)
            else:
                patch.setattr(os, "rename", _killed)
            with pytest.raises(KeyboardInterrupt):
                set_title(json_backend, "second")
        json_backend.close()
        expected = ["first", "second"] if step == "before the closing tail" else ["first"]
        assert watching.get_head("s").fields["title"] in expected
        watching.append("s", records(0, 2), now=4.0, expect=None)
        for number, backend in enumerate((directory(root), watching)):
            assert backend.get_head("s").fields["title"] in [*expected, "later 0"]
            set_title(backend, f"later {number}")
            assert backend.get_head("s").fields == {"title": f"later {number}"}
            assert len(all_ids(backend)) == 102
            backend.close()
        assert document(root / "s.json")["message_count"] == 102


def _killed(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


class TestEyes:
    def test_only_the_owner_may_look(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            root = tmp_path / "new" / "home" / "sessions"
            backend = directory(root, durability="power")
            long_session(backend)
            set_title(backend, "T")
            backend.put_row("s", "r1", "draft", "d", "1")
            backend.put_row("s", "r1", "undo", "u", "1")
            backend.append("s", [record("last", "x" * 2000)], now=3.0, expect=None)
            backend.put_head(a_head("odd/ID"), expect=None)
            (root / "theirs.json").write_text(json.dumps({"session_id": "theirs", "messages": []}))
            backend.append("theirs", records(0, 1), now=1.0, expect=None)
            backend.close()
            with open(root / "s.json", "r+b") as file:
                file.truncate(os.path.getsize(root / "s.json") - 700)
            backend = directory(root)
            set_title(backend, "U")
            assert any(".torn-" in each for each in beside(root / "s.json"))
            assert any(each.endswith(".side") for each in beside(root / "s.json"))
            backend.close()
        finally:
            os.umask(before)
        for folder in (root, root.parent, root.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for each in root.iterdir():
            assert stat.S_IMODE(each.stat().st_mode) == 0o600, each.name


class TestLinks:
    @pytest.mark.parametrize("name", ["s.json", "s.json.lock", "s.json.side"])
    def test_no_link_is_followed(self, json_backend: Driven, root: Path, tmp_path: Path, name: str) -> None:
        long_session(json_backend)
        set_title(json_backend, "T")
        json_backend.close()
        outside = tmp_path / "outside"
        (root / name).rename(outside)
        os.symlink(outside, root / name)
        before = outside.read_bytes()
        again = directory(root)
        with pytest.raises(StorageError):
            again.get_head("s")
        with pytest.raises(StorageError):
            again.append("s", records(0, 1), now=1.0, expect=None)
        again.list_heads(Query(), cursor=None, limit=5)
        again.close()
        assert outside.read_bytes() == before

    @pytest.mark.parametrize("name", ["s.json.tmp", "s.json.side.tmp", "s.json.torn-1"])
    def test_no_link_is_written_through(self, json_backend: Driven, root: Path, tmp_path: Path, name: str) -> None:
        long_session(json_backend)
        outside = tmp_path / "outside"
        outside.write_text("not ours")
        os.symlink(outside, root / name)
        set_title(json_backend, "T")
        json_backend.put_row("s", "r1", "undo", "k", "1")
        json_backend.close()
        with open(root / "s.json", "r+b") as file:
            file.truncate(os.path.getsize(root / "s.json") - 10)
        again = directory(root)
        assert again.get_head("s") is not None
        again.close()
        assert outside.read_text() == "not ours"

    def test_a_document_that_becomes_a_link_under_an_open_store(self, json_backend: Driven, root: Path, tmp_path: Path) -> None:
        json_backend.put_head(a_head(), expect=None)
        json_backend.append("s", records(0, 1), now=1.0, expect=None)
        (root / "s.json").rename(tmp_path / "outside")
        os.symlink(tmp_path / "outside", root / "s.json")
        before = (tmp_path / "outside").read_bytes()
        with pytest.raises(SessionError):
            json_backend.append("s", records(1, 2), now=1.0, expect=None)
        assert (tmp_path / "outside").read_bytes() == before

    def test_the_directory_itself_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        os.symlink(tmp_path / "real", tmp_path / "link")
        backend = directory(tmp_path / "link")
        backend.put_head(a_head(), expect=None)
        backend.close()
        assert (tmp_path / "real" / "s.json").is_file()
