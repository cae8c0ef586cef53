"""Slack's Web API and Socket Mode on loopback, the network's edge of the Slack tests: strict about blocks, patient with lost acks."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import time
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.bots.loopback import Loopback, Refusal

TOKEN, APP_TOKEN = "xoxb-SECRET-of-the-tests", "xapp-SECRET-of-the-tests"
ME = "UBOT"
REDELIVER = 0.3
"""Seconds after which an envelope that was not acknowledged is delivered again; Slack waits longer."""
STYLES = {"bold", "italic", "strike", "code"}
KINDS = {"rich_text_section", "rich_text_quote", "rich_text_preformatted"}

Json = dict[str, Any]


@dataclass
class Shown:
    """A message of the bot's, as its user sees it. ``looks``: the words that are more than text, with how they look."""

    ts: str
    text: str
    looks: list[tuple[str, str]]
    at: float
    thread: str | None = None
    only: str | None = None
    file: bytes | None = None
    edits: list[float] = field(default_factory=list)


class SlackApi(Loopback):
    """``shown[channel]`` is what the bot said there. ``typing``: channel and thread of each status."""

    def __init__(self) -> None:
        self.shown: dict[str, list[Shown]] = {}
        self.typing: list[tuple[str, str]] = []
        self.blocked: set[str] = set()
        """Channels where the bot is not, or users that it may not write to."""
        self.files: dict[str, bytes] = {}
        self.deliveries: dict[str, int] = {}
        self.acked: dict[str, float] = {}
        self.lose_acks = 0
        """Acknowledgements to be overheard."""
        self.bad_links = 0
        """Connections to be refused, whose address is used up by that."""
        self.retry_after: dict[str, float] = {}
        self.early = 0
        """Calls that came while the bot had been asked to wait."""
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
        self._tickets: set[str] = set()
        self._sockets: set[web.WebSocketResponse] = set()
        self._waiting: dict[str, Json] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        super().__init__()

    # For tests --------------------------------------------------------------------------------------------------------------------

    @property
    def base_url(self) -> str:
        """To be given to the platform."""
        return f"{self.url}/api/"

    def new_ts(self) -> str:
        """A time stamp, as Slack counts messages."""
        return f"1767225600.{next(self._numbers):06}"

    def say(self, text: str, user: str = "U7", *, channel: str | None = None, ts: str | None = None, **fields: Any) -> str:
        """A user writes: alone with the bot, or in a channel. Gives the message's time stamp."""
        where = channel or f"D{user}"
        event = {"type": "message", "user": user, "text": text, "ts": ts or self.new_ts(), "channel": where, "event_ts": "1.0"}
        event["channel_type"] = "channel" if channel else "im"
        if channel and f"<@{ME}>" in text:
            event = {**event, "type": "app_mention"}
            del event["channel_type"]
        event |= fields
        self.push("events_api", {"event": event, "type": "event_callback", "event_id": f"Ev{event['ts']}", **_team()})
        return str(event["ts"])

    def slash(self, command: str, text: str = "", user: str = "U7", channel: str | None = None) -> None:
        """A user gives a slash command."""
        body = {"command": command, "text": text, "user_id": user, "user_name": user.lower(), "channel_id": channel or f"D{user}"}
        self.push("slash_commands", {**body, "trigger_id": f"1.{next(self._numbers)}", "response_url": "https://nowhere", **_team()})

    def push(self, kind: str, payload: Json) -> str:
        """Something happened. Gives a name for it."""
        name = f"push-{next(self._numbers)}"
        self.run(self._push(name, {"type": kind, "payload": payload, "accepts_response_payload": kind == "slash_commands"}))
        return name

    def picture(self, data: bytes, name: str = "cat.png") -> Json:
        """The fields of a message with a picture."""
        self.files[name] = data
        url = f"{self.url}/files/{name}"
        return {"subtype": "file_share", "files": [{"id": f"F{name}", "mimetype": "image/png", "url_private_download": url}]}

    def texts(self, channel: str = "DU7") -> list[str]:
        """What the bot said in a channel, as it stands."""
        return [each.text for each in self.shown.get(channel, ())]

    def limit(self, method: str, seconds: int, times: int = 1) -> None:
        """Answer the next calls of a method with 429, and count those that come too early."""
        self.refuse_next(method, Refusal(429, {"ok": False, "error": "ratelimited"}, {"Retry-After": str(seconds)}), times)

    def refuse(self, method: str, error: str, times: int = 1) -> None:
        """Answer the next calls of a method with an error."""
        self.refuse_next(method, Refusal(200, {"ok": False, "error": error}), times)

    def disconnect(self) -> None:
        """Ask for a new connection, as Slack does every few hours."""
        for socket in list(self._sockets):
            self.run(socket.send_json({"type": "disconnect", "reason": "refresh_requested"}))

    # Requests ---------------------------------------------------------------------------------------------------------------------

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/link", self._link)
        app.router.add_get("/files/{name}", self._file)
        app.router.add_post("/upload/{name}", self._upload)
        app.router.add_route("*", "/api/{method}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        fields: Json = await request.json() if request.content_type == "application/json" else dict(await request.post())
        fields = {**request.query, **fields}
        wanted = APP_TOKEN if method == "apps.connections.open" else TOKEN
        try:
            if request.headers.get("Authorization") != f"Bearer {wanted}":
                raise _error("invalid_auth")
            if time.monotonic() < self.retry_after.get(method, 0):
                self.early += 1
            self.judge(method)
            return web.json_response({"ok": True, **self._do(method, fields)})
        except Refusal as refusal:
            if "Retry-After" in refusal.headers:
                self.retry_after[method] = time.monotonic() + float(refusal.headers["Retry-After"])
            return refusal.response()

    def _do(self, method: str, fields: Json) -> Json:
        match method:
            case "auth.test":
                return {
                    "user_id": ME,
                    "bot_id": "BBOT",
                    "team_id": "T1",
                    "user": "tester",
                    "team": "Team",
                    "url": "https://team.slack.com/",
                }
            case "apps.connections.open":
                ticket = f"ticket-SECRET-{next(self._numbers)}"
                self._tickets.add(ticket)
                return {"url": f"ws://127.0.0.1:{self._port}/link?ticket={ticket}"}
            case "users.info":
                return {"user": {"id": fields["user"], "profile": {"display_name": f"User {fields['user'][1:]}", "real_name": ""}}}
            case "conversations.open":
                return {"channel": {"id": f"D{fields['users']}"}}
            case "chat.postMessage" | "chat.postEphemeral":
                return self._post(fields)
            case "chat.update":
                return self._update(fields)
            case "assistant.threads.setStatus":
                self.typing.append((fields["channel_id"], fields["thread_ts"]))
                return {}
            case "files.getUploadURLExternal":
                return {"upload_url": f"{self.url}/upload/{fields['filename']}", "file_id": f"F{fields['filename']}"}
            case "files.completeUploadExternal":
                [file] = json.loads(fields["files"]) if isinstance(fields["files"], str) else fields["files"]
                data = self.files[file["id"].removeprefix("F")]
                self._show(fields["channel_id"], Shown(self.new_ts(), "", [], time.monotonic(), fields.get("thread_ts"), file=data))
                return {"files": [{"id": file["id"]}]}
        raise _error("unknown_method")

    def _post(self, fields: Json) -> Json:
        channel, only = fields["channel"], fields.get("user")
        if channel in self.blocked:
            raise _error("not_in_channel")
        if channel.startswith("U"):
            channel = f"D{channel}"
        if channel.removeprefix("D") in self.blocked:
            raise _error("user_disabled")
        text, looks = _seen(fields)
        shown = Shown(self.new_ts(), text, looks, time.monotonic(), fields.get("thread_ts"), only)
        self._show(channel, shown)
        return {"message_ts": shown.ts} if only else {"channel": channel, "ts": shown.ts}

    def _update(self, fields: Json) -> Json:
        shown = next((each for each in self.shown.get(fields["channel"], ()) if each.ts == fields["ts"]), None)
        if shown is None:
            raise _error("message_not_found")
        if len(fields["text"]) > 4000:
            raise _error("msg_too_long")
        assert fields["parse"] == "none"
        shown.text, shown.looks = _seen(fields)
        shown.edits.append(time.monotonic())
        return {"channel": fields["channel"], "ts": shown.ts}

    def _show(self, channel: str, shown: Shown) -> None:
        self.shown.setdefault(channel, []).append(shown)

    async def _file(self, request: web.Request) -> web.Response:
        self.calls["file"] += 1
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.Response(text="<html>Sign in</html>", content_type="text/html")
        data = self.files.get(request.match_info["name"])
        return web.Response(body=data, content_type="image/png") if data is not None else web.Response(status=404)

    async def _upload(self, request: web.Request) -> web.Response:
        data = b""
        if request.content_type.startswith("multipart/"):
            async for part in await request.multipart():
                data = bytes(await part.read())  # type: ignore[union-attr]
        else:
            data = await request.read()
        self.files[request.match_info["name"]] = data
        return web.Response(text="OK - 1")

    # Socket Mode ------------------------------------------------------------------------------------------------------------------

    async def _link(self, request: web.Request) -> web.StreamResponse:
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            return web.Response(status=403)
        self._tickets.discard(ticket)
        if self.bad_links:
            self.bad_links -= 1
            return web.Response(status=503)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A1"}})
        self._sockets.add(socket)
        try:
            async for frame in socket:
                if frame.type == WSMsgType.TEXT:
                    self._ack(json.loads(frame.data)["envelope_id"])
        finally:
            self._sockets.discard(socket)
        return socket

    def _ack(self, envelope: str) -> None:
        name = envelope.rsplit(".", 1)[0]
        if self.lose_acks:
            self.lose_acks -= 1
        elif name in self._waiting:
            del self._waiting[name]
            self.acked[name] = time.monotonic()

    async def _push(self, name: str, envelope: Json) -> None:
        self._waiting[name] = envelope
        self.deliveries[name] = 0
        await self._deliver(name)
        task = asyncio.create_task(self._insist(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _insist(self, name: str) -> None:
        while name in self._waiting:
            await asyncio.sleep(REDELIVER)
            if name in self._waiting:
                await self._deliver(name)

    async def _deliver(self, name: str) -> None:
        # To one of the connections, in turn.
        if self._sockets:
            socket = sorted(self._sockets, key=id)[next(self._turns) % len(self._sockets)]
            number = self.deliveries[name]
            self.deliveries[name] = number + 1
            retry = {"retry_attempt": number, "retry_reason": "timeout" if number else ""}
            try:
                await socket.send_json({"envelope_id": f"{name}.{number}", **retry, **self._waiting[name]})
            except ConnectionError:
                self._sockets.discard(socket)


def _team() -> Json:
    authorization = {"enterprise_id": None, "team_id": "T1", "user_id": ME, "is_bot": True, "is_enterprise_install": False}
    return {"team_id": "T1", "api_app_id": "A1", "token": "verification", "authorizations": [authorization]}


def _error(code: str) -> Refusal:
    return Refusal(200, {"ok": False, "error": code})


def _seen(fields: Json) -> tuple[str, list[tuple[str, str]]]:
    """What a user sees of a message, or the error that Slack has for it."""
    text = fields.get("text") or ""
    assert not set(text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")) & {"<", ">"}, "something may be read as a mention"
    blocks = fields.get("blocks") or []
    blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
    if not blocks:
        if not text.strip():
            raise _error("no_text")
        if len(text) > 40_000:
            raise _error("msg_too_long")
        return html.unescape(text), []
    if len(json.dumps(blocks, ensure_ascii=False)) > 13_000:
        raise _error("msg_blocks_too_long")
    [block] = blocks
    if block["type"] != "rich_text" or not block["elements"]:
        raise _error("invalid_blocks")
    lines, looks = [], []
    for element in block["elements"]:
        if element["type"] not in KINDS or not element["elements"] or set(element) != {"type", "elements"}:
            raise _error("invalid_blocks")
        words = [_word(each) for each in element["elements"]]
        lines.append("".join(word for word, _ in words))
        looks += [(word, look) for word, look in words if look]
        if element["type"] != "rich_text_section":
            looks.append((lines[-1], element["type"].removeprefix("rich_text_")))
    return "\n".join(lines), looks


def _word(each: Json) -> tuple[str, str]:
    style = each.get("style", {})
    if not set(style) <= STYLES or not all(value is True for value in style.values()):
        raise _error("invalid_blocks")
    look = "+".join(style)
    if each["type"] == "link" and each["url"]:
        return each.get("text") or each["url"], f"link {each['url']}"
    if each["type"] != "text" or not each["text"]:
        raise _error("invalid_blocks")
    return each["text"], look
