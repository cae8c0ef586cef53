"""HTTP responses that run a turn: whole or as a stream of events; a client that goes away ends the turn."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, aclosing
from traceback import extract_tb
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from turnlog.agent import TurnResult
from turnlog.errors import SessionError
from turnlog.server.answers import DONE, Completion, encoded, text_of
from turnlog.server.refusals import Refused, refusal_of
from turnlog.server.turns import OneTurn

LOG = logging.getLogger("turnlog.server")

Begin = Callable[[], AbstractAsyncContextManager[OneTurn]]

SILENCE = 10.0
"""Seconds without a piece after which a stream says that it is still there; proxies close lines that say nothing."""

STOPPING = Refused(503, "server_stopping", "the server is stopping, and the turn was interrupted: send it again")


class Line:
    """The response under way: what was sent is not taken back."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._turn = asyncio.Lock()
        self.begun = False

    async def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Send a document, and end."""
        body = encoded(value)
        await self._start(status, {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})})
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def events(self, *lines: str | bytes) -> None:
        """Send lines of an event stream, each an event's data (bytes) or a comment (str)."""
        async with self._turn:
            if not self.begun:
                await self._start(200, {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store"})
            body = b"".join(b"data: " + line + b"\n\n" if isinstance(line, bytes) else f": {line}\n\n".encode() for line in lines)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self) -> None:
        """End an event stream."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def refuse(self, refusal: Refused) -> None:
        """Tell why there is no answer: as the response, or in the middle of a stream as its last event."""
        if not self.begun:
            await self.json(refusal.body(), refusal.status, refusal.headers)
        else:
            await self.events(encoded(refusal.body()))
            await self.end()

    async def _start(self, status: int, headers: dict[str, str]) -> None:
        self.begun = True
        raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


class TurnResponse(Response):
    """Runs one turn and sends its answer as a JSON document, which ``document`` makes of the output's text and the result."""

    def __init__(self, begin: Begin, document: Callable[[str, TurnResult], Any]) -> None:
        super().__init__()
        self._begin = begin
        self._document = document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application. Returns once the turn has ended, however it did."""
        line = Line(send)
        work = asyncio.create_task(self._run(line))
        gone = asyncio.create_task(_gone(receive))
        stopping = False
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            # The server has waited as long as it would.
            stopping = True
        if not work.done():
            LOG.info("the turn was interrupted: %s", "the server is stopping" if stopping else "the client has gone away")
        await _ended(work, gone)
        if stopping and work.cancelled():
            await line.refuse(STOPPING)
        elif not work.cancelled():
            work.result()

    async def work(self, line: Line) -> None:
        """The turn, and its answer on the line."""
        async with self._begin() as turn:
            result = await turn.run()
        await line.json(self._document(text_of(result.output), result))

    async def _run(self, line: Line) -> None:
        try:
            await self.work(line)
        except Exception as error:  # noqa: BLE001  # whatever it is, the client gets an answer and the log a line
            refusal = refusal_of(error)
            if refusal.status >= 500:
                LOG.error("the turn failed: %s", told(error))
            await line.refuse(refusal)


class StreamResponse(TurnResponse):
    """Runs one turn and sends the answer's text as it comes, as OpenAI's stream of events. The turn is stored before its end is sent."""

    def __init__(self, begin: Begin, completion: Completion) -> None:
        super().__init__(begin, completion.whole)
        self._completion = completion

    async def work(self, line: Line) -> None:
        """The turn, and its answer on the line."""
        beat = asyncio.create_task(_beat(line))
        try:
            async with self._begin() as turn, aclosing(turn.stream()) as pieces:
                said = False
                async for piece in pieces:
                    opening = [] if said else [encoded(self._completion.first())]
                    await line.events(*opening, encoded(self._completion.text(piece)))
                    said = True
        finally:
            await _ended(beat)
        result = turn.result
        # An output that is no text, or whose text came at once, is sent now.
        rest = [] if said or result is None else [self._completion.first(), self._completion.text(text_of(result.output))]
        await line.events(*map(encoded, [*rest, *self._completion.last(result)]), DONE.encode())
        await line.end()


def told(error: BaseException) -> str:
    """An error for the log: its kind and where it was raised. Its own words only where they hold no content of messages."""
    frames = extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    words = f": {error}" if isinstance(error, SessionError) else ""
    return f"{type(error).__name__}{words}{place}"


async def _beat(line: Line) -> None:
    while True:
        await asyncio.sleep(SILENCE)
        await line.events("working")


async def _gone(receive: Receive) -> None:
    """Return when the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    """Cancel what has not ended, and return when all have, also if this is cancelled meanwhile: what a turn had produced is being kept."""
    for task in tasks:
        task.cancel()
    while left := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(left)
        except asyncio.CancelledError:
            continue
