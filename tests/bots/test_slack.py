"""The Slack bot as its users see it: slack-bolt against a Web API and a Socket Mode server on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.bots.chatting import Chatting, chatting
from tests.bots.edge import eventually
from tests.bots.models import Model
from tests.bots.slack_api import APP_TOKEN, ME, TOKEN, SlackApi
from tests.bots.stores import Open
from turnlog.bots import Bot, DeliveryError
from turnlog.bots.platform import TokenError
from turnlog.bots.slack import manifest
from turnlog.bots.slack.platform import Slack
from turnlog.errors import StorageError
from turnlog.session import InMemorySessionStore, SqliteSessionStore

PNG = b"\x89PNG a picture"


@pytest.fixture
def api() -> Iterator[SlackApi]:
    """A Slack of the test's own."""
    with SlackApi() as one:
        yield one


def talking(api: SlackApi, store: Any = None, **options: Any) -> Any:
    """A bot on the local Slack."""
    given = {"token": TOKEN, "app_token": APP_TOKEN, "base_url": api.base_url, "check_every": 0.3, **options}
    return chatting("slack", store or InMemorySessionStore(), **given)


async def said(api: SlackApi, chat: Chatting, text: str, user: str = "U7", **fields: Any) -> str:
    """Say something, wait for the next answer and give it."""
    channel = fields.get("channel") or f"D{user}"
    before = len(api.texts(channel))
    api.say(text, user, **fields)
    await eventually(lambda: len(api.texts(channel)) > before)
    await chat.bot.idle()
    return api.texts(channel)[-1]


async def commanded(api: SlackApi, chat: Chatting, command: str, text: str = "", **fields: Any) -> str:
    """Give a slash command and wait for its answer."""
    channel = fields.get("channel") or "DU7"
    before = len(api.texts(channel))
    api.slash(command, text, **fields)
    await eventually(lambda: len(api.texts(channel)) > before)
    await chat.bot.idle()
    return api.texts(channel)[-1]


@pytest.mark.parametrize("kind", ["five methods", "async five methods", "sqlite"])
def test_a_conversation_goes_on_after_a_restart(kind: str, api: SlackApi, opened: Callable[[str], Open]) -> None:
    async def first() -> None:
        async with talking(api, opened(kind)()) as chat:
            assert await said(api, chat, "my name is Alice") == "1: my name is Alice"
            assert await said(api, chat, "hello", user="U8") == "1: hello"
            assert await said(api, chat, "second") == "2: second"
            assert await commanded(api, chat, "/assistant", "new") == "A new conversation. The one before is kept: /resume first"
            assert await said(api, chat, "fresh") == "1: fresh"

    async def second() -> None:
        async with talking(api, opened(kind)()) as chat:
            assert await said(api, chat, "still fresh") == "2: still fresh"
            assert await said(api, chat, "!resume first") == "Now in first, with 4 messages."
            assert await said(api, chat, "third") == "3: third"
            assert await said(api, chat, "again", user="U8") == "2: again"

    asyncio.run(first())
    asyncio.run(second())
    # All was acknowledged, and nothing twice.
    assert len(api.acked) == len(api.deliveries) == sum(api.deliveries.values())


def test_the_menu(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            assert await commanded(api, chat, "/status") == await commanded(api, chat, "/assistant", "status")
            assert (await commanded(api, chat, "/assistant")).startswith("/new")
            assert await commanded(api, chat, "/assistant", "tell me &lt;b&gt;") == "1: tell me <b>"

    asyncio.run(run())
    told = manifest("Helper", "/helper")
    assert told["features"]["slash_commands"][0]["command"] == "/helper"
    assert told["features"]["slash_commands"][0]["usage_hint"].startswith("new | sessions | resume")
    assert told["settings"]["socket_mode_enabled"]


def test_pictures_come_in(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            assert await said(api, chat, "look", **api.picture(PNG)) == f"1: look [image/png, {len(PNG)}]"
            missing = api.picture(PNG, "gone.png")
            del api.files["gone.png"]
            assert "could not fetch" in await said(api, chat, "", **missing)
            # The token goes to no other server.
            foreign = api.picture(PNG, "foreign.png")
            foreign["files"][0]["url_private_download"] = api.url.replace("127.0.0.1", "localhost") + "/files/foreign.png"
            before = api.calls["file"]
            assert "could not fetch" in await said(api, chat, "", **foreign)
            assert api.calls["file"] == before

    asyncio.run(run())


def test_a_long_answer_comes_in_pieces(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            api.say("long 9000")
            await eventually(lambda: len(api.texts()) == 3)
            await chat.bot.idle()
            assert all(len(text) <= 4000 for text in api.texts())
            assert " ".join(api.texts()).split() == ["word"] * 1800

    asyncio.run(run())


def test_an_answer_is_shown_as_it_grows(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api, edit_every=0.3) as chat:
            await said(api, chat, "slowly " + "**word** " * 60, thread_ts="1.5")
            [shown] = api.shown["DU7"]
            assert shown.text.rstrip() == "1: slowly " + ("word " * 60).rstrip()
            assert [look for look in shown.looks if look == ("word", "bold")] == [("word", "bold")] * 60
            # The last edit, with the whole answer, waits for nothing.
            times = [shown.at, *shown.edits[:-1]]
            assert len(times) > 3
            assert all(later - earlier >= 0.29 for earlier, later in zip(times, times[1:], strict=False))
            assert api.typing
            assert set(api.typing) == {("DU7", "1.5")}

    asyncio.run(run())


def test_slack_asks_to_wait(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            api.limit("chat.postMessage", 1, times=2)
            assert await said(api, chat, "hello") == "1: hello"
            [(error, _)] = chat.errors
            assert isinstance(error, DeliveryError)
            assert (error.retry_after, error.permanent) == (1.0, False)
            chat.errors.clear()
            assert api.early == 0
            assert api.texts() == ["1: hello"]

    asyncio.run(run())


def test_a_worker_that_only_sends_finds_the_network_later(api: SlackApi) -> None:
    async def run() -> None:
        platform = Slack(TOKEN, APP_TOKEN, base_url=api.base_url)
        address = {"channel": "DU7", "thread": None, "only": None}
        api.unplug()
        for _ in range(2):
            with pytest.raises(DeliveryError) as told:
                await platform.send(address, "hello")
            assert not told.value.permanent
        api.plug()
        message_id = await platform.send(address, "hello")
        await platform.edit(address, message_id, "changed")
        assert api.texts() == ["changed"]
        await platform.close()
        await platform.close()
        await Slack(TOKEN, APP_TOKEN).close()

    asyncio.run(run())


def test_the_network_is_lost(api: SlackApi) -> None:
    model = Model()

    async def run() -> None:
        async with talking(api, model=model) as chat:
            await said(api, chat, "hello")
            model.gate = asyncio.Event()
            api.say("lost in between")
            await eventually(lambda: len(model.asked) == 2)
            api.unplug()
            model.gate.set()
            api.say("unheard")
            await eventually(lambda: len(chat.errors) == 2)
            # Long enough to look for a connection several times in vain.
            await asyncio.sleep(1.5)
            api.plug()
            await eventually(lambda: len(api.texts()) == 3)
            assert api.texts() == ["1: hello", "2: lost in between", "3: unheard"]
            assert all(isinstance(error, DeliveryError) and not error.permanent for error, _ in chat.errors)
            # The outage is told once, and once more by the answer that met it.
            assert sorted(update.text if update else "" for _, update in chat.errors) == ["", "lost in between"]
            chat.errors.clear()

    asyncio.run(run())


def test_an_address_that_did_not_work_is_not_tried_for_ever(api: SlackApi) -> None:
    async def run() -> None:
        api.bad_links = 1
        async with talking(api) as chat:
            assert await said(api, chat, "hello") == "1: hello"
            assert api.calls["apps.connections.open"] == 2

    asyncio.run(run())


def test_slack_asks_for_a_new_connection(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            await said(api, chat, "hello")
            api.disconnect()
            await eventually(lambda: api.calls["apps.connections.open"] == 2)
            assert await said(api, chat, "second") == "2: second"
            assert api.texts() == ["1: hello", "2: second"]

    asyncio.run(run())


def test_an_update_that_comes_again_is_answered_once(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            api.lose_acks = 2
            ts = api.new_ts()
            await said(api, chat, "hello", ts=ts)
            await eventually(lambda: api.acked)
            assert list(api.deliveries.values()) == [3]
            api.say("hello", ts=ts)
            await said(api, chat, "more")
            assert api.texts() == ["1: hello", "2: more"]
            assert chat.model.asked == ["hello", "more"]

    asyncio.run(run())


def test_what_could_not_be_stored_is_not_acknowledged(api: SlackApi, tmp_path: object) -> None:
    class Failing(SqliteSessionStore):
        """Fails twice to take an update."""

        left = 2

        def add_messages(self, session_id, messages, **options):  # type: ignore[no-untyped-def]
            if session_id.endswith(".desk") and self.left:
                self.left -= 1
                raise StorageError("the disk is full", session_id=session_id)
            return super().add_messages(session_id, messages, **options)

    async def run() -> None:
        async with talking(api, Failing(f"{tmp_path}/s.sqlite")) as chat:
            api.say("hello")
            await eventually(lambda: "1: hello" in api.texts())
            assert list(api.deliveries.values()) == [3]
            assert len([error for error, _ in chat.errors if "disk" in str(error)]) == 2
            chat.errors.clear()

    asyncio.run(run())


def test_two_workers_share_one_store(api: SlackApi, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with talking(api, opened("sqlite")()) as one, talking(api, opened("sqlite")()) as other:
            for number in range(1, 7):
                assert await said(api, one, f"number {number}") == f"{number}: number {number}"
                await other.bot.idle()
            assert {len(one.model.asked), len(other.model.asked)} == {3}

    asyncio.run(run())


def test_updates_of_a_chat_keep_their_order(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            # The first has to be fetched for, the others not.
            api.say("zero", **api.picture(b"x" * 1_000_000))
            for number in range(1, 8):
                api.say(f"number {number}")
            await eventually(lambda: len(api.texts()) == 8)
            await chat.bot.idle()
            assert chat.model.asked == ["zero [image/png, 1000000]", *(f"number {number}" for number in range(1, 8))]

    asyncio.run(run())


def test_a_user_who_is_gone_holds_nobody_up(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            api.blocked.add("U7")
            api.say("hello")
            await eventually(lambda: chat.errors)
            error, update = chat.errors.pop()
            assert isinstance(error, DeliveryError)
            assert error.permanent
            assert update is not None
            assert update.user_id == "U7"
            assert await said(api, chat, "hello", user="U8") == "1: hello"
            api.blocked.clear()
            assert await said(api, chat, "back") == "2: back"

    asyncio.run(run())


def test_in_a_channel_it_answers_in_a_thread_what_mentions_it(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api, scope="thread") as chat:
            api.say("not for the bot", channel="C1")
            ts = api.new_ts()
            assert await said(api, chat, f"<@{ME}> hello &amp; <@U9|bob>, see <https://a.b|there>", channel="C1", ts=ts) == (
                "1: User 7: hello & @bob, see there (https://a.b)"
            )
            # Told of twice, as a mention and as a message.
            api.say(f"<@{ME}> hello", channel="C1", ts=ts, type="message", channel_type="channel")
            assert await said(api, chat, f"<@{ME}> me, too", "U8", channel="C1", thread_ts=ts) == "2: User 8: me, too"
            assert await said(api, chat, f"<@{ME}> elsewhere", channel="C1") == "1: User 7: elsewhere"
            assert [each.thread == ts for each in api.shown["C1"]] == [True, True, False]
            api.say("another bot's", bot_id="B2")
            api.say("an edit", subtype="message_changed")
            assert await said(api, chat, "alone") == "1: alone"
            assert len(chat.model.asked) == 4

    asyncio.run(run())


def test_a_slash_command_in_a_channel_is_answered_to_its_user_alone(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            await said(api, chat, "hello")
            assert "hello" in await commanded(api, chat, "/assistant", "history", channel="C1")
            assert [each.only for each in api.shown["C1"]] == ["U7"]
            api.blocked.add("C2")
            api.slash("/assistant", "status", channel="C2")
            await eventually(lambda: len(api.texts("DU7")) == 2)
            await chat.bot.idle()

    asyncio.run(run())


def test_what_slack_does_not_take_goes_as_it_was_written(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            api.refuse("chat.postMessage", "invalid_blocks")
            assert await said(api, chat, "**hello** <!channel>") == "1: **hello** @channel"
            assert await said(api, chat, "**hello**") == "2: hello"
            # So many looks would be more than Slack takes.
            assert (await said(api, chat, "*a* **b** " * 300)).startswith("3: *a* **b** *a*")

    asyncio.run(run())


def test_a_conversation_is_exported_as_a_file(api: SlackApi) -> None:
    async def run() -> None:
        async with talking(api) as chat:
            await said(api, chat, "hello")
            api.slash("/assistant", "export", channel="C1")
            await eventually(lambda: any(each.file for each in api.shown["DU7"]))
            await chat.bot.idle()
            [file] = [each.file for each in api.shown["DU7"] if each.file]
            assert json.loads(file)["sessions"]

    asyncio.run(run())


@pytest.mark.parametrize("which", ["token", "app_token"])
def test_tokens(which: str, api: SlackApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def run() -> None:
        agent = Model().agent()
        for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        given = {"token": TOKEN, "app_token": APP_TOKEN, which: None}
        with pytest.raises(TokenError, match=f"{which}=.*SLACK_{'BOT' if which == 'token' else 'APP'}_TOKEN"):
            Bot("slack", agent=agent, **given)
        given[which] = "xoxb-WRONG-SECRET"
        wrong = Bot("slack", agent=agent, session_store=InMemorySessionStore(), base_url=api.base_url, **given)
        with pytest.raises(TokenError, match="invalid_auth") as told:
            await wrong.start()
        assert "SECRET" not in f"{told.value}{told.value.__cause__}{told.value.__context__}"
        monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
        monkeypatch.setenv("SLACK_APP_TOKEN", APP_TOKEN)
        async with chatting("slack", InMemorySessionStore(), base_url=api.base_url, check_every=0.3) as chat:
            await said(api, chat, "hello")
            api.unplug()
            await asyncio.sleep(1.5)
            api.plug()
            assert await said(api, chat, "second") == "2: second"
            assert [type(error) for error, _ in chat.errors] == [DeliveryError]
            assert "SECRET" not in str(chat.errors)
            chat.errors.clear()
        ours = [record for record in caplog.records if record.name != "asyncio"]
        assert not any("SECRET" in f"{record.getMessage()}{record.exc_text}{record.exc_info}" for record in ours)

    asyncio.run(run())
