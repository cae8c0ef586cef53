"""The agent that the tests serve: its model is the tests' own API, at the URL in MODEL_URL."""

from __future__ import annotations

import os

from tests.agent.api_client import openai_model
from turnlog import Agent


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def explode(word: str) -> str:
    """Fails, and tells what it was given."""
    raise RuntimeError(f"cannot bear {word}")


def agent() -> Agent:
    """A new one, without a session of its own."""
    return Agent("Assistant", llm=openai_model(os.environ["MODEL_URL"]), tools=[add, explode])


def own_store() -> Agent:
    """One that has a store."""
    return Agent("Assistant", llm=openai_model(os.environ["MODEL_URL"]), session_store=os.environ["OWN_STORE"])


NO_AGENT = 5


def without_model() -> Agent:
    """One that no environment gives a model."""
    return Agent("Assistant")
