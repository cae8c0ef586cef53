"""The Telegram bot as its users see it: python-telegram-bot against a Bot API on loopback, by polling and by webhook."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.bots.chatting import chatting as on_an_object
from tests.bots.chatting import lease_of_another
from tests.bots.edge import eventually
from tests.bots.models import Model
from tests.bots.stores import Open
from tests.bots.telegram_api import TOKEN, TelegramApi
from tests.bots.telegram_bots import HOOK, WAYS, chatting
from turnlog.bots import DeliveryError
from turnlog.bots.platform import make_platform
from turnlog.bots.telegram import make
from turnlog.session import InMemorySessionStore, SqliteSessionStore

JPEG = b"\xff\xd8\xff\xe0 a picture"


@pytest.fixture
def api() -> Iterator[TelegramApi]:
    """A Bot API of the test's own."""
    with TelegramApi() as one:
        yield one


@pytest.mark.parametrize("kind", ["five methods", "async five methods", "memory", "sqlite"])
@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_goes_on_after_a_restart(way: str, kind: str, api: TelegramApi, opened: Callable[[str], Open]) -> None:
    async def first() -> None:
        async with chatting(api, opened(kind)(), way) as chat:
            assert [command["command"] for command in api.commands][:3] == ["new", "sessions", "resume"]
            assert await chat.say("my name is Alice") == "1: my name is Alice"
            assert await chat.say("hello", user=8) == "1: hello"
            assert await chat.say("second") == "2: second"
            assert await chat.say("/new") == "A new conversation. The one before is kept: /resume first"
            assert await chat.say("fresh") == "1: fresh"

    async def second() -> None:
        async with chatting(api, opened(kind)(), way) as chat:
            assert await chat.say("still fresh") == "2: still fresh"
            assert await chat.say("/resume first") == "Now in first, with 4 messages."
            assert await chat.say("third") == "3: third"
            assert await chat.say("again", user=8) == "2: again"
            await eventually(lambda: api.shown[9])

    asyncio.run(first())
    # It writes while nobody is there.
    api.say("in between", user=9)
    asyncio.run(second())
    assert api.texts(9) == ["1: in between"]
    assert len(api.shown[7]) == 7
    if way == "webhook":
        assert api.calls["getUpdates"] == 0
        assert api.webhook is not None
        assert api.webhook["url"] == HOOK


@pytest.mark.parametrize("way", WAYS)
def test_pictures_are_parts_of_the_message(way: str, api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore(), way) as chat:
            assert await chat.say(None, **api.photo(JPEG, caption="what is it?")) == f"1: what is it? [image/jpeg, {len(JPEG)}]"
            api.files["png"] = b"png"
            document = {"file_id": "png", "file_unique_id": "p", "mime_type": "image/png"}
            assert await chat.say(None, document=document) == "2: [image/png, 3]"
            assert "text and pictures" in await chat.say(None, document={**document, "mime_type": "application/pdf"})
            # A service message is nothing that was said.
            api.say(None, chat=7, new_chat_title="Other")

    asyncio.run(run())


def test_a_picture_that_telegram_does_not_give_is_told_of(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            large = api.photo(b"x" * (21 << 20), caption="look")
            api.say(None, **large)
            await eventually(lambda: len(api.shown[7]) == 2)
            assert sorted(api.texts()) == ["1: look", "Sorry, I could not fetch your picture; please send it again, or a smaller one."]
            # A passing fault is not.
            api.refuse("getFile", 502, "Bad Gateway")
            assert await chat.say(None, **api.photo(JPEG)) == f"2: [image/jpeg, {len(JPEG)}]"

    asyncio.run(run())


def test_a_long_answer_is_split(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            await chat.say("long 10000")
            assert "".join(api.texts()).replace(" ", "") == "word" * 2000
            assert len(api.shown[7]) == 3
            # Each of these signs is two to Telegram.
            await chat.say("😀" * 4000, user=8)
            assert "".join(api.texts(8)) == "1: " + "😀" * 4000

    asyncio.run(run())


def test_an_answer_grows_by_edits(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore(), edit_every=0.3) as chat:
            api.per_chat = 0.25
            await chat.say("slowly " + "**word** " * 100)
            [shown] = api.shown[7]
            assert shown.text == "1: slowly " + ("word " * 100).strip()
            times = [shown.at, *shown.edits]
            assert len(times) > 3
            assert all(later - earlier >= 0.25 for earlier, later in zip(times, times[1:], strict=False))
            assert api.calls["sendChatAction"] >= 1

    asyncio.run(run())


def test_edits_of_an_answer_with_signs_of_two_units(api: TelegramApi) -> None:
    async def run() -> None:
        platform = make(token=TOKEN, base_url=api.url)
        message = await platform.send({"chat": 7}, "😀" * 1500)
        for number in (2500, 4000, 4000, 2000, 3000):
            await platform.edit({"chat": 7}, message, "😀" * number)
            assert "".join(api.texts()) == "😀" * number
        # Cut short between two of its messages, it goes on behind the first.
        api.refuse("sendMessage", 502, "Bad Gateway")
        api.refusals["sendMessage"].appendleft(None)
        with pytest.raises(DeliveryError):
            await platform.send({"chat": 8}, "😀" * 4000)
        await platform.send({"chat": 8}, "😀" * 4000)
        assert "".join(api.texts(8)) == "😀" * 4000
        await platform.close()

    asyncio.run(run())


@pytest.mark.parametrize("method", ["sendMessage", "getUpdates", "setMyCommands"])
def test_telegram_asks_to_wait(method: str, api: TelegramApi) -> None:
    async def run() -> None:
        api.refuse(method, 429, "Too Many Requests: retry after 1", retry_after=1, times=2)
        begun = time.monotonic()
        async with chatting(api, InMemorySessionStore()) as chat:
            assert await chat.say("hello") == "1: hello"
            if method != "setMyCommands":
                # Told once, however often it was refused.
                [(error, _)] = chat.errors
                assert isinstance(error, DeliveryError)
                assert (error.retry_after, error.permanent) == (1.0, False)
                chat.errors.clear()
        assert time.monotonic() - begun >= 2
        assert api.flooded == 0
        assert api.texts() == ["1: hello"]

    asyncio.run(run())


def test_the_network_is_lost(api: TelegramApi) -> None:
    model = Model()

    async def run() -> None:
        async with chatting(api, InMemorySessionStore(), model=model) as chat:
            await chat.say("hello")
            model.gate = asyncio.Event()
            api.say("lost in between")
            await eventually(lambda: len(model.asked) == 2)
            api.unplug()
            model.gate.set()
            api.say("unheard")
            # Long enough to ask for updates three times in vain: after 0, 1 and 3 s.
            await asyncio.sleep(3.5)
            api.plug()
            await eventually(lambda: len(api.shown[7]) == 3)
            assert api.texts() == ["1: hello", "2: lost in between", "3: unheard"]
            assert all(isinstance(error, DeliveryError) and not error.permanent for error, _ in chat.errors)
            # The outage is told once, and once more by the answer that met it.
            assert sorted(update.text if update else "" for _, update in chat.errors) == ["", "lost in between"]
            chat.errors.clear()

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_an_update_that_comes_again_is_answered_once(way: str, api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore(), way) as chat:
            await chat.say("hello", update_id=50)
            for _ in range(3):
                api.say("hello", update_id=50)
            await chat.say("more")
            assert api.texts() == ["1: hello", "2: more"]
            assert chat.model.asked == ["hello", "more"]

    asyncio.run(run())


def test_a_user_who_blocked_the_bot_holds_nobody_up(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            api.blocked.add(7)
            api.say("hello")
            await eventually(lambda: chat.errors)
            error, update = chat.errors.pop()
            assert isinstance(error, DeliveryError)
            assert error.permanent
            assert update is not None
            assert update.user_id == "7"
            assert await chat.say("hello", user=8) == "1: hello"
            api.blocked.clear()
            assert await chat.say("back") == "2: back"

    asyncio.run(run())


def test_what_telegram_does_not_take_goes_as_plain_text(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            api.refuse("sendMessage", 400, "Bad Request: can't parse entities: Unsupported start tag")
            assert await chat.say("**hello**") == "1: **hello**"
            assert await chat.say("**hello**") == "2: hello"
            # Nothing is shown of an empty block of code, and Telegram takes no empty messages.
            assert (await chat.say("```\n```")).startswith("3: ")

    asyncio.run(run())


def test_a_group_that_becomes_a_supergroup_is_answered_there(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            api.moved[-5] = -1005
            api.say("@tester_bot hello", chat=-5)
            await eventually(lambda: api.shown[-1005])
            assert api.texts(-1005) == ["1: hello"]
            await chat.bot.idle()

    asyncio.run(run())


def test_a_conversation_is_exported_as_a_file(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore()) as chat:
            await chat.say("hello")
            api.say("/export")
            await eventually(lambda: any(each.file for each in api.shown[7]))
            await chat.bot.idle()
            [file] = [each.file for each in api.shown[7] if each.file]
            assert json.loads(file)["sessions"]

    asyncio.run(run())


def test_of_two_workers_one_polls_and_the_other_takes_over(api: TelegramApi, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with chatting(api, opened("sqlite")(), lease=1.5) as standing_by_later:
            await standing_by_later.say("hello")
            async with chatting(api, opened("sqlite")(), lease=1.5) as second:
                await asyncio.sleep(0.6)
                await standing_by_later.bot.stop()
                assert await second.say("who is there?") == "2: who is there?"
                assert second.model.asked == ["who is there?"]
        # Nobody was in anybody's way.
        assert api.calls["deleteWebhook"] == 2

    asyncio.run(run())


def test_an_object_of_the_platform_polls_again_when_its_worker_has_the_lease_again(api: TelegramApi) -> None:
    async def run() -> None:
        platform = make_platform("telegram", token=TOKEN, base_url=api.url)
        async with on_an_object(platform, InMemorySessionStore(), lease=0.5) as chat:
            api.say("hello")
            await eventually(lambda: api.texts() == ["1: hello"])
            async with lease_of_another(chat.bot):
                await eventually(lambda: chat.bot._receiving._lease is None)
                api.say("and then?")
            await eventually(lambda: api.texts()[1:] == ["2: and then?"])
            chat.errors.clear()

    asyncio.run(run())


def test_threads_of_a_forum_are_conversations_of_their_own(api: TelegramApi) -> None:
    async def run() -> None:
        async with chatting(api, InMemorySessionStore(), scope="thread") as chat:
            topic = {"is_topic_message": True, "message_thread_id": 3}
            assert await chat.say("@tester_bot one", chat=-5, **topic) == "1: User 7: one"
            assert await chat.say("@tester_bot two", chat=-5) == "1: User 7: two"
            assert await chat.say("@tester_bot three", user=8, chat=-5, **topic) == "2: User 8: three"
            assert [each.thread for each in api.shown[-5]] == [3, None, 3]

    asyncio.run(run())


def test_a_store_that_fails_is_no_reason_to_lose_an_update(api: TelegramApi, tmp_path: object) -> None:
    class Failing(SqliteSessionStore):
        """Fails three times to take an update."""

        left = 3

        def add_messages(self, session_id, messages, **options):  # type: ignore[no-untyped-def]
            from turnlog.errors import StorageError

            if session_id.endswith(".desk") and self.left:
                self.left -= 1
                raise StorageError("the disk is full", session_id=session_id)
            return super().add_messages(session_id, messages, **options)

    async def run(way: str, number: int) -> None:
        async with chatting(api, Failing(f"{tmp_path}/{way}.sqlite"), way) as chat:
            api.say("hello", user=number)
            await eventually(lambda: "1: hello" in api.texts(number))
            assert len([error for error, _ in chat.errors if "disk" in str(error)]) == 3
            chat.errors.clear()

    for number, way in enumerate(WAYS, 20):
        asyncio.run(run(way, number))
