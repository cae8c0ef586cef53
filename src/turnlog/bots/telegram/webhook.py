"""The webhook: a small HTTP server that says 200 to Telegram once an update is stored, and to nobody else anything."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from turnlog.errors import SessionError

LOG = logging.getLogger("turnlog.bots.telegram")
LARGEST = 256 << 10
"""Bytes of one request; Telegram's updates have some kilobytes."""
HEADER = b"x-telegram-bot-api-secret-token"

Store = Callable[[Any], Awaitable[None]]
"""Takes the JSON of an update and returns when it is stored. What it raises means: to be delivered again."""


class ListeningError(SessionError, OSError):
    """The address cannot be listened on. Attributes: ``host``, ``port``."""


class _Server(uvicorn.Server):
    """Leaves signals to the program that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Webhook:
    """Listens on ``host`` and ``port`` (0: a free one), and takes what comes to ``path`` with the ``secret``."""

    def __init__(self, store: Store, host: str, port: int, path: str, secret: str) -> None:
        self._store = store
        self._path = path or "/"
        self._secret = secret.encode()
        self._listener = _listening(host, port)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self._answer,
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=10,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Serve. What comes before it does waits in the system."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def close(self) -> None:
        """Answer what has come, and stop."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait([self._serving])
        self._listener.close()

    async def _answer(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
        """The ASGI application."""
        assert scope["type"] == "http"
        status = await self._status(scope, receive)
        headers = [(b"content-length", b"0"), *([(b"connection", b"close")] if status in (403, 413) else [])]
        with suppress(OSError):
            # Telegram is gone, and will ask again.
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    async def _status(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]]) -> int:
        """Take a request; gives the status of the answer."""
        if scope["path"] != self._path:
            return 404
        if scope["method"] != "POST":
            return 405
        if not hmac.compare_digest(dict(scope["headers"]).get(HEADER, b""), self._secret):
            return 403
        body = bytearray()
        while True:
            event = await receive()
            if event["type"] != "http.request":
                # It broke off.
                return 400
            body += event.get("body", b"")
            if len(body) > LARGEST:
                return 413
            if not event.get("more_body"):
                break
        try:
            update = json.loads(body)
        except (ValueError, RecursionError):
            return 400
        try:
            await self._store(update)
        except Exception as error:  # noqa: BLE001  # it is not taken, and comes again
            LOG.warning("an update was not stored and is to be delivered again: %s", type(error).__name__)
            return 503
        return 200


def _listening(host: str, port: int) -> socket.socket:
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        text = f"cannot listen on {host}, port {port} ({error.strerror or error}): choose another port or host"
        raise ListeningError(text, host=host, port=port) from error
    listener.setblocking(False)
    return listener
