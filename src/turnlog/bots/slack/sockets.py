"""Socket Mode: what Slack sends is taken in its order per chat, and acknowledged when it is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress

from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from turnlog.bots.platform import DeliveryError
from turnlog.bots.slack.calls import asked, quiet_logger
from turnlog.bots.slack.reading import chat_of

LOG = logging.getLogger("turnlog.bots.slack")
OURS = ("message", "app_mention")
"""The events that are read."""
CONNECTING = 30.0
"""Seconds that the first connection may take."""


class Sockets:
    """A connection to Slack for ``app``, made again when it is lost. ``check_every``: seconds between two looks whether it is.

    ``on_outage`` is told where that fails, once it had been made.
    """

    def __init__(
        self, app: AsyncApp, web: AsyncWebClient, app_token: str, check_every: float, on_outage: Callable[[Exception], None]
    ) -> None:
        self._app = app
        self._client = _Client(app_token, quiet_logger(), web, ping_interval=check_every)
        self._on_outage = on_outage
        self._client.socket_mode_request_listeners.append(self._take)
        self._last: dict[str, asyncio.Task[None]] = {}
        self._busy: set[asyncio.Task[None]] = set()
        self._closing = False

    async def open(self) -> None:
        """Connect. Raises TokenError, DeliveryError."""
        # The library would try for ever to connect with a token that is not valid.
        answer = await asked(self._client.web_client.apps_connections_open(app_token=self._client.app_token))
        self._client.wss_uri = answer["url"]
        try:
            async with asyncio.timeout(CONNECTING):
                await self._client.connect()
        except TimeoutError:
            raise DeliveryError("Slack's Socket Mode cannot be connected to") from None
        self._client.on_outage = self._on_outage

    async def close(self) -> None:
        """Take nothing more, acknowledge what was taken, and disconnect. What was not taken Slack delivers again."""
        self._closing = True
        if self._busy:
            await asyncio.wait(list(self._busy))
        await self._client.close()  # type: ignore[no-untyped-call]

    async def _take(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        """Called in a task for each envelope, in their order; the first step of each is here."""
        if self._closing:
            return
        task = asyncio.current_task()
        assert task is not None
        self._busy.add(task)
        chat = chat_of(request.payload)
        before, self._last[chat] = self._last.get(chat), task
        try:
            if before is not None:
                await asyncio.wait([before])
            await self._answer(client, request)
        finally:
            self._busy.discard(task)
            if self._last.get(chat) is task:
                del self._last[chat]

    async def _answer(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        started = time.time()
        with suppress(ConnectionError):
            # The connection is gone: it is not acknowledged, and comes again.
            event = request.payload.get("event")
            if request.type == "slash_commands" or (isinstance(event, dict) and event.get("type") in OURS):
                response = await run_async_bolt_app(self._app, request)
                await send_async_response(client, request, response, started)
            else:
                await client.send_socket_mode_response(SocketModeResponse(envelope_id=request.envelope_id))


class _Client(SocketModeClient):
    """slack_sdk's, but that an address, which is good for one connection within seconds, is not tried for ever, and outages are told."""

    on_outage: Callable[[Exception], None] = staticmethod(lambda error: None)
    _failing = False

    async def issue_new_wss_url(self) -> str:
        """Ask for an address. Raises what the request raises: it is tried again."""
        try:
            return await super().issue_new_wss_url()
        except Exception as error:
            self._tell(error)
            raise

    async def connect(self) -> None:
        """Connect; returns when that has succeeded, or the client was closed."""
        while not self.closed:
            try:
                async with asyncio.timeout(2.5 * self.ping_interval):
                    await super().connect()  # type: ignore[no-untyped-call]
            except TimeoutError as error:
                self.wss_uri = None
                self._tell(error)
            else:
                self._failing = False
                return

    def _tell(self, error: Exception) -> None:
        """Tell of the first failure of an outage. Its own words may hold the address."""
        if not self._failing:
            self._failing = True
            self.on_outage(DeliveryError(f"Slack's Socket Mode cannot be connected to ({type(error).__name__})"))
