"""The ASGI application: its paths, who may ask, and the one line a request leaves in the log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from turnlog.agent import Agent
from turnlog.server.answers import Completion, encoded, model_entry
from turnlog.server.asking import Asked, Json, model_of, read_completion, read_json, read_one_message
from turnlog.server.refusals import Refused, invalid, refusal_of
from turnlog.server.responses import StreamResponse, TurnResponse, told
from turnlog.server.tokens import Tokens
from turnlog.server.turns import Turns

LOG = logging.getLogger("turnlog.server")

SESSION_HEADER = "x-turnlog-session"
KEY_HEADER = "idempotency-key"
LONGEST_KEY = 255
LARGEST_BODY = 4 * 1024 * 1024
BODY_SECONDS = 60.0
"""Seconds within which a body must have arrived."""


def agent_app(
    agent: Agent,
    *,
    tokens: Tokens | None = None,
    store: Any = None,
    wait: float = 60.0,
    max_body: int = LARGEST_BODY,
    only_local: bool = False,
) -> Starlette:
    """The application that serves ``agent``: an ASGI app for uvicorn, hypercorn, or a mount in another one.

    ``tokens``: who may ask, and whose the sessions are; None: everybody, and all share their sessions. ``store``: where the sessions
    are; None: the agent's store, else the default one. ``wait``: seconds a turn waits for one that another process runs on its session.
    ``max_body``: the largest body in bytes. ``only_local``: refuse requests that were sent to another name than this machine's own.
    """
    service = _Service(agent, tokens, Turns(agent, store, wait=wait), max_body, only_local)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        await service.turns.close()

    one_message = [Route(path, service.one_message, methods=["POST"]) for path in ("/", "/chat", "/agent")]
    app = Starlette(
        routes=[
            Route("/v1/chat/completions", service.completions, methods=["POST"]),
            Route("/v1/models", service.models),
            Route("/v1/models/{name:path}", service.model),
            Route("/health", service.health),
            *one_message,
        ],
        middleware=[Middleware(_Watched)],
        exception_handlers={Refused: _refused, HTTPException: _not_here},
        lifespan=life,
    )
    app.state.turns = service.turns
    return app


class _Service:
    def __init__(self, agent: Agent, tokens: Tokens | None, turns: Turns, max_body: int, only_local: bool) -> None:
        self.turns = turns
        self._name = agent.name
        self._tokens = tokens
        self._max_body = max_body
        self._only_local = only_local
        self._created = int(time.time())

    async def completions(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        owner = self._owner(request)
        body = await self._body(request)
        self._check_model(model_of(body))
        asked = replace(read_completion(body, _session_header(request)), turn_id=_turn_id(request))
        completion = Completion(self._name, include_usage=asked.include_usage)
        begin = self._begin(asked, owner)
        if asked.stream:
            return StreamResponse(begin, completion)
        return TurnResponse(begin, completion.whole)

    async def one_message(self, request: Request) -> Response:
        """``POST /``, ``/chat`` and ``/agent``: what ``Session(agent_url=…)`` sends."""
        owner = self._owner(request)
        asked = replace(read_one_message(await self._body(request), _session_header(request)), turn_id=_turn_id(request))
        return TurnResponse(self._begin(asked, owner), lambda text, result: {"response": text})

    async def models(self, request: Request) -> Response:
        """``GET /v1/models``."""
        self._owner(request)
        return _document({"object": "list", "data": [model_entry(self._name, self._created)]})

    async def model(self, request: Request) -> Response:
        """``GET /v1/models/NAME``."""
        self._owner(request)
        self._check_model(request.path_params["name"])
        return _document(model_entry(self._name, self._created))

    async def health(self, request: Request) -> Response:
        """``GET /health``: whether the server is there. Asks for no token."""
        return _document({"status": "ok"})

    def _begin(self, asked: Asked, owner: str | None) -> Callable[[], Any]:
        return lambda: self.turns.begin(asked, owner)

    def _owner(self, request: Request) -> str | None:
        """The name of the token that a request came with; None where nobody needs one."""
        if self._only_local and not _is_local(request.url.hostname):
            raise Refused(403, "foreign_host", "without tokens only requests to localhost are answered")
        if self._tokens is None:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        owner = self._tokens.owner(token.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            asked = {"www-authenticate": "Bearer"}
            raise Refused(401, "invalid_api_key", "the token is missing or unknown: send Authorization: Bearer TOKEN", headers=asked)
        request.scope["turnlog.owner"] = owner
        return owner

    def _check_model(self, name: str | None) -> None:
        if name not in (None, self._name):
            raise Refused(404, "model_not_found", f"there is no model of that name here: the agent is {self._name!r}", param="model")

    async def _body(self, request: Request) -> Json:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            # Also what keeps web pages out: a browser asks before it sends JSON to another origin.
            raise Refused(415, "unsupported_media_type", "the body must be JSON: send Content-Type: application/json")
        declared = request.headers.get("content-length", "0")
        too_large = Refused(413, "body_too_large", f"the body may have {self._max_body} bytes: send less")
        if declared.isdecimal() and int(declared) > self._max_body:
            # uvicorn takes in the rest, so a client that is still sending sees why.
            raise too_large
        data = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    data += chunk
                    if len(data) > self._max_body:
                        raise too_large
        except TimeoutError:
            raise Refused(408, "body_timeout", f"the body did not arrive within {BODY_SECONDS:g} s") from None
        return read_json(bytes(data))


class _Watched:
    """Around all: one line in the log for a request, and an answer whatever happens. No line holds what a request or an answer says."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            LOG.info("the client went away amid its request")
        except Exception as error:  # noqa: BLE001  # uvicorn would log it with all that it says
            LOG.error("a request failed: %s", told(error))
            if not status:
                await _error(refusal_of(error))(scope, receive, watched)
        route = scope.get("route")
        path = route.path if isinstance(route, Route) else "(no such path)"
        took = round(1000 * (time.monotonic() - began))
        LOG.info(
            "%s %s %s %d ms%s", scope["method"], path, status or "-", took, f" {owner}" if (owner := scope.get("turnlog.owner")) else ""
        )


def _session_header(request: Request) -> str | None:
    value = request.headers.get(SESSION_HEADER)
    if value is None:
        return None
    try:
        return value.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise invalid("the header X-Turnlog-Session is not UTF-8: send such a session as session_id in the body", "session_id") from None


def _turn_id(request: Request) -> str | None:
    """The id of the turn that a request with an ``Idempotency-Key`` asks for: the same for the same key."""
    key = request.headers.get(KEY_HEADER)
    if key is None:
        return None
    if not 0 < len(key) <= LONGEST_KEY:
        raise invalid(f"the header Idempotency-Key must have 1 to {LONGEST_KEY} characters", "Idempotency-Key")
    return f"key-{sha256(key.encode('latin-1')).hexdigest()[:32]}"


def _is_local(host: str | None) -> bool:
    if host is None or host == "localhost":
        return host is not None
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _document(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(encoded(value), status, headers, media_type="application/json")


def _error(refusal: Refused) -> Response:
    return _document(refusal.body(), refusal.status, refusal.headers)


async def _refused(request: Request, error: Exception) -> Response:
    return _error(refusal_of(error))


async def _not_here(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        text = "there is nothing at this path: it is POST /v1/chat/completions, GET /v1/models, GET /health or POST /chat"
        return _error(Refused(404, "unknown_path", text))
    return _error(Refused(error.status_code, "method_not_allowed", "this path does not take this method", headers=error.headers))
