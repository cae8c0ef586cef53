"""Turns by hand on every store: landed whole or not at all, kept as interrupted by an exception, refused where no API would take them."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.turns.conftest import Place
from tests.turns.samples import CALLS, RESULTS
from tests.verify.document_store import DocumentStore
from turnlog import turn
from turnlog.errors import ConflictError, InvalidMessageError, InvalidSessionIdError, StorageError, UnsupportedVerbError
from turnlog.session import (
    AsyncInMemorySessionStore,
    DefaultSessionStore,
    InMemorySessionStore,
    SqliteSessionStore,
    open_store,
)
from turnlog.turns import Turn, is_running
from turnlog.turns.context import INTERRUPTED
from turnlog.turns.owner import Owner

ASKED = {"role": "user", "content": "Hello"}
ANSWERED = {"role": "assistant", "content": "Hi"}
CALLING = {"role": "assistant", "content": None, "tool_calls": CALLS}


def talk(t: Turn) -> None:
    """Ask and answer."""
    t.add(ASKED)
    t.add(ANSWERED)


def fail(t: Turn, said: str = "Hello") -> None:
    """Ask, and get no answer."""
    t.add({**ASKED, "content": said})
    raise ConnectionError("the model is gone")


class TestLanding:
    def test_a_turn_is_stored_whole_at_its_end(self, anywhere: Place) -> None:
        def body(t: Turn) -> None:
            assert (t.history, t.messages, t.landed) == ([], [], False)
            t.add(ASKED)
            assert (t.history, t.messages) == ([], [ASKED])
            t.add(ANSWERED)
            seen.append(t)

        seen: list[Turn] = []
        taken = anywhere.take(body)
        assert seen == [taken]
        assert taken.landed
        assert anywhere.history() == [ASKED, ANSWERED]

    def test_the_next_turn_reads_it(self, anywhere: Place) -> None:
        anywhere.take(talk)

        def body(t: Turn) -> None:
            assert t.history == [ASKED, ANSWERED]
            assert [message.record for message in t.stored] == [ASKED, ANSWERED]
            t.add({"role": "user", "content": "Bye"})
            assert t.messages == [ASKED, ANSWERED, {"role": "user", "content": "Bye"}]
            t.add({"role": "assistant", "content": "Bye"})

        anywhere.take(body)
        assert len(anywhere.history()) == 4

    def test_tools_and_parts_come_back(self, anywhere: Place) -> None:
        parts = [{"type": "text", "text": "and this?"}, {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]
        messages = [{"role": "user", "content": parts}, CALLING, *RESULTS, ANSWERED]
        checked: list[bool] = []
        anywhere.take(lambda t: t.add(*messages))
        anywhere.take(lambda t: checked.append(t.history == messages))
        assert anywhere.history() == messages
        assert checked == [True]

    def test_a_turn_of_nothing_leaves_nothing(self, anywhere: Place) -> None:
        taken = anywhere.take(lambda t: None)
        assert not taken.landed
        assert not anywhere.plain.session_exists("s")

    def test_the_ids_are_those_that_are_stored(self, full: Place) -> None:
        taken = full.take(talk)
        assert [message.id for message in full.plain.get_messages("s")] == [message.id for message in taken.added]
        assert full.opened() == {}

    @pytest.mark.parametrize("form", ["chat", "responses", "anthropic"])
    def test_two_turns_at_once_land_one_behind_the_other(self, full: Place, form: Any) -> None:
        """Neither waits: each has read the same history, and lands in a row."""

        def body(t: Turn) -> None:
            t.add({"role": "user", "content": "outer"})
            full.plain.add_messages("s", [ASKED, ANSWERED])
            t.add({"role": "assistant", "content": "outer"})

        full.take(body, form=form)
        assert [message["content"] for message in full.history()] == ["Hello", "Hi", "outer", "outer"]


class TestInterrupted:
    def test_an_exception_leaves_the_history_and_is_told(self, anywhere: Place) -> None:
        anywhere.take(talk)
        with pytest.raises(ConnectionError, match="the model is gone"):
            anywhere.take(fail)
        assert anywhere.history() == [ASKED, ANSWERED]

    def test_only_the_latest_are_kept(self, full: Place) -> None:
        """Nobody may ever come back to them, and each is read again by every turn."""
        full.plain.put_open_turn("s", "running", [ASKED], info={"state": "running", **Owner.here().to_dict()})
        for number in range(INTERRUPTED + 3):
            with pytest.raises(ConnectionError):
                full.take(partial(fail, said=str(number)))
        assert [contents for _, contents in full.opened().values()] == [["Hello"], *([str(n)] for n in range(3, INTERRUPTED + 3))]

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_what_it_had_produced_is_kept(self, full: Place, error: type[BaseException]) -> None:
        def body(t: Turn) -> None:
            t.add(ASKED, CALLING)
            seen.append(t)
            raise error

        seen: list[Turn] = []
        if full.way == "async with" and error is not ValueError:
            with pytest.raises(error):
                self._in_a_task(full, body)
        else:
            with pytest.raises(error):
                full.take(body)
        assert full.opened() == {seen[0].id: ("interrupted", ["Hello", None])}
        (kept,) = full.plain.get_open_turns("s")
        assert kept.info["error"] == error.__name__
        assert not is_running(kept)
        assert [message.id for message in kept.messages] == [message.id for message in seen[0].added]
        assert full.history() == []

    @staticmethod
    def _in_a_task(full: Place, body: Any) -> None:
        """What ends an event loop is raised out of the coroutine by hand, and the loop goes on."""

        async def run() -> BaseException:
            try:
                async with turn(full.store, "s") as t:
                    body(t)
            except BaseException as error:
                return error
            raise AssertionError("nothing was raised")

        raise asyncio.run(run())

    def test_a_turn_that_produced_nothing_is_not_kept(self, full: Place) -> None:
        def body(t: Turn) -> None:
            raise ValueError

        with pytest.raises(ValueError):
            full.take(body)
        assert full.opened() == {}
        assert not full.plain.session_exists("s")

    def test_an_interrupted_turn_can_be_landed_from_what_was_kept(self, full: Place) -> None:
        with pytest.raises(ConnectionError):
            full.take(fail)
        (kept,) = full.plain.get_open_turns("s")
        full.plain.add_messages("s", [*kept.messages, ANSWERED], turn_id=kept.id)
        assert (full.history(), full.opened()) == ([ASKED, ANSWERED], {})

    def test_cancelled_is_interrupted(self) -> None:
        async def run() -> list[Any]:
            async with AsyncInMemorySessionStore() as store:
                at_work = asyncio.Event()

                async def work() -> None:
                    async with turn(store, "s") as t:
                        t.add(ASKED)
                        at_work.set()
                        await asyncio.Event().wait()

                task = asyncio.create_task(work())
                await at_work.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await store.get_chat_history("s") == []
                return [one.info["error"] for one in await store.get_open_turns("s")]

        assert asyncio.run(run()) == ["CancelledError"]


class TestRefused:
    @pytest.mark.parametrize(
        ("messages", "why"),
        [
            ([ASKED, CALLING], "message 1 of it"),
            ([ASKED, CALLING, RESULTS[0], ANSWERED], "message 1 of it"),
            ([ASKED, RESULTS[0]], "message 1 of it"),
            ([ASKED, {"role": "assistant", "content": None, "tool_calls": []}], "message 1 of it"),
        ],
        ids=["no results", "one result missing", "no call", "no calls"],
    )
    def test_a_turn_that_no_api_would_take(self, anywhere: Place, messages: list[Any], why: str) -> None:
        anywhere.take(talk)
        with pytest.raises(InvalidMessageError, match=why):
            anywhere.take(lambda t: t.add(*messages))
        assert anywhere.history() == [ASKED, ANSWERED]

    def test_it_is_kept(self, full: Place) -> None:
        with pytest.raises(InvalidMessageError, match="the turn cannot be stored"):
            full.take(lambda t: t.add(ASKED, CALLING))
        assert [state for state, _ in full.opened().values()] == ["interrupted"]
        (kept,) = full.plain.get_open_turns("s")
        assert kept.info["error"] == "InvalidMessageError"
        full.plain.add_messages("s", [*kept.messages, *RESULTS, ANSWERED], turn_id=kept.id)
        assert (len(full.history()), full.opened()) == (5, {})

    def test_its_content_is_not_told(self) -> None:
        with pytest.raises(InvalidMessageError) as refused, turn(InMemorySessionStore(), "s") as t:
            t.add({"role": "user", "content": "a secret"}, CALLING)
        assert "secret" not in str(refused.value)
        assert "Lisbon" not in str(refused.value)

    def test_what_turn_does_not_take(self) -> None:
        store = InMemorySessionStore()
        with pytest.raises(InvalidSessionIdError):
            turn(store, "")
        with pytest.raises(UnsupportedVerbError, match="form must be chat, responses, anthropic"):
            turn(store, "s", form="antropic")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="counts the tokens"):
            turn(store, "s", max_tokens=5)
        with pytest.raises(TypeError, match="no session store"):
            turn(object(), "s")
        with pytest.raises(UnsupportedVerbError, match="wait=1.5.* needs a full store"):
            turn(DocumentStore(), "s", wait=1.5)

    def test_plain_with_on_an_async_store(self) -> None:
        with pytest.raises(TypeError, match="async with"), turn(AsyncInMemorySessionStore(), "s"):
            pass


class Failing(InMemorySessionStore):
    """A place that fails in a way of its own; it tells the error's story from then on."""

    def __init__(self, *, stored: bool, error: BaseException) -> None:
        super().__init__()
        self.stored, self.error = stored, error

    def add_messages(self, session_id: str, messages: Any, **options: Any) -> bool:
        if not self.error:
            return super().add_messages(session_id, messages, **options)
        error, self.error = self.error, None  # type: ignore[assignment]
        if self.stored:
            super().add_messages(session_id, messages, **options)
        raise error


class TestAStoreThatFails:
    @pytest.mark.parametrize("error", [StorageError("the disk is full"), KeyboardInterrupt()], ids=["storage", "interrupt"])
    @pytest.mark.parametrize("wait", [0.0, 5.0], ids=["not kept before", "kept before"])
    def test_what_was_not_stored_is_kept(self, error: BaseException, wait: float) -> None:
        store = Failing(stored=False, error=error)
        with pytest.raises(type(error)), turn(store, "s", wait=wait) as t:
            talk(t)
        assert (t.landed, store.get_chat_history("s")) == (False, [])
        (kept,) = store.get_open_turns("s")
        assert (kept.id, kept.info["state"], len(kept.messages)) == (t.id, "interrupted", 2)

    @pytest.mark.parametrize("error", [StorageError("the connection broke"), KeyboardInterrupt()], ids=["storage", "interrupt"])
    @pytest.mark.parametrize("wait", [0.0, 5.0], ids=["not kept before", "kept before"])
    def test_what_was_stored_all_the_same_is_not_shown_twice(self, error: BaseException, wait: float) -> None:
        store = Failing(stored=True, error=error)
        with pytest.raises(type(error)), turn(store, "s", wait=wait) as t:
            talk(t)
        assert t.landed
        assert (len(store.get_chat_history("s")), store.get_open_turns("s")) == (2, [])

    def test_the_error_of_the_block_is_the_one_to_be_told(self, tmp_path: Path) -> None:
        class Closing(DefaultSessionStore):
            def put_open_turn(self, *args: Any, **options: Any) -> bool:
                self.close()
                return super().put_open_turn(*args, **options)

        with pytest.raises(ConnectionError) as told, turn(Closing(tmp_path / "sessions"), "s") as t:
            fail(t)
        assert [note.split(":")[0] for note in told.value.__notes__] == ["what the turn had produced could not be kept"]

    def test_a_conflict_is_told_and_the_turn_is_kept(self) -> None:
        store = InMemorySessionStore()
        store.add_message("s", "user", "other", message_id="m1")
        with pytest.raises(ConflictError), turn(store, "s") as t:
            t.add({**ASKED, "id": "m1"}, ANSWERED)
        assert [one.id for one in store.get_open_turns("s")] == [t.id]


class TestWindows:
    @pytest.fixture
    def store(self) -> InMemorySessionStore:
        store = InMemorySessionStore()
        for number in range(20):
            store.add_messages(
                "s", [{"role": "user", "content": f"q{number}"}, CALLING, *RESULTS, {"role": "assistant", "content": f"a{number}"}]
            )
        return store

    def test_all_of_it_without_a_limit(self, store: InMemorySessionStore) -> None:
        with turn(store, "s") as t:
            assert len(t.history) == 100

    @pytest.mark.parametrize(("limit", "length"), [(1, 0), (4, 0), (5, 5), (9, 5), (10, 10), (14, 10)])
    def test_a_number_of_messages(self, store: InMemorySessionStore, limit: int, length: int) -> None:
        with turn(store, "s", max_messages=limit) as t:
            assert len(t.history) == length
            assert t.history[:1] == ([{"role": "user", "content": f"q{20 - length // 5}"}] if length else [])

    def test_a_number_of_tokens(self, store: InMemorySessionStore) -> None:
        with turn(store, "s", max_tokens=11, count_tokens=lambda message: 1) as t:
            assert len(t.history) == 10

    def test_the_window_is_read_and_not_the_history(self, store: InMemorySessionStore) -> None:
        read: list[int] = []
        plain = store.get_messages
        store.get_messages = lambda *args: read.append(len(found := plain(*args))) or found  # type: ignore[method-assign, func-returns-value]
        with turn(store, "s", max_messages=10) as t:
            assert len(t.history) == 10
        assert sum(read) == 11

    def test_another_form_is_valid_there_too(self, store: InMemorySessionStore) -> None:
        with turn(store, "s", form="anthropic", max_messages=5) as t:
            roles = [message["role"] for message in t.history]
        assert roles == ["user", "assistant", "user", "assistant"]

    def test_system_messages_stand_apart_for_anthropic(self) -> None:
        with turn(InMemorySessionStore(), "s", form="anthropic") as t:
            t.add({"role": "system", "content": "Be kind."}, ASKED)
            assert (t.system, t.messages) == ("Be kind.", [ASKED])
            t.add(ANSWERED)


class TestPlaces:
    @pytest.mark.parametrize("scheme", ["json", "sqlite"])
    @pytest.mark.parametrize("way", ["with", "async with"])
    def test_a_url_is_opened_and_closed(self, scheme: str, way: str, tmp_path: Path) -> None:
        url = f"{scheme}://{tmp_path / 'place'}?durability=process"
        for _ in range(2):
            taken = Place(url, way, None).take(talk)  # type: ignore[arg-type]
        assert taken._store.store.closed
        with pytest.raises(ConnectionError):
            Place(url, way, None).take(fail)  # type: ignore[arg-type]
        with open_store(url) as store:
            assert (len(store.get_chat_history("s")), len(store.get_open_turns("s"))) == (4, 1)

    def test_none_is_the_default_store(self, home: Path) -> None:
        with turn(None, "chat-123") as t:
            talk(t)
        assert (home / ".praisonai" / "sessions" / "chat-123.json").exists()

    def test_a_store_that_was_given_stays_open(self, tmp_path: Path) -> None:
        with SqliteSessionStore(tmp_path / "s.sqlite", durability="process") as store:
            with turn(store, "s") as t:
                talk(t)
            assert not store.closed

    def test_an_event_loop_goes_on_meanwhile(self, tmp_path: Path) -> None:
        """A sync store works in other threads while a turn is taken in a loop."""
        used: set[int] = set()

        class Noted(InMemorySessionStore):
            def add_messages(self, *args: Any, **options: Any) -> bool:
                used.add(threading.get_ident())
                return super().add_messages(*args, **options)

        async def run() -> None:
            async with turn(Noted(), "s") as t:
                talk(t)

        asyncio.run(run())
        assert used
        assert threading.get_ident() not in used
