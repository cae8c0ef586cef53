"""What a request is answered with where there is no answer: a status and OpenAI's error object, for every error there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_ai.exceptions import AgentRunError, ModelRateLimitError

from turnlog.agent import ModelNotConfiguredError
from turnlog.errors import (
    ConflictError,
    InvalidMessageError,
    InvalidSessionIdError,
    LockTimeoutError,
    MessageTooLargeError,
    SessionError,
    StorageError,
)

NO_RETRY = {"x-should-retry": "false"}
"""Tells OpenAI's SDKs not to send the request again by themselves: the agent's tools would run once more."""


class Refused(Exception):  # an answer, and not always an error here
    """Ends a request with ``status``. ``code`` is one of a fixed set of words, ``param`` the field at fault; the text holds no content."""

    def __init__(self, status: int, code: str, text: str, *, param: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        """OpenAI's error object: ``{"error": {"message", "type", "param", "code"}}``."""
        return {"error": {"message": str(self), "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def kind(self) -> str:
        """OpenAI's word for the kind of error."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        return kinds.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")


def invalid(text: str, param: str | None = None, code: str = "invalid_value") -> Refused:
    """The refusal of a request that is not as it must be."""
    return Refused(400, code, text, param=param)


def refusal_of(error: BaseException) -> Refused:
    """What the client is told when a turn failed. Of what failed behind the server it learns the kind only."""
    if isinstance(error, Refused):
        return error
    if isinstance(error, SessionError):
        return _of_session_error(error)
    if isinstance(error, ModelRateLimitError):
        return Refused(429, "model_rate_limited", "the model takes no more requests at present: try again later")
    if isinstance(error, TimeoutError):
        return Refused(504, "turn_timeout", "the turn took longer than the agent may take", headers=NO_RETRY)
    if isinstance(error, AgentRunError):
        return Refused(502, "model_failed", f"the model did not answer ({type(error).__name__})")
    return Refused(500, "agent_failed", f"the agent failed ({type(error).__name__})", headers=NO_RETRY)


def _of_session_error(error: SessionError) -> Refused:
    if isinstance(error, MessageTooLargeError):
        return Refused(413, "message_too_large", str(error), param="messages")
    if isinstance(error, InvalidSessionIdError):
        return invalid(str(error), "session_id")
    if isinstance(error, InvalidMessageError):
        return invalid(str(error), "messages")
    if isinstance(error, LockTimeoutError):
        return Refused(409, "session_busy", "another turn of the session has not ended: try again later")
    if isinstance(error, ConflictError):
        return Refused(409, "session_changed", "the session changed meanwhile: try again")
    if isinstance(error, StorageError):
        return Refused(503, "store_unavailable", f"the store failed ({type(error).__name__}): try again later")
    if isinstance(error, ModelNotConfiguredError):
        return Refused(500, "model_not_configured", "the agent has no model", headers=NO_RETRY)
    return Refused(500, "agent_failed", f"the agent failed ({type(error).__name__})", headers=NO_RETRY)
