"""Telegram's platform by itself: what counts as said to the bot, when an update is acknowledged, the webhook's door, and the token."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.bots.edge import eventually
from tests.bots.telegram_api import ME, TOKEN, TelegramApi
from tests.bots.telegram_bots import HOOK, WAYS
from turnlog.bots import DeliveryError, Platform, Update
from turnlog.bots.commands import COMMANDS
from turnlog.bots.platform import SendsFiles, TokenError, make_platform
from turnlog.bots.telegram.platform import Telegram
from turnlog.bots.telegram.webhook import LARGEST, ListeningError

GROUP = -100


@pytest.fixture
def api() -> Iterator[TelegramApi]:
    """A Bot API of the test's own."""
    with TelegramApi() as one:
        yield one


@asynccontextmanager
async def opened(
    api: TelegramApi, receive: Callable[[Update], Awaitable[None]], way: str = "polling", **options: Any
) -> AsyncIterator[Telegram]:
    """The platform, receiving."""
    platform = make_platform("telegram", token=TOKEN, base_url=api.url, **WAYS[way], **options)
    assert isinstance(platform, Telegram)
    assert isinstance(platform, Platform)
    assert isinstance(platform, SendsFiles)
    await platform.open(receive, COMMANDS)
    api.targets = [f"http://127.0.0.1:{platform.port}/hook"]
    try:
        yield platform
    finally:
        await platform.close()
        await platform.close()


def said_in(api: TelegramApi, updates: list[Any], **options: Any) -> list[Update]:
    """What the platform makes of messages, each (text, fields) or a whole update."""
    taken: list[Update] = []

    async def take(update: Update) -> None:
        taken.append(update)

    async def run() -> None:
        async with opened(api, take, **options):
            for update in updates:
                if isinstance(update, dict):
                    api.push(update)
                else:
                    text, fields = update
                    api.say(text, **fields)
            api.say("the end", user=99)
            await eventually(lambda: any(update.text == "the end" for update in taken))

    asyncio.run(run())
    return [update for update in taken if update.text != "the end"]


MINE = {"message_id": 1, "date": 0, "chat": {"id": GROUP, "type": "supergroup"}, "from": ME, "text": "hi"}
HEARD = [
    ("@tester_bot hello", {}, "hello"),
    ("@Tester_Bot, hello there", {}, "hello there"),
    ("hello @tester_bot", {}, "hello"),
    ("what does @tester_bot say?", {}, "what does @tester_bot say?"),
    ("😀😀 @tester_bot hello", {}, "😀😀 @tester_bot hello"),
    ("@tester_bot", {}, ""),
    ("/new@tester_bot", {}, "/new@tester_bot"),
    ("/resume@TESTER_BOT first", {}, "/resume@TESTER_BOT first"),
    ("yes", {"reply_to_message": MINE}, "yes"),
    ("/undo", {"reply_to_message": MINE}, "/undo"),
    ("hey Tester", {"entities": [{"type": "text_mention", "offset": 4, "length": 6, "user": ME}]}, "hey Tester"),
    (None, {"caption": "@tester_bot look", "caption_entities": [{"type": "mention", "offset": 0, "length": 11}]}, "look"),
]
OVERHEARD = [
    ("hello everybody", {}),
    ("/new", {}),
    ("/new@other_bot", {"reply_to_message": MINE}),
    ("@tester_bot_2 hello", {}),
    ("mail me at x@tester_bot", {}),
    ("yes", {"reply_to_message": {**MINE, "from": {**ME, "id": 5, "username": "other_bot"}}}),
    ("yes", {"reply_to_message": {**MINE, "text": None, "forum_topic_created": {"name": "T", "icon_color": 1}}}),
    (
        None,
        {
            "sticker": {
                "file_id": "s",
                "file_unique_id": "s",
                "width": 1,
                "height": 1,
                "is_animated": False,
                "is_video": False,
                "type": "regular",
            }
        },
    ),
    (None, {"new_chat_title": "Other"}),
    ("@tester_bot from a bot", {"from": {**ME, "id": 5}}),
    ("@tester_bot a channel's post", {"is_automatic_forward": True}),
]


def test_in_a_group_only_what_is_said_to_the_bot_counts(api: TelegramApi) -> None:
    heard = [(text, {"chat": GROUP, "reply_parameters": None, **fields}) for text, fields, _ in HEARD]
    overheard = [(text, {"chat": GROUP, **fields}) for text, fields in OVERHEARD]
    # Alternating, so that an order is seen too.
    mixed = [each for pair in zip(heard, overheard, strict=False) for each in pair] + heard[len(overheard) :]
    taken = said_in(api, mixed)
    assert [update.text for update in taken] == [text for _, _, text in HEARD]
    assert not any(update.is_private for update in taken)
    assert {update.chat_id for update in taken} == {str(GROUP)}
    assert all(update.address["reply"] for update in taken)


def test_whose_a_message_is(api: TelegramApi) -> None:
    channel = {"id": -200, "type": "channel", "title": "News"}
    edited = {
        "edited_message": {"message_id": 5, "date": 1, "chat": {"id": 7, "type": "private"}, "from": {**ME, "id": 7, "is_bot": False}}
    }
    edited["edited_message"]["text"] = "said otherwise"
    taken = said_in(
        api,
        [
            ("private", {}),
            ("@tester_bot topic", {"chat": GROUP, "is_topic_message": True, "message_thread_id": 3}),
            ("@tester_bot reply", {"chat": GROUP, "message_thread_id": 4}),
            ("@tester_bot as a channel", {"chat": GROUP, "sender_chat": channel}),
            edited,
            ("/new@other_bot", {}),
        ],
        allowed_updates=["message", "edited_message"],
    )
    by_text = {update.text: update for update in taken}
    assert len({update.id for update in taken}) == 6
    private = by_text["private"]
    assert (private.user_id, private.chat_id, private.thread_id, private.user_name, private.is_private) == ("7", "7", None, "User 7", True)
    assert private.address == {"chat": 7, "thread": None, "reply": None}
    assert by_text["topic"].thread_id == "3"
    assert by_text["topic"].address["thread"] == 3
    assert by_text["reply"].thread_id is None
    assert (by_text["as a channel"].user_id, by_text["as a channel"].user_name) == ("-200", "News")
    assert by_text["said otherwise"].user_id == "7"


def test_edits_are_no_messages_unless_asked_for(api: TelegramApi) -> None:
    edited = {"message_id": 5, "date": 1, "chat": {"id": 7, "type": "private"}, "from": {**ME, "id": 7, "is_bot": False}, "text": "x"}
    assert said_in(api, [{"edited_message": edited}, {"poll_answer": {}}]) == []
    with pytest.raises(ValueError, match="poll_answer"):
        make_platform("telegram", token=TOKEN, allowed_updates=["poll_answer"])


@pytest.mark.parametrize("way", WAYS)
def test_an_update_is_acknowledged_once_it_is_stored(way: str, api: TelegramApi) -> None:
    stored: list[str] = []
    gate = asyncio.Event()
    failing = [2]

    async def receive(update: Update) -> None:
        await gate.wait()
        if update.text == "second" and failing[0]:
            failing[0] -= 1
            raise DeliveryError("not stored")
        stored.append(update.text)

    async def run() -> None:
        async with opened(api, receive, way):
            ids = [api.say(text) for text in ("first", "second", "third")]
            await asyncio.sleep(0.5)
            assert sorted(api._pending) == ids, "acknowledged before it was stored"
            gate.set()
            await eventually(lambda: not api._pending or (way == "polling" and stored[-1:] == ["third"]))
            # What came behind the one that failed waited for it.
            assert [text for number, text in enumerate(stored) if text not in stored[:number]] == ["first", "second", "third"]
            if way == "webhook":
                assert [api.deliveries[each] for each in ids] == [1, 3, 1]
            api.say("fourth", user=8)
            await eventually(lambda: "fourth" in stored)
            await eventually(lambda: not api._pending or (way == "polling" and min(api._pending) > ids[-1]))

    asyncio.run(run())


def test_one_chat_does_not_hold_up_the_others_of_a_batch(api: TelegramApi) -> None:
    stored: list[str] = []

    async def receive(update: Update) -> None:
        if update.user_id == "7" and "other" not in stored:
            raise DeliveryError("not stored")
        stored.append(update.text)

    async def run() -> None:
        api.say("mine")
        api.say("other", user=8)
        async with opened(api, receive):
            await eventually(lambda: "mine" in stored)
        assert stored[0] == "other"

    asyncio.run(run())


def test_an_update_that_cannot_be_read_holds_nothing_up(api: TelegramApi, caplog: pytest.LogCaptureFixture) -> None:
    for way in WAYS:
        taken: list[str] = []

        async def receive(update: Update, taken: list[str] = taken) -> None:
            taken.append(update.text)

        async def run(way: str = way, taken: list[str] = taken) -> None:
            async with opened(api, receive, way):
                if way == "webhook":
                    api.push({"message": {"chat": "nonsense"}})
                    api.push({"message": "nonsense"})
                api.push({"message": {"message_id": 1, "date": 0, "chat": {"id": 7, "type": "private"}, "text": "from nobody"}})
                api.say("hello")
                await eventually(lambda: "hello" in taken)

        asyncio.run(run())
    assert "nonsense" not in caplog.text


def test_the_webhook_opens_to_telegram_only(api: TelegramApi) -> None:
    taken: list[str] = []

    async def receive(update: Update) -> None:
        taken.append(update.text)

    async def run() -> None:
        async with opened(api, receive, "webhook", secret="let-me-in"), ClientSession() as client:
            assert api.webhook is not None
            assert api.webhook["secret_token"] == "let-me-in"
            assert api.webhook["url"] == HOOK
            [target] = api.targets
            update = {"update_id": 1, "message": {"message_id": 1, "date": 0, "chat": {"id": 7, "type": "private"}, "text": "x"}}
            update["message"]["from"] = {"id": 7, "is_bot": False, "first_name": "A"}
            secret = {"X-Telegram-Bot-Api-Secret-Token": "let-me-in"}

            async def status(url: str = target, **given: Any) -> int:
                async with client.request(given.pop("method", "POST"), url, **given) as response:
                    assert await response.read() == b""
                    return response.status

            assert await status(json=update) == 403
            assert await status(json=update, headers={"X-Telegram-Bot-Api-Secret-Token": "let-me-i"}) == 403
            assert await status(json=update, headers={"X-Telegram-Bot-Api-Secret-Token": "Let-me-in"}) == 403
            assert await status(target + "/other", json=update, headers=secret) == 404
            assert await status(method="GET", headers=secret) == 405
            assert await status(data=b"{", headers=secret) == 400
            assert await status(data=b"\xff" * 100, headers=secret) == 400
            assert await status(data=b"[" * 100_000, headers=secret) == 400
            assert await status(data=b" " * (LARGEST + 1), headers=secret) == 413
            assert taken == []
            assert await status(json=update, headers=secret) == 200
            assert await status(data=b"5", headers=secret) == 200, "JSON, but no update: it would come again for a day"
            assert taken == ["x"]

    asyncio.run(run())


def test_workers_share_a_secret_and_bots_do_not() -> None:
    first, second, third = (
        make_platform("telegram", token=token, webhook_url=HOOK)._secret
        for token in ("1:a", "1:a", "1:b")  # type: ignore[attr-defined]
    )
    assert first == second != third
    assert "1:a" not in first


def test_the_token_is_asked_for_and_never_shown(
    api: TelegramApi, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN", raising=False)
    with pytest.raises(TokenError, match=r"token=.* TELEGRAM_BOT_TOKEN") as missing:
        make_platform("telegram")
    assert isinstance(missing.value, ValueError)

    wrong = "999:WRONG-and-secret"
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", wrong)
    platform = make_platform("telegram", base_url=api.url)

    async def refused() -> BaseException:
        with pytest.raises(TokenError, match="does not know the token") as caught:
            await platform.open(_nothing, COMMANDS)
        await platform.close()
        return caught.value

    error: BaseException | None = asyncio.run(refused())
    seen = [repr(platform)]
    while error is not None:
        seen += [str(error), repr(error)]
        error = error.__cause__ or error.__context__

    async def used() -> None:
        async with opened(api, _nothing) as well:
            await well.send({"chat": 7}, "hello")
            api.unplug()
            with pytest.raises(DeliveryError) as lost:
                await well.send({"chat": 7}, "hello")
            seen.append(repr(lost.value))
            api.plug()

    asyncio.run(used())
    out = "".join([*seen, caplog.text, *capfd.readouterr()])
    assert "HTTP Request" in caplog.text
    assert "bot<token>/sendMessage" in caplog.text
    assert wrong not in out
    assert TOKEN not in out


async def _nothing(update: Update) -> None:
    raise AssertionError("nothing was said")


@pytest.mark.parametrize(
    ("code", "description", "permanent"),
    [
        (403, "Forbidden: bot was kicked from the group chat", True),
        (403, "Forbidden: user is deactivated", True),
        (400, "Bad Request: chat not found", True),
        (400, "Bad Request: message thread not found", True),
        (401, "Unauthorized", False),
        (500, "Internal Server Error: restart", False),
        (502, "Bad Gateway", False),
        (409, "Conflict: something", False),
    ],
)
def test_what_went_wrong_is_told_as_it_is(code: int, description: str, permanent: bool, api: TelegramApi) -> None:
    async def run() -> None:
        async with opened(api, _nothing) as platform:
            for method, do in (
                ("sendMessage", platform.send({"chat": 7}, "private words")),
                ("editMessageText", platform.edit({"chat": 7}, "1", "private words")),
                ("sendChatAction", platform.typing({"chat": 7})),
                ("sendDocument", platform.send_file({"chat": 7}, "a.json", b"{}")),
            ):
                api.refuse(method, code, f'{description}: "private words"')
                with pytest.raises(DeliveryError) as caught:
                    await do
                assert caught.value.permanent is permanent
                assert caught.value.retry_after is None
                assert "private words" not in str(caught.value)

    asyncio.run(run())


def test_another_worker_sends_without_having_opened(api: TelegramApi) -> None:
    async def run() -> None:
        platform = make_platform("telegram", token=TOKEN, base_url=api.url)
        await platform.send({"chat": GROUP, "thread": 3, "reply": 5}, "hello")
        await platform.close()
        never = make_platform("telegram", token=TOKEN, base_url=api.url)
        await never.close()

    asyncio.run(run())
    [shown] = api.shown[GROUP]
    assert (shown.thread, shown.reply) == (3, 5)
    assert "getUpdates" not in api.calls


def test_the_text_that_a_message_has_already_is_no_error(api: TelegramApi) -> None:
    async def run() -> None:
        platform = make_platform("telegram", token=TOKEN, base_url=api.url)
        message = await platform.send({"chat": 7}, "hello\ud800")
        await platform.edit({"chat": 7}, message, "hello\ud800")
        with pytest.raises(DeliveryError) as gone:
            await platform.edit({"chat": 7}, "12345", "hello")
        assert gone.value.permanent
        await platform.close()

    asyncio.run(run())
    assert api.texts() == ["hello\ufffd"]


@pytest.mark.parametrize("package", ["telegram", "uvicorn"])
def test_a_missing_package_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("turnlog.bots.telegram.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match=r"pip install 'turnlog\[telegram\]'"):
        make_platform("telegram", token=TOKEN)


def test_the_menu_is_what_telegram_takes(api: TelegramApi) -> None:
    async def run() -> None:
        async with opened(api, _nothing):
            assert [command["command"] for command in api.commands] == [command.name for command in COMMANDS]

    asyncio.run(run())


def test_a_port_that_is_taken_is_told_before_anything_is_registered(api: TelegramApi) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        platform = make_platform("telegram", token=TOKEN, base_url=api.url, webhook_url=HOOK, port=taken.getsockname()[1])

        async def run() -> None:
            with pytest.raises(ListeningError, match=r"cannot listen on 127\.0\.0\.1, port"):
                await platform.open(_nothing, COMMANDS)
            await platform.close()

        asyncio.run(run())
    assert api.webhook is None
