"""Opening stores: URLs, the environment, installed schemes, the default stores of each home."""

from __future__ import annotations

import os
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import texts
from turnlog.backends.memory import MemoryBackend
from turnlog.errors import InvalidMessageError
from turnlog.session import (
    AsyncSessionStore,
    DefaultSessionStore,
    HierarchicalSessionStore,
    SessionStore,
    SqliteSessionStore,
    get_default_session_store,
    get_hierarchical_session_store,
    open_async_store,
    open_store,
)
from turnlog.session.opening import StoreUrlError


def used(store: SessionStore) -> SessionStore:
    """Something is in it, so that its place is there."""
    store.add_message("s", "user", "x")
    store.close()
    return store


class TestUrls:
    def test_absolute_places(self, tmp_path: Path) -> None:
        used(open_store(f"json://{tmp_path}/dir"))
        assert (tmp_path / "dir" / "s.json").is_file()
        used(open_store(f"sqlite://{tmp_path}/file.sqlite"))
        assert (tmp_path / "file.sqlite").is_file()
        with DefaultSessionStore(tmp_path / "dir") as json, SqliteSessionStore(tmp_path / "file.sqlite") as sqlite:
            assert texts(json, "s") == texts(sqlite, "s") == ["x"]

    def test_relative_and_home_places(self, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        used(open_store("json://./here"))
        used(open_store("sqlite://../up.sqlite"))
        used(open_store("json://~/there"))
        assert (tmp_path / "here" / "s.json").is_file()
        assert (tmp_path.parent / "up.sqlite").is_file()
        assert (home / "there" / "s.json").is_file()

    def test_escapes_and_options(self, tmp_path: Path) -> None:
        used(open_store(f"sqlite://{tmp_path}/a%20b%3f.sqlite?durability=process"))
        assert (tmp_path / "a b?.sqlite").is_file()

    def test_memory_is_new_each_time(self) -> None:
        one, other = open_store("memory://"), open_store("memory://")
        one.add_message("s", "user", "x")
        assert not other.session_exists("s")

    def test_a_limit_and_the_async_form(self, tmp_path: Path) -> None:
        assert open_store("memory://", max_messages=5).max_messages == 5
        store = open_async_store(f"json://{tmp_path}", max_messages=5)
        assert isinstance(store, AsyncSessionStore)
        assert store.max_messages == 5

    @pytest.mark.parametrize(
        ("url", "text"),
        [
            ("/plain/path", "is no store URL"),
            ("json:/one/slash", "is no store URL"),
            ("json://", "names no place"),
            ("json:///", "names no place"),
            ("sqlite://relative.sqlite", "neither absolute nor marked as relative"),
            ("json://host/dir", "neither absolute nor marked as relative"),
            ("json:///dir?durability=maybe", "durability=power or durability=process"),
            ("sqlite:///file?cache=1", "durability=power or durability=process"),
            ("redis2://host", "no installed backend serves redis2:// (these do: json, memory, mongodb, "),
            ("://x", "is no store URL"),
        ],
    )
    def test_what_names_no_store(self, url: str, text: str) -> None:
        for opens in (open_store, open_async_store):
            with pytest.raises(StoreUrlError) as error:
                opens(url)
            assert text in str(error.value)
            assert isinstance(error.value, ValueError)
            assert error.value.scheme in url  # type: ignore[attr-defined]


class TestEnvironment:
    def test_it_names_the_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TURNLOG_STORE", f"sqlite://{tmp_path}/env.sqlite")
        used(open_store())
        assert (tmp_path / "env.sqlite").is_file()
        monkeypatch.setenv("TURNLOG_STORE", "nonsense")
        with pytest.raises(StoreUrlError):
            open_store()

    def test_without_it_there_are_files_at_home(self, home: Path) -> None:
        used(open_store())
        assert (home / ".praisonai" / "sessions" / "s.json").is_file()

    @pytest.mark.parametrize("name", ["a%20b", "c?d", "plain"])
    def test_any_home_will_do(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for place in (name, str(tmp_path / "absolute" / name)):
            monkeypatch.setenv("PRAISONAI_HOME", place)
            used(open_store())
            assert (tmp_path / place / "sessions" / "s.json").is_file()
            used(SqliteSessionStore())
            assert (tmp_path / place / "sessions.sqlite").is_file()


class TestInstalledSchemes:
    def test_an_entry_point_brings_a_scheme(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, bool]] = []

        def opener(url: str, *, asynchronous: bool) -> MemoryBackend:
            asked.append((url, asynchronous))
            return MemoryBackend()

        class Point(EntryPoint):
            """An installed package's opener."""

            def load(self) -> Any:
                return opener

        def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
            assert group == "turnlog.backends"
            return [Point("fancy", "package:opener", group)] if name in (None, "fancy") else []

        monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
        store = open_store("fancy://host/db?x=1")
        store.add_message("s", "user", "x")
        assert texts(store, "s") == ["x"]
        open_async_store("fancy://host/db?x=1")
        assert asked == [("fancy://host/db?x=1", False), ("fancy://host/db?x=1", True)]
        with pytest.raises(StoreUrlError, match="fancy, json, memory, mongodb"):
            open_store("other://host")


class TestDefaults:
    def test_one_for_each_home(self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = get_default_session_store()
        assert get_default_session_store() is first
        first.add_message("s", "user", "x")
        assert (home / ".praisonai" / "sessions" / "s.json").is_file()
        monkeypatch.setenv("PRAISONAI_HOME", str(tmp_path / "other"))
        second = get_default_session_store()
        assert second is not first
        assert not second.session_exists("s")
        monkeypatch.setenv("PRAISONAI_HOME", os.path.join(home, ".", ".praisonai"))
        assert get_default_session_store() is first

    def test_the_tree_has_its_own_in_the_same_place(self) -> None:
        tree = get_hierarchical_session_store()
        assert isinstance(tree, HierarchicalSessionStore)
        assert get_hierarchical_session_store() is tree
        tree.add_message("s", "user", "x")
        assert texts(get_default_session_store(), "s") == ["x"]

    def test_a_closed_one_is_opened_anew(self) -> None:
        first = get_default_session_store()
        first.close()
        again = get_default_session_store()
        assert again is not first
        assert again.add_message("s", "user", "x")

    def test_threads_get_the_same(self) -> None:
        found: list[DefaultSessionStore] = []
        barrier = threading.Barrier(8)

        def ask() -> None:
            barrier.wait()
            found.append(get_default_session_store())

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(map(id, found))) == 1


def test_stores_say_what_they_cannot_do_at_once(tmp_path: Path) -> None:
    for kind in (DefaultSessionStore, SqliteSessionStore):
        with pytest.raises(Exception, match="durability"):
            kind(tmp_path / "x", durability="maybe")  # type: ignore[arg-type]
    with SqliteSessionStore(tmp_path / "x.sqlite") as store, pytest.raises(InvalidMessageError):
        store.add_message("s", "user", b"")
