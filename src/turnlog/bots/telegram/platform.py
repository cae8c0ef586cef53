"""Telegram as a platform: what comes, by polling or webhook, and what goes out, in Telegram's own form."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import telegram
from telegram import BotCommand, Message, ReplyParameters
from telegram.constants import ChatAction, ParseMode
from telegram.error import BadRequest, ChatMigrated, TelegramError

from turnlog.bots.asides import Asides
from turnlog.bots.markdown import LONGEST, fitting, plain, to_html
from turnlog.bots.platform import Command, DeliveryError, Photo, Receive, Update
from turnlog.bots.telegram.calls import asked, open_bot
from turnlog.bots.telegram.polling import Poller
from turnlog.bots.telegram.reading import Picture, Reading, read
from turnlog.bots.telegram.webhook import Webhook

T = TypeVar("T")

LOG = logging.getLogger("turnlog.bots.telegram")
NO_PICTURE = "Sorry, I could not fetch your picture; please send it again, or a smaller one."
ATTEMPTS = 3
"""Times that a picture is asked for, and that a busy Telegram is asked again when the bot starts."""
REMEMBERED = 1_000
"""Messages of which is remembered that a piece took several."""

Address = dict[str, Any]
"""``chat``, ``thread`` (or None), and ``reply``: in a group, the id of the message that is answered."""


class Telegram:
    """A bot of Telegram's.

    Without ``webhook_url`` it polls, one worker at a time. With it, Telegram delivers to that address, https, and every worker listens on
    ``host`` and ``port`` behind it (0: a free one), on the address's path. ``secret``: what Telegram proves itself with, 1 to 256 letters,
    digits, ``_`` and ``-``; None: one made from the token, the same for every worker. ``base_url``: the root of a Bot API server.
    ``edit_every``: seconds between two edits of a message. ``allowed_updates``: "message", and "edited_message" to be told of edits as of
    new messages.
    """

    name = "telegram"
    longest = LONGEST

    def __init__(
        self,
        token: str,
        *,
        webhook_url: str | None = None,
        host: str = "127.0.0.1",
        port: int = 8443,
        secret: str | None = None,
        base_url: str = "https://api.telegram.org",
        edit_every: float = 1.5,
        allowed_updates: Sequence[str] = ("message",),
    ) -> None:
        if unknown := set(allowed_updates) - {"message", "edited_message"}:
            raise ValueError(f'allowed_updates may have "message" and "edited_message", not {", ".join(sorted(unknown)):.80}')
        self.edit_every: float | None = edit_every
        self.polls = webhook_url is None
        self.on_outage: Callable[[Exception], None] = lambda error: None
        self._webhook_url = webhook_url
        self._listen = (host, port)
        self._secret = secret or hmac.new(token.encode(), b"turnlog webhook", "sha256").hexdigest()
        self._kinds = list(allowed_updates)
        self._bot = open_bot(token, base_url)
        self._opening = asyncio.Lock()
        self._ready = False
        self._receive: Receive | None = None
        self._polling: asyncio.Task[None] | None = None
        self._webhook: Webhook | None = None
        self._asides = Asides(self.send)
        self._moved: dict[int, int] = {}
        self._begun: OrderedDict[tuple[Any, str], list[str]] = OrderedDict()
        self._more: OrderedDict[tuple[Any, str], list[str]] = OrderedDict()

    @property
    def port(self) -> int | None:
        """The port that the webhook listens on; None while it does not."""
        return self._webhook.port if self._webhook is not None else None

    # Life -----------------------------------------------------------------------------------------------------------------------

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        """Register the menu and begin to receive. Raises TokenError, DeliveryError, ListeningError."""
        self._receive = receive
        await self._connect()
        menu = [BotCommand(command.name, command.text) for command in commands]
        await self._patiently(lambda: self._bot.set_my_commands(menu))
        if self._webhook_url is None:
            await self._patiently(self._bot.delete_webhook)
            poller = Poller(self._bot, self._take, self._kinds, self.on_outage)
            self._polling = asyncio.create_task(poller.run())
            return
        url, path = self._webhook_url, urlsplit(self._webhook_url).path
        self._webhook = Webhook(self._take_json, *self._listen, path, self._secret)
        self._webhook.start()
        await self._patiently(lambda: self._bot.set_webhook(url, secret_token=self._secret, allowed_updates=self._kinds))

    async def close(self) -> None:
        """Stop receiving. What was not stored comes again at the next start: a webhook stays registered."""
        if self._polling is not None:
            self._polling.cancel()
            await asyncio.wait([self._polling])
            self._polling = None
        if self._webhook is not None:
            await self._webhook.close()
            self._webhook = None
        await self._asides.close()
        async with self._opening:
            self._ready = False
            with suppress(TelegramError):
                # It only closes connections; before the first request there are none.
                await self._bot.shutdown()

    async def _connect(self) -> None:
        """Ask who the bot is, once: before that nothing can be sent."""
        if self._ready:
            return
        async with self._opening:
            if not self._ready:
                await asked(self._bot.initialize())
                self._ready = True

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Ask again where Telegram wants a pause: it does when several workers start at once."""
        for _ in range(ATTEMPTS):
            try:
                return await asked(request())
            except DeliveryError as error:
                if error.retry_after is None:
                    raise
                await asyncio.sleep(error.retry_after)
        return await asked(request())

    # Receiving ------------------------------------------------------------------------------------------------------------------

    async def _take_json(self, data: Any) -> None:
        """Take an update as the webhook gets it."""
        try:
            update = telegram.Update.de_json(data, self._bot)
        except Exception as error:  # noqa: BLE001  # as a whole it would be delivered again for a day
            LOG.error("an update could not be read and is left out: %s", type(error).__name__)
            return
        await self._take(update)

    async def _take(self, update: telegram.Update) -> None:
        """Returns when the update is stored, or is none of the bot's concern. Raises what ``receive`` raises."""
        assert self._receive is not None
        try:
            reading = read(update, self._bot.bot)
        except Exception as error:  # noqa: BLE001  # as above
            LOG.error("update %s could not be read and is left out: %s", update.update_id, type(error).__name__)
            return
        if reading is None:
            return
        said = reading.update
        if reading.pictures:
            photos = await self._photos(reading)
            if len(photos) < len(reading.pictures):
                self._asides.tell(said.address, NO_PICTURE)
                if not said.text:
                    return
            said = replace(said, photos=photos)
        await self._receive(said)

    async def _photos(self, reading: Reading) -> tuple[Photo, ...]:
        """The pictures; without those that Telegram does not give."""
        fetched = [await self._fetched(picture, reading.update) for picture in reading.pictures]
        return tuple(photo for photo in fetched if photo is not None)

    async def _fetched(self, picture: Picture, update: Update) -> Photo | None:
        for attempt in range(ATTEMPTS):
            try:
                file = await asked(self._bot.get_file(picture.file_id))
                data = await asked(file.download_as_bytearray())
            except Exception as error:  # noqa: BLE001  # told to the user; what else is in the message is answered
                LOG.warning("the picture of update %s was not given: %s", update.id, error)
                if getattr(error, "permanent", True):
                    return None
                await asyncio.sleep(getattr(error, "retry_after", None) or attempt + 1)
            else:
                return Photo(media_type=picture.media_type, data=bytes(data))
        return None

    # Sending --------------------------------------------------------------------------------------------------------------------

    async def send(self, address: Address, text: str) -> str:
        """Send markdown and give the message's id. Raises DeliveryError, TokenError."""
        # A piece that took several messages and broke off between them goes on behind the last.
        ids = self._begun.pop((address["chat"], text), [])
        try:
            for piece in fitting(plain(text))[len(ids) :]:
                ids.append(await self._send(address, piece))
        except BaseException:
            if ids:
                _remember(self._begun, (address["chat"], text), ids)
            raise
        first, *more = ids
        if more:
            _remember(self._more, (address["chat"], first), more)
        return first

    async def edit(self, address: Address, message_id: str, text: str) -> None:
        """Replace a message. Raises DeliveryError, TokenError."""
        pieces = fitting(plain(text))
        ids = [message_id, *self._more.pop((address["chat"], message_id), [])]
        try:
            for place, piece in enumerate(pieces):
                if place < len(ids):
                    await self._edit(address, ids[place], piece)
                else:
                    ids.append(await self._send(address, piece))
            while len(ids) > len(pieces):
                last = int(ids[-1])
                await self._ask(address, lambda chat, last=last: self._bot.delete_message(chat, last))  # type: ignore[misc]
                ids.pop()
        finally:
            if len(ids) > 1:
                _remember(self._more, (address["chat"], message_id), ids[1:])

    async def send_file(self, address: Address, name: str, data: bytes) -> str:
        """Send a file and give the message's id. Raises DeliveryError, TokenError."""

        async def send(chat: int) -> Message:
            return await self._bot.send_document(chat, data, filename=name, disable_content_type_detection=True, **_placed(address))

        return str((await self._ask(address, send)).message_id)

    async def typing(self, address: Address) -> None:
        """Show for five seconds that an answer is being written. Raises DeliveryError, TokenError."""
        thread = address.get("thread")
        await self._ask(address, lambda chat: self._bot.send_chat_action(chat, ChatAction.TYPING, message_thread_id=thread))

    async def _send(self, address: Address, piece: str) -> str:
        async def send(chat: int) -> Message:
            return await _formatted(piece, lambda text, mode: self._bot.send_message(chat, text, parse_mode=mode, **_placed(address)))

        return str((await self._ask(address, send)).message_id)

    async def _edit(self, address: Address, message_id: str, piece: str) -> None:
        async def edit(chat: int) -> None:
            try:
                await _formatted(piece, lambda text, mode: self._bot.edit_message_text(text, chat, int(message_id), parse_mode=mode))
            except BadRequest as error:
                if "not modified" not in str(error):
                    raise

        await self._ask(address, edit)

    async def _ask(self, address: Address, request: Callable[[int], Awaitable[T]]) -> T:
        """What the Bot API gives for the chat, also where that has become a supergroup since. Raises DeliveryError, TokenError."""
        await self._connect()
        chat: int = address["chat"]

        async def ask() -> T:
            try:
                return await request(self._moved.get(chat, chat))
            except ChatMigrated as error:
                self._moved[chat] = error.new_chat_id
            return await request(self._moved[chat])

        return await asked(ask())


async def _formatted(piece: str, request: Callable[[str, str | None], Awaitable[T]]) -> T:
    """Ask with HTML, and with the text as it was written where Telegram does not take that."""
    try:
        return await request(to_html(piece), ParseMode.HTML)
    except BadRequest as error:
        if not any(words in str(error).lower() for words in ("parse entities", "is empty", "non-empty", "too long", "too_long")):
            raise
    return await request(piece, None)


def _placed(address: Address) -> dict[str, Any]:
    """Where in its chat a message goes."""
    reply = address.get("reply")
    answers = ReplyParameters(reply, allow_sending_without_reply=True) if reply is not None else None
    return {"message_thread_id": address.get("thread"), "reply_parameters": answers}


def _remember(known: OrderedDict[tuple[Any, str], list[str]], key: tuple[Any, str], ids: list[str]) -> None:
    known[key] = ids
    if len(known) > REMEMBERED:
        known.popitem(last=False)
