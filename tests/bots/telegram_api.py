"""A Bot API on loopback, the network's edge of the Telegram tests: as strict as Telegram's, and able to fail as it fails."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from tests.bots.telegram_html import BadHtml, parse, units

TOKEN = "12345:SECRET-of-the-tests"
ME = {"id": 12345, "is_bot": True, "first_name": "Tester", "username": "tester_bot", "can_join_groups": True}
LONGEST = 4096
RETRY_WEBHOOK = 0.1
"""Seconds between two deliveries of an update that was not taken; Telegram takes longer."""
PAIR = re.compile("[\ud800-\udfff]")

Json = dict[str, Any]


@dataclass
class Shown:
    """A message of the bot's, as its user sees it."""

    message_id: int
    chat: int
    text: str
    entities: list[tuple[str, str, str]]
    at: float
    thread: int | None = None
    reply: int | None = None
    file: bytes | None = None
    edits: list[float] = field(default_factory=list)


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.parameters = code, parameters


class TelegramApi:
    """Serves from a thread of its own; its methods may be called from any other. ``at_once`` webhook deliveries are made at most."""

    def __init__(self, *, at_once: int = 40, per_chat: float = 0.0) -> None:
        self.shown: dict[int, list[Shown]] = defaultdict(list)
        self.calls: Counter[str] = Counter()
        self.requests: list[tuple[float, str, Json]] = []
        self.commands: list[Json] = []
        self.files: dict[str, bytes] = {}
        self.blocked: set[int] = set()
        self.moved: dict[int, int] = {}
        self.refusals: dict[str, deque[Refused | None]] = defaultdict(deque)
        self.flooded = 0
        """Requests that came while the bot had been asked to wait."""
        self.per_chat = per_chat
        """Seconds between two messages or edits in one chat that are borne."""
        self.targets: list[str] = []
        """Where webhook deliveries go instead of to its URL, in turn: what a load balancer does."""
        self.delay = 0.0
        """Seconds between doing a sendMessage and answering it."""
        self.deliveries: Counter[int] = Counter()
        self.taken_at: dict[int, float] = {}
        self.webhook: Json | None = None
        self._waits_until: dict[tuple[str, int], float] = {}
        self._last: dict[int, float] = {}
        self._pending: dict[int, Json] = {}
        self._numbers = itertools.count(1)
        self._updates = itertools.count(1_000)
        self._at_once = at_once
        self._polls = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="telegram-api")
        self._thread.start()
        self._news = asyncio.Event()
        self._queues: dict[int, deque[int]] = defaultdict(deque)
        self._delivering: dict[int, asyncio.Task[None]] = {}
        self._site: web.TCPSite | None = None
        self._port = 0
        self.run(self._begin())

    # For tests --------------------------------------------------------------------------------------------------------------------

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    @property
    def url(self) -> str:
        """The root to be given as ``base_url``."""
        return f"http://127.0.0.1:{self._port}"

    def say(self, text: str | None, user: int = 7, *, chat: int | None = None, update_id: int | None = None, **fields: Any) -> int:
        """A user writes; gives the update's id. ``chat`` below 0 is a group. ``fields`` go into the message."""
        number = next(self._numbers)
        where: Json = {"id": chat or user, "type": "private", "first_name": f"User {user}"}
        if chat is not None and chat < 0:
            where = {"id": chat, "type": "supergroup", "title": "Group"}
        message = {"message_id": number, "date": int(time.time()), "chat": where}
        message["from"] = {"id": user, "is_bot": False, "first_name": f"User {user}"}
        if text is not None:
            message["text"] = text
            message["entities"] = entities_of(text)
        return self.push({"message": {**message, **fields}}, update_id)

    def push(self, update: Json, update_id: int | None = None) -> int:
        """Something happened."""
        number = update_id if update_id is not None else next(self._updates)
        self.run(self._push({"update_id": number, **update}))
        return number

    def photo(self, data: bytes, *, file_id: str = "picture", **fields: Any) -> Json:
        """The field of a message with a photo, in two sizes."""
        self.files[file_id] = data
        small = {"file_id": "small", "file_unique_id": "s", "width": 9, "height": 9}
        return {"photo": [small, {**small, "file_id": file_id, "width": 90, "height": 90}], **fields}

    def refuse(self, method: str, code: int, description: str, times: int = 1, **parameters: Any) -> None:
        """Answer the next ``times`` calls of a method with an error. With ``retry_after``, calls that come earlier are refused too."""
        for _ in range(times):
            self.refusals[method].append(Refused(code, description, **parameters))

    def texts(self, chat: int = 7) -> list[str]:
        """What the bot said in a chat, as it stands."""
        return [each.text for each in self.shown[chat]]

    def wait(self, done: Callable[[], Any], seconds: float = 30.0) -> None:
        """Wait in a thread that is not the server's until ``done()``."""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"it does not come: {self.calls}, {dict(self.shown)}"
            time.sleep(0.01)

    def unplug(self) -> None:
        """Nobody listens any more, and open connections break."""
        self.run(self._unplug())

    def plug(self) -> None:
        """Listen again."""
        self.run(self._listen())

    def close(self) -> None:
        """End."""
        self.run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> TelegramApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The server -------------------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/bot{token}/{method}", self._answer)
        app.router.add_get("/file/bot{token}/{path:.*}", self._file)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        self._slots = asyncio.Semaphore(self._at_once)
        self._client = ClientSession(connector=TCPConnector(limit=0), timeout=ClientTimeout(total=60))
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, backlog=2048, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def _unplug(self) -> None:
        assert self._site is not None
        await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()
            if connection.transport is not None:
                connection.transport.abort()

    async def _end(self) -> None:
        self.webhook = None
        for task in self._delivering.values():
            task.cancel()
        if self._delivering:
            await asyncio.wait(list(self._delivering.values()))
        await self._client.close()
        await self._runner.cleanup()
        # Questions that wait for an update, of bots that are gone.
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _file(self, request: web.Request) -> web.Response:
        if request.match_info["token"] != TOKEN or request.match_info["path"] not in self.files:
            return web.json_response({"ok": False, "error_code": 404, "description": "Not Found"}, status=404)
        return web.Response(body=self.files[request.match_info["path"]])

    async def _answer(self, request: web.Request) -> web.Response:
        method = request.match_info["method"]
        self.calls[method] += 1
        try:
            if request.match_info["token"] != TOKEN:
                raise Refused(401, "Unauthorized")
            given = {name: _value(name, value) for name, value in (await request.post()).items()}
            self.requests.append((time.monotonic(), method, given))
            refusal = self.refusals[method].popleft() if self.refusals[method] else None
            if refusal is not None:
                if (pause := refusal.parameters.get("retry_after")) is not None:
                    self._waits_until[method, given.get("chat_id", 0)] = time.monotonic() + pause - 0.05
                raise refusal
            if time.monotonic() < self._waits_until.get((method, given.get("chat_id", 0)), 0.0):
                self.flooded += 1
                raise Refused(429, "Too Many Requests: retry after 1", retry_after=1)
            handler: Callable[[Json], Awaitable[Any]] | None = getattr(self, f"do_{method}", None)
            if handler is None:
                raise Refused(404, "Not Found: method not found")
            return web.json_response({"ok": True, "result": await handler(given)})
        except Refused as refusal:
            more = {"parameters": refusal.parameters} if refusal.parameters else {}
            body = {"ok": False, "error_code": refusal.code, "description": str(refusal), **more}
            return web.json_response(body, status=refusal.code)

    # Methods ----------------------------------------------------------------------------------------------------------------------

    async def do_getMe(self, given: Json) -> Json:
        return ME

    async def do_setMyCommands(self, given: Json) -> bool:
        for command in given["commands"]:
            if not re.fullmatch("[a-z0-9_]{1,32}", command["command"]) or not 1 <= len(command["description"]) <= 256:
                raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        self.commands = given["commands"]
        return True

    async def do_getUpdates(self, given: Json) -> list[Json]:
        if self.webhook is not None:
            raise Refused(
                409, "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"
            )
        self._polls += 1
        mine, offset = self._polls, given.get("offset", 0)
        for number in [each for each in self._pending if each < offset]:
            # Confirmed, and forgotten.
            del self._pending[number]
        end = time.monotonic() + given.get("timeout", 0)
        while True:
            waiting = [self._pending[each] for each in sorted(self._pending)][: given.get("limit", 100)]
            kinds = given.get("allowed_updates") or ["message"]
            waiting = [each for each in waiting if any(kind in each for kind in kinds)]
            if mine != self._polls:
                raise Refused(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running")
            if waiting or time.monotonic() >= end:
                for each in waiting:
                    self.deliveries[each["update_id"]] += 1
                return waiting
            self._news.clear()
            try:
                async with asyncio.timeout(min(0.5, max(0.01, end - time.monotonic()))):
                    await self._news.wait()
            except TimeoutError:
                continue

    async def do_setWebhook(self, given: Json) -> bool:
        if not re.fullmatch("[A-Za-z0-9_-]{1,256}", given.get("secret_token", "x")):
            raise Refused(400, "Bad Request: secret token contains unallowed characters")
        self.webhook = given
        for chat in list(self._queues):
            self._deliver(chat)
        return True

    async def do_deleteWebhook(self, given: Json) -> bool:
        self.webhook = None
        return True

    async def do_sendMessage(self, given: Json) -> Json:
        chat = self._to(given)
        text, entities = self._text(given)
        shown = Shown(next(self._numbers), chat, text, entities, time.monotonic(), given.get("message_thread_id"), _reply(given))
        self.shown[chat].append(shown)
        if self.delay:
            await asyncio.sleep(self.delay)
        return _message(shown)

    async def do_sendDocument(self, given: Json) -> Json:
        chat = self._to(given)
        data = given["document"]
        shown = Shown(next(self._numbers), chat, data.filename, [], time.monotonic(), file=data.file.read())
        self.shown[chat].append(shown)
        return _message(shown)

    async def do_editMessageText(self, given: Json) -> Json:
        chat = self._to(given)
        found = next((each for each in self.shown[chat] if each.message_id == given["message_id"]), None)
        if found is None:
            raise Refused(400, "Bad Request: message to edit not found")
        text, entities = self._text(given)
        if (text, entities) == (found.text, found.entities):
            raise Refused(400, "Bad Request: message is not modified: specified new message content and reply markup are exactly the same")
        found.text, found.entities = text, entities
        found.edits.append(time.monotonic())
        return _message(found)

    async def do_deleteMessage(self, given: Json) -> bool:
        chat = self._to(given)
        self.shown[chat] = [each for each in self.shown[chat] if each.message_id != given["message_id"]]
        return True

    async def do_sendChatAction(self, given: Json) -> bool:
        self._to(given, counts=False)
        return True

    async def do_getFile(self, given: Json) -> Json:
        if given["file_id"] not in self.files:
            raise Refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        size = len(self.files[given["file_id"]])
        if size > 20 << 20:
            raise Refused(400, "Bad Request: file is too big")
        return {"file_id": given["file_id"], "file_unique_id": "u", "file_size": size, "file_path": given["file_id"]}

    # Inside -----------------------------------------------------------------------------------------------------------------------

    def _to(self, given: Json, *, counts: bool = True) -> int:
        chat = given["chat_id"]
        if not isinstance(chat, int) or chat == 0:
            raise Refused(400, "Bad Request: chat not found")
        if chat in self.blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if chat in self.moved:
            raise Refused(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=self.moved[chat])
        if counts and self.per_chat:
            since = time.monotonic() - self._last.get(chat, 0.0)
            if since < self.per_chat:
                self._waits_until["sendMessage", chat] = time.monotonic() + 1
                raise Refused(429, "Too Many Requests: retry after 1", retry_after=1)
            self._last[chat] = time.monotonic()
        return int(chat)

    def _text(self, given: Json) -> tuple[str, list[tuple[str, str, str]]]:
        text, entities = str(given.get("text", "")), []
        if PAIR.search(text):
            raise Refused(400, "Bad Request: strings must be encoded in UTF-8")
        if given.get("parse_mode") == "HTML":
            try:
                text, entities = parse(text)
            except BadHtml as error:
                raise Refused(400, f"Bad Request: {error}") from None
        text = text.rstrip()
        if not text.strip():
            raise Refused(400, "Bad Request: message text is empty")
        if units(text) > LONGEST:
            raise Refused(400, "Bad Request: message is too long")
        return text, entities

    async def _push(self, update: Json) -> None:
        self._pending[update["update_id"]] = update
        self._news.set()
        message = update.get("message") or update.get("edited_message") or {}
        where = message.get("chat") if isinstance(message, dict) else None
        chat = where.get("id", 0) if isinstance(where, dict) else 0
        self._queues[chat].append(update["update_id"])
        self._deliver(chat)

    def _deliver(self, chat: int) -> None:
        if self.webhook is not None and chat not in self._delivering and self._queues[chat]:
            self._delivering[chat] = asyncio.create_task(self._deliver_all(chat))

    async def _deliver_all(self, chat: int) -> None:
        """Deliver one chat's updates in their order, each again and again until it is taken."""
        queue = self._queues[chat]
        try:
            while queue and self.webhook is not None:
                if await self._post(self._pending.get(queue[0])):
                    self._pending.pop(queue.popleft(), None)
                else:
                    await asyncio.sleep(RETRY_WEBHOOK)
        finally:
            del self._delivering[chat]

    async def _post(self, update: Json | None) -> bool:
        if update is None or self.webhook is None:
            return update is None
        async with self._slots:
            number = update["update_id"]
            self.deliveries[number] += 1
            url = self.targets[sum(self.deliveries.values()) % len(self.targets)] if self.targets else self.webhook["url"]
            secret = {"X-Telegram-Bot-Api-Secret-Token": self.webhook["secret_token"]} if "secret_token" in self.webhook else {}
            try:
                async with self._client.post(url, json=update, headers=secret) as response:
                    taken = 200 <= response.status < 300
            except (ClientError, OSError, TimeoutError):
                taken = False
            if taken:
                self.taken_at[number] = time.monotonic()
            return taken


def entities_of(text: str) -> list[Json]:
    """What Telegram finds in a text of a user's."""
    found = []
    for kind, pattern in (("bot_command", r"(?<![\w/])/\w{1,64}(?:@\w+)?"), ("mention", r"(?<![\w/])@\w{4,32}")):
        for match in re.finditer(pattern, text):
            if not (
                kind == "mention"
                and any(each["offset"] <= units(text[: match.start()]) < each["offset"] + each["length"] for each in found)
            ):
                found.append({"type": kind, "offset": units(text[: match.start()]), "length": units(match[0])})
    return found


def _value(name: str, value: Any) -> Any:
    if not isinstance(value, str) or name in ("text", "url", "secret_token", "file_id"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _reply(given: Json) -> int | None:
    reply = given.get("reply_parameters")
    return int(reply["message_id"]) if reply else None


def _message(shown: Shown) -> Json:
    chat: Json = (
        {"id": shown.chat, "type": "private", "first_name": "U"}
        if shown.chat > 0
        else {"id": shown.chat, "type": "supergroup", "title": "G"}
    )
    return {"message_id": shown.message_id, "date": int(time.time()), "chat": chat, "from": ME, "text": shown.text}
