"""A chat-completions server on this machine that answers only from the messages it was sent; no model, no network."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOOL_WORD = "weather"


class StandInModel:
    """Listens on a free port of the loopback address. ``requests`` holds every request body, oldest first.

    The answer is ``heard N: last user text``, N being the number of user messages it was sent; a user text with the word
    "weather" is answered by a call of the first tool offered, and the tool's result by ``the tool said …``.
    """

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        model = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                model.requests.append(body)
                payload, kind = _answer(body)
                self.send_response(200)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # the name is the base class's
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    @property
    def environment(self) -> dict[str, str]:
        """What a program's environment needs to talk to this model."""
        return {"OPENAI_BASE_URL": self.url, "OPENAI_API_KEY": "none", "OPENAI_MODEL_NAME": "stand-in", "NO_PROXY": "127.0.0.1"}

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _reply(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
    last = messages[-1]
    if last["role"] == "tool":
        return {"role": "assistant", "content": f"the tool said {last['content']}"}
    said = [message["content"] for message in messages if message["role"] == "user"]
    if tools and TOOL_WORD in str(said[-1]):
        call = {"id": f"call_{len(messages)}", "type": "function", "function": {"name": tools[0]["function"]["name"], "arguments": "{}"}}
        return {"role": "assistant", "content": None, "tool_calls": [call]}
    return {"role": "assistant", "content": f"heard {len(said)}: {said[-1]}"}


def _answer(body: dict[str, Any]) -> tuple[bytes, str]:
    message = _reply(body["messages"], body.get("tools") or [])
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    base = {"id": "answer", "created": 1, "model": body["model"], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}
    if not body.get("stream"):
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return json.dumps({**base, "object": "chat.completion", "choices": [choice]}).encode(), "application/json"
    calls = [{"index": index, **call} for index, call in enumerate(message.pop("tool_calls", []))]
    delta = {**message, "tool_calls": calls} if calls else message
    chunk = {**base, "object": "chat.completion.chunk"}
    parts = [{"index": 0, "delta": delta, "finish_reason": None}, {"index": 0, "delta": {}, "finish_reason": reason}]
    lines = [json.dumps({**chunk, "choices": [part]}) for part in parts] + ["[DONE]"]
    return "".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream"
