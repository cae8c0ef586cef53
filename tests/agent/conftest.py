"""What tests of the agent get: the model's API, agents that talk to it, and stores of every kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.api_client import MODELS, ModelApi
from tests.agent.processes import AgentProcess, Nursery
from tests.verify.document_store import AsyncDocumentStore, DocumentStore, FileStore
from turnlog import Agent
from turnlog.session import (
    AsyncDefaultSessionStore,
    AsyncInMemorySessionStore,
    AsyncSqliteSessionStore,
    DefaultSessionStore,
    InMemorySessionStore,
    SqliteSessionStore,
)

STORES: dict[str, Callable[[Path], Any]] = {
    "json": lambda place: DefaultSessionStore(place / "json"),
    "sqlite": lambda place: SqliteSessionStore(place / "s.sqlite"),
    "memory": lambda place: InMemorySessionStore(),
    "async json": lambda place: AsyncDefaultSessionStore(place / "json"),
    "async sqlite": lambda place: AsyncSqliteSessionStore(place / "s.sqlite"),
    "async memory": lambda place: AsyncInMemorySessionStore(),
    "json url": lambda place: f"json://{place}/json",
    "sqlite url": lambda place: f"sqlite://{place}/s.sqlite",
    "five methods": lambda place: DocumentStore(),
    "async five methods": lambda place: AsyncDocumentStore(),
    "five methods on files": FileStore,
}
FULL = [name for name in STORES if "five" not in name]
LASTING = ["json", "sqlite", "async json", "async sqlite", "json url", "sqlite url", "five methods on files"]


@pytest.fixture(scope="session")
def running_api() -> Iterator[ModelApi]:
    """One server for all tests."""
    api = ModelApi()
    yield api
    api.close()


@pytest.fixture
def api(running_api: ModelApi) -> Iterator[ModelApi]:
    """The server with an empty log; the test fails if a request was refused."""
    running_api.forget()
    yield running_api
    refused = running_api.log()["refused"]
    assert not refused, f"the model's API answered 400: {refused[0]['rules']}"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


MakeAgent = Callable[..., Agent]


@pytest.fixture
def make_agent(api: ModelApi, tmp_path: Path) -> MakeAgent:
    """``make_agent(store, vendor="openai", **options)``: an agent on the session "chat", or on that of ``memory``."""

    def make(store: Any = "json", vendor: str = "openai", **options: Any) -> Agent:
        if isinstance(store, str) and store in STORES:
            store = STORES[store](tmp_path)
        memory = {"session_id": "chat", "store": store, **options.pop("memory", {})}
        return Agent(**{"llm": MODELS[vendor](api.url), "tools": [add], "memory": memory, **options})

    return make


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """Forks agents."""
    one = Nursery(tmp_path_factory.mktemp("nursery"))
    yield one
    one.close()


Start = Callable[..., AgentProcess]


@pytest.fixture
def start_on(api: ModelApi, nursery: Nursery, tmp_path: Path) -> Iterator[Start]:
    """``start_on(kind, **memory)``: an agent on the session "chat" in a process of its own."""
    begun: list[AgentProcess] = []

    def start(kind: str, **memory: Any) -> AgentProcess:
        begun.append(AgentProcess(nursery, api.url, kind, tmp_path, **memory))
        return begun[-1]

    yield start
    for process in begun:
        process.close()
