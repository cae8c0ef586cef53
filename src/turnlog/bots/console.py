"""The console platform: a chat on standard input and output, each line a message."""

from __future__ import annotations

import asyncio
import codecs
import getpass
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

from turnlog.bots.platform import Command, Receive, Update
from turnlog.messages import new_token

# What could drive a terminal: controls but for tab and newline, and what turns the direction of text.
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Console:
    """Reads lines and prints answers. ``user``: who types (None: the account's name). It ends with its input."""

    name = "console"
    longest = 100_000
    edit_every: float | None = None

    def __init__(self, user: str | None = None, input: TextIO | None = None, output: TextIO | None = None) -> None:  # noqa: A002
        self.ended = asyncio.Event()
        self._user = user or _account()
        self._input = input if input is not None else sys.stdin
        self._output = output if output is not None else sys.stdout
        self._closed = False

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        """Begin to read."""
        here = asyncio.get_running_loop()

        async def take(line: str) -> None:
            update = Update(id=new_token(), user_id=self._user, chat_id="console", user_name=self._user, text=line)
            await receive(update)

        def read() -> None:
            for line in self._lines():
                if self._closed:
                    return
                if line.strip():
                    # The next line is read once this one is stored.
                    try:
                        asyncio.run_coroutine_threadsafe(take(line), here).result()
                    except Exception as error:  # noqa: BLE001  # the bot has told of it; said again to who typed
                        self._print(f"({type(error).__name__}: this line was not taken)")
            if not here.is_closed():
                here.call_soon_threadsafe(self.ended.set)

        # A daemon: nothing else ends a read that waits for a line.
        threading.Thread(target=read, name="turnlog-console", daemon=True).start()

    async def close(self) -> None:
        """Take no further line."""
        self._closed = True

    async def send(self, address: dict[str, Any], text: str) -> str:
        """Print the text."""
        self._print(text)
        return new_token()

    async def edit(self, address: dict[str, Any], message_id: str, text: str) -> None:
        """Print the text: what is printed stays."""
        self._print(text)

    async def typing(self, address: dict[str, Any]) -> None:
        """Nothing."""

    def _lines(self) -> Iterator[str]:
        """The lines of the input, without their ends."""
        try:
            number = self._input.fileno()
        except (OSError, AttributeError):
            yield from (line.rstrip("\r\n") for line in self._input)
            return
        # Past the file's own buffer, whose lock a thread that waits would still hold when Python ends.
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        rest = ""
        while data := os.read(number, 65536):
            *lines, rest = (rest + decoder.decode(data)).split("\n")
            yield from (line.rstrip("\r") for line in lines)
        yield rest

    def _print(self, text: str) -> None:
        print(_CONTROLS.sub("\ufffd", text), file=self._output, flush=True)


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container may run under a number that has no name.
        return "user"


def make(*, token: str | None = None, **options: Any) -> Console:
    """The console; it needs no token."""
    return Console(**options)
