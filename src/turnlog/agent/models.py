"""Which model an agent talks to: what was passed, else what the environment says, else an error that lists the ways. Never a stand-in."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from turnlog.errors import SessionError

if TYPE_CHECKING:
    from pydantic_ai.models import Model

PROVIDER_KEYS = {
    "OPENAI_API_KEY": "openai:gpt-6-luna",
    "ANTHROPIC_API_KEY": "anthropic:claude-sonnet-5-5",
    "GEMINI_API_KEY": "google:gemini-3.8-flash",
    "GROQ_API_KEY": "groq:llama-3.3-70b-versatile",
    "MISTRAL_API_KEY": "mistral:mistral-large-latest",
}
"""The model that is taken where only this key is set."""


class ModelNotConfiguredError(SessionError):
    """No model was passed, and the environment names none."""

    def __init__(self) -> None:
        super().__init__(
            'no model is configured: pass llm="openai:gpt-6-luna" (any pydantic-ai model string, or the URL of an OpenAI-compatible '
            f"server), or set TURNLOG_MODEL or OPENAI_MODEL_NAME, or a provider's key ({', '.join(PROVIDER_KEYS)})"
        )


def choose_model(llm: Any, *, base_url: str | None = None, api_key: str | None = None) -> Model | str:
    """The pydantic-ai model, or its string, for what was passed as ``llm``.

    A string is pydantic-ai's (``"openai:gpt-6-luna"``, ``"test"``); one without a provider is a model of OpenAI's, or of the server at
    ``base_url``; ``provider/model`` is read as ``provider:model``. A URL is an OpenAI-compatible server, with the model's name after
    ``#`` (else ``OPENAI_MODEL_NAME``, else "default"). A dict has ``model``, ``base_url`` and ``api_key``. Raises
    ModelNotConfiguredError, TypeError.
    """
    if isinstance(llm, dict):
        unknown = set(llm) - {"model", "base_url", "api_key"}
        if unknown:
            raise TypeError(f"llm has no key {min(unknown)!r:.80}: it takes model, base_url and api_key")
        return choose_model(llm.get("model"), base_url=llm.get("base_url", base_url), api_key=llm.get("api_key", api_key))
    if llm is not None and not isinstance(llm, str):
        return _checked(llm)
    name = llm or _from_environment()
    if name.startswith(("http://", "https://")):
        base_url, _, name = name.partition("#")
        name = name or os.environ.get("OPENAI_MODEL_NAME") or "default"
    base_url = base_url or (os.environ.get("OPENAI_BASE_URL") if ":" not in name and "/" not in name and name != "test" else None)
    if base_url:
        return _served(name, base_url, api_key)
    if name == "test" or ":" in name:
        return name
    return name.replace("/", ":", 1) if "/" in name else f"openai:{name}"


def _from_environment() -> str:
    for variable in ("TURNLOG_MODEL", "OPENAI_MODEL_NAME"):
        if name := os.environ.get(variable):
            return name
    for variable, name in PROVIDER_KEYS.items():
        if os.environ.get(variable):
            return name
    raise ModelNotConfiguredError


def _served(name: str, base_url: str, api_key: str | None) -> Model:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    # Servers of one's own seldom want a key, and the SDK insists on one.
    key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
    return OpenAIChatModel(name.removeprefix("openai:"), provider=OpenAIProvider(base_url=base_url, api_key=key))


def _checked(llm: Any) -> Model:
    from pydantic_ai.models import Model

    if not isinstance(llm, Model):
        raise TypeError(f"llm must be a pydantic-ai model, its string, a URL or a dict, not a {type(llm).__name__}")
    return llm
