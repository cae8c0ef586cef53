"""A served agent as a process: the address it listens on, and an end that lets turns in flight come to theirs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import uvicorn

from turnlog.agent import Agent
from turnlog.errors import SessionError
from turnlog.server.app import LARGEST_BODY, agent_app
from turnlog.server.tokens import Tokens
from turnlog.server.turns import Turns


class AddressError(SessionError, OSError):
    """The address cannot be listened on, or not without tokens. Attributes: ``host``, ``port``."""


def serve_agent(
    agent: Agent,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    tokens: Tokens | None = None,
    store: Any = None,
    wait: float = 60.0,
    max_body: int = LARGEST_BODY,
    grace: float = 30.0,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve ``agent`` until SIGINT or SIGTERM; then turns in flight end, for at most ``grace`` seconds, and after that are interrupted.

    ``port`` 0 takes a free one. ``ready`` is given the base URL, such as ``http://127.0.0.1:8000/v1``, once requests are taken. The other
    options are those of ``agent_app``. Without ``tokens`` the host must be this machine's own. Raises AddressError.
    """
    if tokens is None and not _is_loopback(host):
        text = f"{host} can be reached from elsewhere: pass tokens (a token file), or listen on 127.0.0.1"
        raise AddressError(text, host=host, port=port)
    app = agent_app(agent, tokens=tokens, store=store, wait=wait, max_body=max_body, only_local=tokens is None)
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        url = f"http://{shown}:{listener.getsockname()[1]}/v1"
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=max(1, round(grace)),
        )
        asyncio.run(_serve(app.state.turns, _Server(config, lambda: ready(url) if ready else None), listener))


class _Server(uvicorn.Server):
    """Tells when it takes requests."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()


async def _serve(turns: Turns, server: uvicorn.Server, listener: socket.socket) -> None:
    # What is wrong with the agent is told now, and not to the first who asks.
    turns.agent.prepare()
    await server.serve(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        [(family, _, _, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        text = f"cannot listen on {host}, port {port} ({error.strerror or error}): choose another port or host"
        raise AddressError(text, host=host, port=port) from error
    listener.setblocking(False)
    return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
