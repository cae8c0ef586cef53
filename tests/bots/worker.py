"""A bot in a process of its own: updates come as lines of JSON on its input, are acknowledged on its output, and answers go to a file.

python -m tests.bots.worker STORE_URL ANSWERS_FILE
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Sequence
from typing import Any

from tests.bots.models import Model
from turnlog.bots import Bot, Command, Receive, Update


class Pipe:
    """The platform."""

    name = "pipe"
    longest = 4096
    edit_every = None

    def __init__(self, answers: str) -> None:
        self._answers = answers

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        here = asyncio.get_running_loop()

        async def take(line: dict[str, Any]) -> None:
            user = line["user"]
            await receive(Update(id=line["id"], user_id=user, chat_id=user, text=line["text"], address={"user": user, "id": line["id"]}))
            print(line["id"], flush=True)

        def read() -> None:
            for line in sys.stdin:
                asyncio.run_coroutine_threadsafe(take(json.loads(line)), here)

        threading.Thread(target=read, daemon=True).start()
        print("ready", flush=True)

    async def close(self) -> None:
        pass

    async def send(self, address: dict[str, Any], text: str) -> str:
        with open(self._answers, "a", encoding="utf-8") as file:  # noqa: ASYNC230  # one line
            file.write(json.dumps({**address, "text": text}) + "\n")
        return address["id"]

    async def edit(self, address: dict[str, Any], message_id: str, text: str) -> None:
        raise AssertionError("this platform cannot edit")

    async def typing(self, address: dict[str, Any]) -> None:
        pass


if __name__ == "__main__":
    bot = Bot(
        Pipe(sys.argv[2]),
        agent=Model(0.02).agent(memory={"history_limit": 40}),
        session_store=sys.argv[1],
        lease=1.5,
        on_error=lambda error, update: print(f"{os.getpid()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True),
    )
    bot.run()
