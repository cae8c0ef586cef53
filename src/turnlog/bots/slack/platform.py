"""Slack as a platform: what comes through Socket Mode, and what goes out as rich text."""

from __future__ import annotations

import asyncio
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from turnlog.bots.asides import Asides
from turnlog.bots.platform import Command, DeliveryError, Photo, Receive, Update
from turnlog.bots.slack.calls import TIMEOUT, RefusedError, asked, quiet_logger
from turnlog.bots.slack.markdown import LONGEST, to_plain, to_slack
from turnlog.bots.slack.reading import LARGEST, Json, Reading, read, read_command
from turnlog.bots.slack.sockets import Sockets

LOG = logging.getLogger("turnlog.bots.slack")
NO_PICTURE = "Sorry, I could not fetch your picture; please send it again, or a smaller one."
ATTEMPTS = 3
"""Times that a picture is asked for."""
REMEMBERED = 1_000
"""Names of users, and channels without typing, that are remembered."""
BAD_FORM = ("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "block_mismatch", "no_text")
NOT_THERE = ("not_in_channel", "channel_not_found", "user_not_in_channel", "channel_is_limited_access")

Address = dict[str, Any]
"""``channel``, ``thread`` (the time stamp of its first message, or None), and ``only``: the user who alone is to see the answer."""


class Slack:
    """A bot of Slack's, in Socket Mode: it needs no address of its own, and each worker may connect.

    It reads what is said to it alone, and in channels what mentions it, and answers there in a thread. ``app_token``: the app's, for
    Socket Mode. ``edit_every``: seconds between two edits of a message; all of a workspace's together may be some fifty a minute.
    ``base_url``: the root of the Web API. ``check_every``: seconds between two looks whether the connection is alive.
    """

    name = "slack"
    longest = LONGEST

    def __init__(
        self,
        token: str,
        app_token: str,
        *,
        edit_every: float = 3.0,
        base_url: str = "https://slack.com/api/",
        check_every: float = 5.0,
    ) -> None:
        self.edit_every: float | None = edit_every
        self.on_outage: Callable[[Exception], None] = lambda error: None
        self._token = token
        self._app_token = app_token
        self._base_url = base_url if base_url.endswith("/") else f"{base_url}/"
        self._check_every = check_every
        self._opening = asyncio.Lock()
        self._http: aiohttp.ClientSession | None = None
        self._web = AsyncWebClient(token, base_url=self._base_url, timeout=TIMEOUT, retry_handlers=[], logger=quiet_logger())
        self._me, self._team = "", ""
        self._receive: Receive | None = None
        self._commands: Collection[str] = ()
        self._sockets: Sockets | None = None
        self._names: OrderedDict[str, str | None] = OrderedDict()
        self._no_typing: OrderedDict[str, None] = OrderedDict()
        self._asides = Asides(self.send)

    # Life -----------------------------------------------------------------------------------------------------------------------

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        """Connect and begin to receive; Slack has no menu that could be registered. Raises TokenError, DeliveryError."""
        await self._connect()
        self._receive = receive
        self._commands = {command.name for command in commands}

        async def authorize() -> AuthorizeResult:
            """What slack-bolt would ask Slack for, and look for in the environment."""
            return AuthorizeResult(enterprise_id=None, team_id=self._team, bot_user_id=self._me, bot_token=self._token)

        # An envelope is answered when the listener has returned, and not at all where it raises.
        app = AsyncApp(client=self._web, authorize=authorize, logger=quiet_logger(), process_before_response=True)
        app.event("message")(self._on_event)
        app.event("app_mention")(self._on_event)
        app.command(re.compile(".*"))(self._on_command)
        app.error(_not_taken)
        self._sockets = Sockets(app, self._web, self._app_token, self._check_every, self.on_outage)
        await self._sockets.open()

    async def close(self) -> None:
        """Stop receiving and disconnect. What was not stored Slack delivers again, to whichever worker."""
        if self._sockets is not None:
            await self._sockets.close()
            self._sockets = None
        await self._asides.close()
        async with self._opening:
            if self._http is not None:
                await self._http.close()
                self._http = None

    async def _connect(self) -> aiohttp.ClientSession:
        """Ask who the bot is, once; gives what requests are made with."""
        if self._http is None:
            async with self._opening:
                if self._http is None:
                    http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))
                    self._web.session = http
                    try:
                        known = await asked(self._web.auth_test())
                        self._me, self._team = known["user_id"], known["team_id"]
                    except BaseException:
                        await http.close()
                        raise
                    self._http = http
        return self._http

    # Receiving ------------------------------------------------------------------------------------------------------------------

    async def _on_event(self, event: Json) -> None:
        """Returns when the update is stored, or is none of the bot's concern. Raises what ``receive`` raises."""
        reading = read(event, self._me, self._commands)
        if reading is not None:
            await self._take(reading)

    async def _on_command(self, ack: AsyncAck, body: Json) -> None:
        await self._take(Reading(read_command(body, self._commands)))
        await ack()

    async def _take(self, reading: Reading) -> None:
        assert self._receive is not None
        said = reading.update
        if not said.is_private:
            said = replace(said, user_name=await self._name(said.user_id))
        if reading.pictures:
            fetched = [await self._fetched(file, said) for file in reading.pictures]
            photos = tuple(photo for photo in fetched if photo is not None)
            if len(photos) < len(fetched):
                self._asides.tell(said.address, NO_PICTURE)
                if not said.text and not photos:
                    return
            said = replace(said, photos=photos)
        await self._receive(said)

    async def _name(self, user: str) -> str | None:
        """How others see a user; None where the bot may not know."""
        if user not in self._names:
            try:
                profile = (await asked(self._web.users_info(user=user)))["user"].get("profile", {})
                name = profile.get("display_name") or profile.get("real_name") or None
            except DeliveryError as error:
                LOG.info("the name of user %s was not given: %s", user, error)
                if not error.permanent:
                    return None
                name = None
            _remember(self._names, user, name)
        return self._names[user]

    async def _fetched(self, file: Json, update: Update) -> Photo | None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                if file.get("file_access") == "check_file_info":
                    file = (await asked(self._web.files_info(file=file["id"])))["file"]
                return Photo(media_type=file["mimetype"], data=await asked(self._download(file)))
            except Exception as error:  # noqa: BLE001  # told to the user; what else is in the message is answered
                LOG.warning(
                    "a picture of update %s was not given: %s", update.id, error if isinstance(error, DeliveryError) else type(error)
                )
                if getattr(error, "permanent", True):
                    return None
                await asyncio.sleep(getattr(error, "retry_after", None) or attempt)
        return None

    async def _download(self, file: Json) -> bytes:
        """A file's bytes. Raises RefusedError where Slack shows its sign-in page instead, or the address is not Slack's."""
        address = file.get("url_private_download") or file["url_private"]
        host = urlsplit(address).hostname or ""
        if not (host == "slack.com" or host.endswith(".slack.com") or host == urlsplit(self._base_url).hostname):
            # The token goes to nobody else.
            raise RefusedError("a file is not with Slack", permanent=True, code="foreign_file")
        http = await self._connect()
        async with http.get(address, headers={"Authorization": f"Bearer {self._token}"}, allow_redirects=False) as answer:
            if answer.status >= 500:
                raise DeliveryError(f"Slack fails (status {answer.status})")
            data = await answer.content.read(LARGEST + 1) if answer.status == 200 else b""
            while 0 < len(data) <= LARGEST and (more := await answer.content.read(LARGEST + 1 - len(data))):
                data += more
            if answer.status != 200 or answer.content_type == "text/html" or len(data) > LARGEST:
                raise RefusedError(f"Slack does not give the file (status {answer.status})", permanent=True, code="no_file")
            return data

    # Sending --------------------------------------------------------------------------------------------------------------------

    async def send(self, address: Address, text: str) -> str:
        """Send markdown and give the message's id. Raises DeliveryError, TokenError."""
        await self._connect()
        only = address["only"]
        if only is None:
            return await self._post(address["channel"], text, thread=address["thread"])
        try:
            return await self._formed(text, lambda how: self._web.chat_postEphemeral(channel=address["channel"], user=only, **how))
        except RefusedError as error:
            if error.code not in NOT_THERE:
                raise
        # Slash commands can be given where the bot is not.
        return await self._post(only, text)

    async def edit(self, address: Address, message_id: str, text: str) -> None:
        """Replace a message. Raises DeliveryError, TokenError."""
        await self._connect()
        channel, ts = message_id.split("/")

        def update(how: Json) -> Any:
            # It has another default than sending has: names would become mentions.
            return self._web.chat_update(channel=channel, ts=ts, parse="none", link_names=False, **{**how, "mrkdwn": None})

        await self._formed(text, update)

    async def typing(self, address: Address) -> None:
        """Show that an answer is being written: Slack can in threads, where the app is an assistant. Raises DeliveryError."""
        channel, thread = address["channel"], address["thread"]
        if thread is None or channel in self._no_typing:
            return
        await self._connect()
        try:
            await asked(self._web.assistant_threads_setStatus(channel_id=channel, thread_ts=thread, status="is typing…"))
        except RefusedError as error:
            LOG.info("Slack does not show typing in %s: %s", channel, error)
            _remember(self._no_typing, channel, None)

    async def send_file(self, address: Address, name: str, data: bytes) -> str:
        """Send a file and give an id of it. Raises DeliveryError, TokenError."""
        await self._connect()
        channel, thread = address["channel"], address["thread"]
        if address["only"] is not None:
            # In the channel everybody would see it.
            channel = (await asked(self._web.conversations_open(users=address["only"])))["channel"]["id"]
        sent = await asked(self._web.files_upload_v2(channel=channel, thread_ts=thread, filename=name, content=data))
        return f"{channel}/{sent['files'][0]['id']}"

    async def _post(self, channel: str, text: str, *, thread: str | None = None) -> str:
        def post(how: Json) -> Any:
            return self._web.chat_postMessage(channel=channel, thread_ts=thread, unfurl_links=False, unfurl_media=False, **how)

        return await self._formed(text, post)

    async def _formed(self, text: str, request: Callable[[Json], Any]) -> str:
        """Ask with rich text, and with the text as it was written where Slack does not take that; gives the message's id."""
        try:
            answer = await asked(request(to_slack(text)))
        except RefusedError as error:
            if error.code not in BAD_FORM:
                raise
            answer = await asked(request(to_plain(text)))
        return f"{answer.get('channel', '')}/{answer.get('ts') or answer.get('message_ts')}"


async def _not_taken(error: Exception) -> BoltResponse:
    """What a listener raised: the envelope is not acknowledged, and comes again."""
    LOG.warning("an update was not stored and is to be delivered again: %s", type(error).__name__)
    return BoltResponse(status=500)


def _remember(known: OrderedDict[str, Any], key: str, value: Any) -> None:
    known[key] = value
    if len(known) > REMEMBERED:
        known.popitem(last=False)
