"""Discord's API and gateway on loopback, the network's edge of the Discord tests: it resumes, limits, refuses and breaks as it does."""

from __future__ import annotations

import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

import discord
import pytest
import yarl
from aiohttp import WSMsgType, web
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.bots.loopback import Loopback, Refusal

TOKEN = "MTIz.SECRET.of-the-tests"
BOT = 900
APPLICATION = 900
GUILD = 50
CHANNEL = 51
LONGEST = 2000
EPOCH = 1_420_070_400_000
"""Milliseconds since 1970 at which Discord's ids begin."""

Json = dict[str, Any]


@dataclass
class Said:
    """A message of the bot's, as it stands."""

    id: int
    text: str
    at: float
    reply: str | None = None
    file: bytes | None = None
    nonce: str | None = None
    hidden: bool = False
    edits: list[float] = field(default_factory=list)


class DiscordApi(Loopback):
    """``said[channel]`` is what the bot said there; ``menu`` what it registered."""

    def __init__(self) -> None:
        self.said: dict[int, list[Said]] = {}
        self.menu: list[Json] = []
        self.blocked: set[int] = set()
        self.deferred: dict[str, Said | None] = {}
        """By token; None once it is answered."""
        self.files: dict[str, bytes] = {}
        self._tokens: dict[str, int] = {}
        self.lose_next = 0
        """Messages that are taken, and of which the answer is lost."""
        self.resumed = 0
        self._numbers = itertools.count(1)
        self._events: list[Json] = []
        self._sockets: set[web.WebSocketResponse] = set()
        super().__init__()

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Have discord.py find it."""
        monkeypatch.setattr(Route, "BASE", f"{self.url}/api")
        monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(f"ws://127.0.0.1:{self._port}/gateway/"))

    # For tests --------------------------------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        """An id of the present."""
        return ((int(time.time() * 1000) - EPOCH) << 22) + next(self._numbers)

    def say(self, text: str, user: int = 7, *, channel: int | None = None, number: int | None = None, **fields: Any) -> int:
        """A user writes: alone with the bot, in a channel of its own number plus 1000, or in ``channel``. Gives the message's id."""
        author = {"id": str(user), "username": f"user{user}", "global_name": f"User {user}", "discriminator": "0", "avatar": None}
        message = {
            "id": str(number or self.new_id()),
            "channel_id": str(channel or user + 1000),
            "author": author,
            "content": text,
            "timestamp": "2026-01-01T00:00:00+00:00",
            "edited_timestamp": None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [me()] if f"<@{BOT}>" in text else [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "pinned": False,
            "type": 0,
            **({"guild_id": str(GUILD)} if channel else {}),
            **fields,
        }
        self.emit("MESSAGE_CREATE", message)
        return int(message["id"])

    def slash(self, name: str, argument: str | None = None, user: int = 7) -> str:
        """A user gives a slash command, alone with the bot. Gives the interaction's token."""
        number = self.new_id()
        command = next(each for each in self.menu if each["name"] == name)
        options = [{"name": "argument", "type": 3, "value": argument}] if argument is not None else []
        event = {
            "id": str(number),
            "application_id": str(APPLICATION),
            "type": 2,
            "token": f"token-{number}",
            "version": 1,
            "channel_id": str(user + 1000),
            "channel": {"id": str(user + 1000), "type": 1},
            "user": {"id": str(user), "username": f"user{user}", "discriminator": "0", "avatar": None},
            "data": {"id": command["id"], "name": name, "type": 1, "options": options},
            "entitlements": [],
            "authorizing_integration_owners": {},
            "attachment_size_limit": 1 << 20,
        }
        self._tokens[event["token"]] = user + 1000
        self.emit("INTERACTION_CREATE", event)
        return f"token-{number}"

    def picture(self, data: bytes, name: str = "cat.png") -> Json:
        """The field of a message with a picture."""
        self.files[name] = data
        url = f"{self.url}/cdn/{name}"
        attachment = {
            "id": str(self.new_id()),
            "filename": name,
            "size": len(data),
            "url": url,
            "proxy_url": url,
            "content_type": "image/png",
        }
        return {"attachments": [attachment]}

    def emit(self, kind: str, data: Json) -> None:
        """Something happened."""
        self.run(self._emit(kind, data))

    def texts(self, user: int = 7) -> list[str]:
        """What the bot said to a user, as it stands."""
        return [each.text for each in self.said.get(user + 1000, ())]

    def limit(self, call: str, seconds: float, times: int = 1) -> None:
        """Answer the next calls with 429."""
        body = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
        self.refuse_next(call, Refusal(429, body, {"Retry-After": str(seconds), "Via": "1.1 google"}), times)

    # Requests ---------------------------------------------------------------------------------------------------------------------

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/gateway/", self._gateway)
        app.router.add_get("/cdn/{name}", self._file)
        app.router.add_route("*", "/api/{path:.*}", self._answer)

    async def _file(self, request: web.Request) -> web.Response:
        self.judge("file")
        data = self.files.get(request.match_info["name"])
        return web.Response(body=data) if data is not None else web.Response(status=404)

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            if request.headers.get("Authorization") != f"Bot {TOKEN}" and "/token-" not in request.path:
                raise Refusal(401, {"message": "401: Unauthorized", "code": 0})
            parts = request.match_info["path"].split("/")
            body, file = await _body(request)
            answer = self._do(request.method, parts, body, file)
        except Refusal as refusal:
            return refusal.response()
        if answer is None:
            return web.Response(status=204)
        if self.lose_next and request.method == "POST" and parts[-1] == "messages":
            self.lose_next -= 1
            assert request.transport is not None
            request.transport.abort()
        # discord.py reads nothing as JSON that has a charset, too.
        return web.Response(body=json.dumps(answer).encode(), content_type="application/json")

    def _do(self, method: str, parts: list[str], body: Json, file: bytes | None) -> Any:
        match method, parts:
            case "GET", ["users", "@me"]:
                self.judge("login")
                return me()
            case "GET", ["oauth2", "applications", "@me"]:
                return {"id": str(APPLICATION), "name": "tester", "icon": None, "description": "", "bot_public": True, "flags": 0} | {
                    "bot_require_code_grant": False,
                    "summary": "",
                    "verify_key": "",
                    "team": None,
                    "owner": me(),
                }
            case "PUT", ["applications", _, "commands"]:
                self.judge("menu")
                given: Any = body
                self.menu = [{**each, "id": str(self.new_id()), "application_id": str(APPLICATION), "version": "1"} for each in given]
                return self.menu
            case "POST", ["channels", channel, "typing"]:
                self.judge("typing")
                return None
            case "POST", ["channels", channel, "messages"]:
                self.judge("send")
                return self._say(int(channel), body, file)
            case "PATCH", ["channels", channel, "messages", message]:
                self.judge("edit")
                return self._edit(int(channel), int(message), body)
            case "POST", ["interactions", _, token, "callback"]:
                self.judge("callback")
                hidden = bool(body.get("data", {}).get("flags", 0) & 64)
                self.deferred[token] = Said(self.new_id(), "", time.monotonic(), hidden=hidden)
                return {"interaction": {"id": token.removeprefix("token-"), "type": 2, "response_message_loading": True}}
            case "POST", ["webhooks", _, token]:
                self.judge("webhook")
                return self._say_deferred(token, body, file)
        raise Refusal(404, {"message": f"no such route: {method} {'/'.join(parts)}", "code": 0})

    def _say(self, channel: int, body: Json, file: bytes | None) -> Json:
        if channel - 1000 in self.blocked:
            raise Refusal(403, {"message": "Cannot send messages to this user", "code": 50007})
        text = body.get("content") or ""
        _check(text, file)
        assert body["allowed_mentions"] == {"parse": [], "replied_user": False} or body["allowed_mentions"]["parse"] == []
        there = self.said.setdefault(channel, [])
        nonce = body.get("nonce")
        known = next((each for each in there if nonce and body.get("enforce_nonce") and each.nonce == nonce), None)
        if known is None:
            reply = (body.get("message_reference") or {}).get("message_id")
            known = Said(self.new_id(), text, time.monotonic(), str(reply) if reply else None, file, nonce)
            there.append(known)
        return _message(known, channel)

    def _say_deferred(self, token: str, body: Json, file: bytes | None) -> Json:
        if token not in self.deferred:
            raise Refusal(404, {"message": "Unknown Webhook", "code": 10015})
        _check(body.get("content") or "", file)
        said, self.deferred[token] = self.deferred[token], None
        said = said or Said(self.new_id(), "", time.monotonic())
        said.text, said.file = body.get("content") or "", file
        channel = self._tokens[token]
        self.said.setdefault(channel, []).append(said)
        return _message(said, channel)

    def _edit(self, channel: int, number: int, body: Json) -> Json:
        _check(body["content"], None)
        said = next((each for each in self.said.get(channel, ()) if each.id == number), None)
        if said is None:
            raise Refusal(404, {"message": "Unknown Message", "code": 10008})
        said.text = body["content"]
        said.edits.append(time.monotonic())
        return _message(said, channel)

    # The gateway ------------------------------------------------------------------------------------------------------------------

    async def _emit(self, kind: str, data: Json) -> None:
        event = {"op": 0, "t": kind, "s": len(self._events) + 10, "d": data}
        self._events.append(event)
        for socket in list(self._sockets):
            await socket.send_json(event)

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"op": 10, "s": None, "t": None, "d": {"heartbeat_interval": 41250}})
        try:
            async for frame in socket:
                if frame.type == WSMsgType.TEXT:
                    await self._hear(socket, json.loads(frame.data))
        finally:
            self._sockets.discard(socket)
        return socket

    async def _hear(self, socket: web.WebSocketResponse, told: Json) -> None:
        if told["op"] == 1:
            await socket.send_json({"op": 11, "d": None, "s": None, "t": None})
        elif told["op"] == 2:
            self.calls["identify"] += 1
            if told["d"]["token"] != TOKEN:
                await socket.close(code=4004)
                return
            ready = {"v": 10, "user": me(), "guilds": [], "session_id": "session", "shard": [0, 1]}
            ready |= {"resume_gateway_url": f"ws://127.0.0.1:{self._port}/gateway/", "application": {"id": str(APPLICATION), "flags": 0}}
            await socket.send_json({"op": 0, "t": "READY", "s": 1, "d": ready})
            self._sockets.add(socket)
        elif told["op"] == 6:
            self.resumed += 1
            for event in self._events:
                if event["s"] > told["d"]["seq"]:
                    await socket.send_json(event)
            await socket.send_json({"op": 0, "t": "RESUMED", "s": len(self._events) + 9, "d": {}})
            self._sockets.add(socket)


def me() -> Json:
    """The bot."""
    return {"id": str(BOT), "username": "tester", "discriminator": "0", "avatar": None, "bot": True}


def _check(text: str, file: bytes | None) -> None:
    if len(text) > LONGEST:
        told = "Invalid Form Body\nIn content: Must be 2000 or fewer in length."
        raise Refusal(400, {"message": told, "code": 50035})
    if not text.strip() and file is None:
        raise Refusal(400, {"message": "Cannot send an empty message", "code": 50006})


async def _body(request: web.Request) -> tuple[Json, bytes | None]:
    """What a request brings: JSON, or a form with JSON and a file."""
    if not request.content_type.startswith("multipart/"):
        return (await request.json() if request.can_read_body else {}), None
    body, file = {}, None
    async for part in await request.multipart():
        assert not isinstance(part, type(None))
        if part.name == "payload_json":  # type: ignore[union-attr]
            body = json.loads(await part.text())  # type: ignore[union-attr]
        else:
            file = bytes(await part.read())  # type: ignore[union-attr]
    return body, file


def _message(said: Said, channel: int) -> Json:
    """As Discord shows it to the bot."""
    return {
        "id": str(said.id),
        "channel_id": str(channel),
        "author": me(),
        "content": said.text,
        "timestamp": discord.utils.utcnow().isoformat(),
        "edited_timestamp": None,
        "tts": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": False,
        "type": 0,
    }
