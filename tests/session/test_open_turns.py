"""Open turns on every built-in store, sync and async: kept, replaced, landed, dropped; nobody's history; as cheap in a long session."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.session.conftest import Opened, say, texts
from turnlog.errors import ClosedStoreError, ConflictError, InvalidMessageError, InvalidSessionIdError, MessageTooLargeError
from turnlog.session import (
    AsyncDefaultSessionStore,
    AsyncInMemorySessionStore,
    AsyncSqliteSessionStore,
    SessionMessage,
    SessionStore,
    UnsupportedVerbError,
    adapt_store,
)
from turnlog.store.drive import drive
from turnlog.store.turns import CHECK_EVERY, CHECKED
from turnlog.testing.faces import Loop, SyncFace
from turnlog.testing.meters import Meter, Steps

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
MAKERS: dict[str, Callable[[Path], Any]] = {
    "memory": lambda folder: AsyncInMemorySessionStore(),
    "sqlite": lambda folder: AsyncSqliteSessionStore(folder / "s.sqlite", durability="process"),
    "json": lambda folder: AsyncDefaultSessionStore(folder / "sessions", durability="process"),
}


def produced(turn: str, *contents: str) -> list[dict[str, Any]]:
    """What a turn has produced, with the ids under which it will land."""
    return [{**message, "id": f"{turn}-{number}"} for number, message in enumerate(say(*contents))]


def opened_turns(store: Any, session_id: str = "s") -> dict[str, list[Any]]:
    """The contents of each open turn."""
    return {turn.id: [message.content for message in turn.messages] for turn in store.get_open_turns(session_id)}


def leave_behind(store: SessionStore, turn: str, *contents: str) -> None:
    """What a crash between the append and the drop leaves: a turn that has landed, and its row."""
    store.put_open_turn("s", turn, produced(turn, *contents))
    store.add_messages("s", produced(turn, *contents))


def rows(store: SessionStore) -> list[str]:
    """The keys of what the backend keeps of open turns."""
    head = drive(store.backend.get_head("s"))
    assert head is not None
    return list(drive(store.backend.get_rows("s", head.run, "turn")))


@pytest.fixture(params=["sync", "async"])
def either(request: pytest.FixtureRequest, kind: str, opened: Opened, tmp_path: Path) -> Iterator[Any]:
    """An empty store of the kind, sync or async; the async one is called without await."""
    if request.param == "sync":
        yield opened()
        return
    loop = Loop()
    store = SyncFace(MAKERS[kind](tmp_path), loop)
    yield store
    store.close()
    loop.close()


class TestKeeping:
    def test_a_turn_comes_back_as_it_was_put(self, either: Any) -> None:
        messages = [
            {"role": "user", "content": "\x00 \ud800 \U0001f600", "id": "a", "metadata": {"k": 1}, "timestamp": 5.5},
            SessionMessage(role="assistant", content=None, tool_calls=[CALL], id="b"),
            {"type": "reasoning", "id": "rs_1", "summary": []},
        ]
        assert either.put_open_turn("s", "t", messages, info={"who": ["me", None]}) is True
        (turn,) = either.get_open_turns("s")
        assert (turn.id, turn.session_id, turn.info) == ("t", "s", {"who": ["me", None]})
        assert turn.messages[0] == SessionMessage(role="user", content="\x00 \ud800 \U0001f600", timestamp=5.5, metadata={"k": 1}, id="a")
        assert turn.messages[1] == messages[1]
        assert turn.messages[2].record == messages[2]
        assert 0 < turn.started_at <= turn.updated_at
        assert turn.to_dict()["messages"][0]["id"] == "a"

    def test_the_session_comes_to_be_and_has_no_messages(self, either: Any) -> None:
        assert either.get_open_turns("s") == []
        either.put_open_turn("s", "t")
        assert either.session_exists("s")
        assert either.get_messages("s") == []
        assert [line["message_count"] for line in either.list_sessions()] == [0]
        assert opened_turns(either) == {"t": []}

    def test_a_put_replaces_what_was_kept_and_no_more(self, either: Any) -> None:
        either.put_open_turn("s", "t1", produced("t1", "a"), info={"n": 1})
        either.put_open_turn("s", "t2", produced("t2", "x"))
        (first, _) = either.get_open_turns("s")
        either.put_open_turn("s", "t1", produced("t1", "a", "b"), info={"n": 2})
        assert list(opened_turns(either).items()) == [("t1", ["a", "b"]), ("t2", ["x"])]
        (again, _) = either.get_open_turns("s")
        assert (again.started_at, again.info) == (first.started_at, {"n": 2})
        assert again.updated_at >= first.updated_at

    def test_what_is_put_is_a_copy(self, either: Any) -> None:
        message = {"role": "user", "content": ["a"], "id": "m"}
        either.put_open_turn("s", "t", [message])
        message["content"].append("b")
        either.get_open_turns("s")[0].messages[0].content.append("c")
        assert opened_turns(either) == {"t": [["a"]]}

    @pytest.mark.parametrize("name", ["", "a\nb", "\x00", 7, None, "x" * 257, CHECKED])
    def test_a_turn_id_must_be_printable_text(self, either: Any, name: Any) -> None:
        for verb in (either.put_open_turn, either.drop_open_turn):
            with pytest.raises(InvalidMessageError, match="a turn id must be"):
                verb("s", name)
        if name is not None:
            with pytest.raises(InvalidMessageError, match="a turn id must be"):
                either.add_messages("s", say("a"), turn_id=name)
        assert not either.session_exists("s")

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            (("", "t"), InvalidSessionIdError),
            (("s", "t", [{"role": "user", "content": b"x"}]), InvalidMessageError),
            (("s", "t", [{"role": "user", "content": "x" * 12 * 1024 * 1024}]), MessageTooLargeError),
            (("s", "t", [{"role": "user", "content": "a", "id": "m"}, {"role": "user", "content": "b", "id": "m"}]), InvalidMessageError),
        ],
        ids=["id", "bytes", "size", "twice"],
    )
    def test_a_refusal_keeps_nothing(self, either: Any, arguments: tuple[Any, ...], error: type[Exception]) -> None:
        with pytest.raises(error):
            either.put_open_turn(*arguments)
        assert not either.session_exists("s")

    def test_info_must_be_json(self, either: Any) -> None:
        with pytest.raises(InvalidMessageError, match="info"):
            either.put_open_turn("s", "t", info={"bad": {1, 2}})

    def test_a_closed_store_refuses(self, opened: Opened) -> None:
        store = opened()
        store.close()
        for verb in (partial(store.put_open_turn, "s", "t"), partial(store.get_open_turns, "s"), partial(store.drop_open_turn, "s", "t")):
            with pytest.raises(ClosedStoreError):
                verb()

    def test_five_methods_refuse(self) -> None:
        store = adapt_store(FiveMethods())
        for verb in ("put_open_turn", "get_open_turns", "drop_open_turn"):
            with pytest.raises(UnsupportedVerbError, match=f"{verb} needs a full store"):
                getattr(store, verb)


class TestLanding:
    def test_the_append_that_names_a_turn_ends_it(self, either: Any) -> None:
        either.put_open_turn("s", "t1", produced("t1", "a"))
        either.put_open_turn("s", "t2", produced("t2", "x"))
        assert either.add_messages("s", produced("t1", "a", "b"), turn_id="t1") is True
        assert opened_turns(either) == {"t2": ["x"]}
        assert [message.content for message in either.get_messages("s")] == ["a", "b"]
        assert either.add_messages("s", produced("t1", "a", "b"), turn_id="t1") is True
        assert len(either.get_messages("s")) == 2

    @pytest.mark.parametrize("revision", ["", "no such revision"])
    def test_an_append_that_loses_leaves_the_turn_open(self, either: Any, revision: str) -> None:
        either.put_open_turn("s", "t", produced("t", "a"))
        with pytest.raises(ConflictError):
            either.add_messages("s", produced("t", "a"), expect_revision=revision, turn_id="t")
        assert opened_turns(either) == {"t": ["a"]}
        assert either.add_messages("s", produced("t", "a"), expect_revision=either.get_revision("s"), turn_id="t")
        assert opened_turns(either) == {}

    def test_an_append_without_messages_ends_the_turn_too(self, either: Any) -> None:
        either.put_open_turn("s", "t", produced("t", "a"))
        assert either.add_messages("s", [], turn_id="t")
        assert (opened_turns(either), either.get_messages("s")) == ({}, [])

    def test_a_turn_that_was_never_open_lands_as_well(self, either: Any) -> None:
        assert either.add_messages("new", produced("t", "a"), turn_id="t")
        assert (opened_turns(either, "new"), len(either.get_messages("new"))) == ({}, 1)

    def test_turns_change_no_revision(self, either: Any) -> None:
        either.add_message("s", "user", "a")
        revision = either.get_revision("s")
        either.put_open_turn("s", "t", produced("t", "x"))
        either.drop_open_turn("s", "t")
        assert either.get_revision("s") == revision
        assert either.add_messages("s", say("b"), expect_revision=revision)


class TestBesideTheHistory:
    def test_no_fork_takes_an_open_turn_along(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b"))
        store.put_open_turn("s", "t", produced("t", "x"))
        child = store.fork_session("s")
        assert (opened_turns(store, child), texts(store, child)) == ({}, ["a", "b"])
        store.put_open_turn(child, "t", produced("t", "y"))
        store.delete_session("s")
        assert opened_turns(store, child) == {"t": ["y"]}

    def test_reverts_snapshots_and_undo_leave_them(self, store: SessionStore) -> None:
        store.add_messages("s", say("a", "b", "c"))
        snapshot = store.create_snapshot("s")
        store.put_open_turn("s", "t", produced("t", "x"))
        store.revert_to_message("s", 0)
        store.undo_revert("s")
        store.revert_to_snapshot("s", snapshot)
        assert (opened_turns(store), texts(store, "s")) == ({"t": ["x"]}, ["a", "b", "c"])

    @pytest.mark.parametrize("end", ["clear_session", "delete_session", "set_chat_history"])
    def test_what_erases_the_history_erases_them(self, store: SessionStore, end: str) -> None:
        store.add_message("s", "user", "a")
        store.put_open_turn("s", "t", produced("t", "x"))
        getattr(store, end)("s", *([say("b")] if end == "set_chat_history" else []))
        assert opened_turns(store) == {}
        store.add_message("s", "user", "c")
        assert opened_turns(store) == {}

    def test_retention_leaves_them(self, opened: Opened) -> None:
        store = opened(4)
        store.put_open_turn("s", "t", produced("t", "x"))
        for number in range(20):
            store.add_messages("s", say(f"q{number}", f"a{number}"))
        assert opened_turns(store) == {"t": ["x"]}
        store.add_messages("s", produced("t", "x", "y"), turn_id="t")
        assert (opened_turns(store), texts(store, "s")[-2:]) == ({}, ["x", "y"])


class TestAfterACrash:
    """A crash between the append and the drop leaves a turn's row behind a turn that has landed."""

    def test_nothing_is_shown_twice(self, store: SessionStore) -> None:
        leave_behind(store, "t1", "a", "b")
        assert (opened_turns(store), texts(store, "s")) == ({}, ["a", "b"])

    def test_the_next_turn_clears_it_away(self, store: SessionStore) -> None:
        leave_behind(store, "t1", "a", "b")
        store.put_open_turn("s", "t2", produced("t2", "c"))
        assert rows(store) == ["t2"]

    def test_it_does_not_show_after_a_revert_either(self, store: SessionStore) -> None:
        store.add_message("s", "user", "first")
        leave_behind(store, "t1", "a", "b")
        store.revert_to_message("s", 0)
        assert (opened_turns(store), texts(store, "s")) == ({}, ["first"])

    def test_an_interrupted_turn_stays_however_long_the_session_grows(self, store: SessionStore) -> None:
        store.put_open_turn("s", "t", produced("t", "x", "y"))
        for number in range(2 * CHECK_EVERY):
            store.add_messages("s", say(f"q{number}", f"a{number}"))
            store.put_open_turn("s", "now", produced(f"now{number}", "q"))
        assert opened_turns(store) == {"t": ["x", "y"], "now": ["q"]}
        store.add_messages("s", produced("t", "x", "y"))
        assert opened_turns(store) == {"now": ["q"]}
        store.put_open_turn("s", "later", produced("later", "z"))
        assert {key.removesuffix(CHECKED) for key in rows(store)} == {"now", "later"}


class TestSideBySide:
    def test_threads_with_a_turn_each(self, store: SessionStore) -> None:
        failures: list[BaseException] = []

        def work(writer: int) -> None:
            try:
                for number in range(10):
                    name = f"t{writer} {number}"
                    store.put_open_turn("s", name, produced(name, "q"))
                    assert opened_turns(store)[name] == ["q"]
                    store.add_messages("s", produced(name, "q", "a"), turn_id=name)
                    assert name not in opened_turns(store)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(writer,)) for writer in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert (opened_turns(store), len(store.get_messages("s"))) == ({}, 80)

    def test_a_turn_against_clears(self, store: SessionStore) -> None:
        """A clear ends the turns that it meets; one that is put after it is there."""
        done = threading.Event()

        def clear() -> None:
            while not done.is_set():
                store.clear_session("s")

        thread = threading.Thread(target=clear)
        thread.start()
        try:
            for number in range(30):
                assert store.put_open_turn("s", f"t{number}", produced("t", "q"))
                assert store.add_messages("s", produced(f"t{number}", "q", "a"), turn_id=f"t{number}")
        finally:
            done.set()
            thread.join()
        store.put_open_turn("s", "last", produced("last", "q"))
        assert opened_turns(store)["last"] == ["q"]


class TestCost:
    LENGTHS = (600, 10_000)
    ALLOWED = {"bytes allocated": 8_000, "bytes read": 24_000, "bytes written": 24_000, "SQLite steps": 150}
    """Blocks that are read at once, and a tree that is a level deeper."""

    @pytest.mark.parametrize("interrupted", [False, True], ids=["alone", "beside an interrupted turn"])
    def test_a_turn_costs_the_same_in_a_long_session(self, opened: Opened, interrupted: bool) -> None:
        steps = Steps()
        with steps.watching():
            store = opened()
            costs = [self._cost(store, f"s{length}", length, Meter(steps), interrupted) for length in self.LENGTHS]
        for (verb, short), long in zip(costs[0].items(), costs[1].values(), strict=True):
            for unit, cost in long.items():
                assert cost <= 1.3 * short[unit] + self.ALLOWED[unit], f"{verb}: {short[unit]} {unit} at {self.LENGTHS[0]}, then {cost}"

    def _cost(self, store: SessionStore, name: str, length: int, meter: Meter, interrupted: bool) -> dict[str, dict[str, int]]:
        if interrupted:
            store.put_open_turn(name, "old", produced(f"{name} old", "never ended"))
        for start in range(0, length, 200):
            store.add_messages(name, say(*(f"{number} {'x' * 100}" for number in range(start, start + 200))))
        # Whoever is first has to find out that the interrupted turn did not land.
        store.put_open_turn(name, "first", produced(f"{name} first", "q"))
        store.drop_open_turn(name, "first")
        verbs: dict[str, Callable[[int], Any]] = {
            "put": lambda number: store.put_open_turn(name, f"t{number}", produced(f"{name} {number}", "q")),
            "put again": lambda number: store.put_open_turn(name, f"t{number}", produced(f"{name} {number}", "q", "a")),
            "get": lambda number: store.get_open_turns(name),
            "land": lambda number: store.add_messages(name, produced(f"{name} {number}", "q", "a"), turn_id=f"t{number}"),
        }
        rounds = [{verb: meter.cost(partial(call, number)) for verb, call in verbs.items()} for number in range(6)]
        # Engines tidy up now and then: the middle of the rounds, not the worst.
        return {verb: {unit: sorted(one[verb][unit] for one in rounds[1:])[2] for unit in rounds[0][verb]} for verb in verbs}


class FiveMethods:
    """The five methods and nothing else; nothing is ever stored."""

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        return True

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return []

    def clear_session(self, session_id: str) -> bool:
        return True

    def delete_session(self, session_id: str) -> bool:
        return True

    def session_exists(self, session_id: str) -> bool:
        return False
