"""The Discord bot as its users see it: discord.py against an API and a gateway on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import discord
import pytest

from tests.bots.chatting import Chatting, chatting, lease_of_another
from tests.bots.discord_api import BOT, CHANNEL, TOKEN, DiscordApi
from tests.bots.edge import eventually
from tests.bots.loopback import Refusal
from tests.bots.models import Model
from tests.bots.stores import Open
from turnlog.bots import Bot, DeliveryError
from turnlog.bots.discord.platform import Discord
from turnlog.bots.platform import TokenError
from turnlog.errors import StorageError
from turnlog.session import InMemorySessionStore, SqliteSessionStore

PNG = b"\x89PNG a picture"


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[DiscordApi]:
    """A Discord of the test's own."""
    with DiscordApi() as one:
        one.use(monkeypatch)
        yield one


def talking(store: Any = None, **options: Any) -> Any:
    """A bot on the local Discord."""
    return chatting("discord", store or InMemorySessionStore(), token=TOKEN, **options)


async def said(api: DiscordApi, chat: Chatting, text: str, user: int = 7, **fields: Any) -> str:
    """Say something, wait for the next answer and give it."""
    channel = fields.get("channel") or user + 1000
    before = len(api.said.get(channel, ()))
    api.say(text, user, **fields)
    await eventually(lambda: len(api.said.get(channel, ())) > before)
    await chat.bot.idle()
    return api.said[channel][-1].text


async def commanded(api: DiscordApi, chat: Chatting, name: str, argument: str | None = None) -> str:
    """Give a slash command and wait for its answer."""
    before = len(api.texts())
    api.slash(name, argument)
    await eventually(lambda: len(api.texts()) > before)
    await chat.bot.idle()
    return api.texts()[-1]


@pytest.mark.parametrize("kind", ["five methods", "async five methods", "sqlite"])
def test_a_conversation_goes_on_after_a_restart(kind: str, api: DiscordApi, opened: Callable[[str], Open]) -> None:
    async def first() -> None:
        async with talking(opened(kind)()) as chat:
            assert [command["name"] for command in api.menu][:3] == ["new", "sessions", "resume"]
            assert await said(api, chat, "my name is Alice") == "1: my name is Alice"
            assert await said(api, chat, "hello", user=8) == "1: hello"
            assert await said(api, chat, "second") == "2: second"
            assert await commanded(api, chat, "new") == "A new conversation. The one before is kept: /resume first"
            assert await said(api, chat, "fresh") == "1: fresh"
            assert all(each is None for each in api.deferred.values())

    async def second() -> None:
        async with talking(opened(kind)()) as chat:
            assert await said(api, chat, "still fresh") == "2: still fresh"
            assert await commanded(api, chat, "resume", "first") == "Now in first, with 4 messages."
            assert await said(api, chat, "third") == "3: third"
            assert await said(api, chat, "again", user=8) == "2: again"

    asyncio.run(first())
    asyncio.run(second())


def test_pictures_come_in(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            assert await said(api, chat, "look", **api.picture(PNG)) == f"1: look [image/png, {len(PNG)}]"
            missing = api.picture(PNG, "gone.png")
            del api.files["gone.png"]
            api.say("", **missing)
            await eventually(lambda: len(api.texts()) == 2)
            assert "could not fetch" in api.texts()[-1]

    asyncio.run(run())


def test_a_long_answer_comes_in_pieces(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            api.say("long 5000")
            await eventually(lambda: len(api.texts()) == 3)
            await chat.bot.idle()
            assert all(len(text) <= 2000 for text in api.texts())
            assert " ".join(api.texts()).split() == ["word"] * 1000

    asyncio.run(run())


def test_an_answer_is_shown_as_it_grows(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking(edit_every=0.3) as chat:
            await said(api, chat, "slowly " + "**word** " * 100)
            [shown] = api.said[1007]
            assert shown.text.rstrip() == "1: slowly " + ("**word** " * 100).rstrip()
            # The last edit, with the whole answer, waits for nothing.
            times = [shown.at, *shown.edits[:-1]]
            assert len(times) > 3
            assert all(later - earlier >= 0.29 for earlier, later in zip(times, times[1:], strict=False))
            assert api.calls["typing"] >= 1

    asyncio.run(run())


@pytest.mark.parametrize("call", ["send", "menu"])
def test_discord_asks_to_wait(call: str, api: DiscordApi) -> None:
    async def run() -> None:
        api.limit(call, 0.3, times=2)
        async with talking() as chat:
            assert await said(api, chat, "hello") == "1: hello"
            assert api.calls[call] == 3

    asyncio.run(run())


def test_a_long_wait_is_told(api: DiscordApi) -> None:
    async def run() -> None:
        platform = Discord(TOKEN)
        api.limit("send", 40)
        with pytest.raises(DeliveryError, match="wait 40 s") as told:
            await platform.send({"channel": 1007, "reply": None}, "hello")
        assert (told.value.retry_after, told.value.permanent) == (40.0, False)
        await platform.close()
        assert api.texts() == []

    asyncio.run(run())


def test_a_worker_that_only_sends_finds_the_network_later(api: DiscordApi) -> None:
    async def run() -> None:
        platform = Discord(TOKEN)
        api.unplug()
        for _ in range(2):
            with pytest.raises(DeliveryError) as told:
                await platform.send({"channel": 1007, "reply": None}, "hello")
            assert not told.value.permanent
        api.plug()
        message_id = await platform.send({"channel": 1007, "reply": None}, "hello")
        await platform.edit({"channel": 1007, "reply": None}, message_id, "changed")
        assert api.texts() == ["changed"]
        await platform.close()
        await platform.close()
        await Discord(TOKEN).close()

    asyncio.run(run())


def test_the_network_is_lost(api: DiscordApi) -> None:
    model = Model()

    async def run() -> None:
        async with talking(model=model) as chat:
            await said(api, chat, "hello")
            model.gate = asyncio.Event()
            api.say("lost in between")
            await eventually(lambda: len(model.asked) == 2)
            api.unplug()
            model.gate.set()
            api.say("unheard")
            await eventually(lambda: chat.errors)
            await asyncio.sleep(0.3)
            api.plug()
            await eventually(lambda: len(api.texts()) == 3)
            assert api.texts() == ["1: hello", "2: lost in between", "3: unheard"]
            assert api.resumed == 1
            assert all(isinstance(error, DeliveryError) and not error.permanent for error, _ in chat.errors)
            chat.errors.clear()

    asyncio.run(run())


def test_an_answer_that_arrived_unnoticed_is_not_shown_twice(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            api.lose_next = 1
            assert await said(api, chat, "hello") == "1: hello"
            assert api.calls["send"] == 2
            assert api.texts() == ["1: hello"]
            chat.errors.clear()
            # Nothing is taken for the same that is not.
            await said(api, chat, "/status")
            await said(api, chat, "/status")
            assert len(api.texts()) == 3

    asyncio.run(run())


def test_an_update_that_comes_again_is_answered_once(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            number = api.new_id()
            await said(api, chat, "hello", number=number)
            for _ in range(3):
                api.say("hello", number=number)
            await said(api, chat, "more")
            assert api.texts() == ["1: hello", "2: more"]
            assert chat.model.asked == ["hello", "more"]

    asyncio.run(run())


def test_a_user_who_blocked_the_bot_holds_nobody_up(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            api.blocked.add(7)
            api.say("hello")
            await eventually(lambda: chat.errors)
            error, update = chat.errors.pop()
            assert isinstance(error, DeliveryError)
            assert error.permanent
            assert update is not None
            assert update.user_id == "7"
            assert await said(api, chat, "hello", user=8) == "1: hello"
            api.blocked.clear()
            assert await said(api, chat, "back") == "2: back"

    asyncio.run(run())


def test_a_store_that_fails_is_no_reason_to_lose_an_update(api: DiscordApi, tmp_path: object) -> None:
    class Failing(SqliteSessionStore):
        """Fails twice to take an update."""

        left = 2

        def add_messages(self, session_id, messages, **options):  # type: ignore[no-untyped-def]
            if session_id.endswith(".desk") and self.left:
                self.left -= 1
                raise StorageError("the disk is full", session_id=session_id)
            return super().add_messages(session_id, messages, **options)

    async def run() -> None:
        async with talking(Failing(f"{tmp_path}/s.sqlite")) as chat:
            api.say("hello")
            api.say("second")
            await eventually(lambda: "2: second" in api.texts())
            assert [text for text in api.texts() if ": " in text] == ["1: hello", "2: second"]
            assert len([error for error, _ in chat.errors if "disk" in str(error)]) == 2
            chat.errors.clear()

    asyncio.run(run())


def test_what_cannot_be_stored_before_the_end_is_told(api: DiscordApi, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async def receive(update: object) -> None:
            raise StorageError("the disk is full", session_id="s")

        platform = Discord(TOKEN, menu=False)
        await platform.open(receive, ())
        api.say("hello")
        await eventually(lambda: "tried again" in caplog.text)
        await platform.close()
        assert "1 updates could not be stored before the end, and are lost" in caplog.text
        assert "hello" not in caplog.text

    asyncio.run(run())


def test_of_two_workers_one_is_connected_and_the_other_takes_over(api: DiscordApi, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with talking(opened("sqlite")(), lease=1.5) as first:
            await said(api, first, "hello")
            async with talking(opened("sqlite")(), lease=1.5) as second:
                await asyncio.sleep(0.5)
                assert api.calls["identify"] == 1
                await first.bot.stop()
                await eventually(lambda: api.calls["identify"] == 2)
                assert await said(api, second, "who is there?") == "2: who is there?"
                assert second.model.asked == ["who is there?"]

    asyncio.run(run())


def test_an_object_of_the_platform_connects_again_when_its_worker_has_the_lease_again(api: DiscordApi) -> None:
    async def run() -> None:
        async with chatting(Discord(TOKEN), InMemorySessionStore(), lease=0.5) as chat:
            assert await said(api, chat, "hello") == "1: hello"
            async with lease_of_another(chat.bot):
                await eventually(lambda: chat.bot._receiving._lease is None)
            await eventually(lambda: api.calls["identify"] == 2)
            assert await said(api, chat, "and then?") == "2: and then?"
            chat.errors.clear()

    asyncio.run(run())


def test_in_a_server_it_answers_what_mentions_it(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            api.say("not for the bot", channel=CHANNEL)
            asked = f"<@{BOT}> hello"
            number = api.new_id()
            assert await said(api, chat, asked, channel=CHANNEL, number=number) == "1: hello"
            assert [each.reply for each in api.said[CHANNEL]] == [str(number)]
            api.say("a bot's", author={"id": "99", "username": "other", "discriminator": "0", "avatar": None, "bot": True})
            assert await said(api, chat, "here, too") == "2: here, too"
            assert chat.model.asked == ["hello", "here, too"]

    asyncio.run(run())


def test_what_discord_does_not_take_goes_as_it_was_written(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            api.refuse_next("send", Refusal(400, {"message": "Invalid Form Body", "code": 50035}))
            assert await said(api, chat, "a||b||c") == "1: a||b||c"
            assert await said(api, chat, "a||b||c") == r"2: a\|\|b\|\|c"

    asyncio.run(run())


def test_a_conversation_is_exported_as_a_file(api: DiscordApi) -> None:
    async def run() -> None:
        async with talking() as chat:
            await said(api, chat, "hello")
            api.slash("export")
            await eventually(lambda: len(api.texts()) == 2)
            await chat.bot.idle()
            [file] = [each.file for each in api.said[1007] if each.file]
            assert json.loads(file)["sessions"]

    asyncio.run(run())


def test_a_slash_command_that_is_over_is_answered_in_the_chat(api: DiscordApi) -> None:
    async def run() -> None:
        platform = Discord(TOKEN)
        address = {"channel": 1007, "reply": None, "application": BOT, "interaction": "token-none"}
        await platform.send(address, "late")
        assert api.texts() == ["late"]
        # In a server everybody would read it.
        with pytest.raises(DeliveryError) as told:
            await platform.send({**address, "channel": None}, "late")
        assert told.value.permanent
        await platform.close()

    asyncio.run(run())


def test_tokens(api: DiscordApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        monkeypatch.delenv("DISCORD_BOT_TOKEN", raising=False)
        agent = Model().agent()
        with pytest.raises(TokenError, match="token=.*DISCORD_BOT_TOKEN"):
            Bot("discord", agent=agent)
        wrong = Bot("discord", agent=agent, session_store=InMemorySessionStore(), token="WRONG.SECRET")
        with pytest.raises(TokenError) as told:
            await wrong.start()
        assert "SECRET" not in f"{told.value}{told.value.__cause__}{told.value.__context__}"
        monkeypatch.setenv("DISCORD_BOT_TOKEN", TOKEN)
        async with chatting("discord", InMemorySessionStore()) as chat:
            await said(api, chat, "hello")
        assert "SECRET" not in caplog.text

    asyncio.run(run())


def test_a_client_of_your_own_goes_on_as_before(api: DiscordApi) -> None:
    heard: list[str] = []

    class Mine(discord.Client):
        async def on_message(self, message: discord.Message) -> None:
            if not message.author.bot:
                heard.append(message.content)

    async def run() -> None:
        client = Mine(intents=discord.Intents.none())
        await client.login(TOKEN)
        connection = asyncio.create_task(client.connect())
        await eventually(lambda: api.calls["identify"])
        async with chatting("discord", InMemorySessionStore(), client=client) as chat:
            assert await said(api, chat, "hello") == "1: hello"
            assert await commanded(api, chat, "new")
        assert not client.is_closed()
        assert client.on_message == Mine.on_message.__get__(client)
        api.say("after the bot")
        await eventually(lambda: len(heard) == 2)
        assert heard == ["hello", "after the bot"]
        await client.close()
        await connection

    asyncio.run(run())


def test_a_token_that_is_revoked_ends_the_bot(api: DiscordApi) -> None:
    async def run() -> None:
        platform = Discord(TOKEN, menu=False)

        async def receive(update: object) -> None:
            """Takes it."""

        told: list[Exception] = []
        platform.on_outage = told.append
        await platform.open(receive, ())
        for socket in list(api._sockets):
            api.run(socket.close(code=4004))
        await asyncio.wait_for(platform.ended.wait(), 10)
        await platform.close()
        assert ["for good" in str(error) for error in told] == [True]

    asyncio.run(run())
