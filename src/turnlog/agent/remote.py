"""An agent behind HTTP, asked one message at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlog.errors import SessionError

AWAY = "check the address, and that it is running"
"""What to do where nothing answers."""
HINTS = {
    400: "it does not take this message",
    401: 'pass headers={"Authorization": "Bearer TOKEN"} with a token that it knows',
    403: "it does not let this program ask",
    404: "check the address; a served agent's has no /v1",
    405: "check the address; it must take POST",
    409: "another turn of the session is under way, try again",
    429: "it asks to wait, try again later",
    503: "it is not ready, try again later",
}
"""What to do about a status of HTTP."""


class AgentUnavailableError(SessionError, ConnectionError):
    """The agent behind HTTP cannot be reached, or did not answer as one. Attributes: ``url``, ``status`` (None without an answer)."""


class RemoteAgent:
    """An agent at ``url``. A message is a POST of ``{"query", "message", "session_id", "user_id"}``; the answer is JSON or text."""

    def __init__(self, url: str, session_id: str, user_id: str, timeout: float, headers: Mapping[str, str]) -> None:
        self.url = url if "://" in url else f"http://{url}"
        self._who = {"session_id": session_id, "user_id": user_id}
        self._timeout = timeout
        self._headers = dict(headers)

    async def chat(self, message: str, **options: Any) -> str:
        """The answer: ``response`` or ``content`` of a JSON object, or the text. Raises AgentUnavailableError."""
        try:
            import httpx2
        except ImportError as error:
            raise ImportError("a remote session needs httpx2: pip install 'turnlog[agent]'") from error
        body = {"query": message, "message": message, **self._who, **options}
        try:
            async with httpx2.AsyncClient(timeout=self._timeout, headers=self._headers) as client:
                reply = await client.post(self.url, json=body)
        except httpx2.HTTPError as error:
            raise self._unavailable(f"did not answer ({type(error).__name__})", None, AWAY) from error
        if reply.status_code >= 400:
            hint = HINTS.get(reply.status_code, "see its log")
            raise self._unavailable(f"answered with HTTP status {reply.status_code}", reply.status_code, hint)
        try:
            data = reply.json()
        except ValueError:
            return str(reply.text)
        if isinstance(data, dict):
            answer = data.get("response", data.get("content"))
            if answer is None:
                raise self._unavailable("answered without a response", reply.status_code, "check the address")
            return str(answer)
        return data if isinstance(data, str) else str(reply.text)

    def _unavailable(self, what: str, status: int | None, hint: str) -> AgentUnavailableError:
        return AgentUnavailableError(f"the agent at {self.url} {what}: {hint}", url=self.url, status=status)
