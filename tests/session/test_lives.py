"""Sessions with a time to live: of a store, by URL, of one session; erasing by conditions. What every store owes is in the kit, 2.80 on."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import say, texts
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Query
from turnlog.errors import ConflictError, SessionNotFoundError
from turnlog.session import (
    AsyncDefaultSessionStore,
    AsyncInMemorySessionStore,
    AsyncSqliteSessionStore,
    DefaultSessionStore,
    HierarchicalSessionStore,
    InMemorySessionStore,
    InvalidArgumentError,
    SessionStore,
    SqliteSessionStore,
    open_async_store,
    open_store,
)
from turnlog.session.opening import StoreUrlError
from turnlog.store.conditions import LONGEST_TTL
from turnlog.store.drive import drive

BAD_TTLS = [0, -1, float("nan"), float("inf"), True, "60", LONGEST_TTL + 1, 10**400]


def age(store: SessionStore, session_id: str, seconds: float) -> None:
    """Let a session have changed that much earlier."""
    head = drive(store.backend.get_head(session_id))
    assert head is not None
    older = replace(head, counter=head.counter + 1, updated_at=head.updated_at - seconds)
    assert drive(store.backend.put_head(older, expect=head.revision))


def ttl_of(store: SessionStore, session_id: str) -> float | None:
    """The ttl of a session that is there."""
    info = store.get_session_info(session_id)
    assert info is not None
    return info.ttl


class TestStores:
    def test_a_store_gives_its_ttl_to_what_it_creates(self, store: SessionStore) -> None:
        store.add_message("before", "user", "x")
        store.add_message("mine", "user", "x")
        store.set_session_ttl("mine", 7.0)
        with SessionStore(store.backend, ttl=60) as brief:
            assert brief.ttl == 60.0
            for session_id, create in {
                "added": lambda: brief.add_message("added", "user", "x"),
                "turn": lambda: brief.add_messages("turn", say("x", "y")),
                "set": lambda: brief.set_chat_history("set", say("x")),
                "made": lambda: brief.create_session("made"),
                "titled": lambda: brief.set_title("titled", "t"),
                "open": lambda: brief.put_open_turn("open", "t"),
                "draft": lambda: brief.upsert_partial_assistant_message("draft", "x"),
                "fork": lambda: brief.fork_session("before", new_session_id="fork"),
                "fork of mine": lambda: brief.fork_session("mine", new_session_id="fork of mine"),
                "imported": lambda: brief.import_session(brief.export_session("before", include_lineage=False), "imported"),
            }.items():
                create()
                assert ttl_of(brief, session_id) == 60.0, session_id
            # What is there keeps what it has.
            for session_id, ttl in (("before", None), ("mine", 7.0)):
                brief.add_message(session_id, "user", "more")
                brief.set_chat_history(session_id, say("x"))
                brief.clear_session(session_id)
                assert ttl_of(brief, session_id) == ttl

    def test_a_new_life_has_the_ttl_of_its_store(self, store: SessionStore) -> None:
        store.add_message("s", "user", "old")
        store.set_session_ttl("s", 60)
        age(store, "s", 60)
        store.add_message("s", "user", "new")
        assert (texts(store, "s"), ttl_of(store, "s")) == (["new"], None)

    @pytest.mark.parametrize("ttl", BAD_TTLS)
    def test_what_is_no_ttl_is_refused(self, store: SessionStore, ttl: Any) -> None:
        with pytest.raises(InvalidArgumentError) as caught:
            InMemorySessionStore(ttl=ttl)
        assert caught.value.name == "ttl"  # type: ignore[attr-defined]
        store.add_message("s", "user", "x")
        before = store.get_session("s")
        with pytest.raises(ValueError, match="ttl must be"):
            store.set_session_ttl("s", ttl)
        assert store.get_session("s") == before

    def test_every_class_takes_it(self, tmp_path: Path) -> None:
        stores = [
            DefaultSessionStore(tmp_path / "a", ttl=5),
            HierarchicalSessionStore(tmp_path / "a", ttl=5),
            AsyncDefaultSessionStore(tmp_path / "a", ttl=5),
            SqliteSessionStore(tmp_path / "b", ttl=5),
            AsyncSqliteSessionStore(tmp_path / "b", ttl=5),
            InMemorySessionStore(ttl=5),
            AsyncInMemorySessionStore(ttl=5),
        ]
        assert [store.ttl for store in stores] == [5.0] * len(stores)

    def test_for_event_loops(self) -> None:
        async def run() -> None:
            async with AsyncInMemorySessionStore(ttl=60) as store:
                await store.add_message("s", "user", "x")
                assert await store.set_session_ttl("s", 30)
                info = await store.get_session_info("s")
                assert info is not None
                assert info.ttl == 30.0
                assert await store.delete_where(older_than=0) == 1

        asyncio.run(run())


class TestUrls:
    @pytest.mark.parametrize("query", ["?ttl=3600", "?ttl=3600&durability=process", "?durability=process&ttl=3600", "?ttl=1&ttl=3600.0"])
    @pytest.mark.parametrize("scheme", ["json", "sqlite"])
    def test_a_ttl_in_the_url(self, tmp_path: Path, scheme: str, query: str) -> None:
        with open_store(f"{scheme}://{tmp_path}/x{query}") as store:
            assert store.ttl == 3600.0
            store.add_message("s", "user", "x")
            assert ttl_of(store, "s") == 3600.0
        assert [path.name for path in tmp_path.iterdir()] == ["x"]

    def test_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert open_store("memory://?ttl=5").ttl == 5.0
        assert open_store("memory://?ttl=5", ttl=6).ttl == 6.0
        assert open_store("memory://", ttl=6).ttl == 6.0
        assert open_async_store("memory://?ttl=5").ttl == 5.0
        assert open_store("memory://").ttl is None
        monkeypatch.setenv("TURNLOG_STORE", "memory://?ttl=7")
        assert open_store().ttl == 7.0

    @pytest.mark.parametrize("ttl", ["", "0", "-5", "nan", "1h", "inf"])
    def test_what_is_no_ttl_is_refused(self, ttl: str) -> None:
        with pytest.raises(StoreUrlError, match="ttl"):
            open_store(f"memory://?ttl={ttl}")

    def test_search_in_the_url(self, tmp_path: Path) -> None:
        with open_store(f"sqlite://{tmp_path}/s.sqlite?search=1&ttl=5&durability=process") as store:
            store.add_message("s", "user", "word")
            assert store.backend.indexes_words  # type: ignore[attr-defined]
        for url in (f"json://{tmp_path}/d?search=1", f"sqlite://{tmp_path}/t.sqlite?search=yes"):
            with pytest.raises(StoreUrlError, match="options here"):
                open_store(url)


class TestSessions:
    def test_what_is_told_of_it(self, store: SessionStore) -> None:
        store.add_message("s", "user", "x")
        info = store.get_session_info("s")
        assert info is not None
        assert (info.ttl, info.expires_at, info.to_dict()["expires_at"]) == (None, None, None)
        assert "ttl" not in store.get_session("s").to_dict()
        store.set_session_ttl("s", 3600)
        (line,) = store.iter_sessions()
        assert line.expires_at is not None
        left = datetime.fromisoformat(line.expires_at) - datetime.fromisoformat(line.updated_at)
        assert round(left.total_seconds(), 3) == 3600.0
        assert store.list_sessions()[0]["expires_at"] == line.expires_at
        data = store.get_session("s")
        assert (data.ttl, data.expires_at, data.to_dict()["ttl"]) == (3600.0, line.expires_at, 3600.0)

    def test_a_long_session_too(self, store: SessionStore) -> None:
        store.add_messages("s", say(*["x" * 1000] * 100))
        for number in range(3):
            store.set_session_ttl("s", 3600 + number)
            store.set_title("s", f"t{number}")
            store.add_message("s", "user", "more")
        assert ttl_of(store, "s") == 3602.0
        age(store, "s", 3602)
        assert not store.session_exists("s")
        store.add_message("s", "user", "new")
        assert texts(store, "s") == ["new"]

    def test_it_is_carried_by_export_and_import(self, store: SessionStore, other: SessionStore) -> None:
        store.add_message("s", "user", "x")
        store.set_session_ttl("s", 3600)
        assert other.import_sessions(store.export_all()).imported == 1
        assert ttl_of(other, "s") == 3600.0
        age(other, "s", 3600)
        assert other.import_sessions(store.export_all()).imported == 1
        assert (texts(other, "s"), other.import_sessions(store.export_all()).skipped_count) == (["x"], 1)

    def test_a_child_of_an_expired_id(self, store: SessionStore) -> None:
        store.add_message("s", "user", "x")
        store.add_message("taken", "user", "old")
        store.set_session_ttl("taken", 60)
        with pytest.raises(ConflictError):
            store.fork_session("s", new_session_id="taken")
        age(store, "taken", 60)
        assert store.fork_session("s", new_session_id="taken") == "taken"
        assert texts(store, "taken") == ["x"]

    def test_the_sweep_finds_what_has_expired_by_the_index(self, store: SessionStore) -> None:
        for number in range(20):
            store.add_message(f"s{number}", "user", "x")
            if number % 2:
                store.set_session_ttl(f"s{number}", 60)
                age(store, f"s{number}", 60)
        assert [line.session_id for line in store.page_sessions(Query(expired_at=time.time()), 100)[0]].__len__() == 10
        assert store.sweep().sessions_expired == 10
        assert drive(store.backend.list_heads(Query(expired_at=1e11), cursor=None, limit=50)).heads == []
        assert len(store.list_sessions()) == 10

    def test_a_session_that_is_changed_as_the_sweep_comes_by_stays(self) -> None:
        backend = Late()
        store = SessionStore(backend)
        store.add_message("s", "user", "x")
        store.set_session_ttl("s", 60)
        age(store, "s", 60)
        backend.late = "s"
        assert store.sweep().sessions_expired == 0
        assert store.session_exists("s")


class Late(MemoryBackend):
    """Just before a head is removed somebody changes it."""

    late: str | None = None

    async def remove_head(self, session_id: str, run: str, *, expect: str | None = None) -> bool:
        if session_id == self.late:
            self.late = None
            head = await self.get_head(session_id)
            assert head is not None
            await self.put_head(replace(head, counter=head.counter + 1, updated_at=time.time()), expect=head.revision)
        return await super().remove_head(session_id, run, expect=expect)


class TestDeleteWhere:
    def test_without_age_a_session_that_is_changed_meanwhile_goes_too(self) -> None:
        backend = Late()
        store = SessionStore(backend)
        for name in ("s", "t"):
            store.add_message(name, "user", "x")
            store.set_agent_info(name, "A", "u")
        backend.late = "s"
        assert store.delete_where(user_id="u") == 2
        assert store.list_sessions() == []

    def test_with_age_it_stays(self) -> None:
        backend = Late()
        store = SessionStore(backend)
        store.add_message("s", "user", "x")
        age(store, "s", 100)
        backend.late = "s"
        assert store.delete_where(older_than=50) == 0
        assert store.session_exists("s")

    @pytest.mark.parametrize(
        ("older_than", "count"),
        [(50, 1), (50.5, 1), (timedelta(seconds=50), 1), (0, 2), (timedelta(0), 2), (101, 0), (timedelta(days=3), 0)],
    )
    def test_ages(self, store: SessionStore, older_than: Any, count: int) -> None:
        store.add_message("old", "user", "x")
        age(store, "old", 100)
        store.add_message("new", "user", "x")
        assert store.delete_where(older_than=older_than) == count

    def test_a_moment(self, store: SessionStore) -> None:
        store.add_message("old", "user", "x")
        age(store, "old", 100)
        store.add_message("new", "user", "x")
        assert store.delete_where(older_than=datetime.now(UTC) - timedelta(seconds=200)) == 0
        assert store.delete_where(older_than=datetime.now(UTC) - timedelta(seconds=50)) == 1
        assert [line["session_id"] for line in store.list_sessions()] == ["new"]

    def test_what_means_nothing_is_refused(self, store: SessionStore) -> None:
        store.add_message("s", "user", "x")
        for conditions in (
            {},
            {"user_id": ""},
            {"agent": 5},
            {"older_than": -1},
            {"older_than": 10**400},
            {"older_than": datetime(2020, 1, 1)},
        ):
            with pytest.raises(InvalidArgumentError):
                store.delete_where(**conditions)  # type: ignore[arg-type]
        assert store.session_exists("s")


class TestReplacing:
    def test_only_who_read_the_newest_state_replaces_it(self, store: SessionStore) -> None:
        with pytest.raises(ConflictError):
            store.set_chat_history("s", say("x"), expect_revision="r")
        assert store.set_chat_history("s", say("x"), expect_revision="")
        seen = store.get_revision("s")
        store.add_message("s", "user", "y")
        for stale in ("", seen):
            with pytest.raises(ConflictError):
                store.set_chat_history("s", say("z"), expect_revision=stale)
        assert texts(store, "s") == ["x", "y"]
        assert store.set_chat_history("s", say("z"), expect_revision=store.get_revision("s"))
        assert texts(store, "s") == ["z"]

    def test_an_expired_session_is_none(self, store: SessionStore) -> None:
        store.add_message("s", "user", "x")
        store.set_session_ttl("s", 60)
        age(store, "s", 60)
        seen = drive(store.backend.get_head("s"))
        assert seen is not None
        with pytest.raises(ConflictError):
            store.set_chat_history("s", say("z"), expect_revision=seen.revision)
        assert store.set_chat_history("s", say("z"), expect_revision="")
        assert texts(store, "s") == ["z"]
        with pytest.raises(SessionNotFoundError):
            store.set_session_ttl("nobody", 5)
