"""A Telegram bot beside the bare library's echo bot: answers a second, how long users wait, whose the time is. ``python -m bench.bots``."""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
USERS, EACH = 200, 20
SPARSE = 25.0
"""Messages a second in the second measurement, in which nothing queues."""
SAMPLE_EVERY = 0.005
SIDES = ("python-telegram-bot, echo", "turnlog, memory", "turnlog, SQLite, process", "turnlog, Redis")
OWNERS = {
    "turnlog": "turnlog",
    "redis": "turnlog",
    "sqlite3": "turnlog",
    "pydantic_ai": "pydantic-ai",
    "pydantic": "pydantic-ai",
    "pydantic_graph": "pydantic-ai",
    "telegram": "library",
    "httpx": "library",
    "httpcore": "library",
    "h11": "library",
    "anyio": "library",
}
"""Whose the time in a package is; the drivers' is turnlog's, as it is turnlog that stores."""


@dataclass(frozen=True, slots=True)
class Figures:
    """One side. Times in seconds."""

    side: str
    per_second: float
    median: float
    slow: float
    """The 95th percentile of the wait for an answer, at ``SPARSE`` messages a second."""
    cpu: float
    """Processor time for one answer."""
    shares: dict[str, float]
    """Shares of the process's busy time by owner."""


def measure(side: str, scratch: Path, redis_url: str, each: int = EACH) -> Figures:
    """Let USERS write ``each`` messages at once, and then few of them at a leisurely pace."""
    from tests.bots.telegram_api import TelegramApi

    with TelegramApi() as api:
        command = [sys.executable, "-m", "bench.bots", "--worker", side, api.url, str(scratch), redis_url]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdout.readline()
            # The first answer of a process loads what the others use.
            api.say("warm", 1)
            api.wait(lambda: api.shown[1])
            process.stdin.write("begin\n")
            process.stdin.flush()
            process.stdout.readline()
            begun = time.monotonic()
            for number in range(each):
                for user in range(1_000, 1_000 + USERS):
                    api.say(f"m{number}", user)
            api.wait(lambda: sum(len(api.shown[user]) for user in range(1_000, 1_000 + USERS)) >= USERS * each, 600)
            taken = time.monotonic() - begun
            process.stdin.write("end\n")
            process.stdin.flush()
            busy = json.loads(process.stdout.readline())
            waits = []
            for number in range(200):
                user = 5_000 + number % 50
                there, at = len(api.shown[user]), time.monotonic()
                api.say("hello", user)
                api.wait(lambda user=user, there=there: len(api.shown[user]) > there)  # type: ignore[misc]
                waits.append(api.shown[user][there].at - at)
                time.sleep(max(0.0, 1 / SPARSE - (time.monotonic() - at)))
            process.stdin.close()
    waits.sort()
    count: dict[str, int] = busy["samples"]
    whole = sum(count.values())
    shares = {owner: number / whole for owner, number in sorted(count.items(), key=lambda each: -each[1])}
    slow = waits[int(0.95 * len(waits))]
    return Figures(side, USERS * each / taken, waits[len(waits) // 2], slow, busy["cpu"] / (USERS * each), shares)


# The worker -------------------------------------------------------------------------------------------------------------------------


class Sampler:
    """Looks at what the main thread is at, again and again, while it is at anything."""

    def __init__(self) -> None:
        self.samples: Counter[str] = Counter()
        self._main = threading.main_thread().ident
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        assert self._main is not None
        while not self._over.wait(SAMPLE_EVERY):
            frame = sys._current_frames().get(self._main)
            if frame is None or frame.f_code.co_name == "select":
                continue
            owner = "asyncio and others"
            while frame is not None:
                package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
                if package in OWNERS:
                    owner = OWNERS[package]
                    break
                frame = frame.f_back
            self.samples[owner] += 1
            del frame


async def work(side: str, api: str, scratch: str, redis_url: str) -> None:
    """Answer, and tell what it took."""
    from tests.bots.telegram_api import TOKEN

    async with AsyncScope(side, api, TOKEN, scratch, redis_url):
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        sampler, cpu = Sampler(), time.process_time()
        sampler.start()
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        used = time.process_time() - cpu
        sampler.stop()
        print(json.dumps({"cpu": used, "samples": sampler.samples}), flush=True)
        await asyncio.to_thread(sys.stdin.read)


class AsyncScope:
    """The bot of a side, running."""

    def __init__(self, side: str, api: str, token: str, scratch: str, redis_url: str) -> None:
        self._side, self._api, self._token, self._scratch, self._redis_url = side, api, token, scratch, redis_url
        self._bot: Any = None

    async def __aenter__(self) -> None:
        self._bot = self._echo() if self._side == SIDES[0] else self._turnlog()
        if self._side == SIDES[0]:
            await self._bot.initialize()
            await self._bot.start()
            await self._bot.updater.start_polling()
        else:
            await self._bot.start()

    async def __aexit__(self, *_: object) -> None:
        if self._side == SIDES[0]:
            await self._bot.updater.stop()
            await self._bot.stop()
            await self._bot.shutdown()
        else:
            await self._bot.stop()

    def _echo(self) -> Any:
        from telegram.ext import Application, MessageHandler, filters

        async def echo(update: Any, context: Any) -> None:
            await update.message.reply_text(f"you said: {update.message.text}")

        made = Application.builder().token(self._token).base_url(f"{self._api}/bot").concurrent_updates(True)
        built = made.connection_pool_size(256).pool_timeout(30).build()
        built.add_handler(MessageHandler(filters.TEXT, echo))
        return built

    def _turnlog(self) -> Any:
        from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
        from pydantic_ai.models.function import AgentInfo, FunctionModel

        from turnlog import Agent
        from turnlog.bots import Bot
        from turnlog.session import AsyncRedisSessionStore, InMemorySessionStore, SqliteSessionStore

        def echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            said: Any = messages[-1].parts[-1]
            return ModelResponse(parts=[TextPart(f"you said: {said.content}")])

        stores = {
            SIDES[1]: InMemorySessionStore,
            SIDES[2]: lambda: SqliteSessionStore(Path(self._scratch) / "s.sqlite", durability="process"),
            SIDES[3]: lambda: AsyncRedisSessionStore(self._redis_url, max_connections=512),
        }
        agent = Agent("Echo", llm=FunctionModel(echo), memory={"history_limit": 20})
        options: dict[str, Any] = {"token": self._token, "base_url": self._api, "stream": False}
        return Bot("telegram", agent=agent, session_store=stores[self._side](), **options)


# The figures ------------------------------------------------------------------------------------------------------------------------


def lines(figures: list[Figures]) -> Iterator[str]:
    """A table."""
    yield "| | answers a second | wait, median | wait, 95th percentile | processor time an answer | of it turnlog's | of it the library's |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for each in figures:
        share = f"{100 * each.shares.get('turnlog', 0):.0f} % | {100 * each.shares.get('library', 0):.0f} %"
        times = f"{1000 * each.median:.1f} ms | {1000 * each.slow:.1f} ms | {1000 * each.cpu:.2f} ms"
        yield f"| {each.side} | {each.per_second:.0f} | {times} | {share} |"


def main() -> None:
    """Measure every side and print the table."""
    from tests.servers.redis import running

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", nargs=4, metavar=("SIDE", "API", "SCRATCH", "REDIS"), help=argparse.SUPPRESS)
    parser.add_argument("--side", action="append", choices=SIDES, help="measure this one only; repeat it for more")
    parser.add_argument("--each", type=int, default=EACH, help="messages of each of the users")
    options = parser.parse_args()
    if options.worker:
        asyncio.run(work(*options.worker))
        return
    figures = []
    with ExitStack() as scope:
        server = scope.enter_context(running("valkey"))
        for side in options.side or SIDES:
            scratch = Path(scope.enter_context(tempfile.TemporaryDirectory()))
            figures.append(measure(side, scratch, server.url, options.each))
            print(figures[-1], file=sys.stderr, flush=True)
    print("\n".join(lines(figures)))


if __name__ == "__main__":
    main()
