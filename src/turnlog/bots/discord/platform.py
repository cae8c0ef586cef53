"""Discord as a platform: what comes through the gateway, and what goes out, in Discord's own form."""

from __future__ import annotations

import asyncio
import io
import logging
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import discord
from discord import app_commands

from turnlog.bots.asides import Asides
from turnlog.bots.discord.calls import asked, told
from turnlog.bots.discord.markdown import LONGEST, to_discord
from turnlog.bots.discord.reading import media_type, pictures, read, read_command
from turnlog.bots.discord.storing import Storing
from turnlog.bots.platform import Command, DeliveryError, Photo, Receive, Update

T = TypeVar("T")

LOG = logging.getLogger("turnlog.bots.discord")
ROOM = 100
"""Characters of a message that are left to the escapes that its text may need."""
LONGEST_WAIT = 30.0
"""Seconds that discord.py waits for a rate limit by itself; longer ones the caller is told."""
NO_PICTURE = "Sorry, I could not fetch your picture; please send it again, or a smaller one."
ATTEMPTS = 3
"""Times that a picture is asked for."""
REMEMBERED = 1_000
"""Messages that failed on their way, of which is remembered by what Discord knows them if they did arrive."""
TOKEN_RAN_OUT = (10015, 50027)
"""Discord's codes for an interaction that is over: it may be answered for fifteen minutes."""
INVALID_FORM, EMPTY = 50035, 50006

Address = dict[str, Any]
"""``channel`` (None: only through the interaction), ``reply``: in a server, the id of the message that is answered; of a slash command
``application`` and ``interaction``, its token."""


class Discord:
    """A bot of Discord's.

    It needs no privileged intent: it reads what is said to it alone, and in servers what mentions it or replies to it. Its menu is
    registered as slash commands; ``menu=False`` leaves that out. ``edit_every``: seconds between two edits of a message. ``client``: a
    discord.Client of your own that you log in and connect, before the bot starts, for a program that does more than to chat; its
    ``on_message`` is called as before.
    """

    name = "discord"
    longest = LONGEST - ROOM

    def __init__(self, token: str, *, client: discord.Client | None = None, menu: bool = True, edit_every: float = 1.2) -> None:
        self.edit_every: float | None = edit_every
        self.on_outage: Callable[[Exception], None] = lambda error: None
        self.ended = asyncio.Event()
        """Set when Discord ended the connection for good: the token is not valid any more."""
        # Each connection gets every message: one worker holds it.
        self.polls = client is None
        self._token = token
        self._menu = menu
        self._own = client is None
        self._client = client if client is not None else _client()
        self._opening = asyncio.Lock()
        self._ready = False
        self._storing: Storing | None = None
        self._connection: asyncio.Task[None] | None = None
        self._unhook: list[Callable[[], None]] = []
        self._unsure: OrderedDict[tuple[Any, ...], str] = OrderedDict()
        self._asides = Asides(self.send)

    # Life -----------------------------------------------------------------------------------------------------------------------

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        """Connect, register the menu and begin to receive. Raises TokenError, DeliveryError."""
        await self._log_in()
        self._storing = Storing(receive)
        connected = asyncio.Event()
        self._hook("message", self._on_message)
        if self._own:

            async def on_connect() -> None:
                connected.set()

            self._hook("connect", on_connect)
        if self._menu:
            await self._register(commands)
        if self._own:
            await self._connect(connected)

    async def close(self) -> None:
        """Stop receiving, store what has come, and disconnect. A client that is not the platform's own stays as it is."""
        for unhook in self._unhook:
            unhook()
        self._unhook.clear()
        if self._storing is not None:
            await self._storing.close()
        await self._asides.close()
        if self._own:
            self._ready = False
            await self._client.close()
            if self._connection is not None:
                await asyncio.wait([self._connection])
                self._connection = None

    async def _log_in(self) -> None:
        """Open the way for requests, once. It is all that sending needs."""
        if self._ready:
            return
        async with self._opening:
            if not self._ready:
                if self._own:
                    await self._log_in_anew()
                elif self._client.user is None:
                    raise DeliveryError("the client is not logged in: log it in and connect it before the bot is started")
                self._ready = True

    async def _log_in_anew(self) -> None:
        if self._client.is_closed():
            # It is good for one life.
            self._client = _client()
        try:
            await asked(self._client.login(self._token))
        except BaseException:
            await self._client.close()
            raise

    async def _connect(self, connected: asyncio.Event) -> None:
        self._connection = asyncio.create_task(self._client.connect())
        waiting = asyncio.create_task(connected.wait())
        try:
            await asyncio.wait([self._connection, waiting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not connected.is_set():
            await asked(self._connection)
            raise DeliveryError("Discord closed the connection as soon as it was open")
        self._connection.add_done_callback(self._disconnected)

    def _disconnected(self, connection: asyncio.Task[None]) -> None:
        """discord.py connects again by itself, except where there is no use in that."""
        error = None if connection.cancelled() else connection.exception()
        if error is not None:
            reason = told(error) or type(error).__name__
            self.on_outage(DeliveryError(f"the connection to Discord has ended for good: {reason}", permanent=True))
            self.ended.set()

    async def _register(self, commands: Sequence[Command]) -> None:
        """Offer the menu as slash commands, each with one field for what follows its name."""
        tree = getattr(self._client, "tree", None) or app_commands.CommandTree(self._client)
        if not self._own and not hasattr(self._client, "tree"):
            self._client.tree = tree  # type: ignore[attr-defined]
        for command in commands:
            tree.add_command(self._slash(command), override=True)
        await asked(tree.sync())

    def _slash(self, command: Command) -> app_commands.Command[Any, Any, Any]:
        @app_commands.describe(argument="What follows the command, such as a name")
        async def run(interaction: discord.Interaction, argument: str | None = None) -> None:
            await self._on_command(interaction, f"/{command.name} {argument or ''}".rstrip())

        # Discord takes 100 characters.
        return app_commands.Command(name=command.name, description=command.text[:100], callback=run)

    def _hook(self, event: str, heard: Callable[..., Awaitable[None]]) -> None:
        """Have ``heard`` called, and what was there before."""
        name = f"on_{event}"
        client: Any = self._client
        if hasattr(client, "add_listener"):
            client.add_listener(heard, name)
            self._unhook.append(lambda: client.remove_listener(heard, name))
            return
        before = getattr(client, name, None)

        async def both(*what: Any) -> None:
            await heard(*what)
            if before is not None:
                await before(*what)

        setattr(client, name, both)
        self._unhook.append(lambda: setattr(client, name, before) if before is not None else delattr(client, name))

    # Receiving ------------------------------------------------------------------------------------------------------------------

    async def _on_message(self, message: discord.Message) -> None:
        me = self._client.user
        update = read(message, me) if me is not None else None
        if update is not None and self._storing is not None:
            found = update

            async def prepare() -> Update | None:
                return await self._with_pictures(found, message)

            self._storing.put(message.channel.id, prepare)

    async def _on_command(self, interaction: discord.Interaction, text: str) -> None:
        update = read_command(interaction, text)
        # Within three seconds, or it has failed for its user; the answer takes the place of "thinking" later.
        begun = asyncio.create_task(_defer(interaction, hidden=interaction.guild_id is not None))

        async def prepare() -> Update | None:
            await begun
            return update

        assert self._storing is not None
        self._storing.put(interaction.channel_id or interaction.user.id, prepare)

    async def _with_pictures(self, update: Update, message: discord.Message) -> Update | None:
        files = pictures(message)
        if not files:
            return update
        fetched = [await self._fetched(file, update) for file in files]
        photos = tuple(photo for photo in fetched if photo is not None)
        if len(photos) < len(files):
            self._asides.tell(update.address, NO_PICTURE)
            if not update.text and not photos:
                return None
        return replace(update, photos=photos)

    async def _fetched(self, file: discord.Attachment, update: Update) -> Photo | None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return Photo(media_type=media_type(file), data=await asked(file.read()))
            except DeliveryError as error:
                LOG.warning("a picture of update %s was not given: %s", update.id, error)
                if error.permanent:
                    return None
                await asyncio.sleep(error.retry_after or attempt)
        return None

    # Sending --------------------------------------------------------------------------------------------------------------------

    async def send(self, address: Address, text: str) -> str:
        """Send markdown and give the message's id. Raises DeliveryError, TokenError."""
        return await self._send(address, text, to_discord(text), {"suppress_embeds": True})

    async def send_file(self, address: Address, name: str, data: bytes) -> str:
        """Send a file and give the message's id. Raises DeliveryError, TokenError."""
        return await self._send(address, name, "", {"file": (name, data)})

    async def edit(self, address: Address, message_id: str, text: str) -> None:
        """Replace a message. Raises DeliveryError, TokenError."""
        await self._log_in()
        through = message_id.startswith("i")
        number = int(message_id.removeprefix("i"))

        async def edit(content: str) -> None:
            if through:
                await self._webhook(address).edit_message(number, content=content, allowed_mentions=_nobody())
            else:
                channel = self._client.get_partial_messageable(address["channel"])
                await channel.get_partial_message(number).edit(content=content, allowed_mentions=_nobody())

        await asked(_formed(text, to_discord(text), edit))

    async def typing(self, address: Address) -> None:
        """Show for ten seconds that an answer is being written; a slash command's user is shown that anyway. Raises DeliveryError."""
        if "interaction" in address:
            return
        await self._log_in()
        await asked(_typing(self._client.get_partial_messageable(address["channel"])))

    async def _send(self, address: Address, text: str, formed: str, more: dict[str, Any]) -> str:
        await self._log_in()
        # One that failed on its way may have arrived: by the same nonce Discord knows it, and does not show it twice.
        key = (address["channel"], address["reply"], address.get("interaction"), text)
        nonce = self._unsure.pop(key, None) or secrets.token_hex(12)

        async def say(content: str) -> str:
            return await self._say(address, content, nonce, more)

        try:
            return await asked(_formed(text, formed, say))
        except DeliveryError as error:
            if not error.permanent:
                self._unsure[key] = nonce
                if len(self._unsure) > REMEMBERED:
                    self._unsure.popitem(last=False)
            raise

    async def _say(self, address: Address, content: str, nonce: str, more: dict[str, Any]) -> str:
        """Send what is in Discord's form, a slash command's answer through its interaction as long as there is one."""
        if "interaction" in address:
            try:
                sent = await self._webhook(address).send(content, wait=True, allowed_mentions=_nobody(), **_fresh(more))
                return f"i{sent.id}"
            except discord.HTTPException as error:
                if error.code not in TOKEN_RAN_OUT or address["channel"] is None:
                    raise
        channel = self._client.get_partial_messageable(address["channel"])
        how: dict[str, Any] = {"nonce": nonce, "allowed_mentions": _nobody(), **_fresh(more)}
        if address["reply"] is not None:
            how["reference"] = channel.get_partial_message(address["reply"]).to_reference(fail_if_not_exists=False)
        said = await channel.send(content, **how)
        return str(said.id)

    def _webhook(self, address: Address) -> discord.Webhook:
        return discord.Webhook.partial(address["application"], address["interaction"], client=self._client)


def _client() -> discord.Client:
    """A client that keeps little: no messages, no members."""
    # It would warn of what is missing for voice.
    discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False
    intents = discord.Intents.none()
    intents.guilds = intents.guild_messages = intents.dm_messages = True
    return discord.Client(
        intents=intents,
        max_messages=None,
        member_cache_flags=discord.MemberCacheFlags.none(),
        chunk_guilds_at_startup=False,
        allowed_mentions=_nobody(),
        max_ratelimit_timeout=LONGEST_WAIT,
    )


def _nobody() -> discord.AllowedMentions:
    """What an answer says may call nobody."""
    return discord.AllowedMentions.none()


def _fresh(more: dict[str, Any]) -> dict[str, Any]:
    """The further fields of a message, with files that were not read yet."""
    if "file" not in more:
        return more
    name, data = more["file"]
    return {"file": discord.File(io.BytesIO(data), filename=name)}


async def _formed(text: str, formed: str, request: Callable[[str], Awaitable[T]]) -> T:
    """Ask with the text in Discord's form, and with the text as it was written where Discord does not take that."""
    try:
        return await request(formed)
    except discord.HTTPException as error:
        if error.code not in (INVALID_FORM, EMPTY) or formed in ("", text):
            raise
    return await request(text)


async def _typing(channel: discord.PartialMessageable) -> None:
    await channel.typing()


async def _defer(interaction: discord.Interaction, *, hidden: bool) -> None:
    """Show its user that a slash command is worked on. Where that fails, the answer itself tells what is wrong."""
    try:
        await asked(interaction.response.defer(thinking=True, ephemeral=hidden))
    except DeliveryError as error:
        LOG.warning("a slash command could not be acknowledged: %s", error)
