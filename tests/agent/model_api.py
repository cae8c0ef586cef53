"""A model's API on loopback, as a process of its own: both vendors' forms, a strict judge in front of every answer, a log of all requests.

``python -m tests.agent.model_api`` prints its port, and ends with its standard input. A user's last words ask of the server itself: "hold
KEY" waits for POST /release/KEY (a streamed answer waits in its middle), "afterwards KEY" does so once tools have answered, "slow SECONDS"
waits so long, "fail" is answered by 500, "fail KEY" only the first time, "slowly" streams fifty words a second, "keep open" keeps the
connection, which otherwise ends with the answer. A request that breaks a vendor's rule is answered with 400. GET /log gives
``{"requests": […], "refused": […], "held": […]}``, POST /forget empties it.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.agent import chat_form, messages_form
from tests.agent.scripted import Reply, answer

FORMS: dict[str, Any] = {"/v1/chat/completions": chat_form, "/v1/messages": messages_form}
HELD_FOR = 60.0
"""Seconds after which a held answer is given up."""


class Weather:
    """What happens to requests, and what was seen of them."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.requests: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.held: list[str] = []
        self.released: set[str] = set()
        self.failed: set[str] = set()

    def hold(self, words: str) -> None:
        """Wait until what the words name is released."""
        if found := re.search(r"\bhold (\w+)", words):
            with self.lock:
                self.held.append(found[1])
                self.lock.wait_for(lambda: found[1] in self.released, HELD_FOR)
                self.held.remove(found[1])

    def release(self, key: str) -> None:
        """Let through what waits, and what will come."""
        with self.lock:
            self.released.add(key)
            self.lock.notify_all()

    def fails(self, words: str) -> bool:
        """Whether this request is answered with 500."""
        if not (found := re.search(r"\bfail\b(?: (\w+))?", words)):
            return False
        with self.lock:
            first = found[1] not in self.failed
            self.failed |= {found[1]} if found[1] else set()
        return first


WEATHER = Weather()


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with WEATHER.lock:
            self._json(200, {"requests": WEATHER.requests, "refused": WEATHER.refused, "held": WEATHER.held})

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.startswith("/release/"):
            WEATHER.release(self.path.removeprefix("/release/"))
            self._json(200, {})
        elif self.path == "/forget":
            with WEATHER.lock:
                WEATHER.requests, WEATHER.refused = [], []
            self._json(200, {})
        else:
            self._answer(FORMS[self.path], json.loads(data))

    def _answer(self, form: Any, body: dict[str, Any]) -> None:
        broken = form.refusals(body)
        with WEATHER.lock:
            WEATHER.requests.append(body)
            WEATHER.refused += [{"rules": broken, "body": body}] if broken else []
        if broken:
            error = {"type": "invalid_request_error", "message": ", ".join(broken)}
            self._json(400, {"type": "error", "error": error})
            return
        said, tools = form.read(body)
        words = next((each.text for each in reversed(said) if each.role == "user"), "")
        if said[-1].role == "tool":
            words = words.replace("afterwards ", "hold ")
        if WEATHER.fails(words):
            self._json(500, {"type": "error", "error": {"type": "api_error", "message": "the model fell over"}})
            return
        if found := re.search(r"\bslow ([\d.]+)", words):
            time.sleep(float(found[1]))
        reply = answer(said, tools)
        if body.get("stream"):
            self._stream(form, body, reply, words)
        else:
            WEATHER.hold(words)
            self._json(200, form.whole(body, reply), keep="keep open" in words)

    def _stream(self, form: Any, body: dict[str, Any], reply: Reply, words: str) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        pieces = list(form.pieces(body, reply))
        for place, (text, event) in enumerate(pieces):
            if place == len(pieces) // 2:
                WEATHER.hold(words)
            self.wfile.write(event.encode())
            self.wfile.flush()
            if text and "slowly" in words:
                time.sleep(0.02)

    def _json(self, status: int, value: Any, *, keep: bool = False) -> None:
        payload = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(payload)))
        if not keep:
            # So that no test leaves a connection to be collected.
            self.send_header("connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the name is the base class's
        return


class Server(ThreadingHTTPServer):
    """Takes it calmly when a client was killed."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


if __name__ == "__main__":
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
