"""A web server on loopback in a thread of its own, which can be unplugged: what the edges of Discord and Slack have in common."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter, defaultdict, deque
from typing import Any, Self

from aiohttp import web


class Refusal(Exception):
    """The answer is an error."""

    def __init__(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}

    def response(self) -> web.Response:
        """As HTTP."""
        body = json.dumps(self.body).encode()
        return web.Response(body=body, status=self.status, headers=self.headers, content_type="application/json")


class Loopback:
    """Serves from its thread; its methods may be called from any other. ``calls`` counts requests by what they are called."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.refusals: dict[str, deque[Refusal]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=type(self).__name__)
        self._thread.start()
        self._port = 0
        self.run(self._begin())

    @property
    def url(self) -> str:
        """The root."""
        return f"http://127.0.0.1:{self._port}"

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def add_routes(self, app: web.Application) -> None:
        """What it serves."""
        raise NotImplementedError

    def refuse_next(self, call: str, refusal: Refusal, times: int = 1) -> None:
        """Answer the next ``times`` calls with an error."""
        self.refusals[call].extend([refusal] * times)

    def judge(self, call: str) -> None:
        """Count a call, and raise what it is to be refused with."""
        self.calls[call] += 1
        if self.refusals[call]:
            raise self.refusals[call].popleft()

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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _begin(self) -> None:
        app = web.Application(client_max_size=64 << 20)
        self.add_routes(app)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._runner.addresses[0][1]

    async def _unplug(self) -> None:
        await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            connection.force_close()
            if connection.transport is not None:
                connection.transport.abort()

    async def _end(self) -> None:
        await self._runner.cleanup()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
