"""The application by itself, in a thread's event loop: what an agent may give, what a store may do, how it is put into another app."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from pydantic import BaseModel
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.server.conftest import said
from turnlog import Agent
from turnlog.errors import LockTimeoutError, StorageError
from turnlog.server import agent_app, responses
from turnlog.session import InMemorySessionStore


def echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse(parts=[TextPart(f"{len(messages)} heard")])


ServeHere = Callable[..., httpx2.Client]


@pytest.fixture
def serve_here() -> Iterator[ServeHere]:
    """``serve_here(app)``: a client of uvicorn in a thread."""
    servers: list[tuple[uvicorn.Server, threading.Thread, httpx2.Client]] = []

    def serve(app: Any) -> httpx2.Client:
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        client = httpx2.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=20)
        servers.append((server, thread, client))
        return client

    yield serve
    for server, thread, client in servers:
        client.close()
        server.should_exit = True
        thread.join()


def ask(client: httpx2.Client, text: str = "hi", **more: Any) -> httpx2.Response:
    return client.post("/v1/chat/completions", json={"messages": said(text), **more})


def texts(answer: httpx2.Response) -> list[str]:
    """The pieces of text of a stream."""
    events = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    return [event["choices"][0]["delta"].get("content", "") for event in events]


def test_without_tokens_sessions_have_their_own_names(serve_here: ServeHere) -> None:
    store = InMemorySessionStore()
    client = serve_here(agent_app(Agent(llm=FunctionModel(echo)), store=store))
    assert ask(client, session_id="chat-123").json()["choices"][0]["message"]["content"] == "1 heard"
    assert ask(client, session_id="chat-123").json()["choices"][0]["message"]["content"] == "3 heard"
    assert len(store.get_messages("chat-123")) == 4


def test_the_agents_own_session_is_left_alone(serve_here: ServeHere) -> None:
    store = InMemorySessionStore()
    agent = Agent(llm=FunctionModel(echo), memory={"session_id": "own", "store": store})
    agent.chat("mine")
    client = serve_here(agent_app(agent))
    assert ask(client).json()["choices"][0]["message"]["content"] == "1 heard"
    assert ask(client, session_id="other").status_code == 200
    assert len(store.get_messages("own")) == len(store.get_messages("other")) == 2


class Weather(BaseModel):
    city: str
    degrees: int


def test_an_output_that_is_no_text_comes_as_json(serve_here: ServeHere) -> None:
    def fill(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, {"city": "Évora", "degrees": 31})])

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        from pydantic_ai.models.function import DeltaToolCall

        yield {0: DeltaToolCall(info.output_tools[0].name, '{"city": "Évora", "degrees": 31}', tool_call_id="c")}

    client = serve_here(agent_app(Agent(llm=FunctionModel(fill, stream_function=stream), output_type=Weather)))
    whole = ask(client).json()["choices"][0]["message"]["content"]
    assert json.loads(whole) == {"city": "Évora", "degrees": 31}
    assert [text for text in texts(ask(client, stream=True)) if text] == [whole]


def test_a_stream_that_has_nothing_to_say_yet_says_so(serve_here: ServeHere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "SILENCE", 0.05)

    async def slow(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        await asyncio.sleep(0.4)
        yield "at "
        await asyncio.sleep(0.2)
        yield "last"

    answer = ask(serve_here(agent_app(Agent(llm=FunctionModel(stream_function=slow)))), stream=True)
    assert answer.text.startswith(": working\n\n")
    assert "".join(texts(answer)) == "at last"
    assert answer.text.endswith("data: [DONE]\n\n")


def test_a_stream_that_breaks_ends_with_an_error(serve_here: ServeHere) -> None:
    async def breaking(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        yield "so far"
        raise ValueError("secret")

    store = InMemorySessionStore()
    agent = Agent(llm=FunctionModel(stream_function=breaking), session_store=store)
    answer = ask(serve_here(agent_app(agent)), stream=True, session_id="s")
    *_, last, end = answer.text.split("\n\n")
    assert (answer.status_code, end) == (200, "")
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "agent_failed"
    assert "secret" not in answer.text
    assert "[DONE]" not in answer.text
    [turn] = store.get_open_turns("s")
    assert [message.content for message in turn.messages] == ["hi", "so far"]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StorageError("disk full at /secret"), 503, "store_unavailable"),
        (LockTimeoutError("locked at /secret"), 409, "session_busy"),
        (TimeoutError("secret"), 504, "turn_timeout"),
        (KeyError("secret"), 500, "agent_failed"),
    ],
)
def test_what_the_client_learns_of_a_failure(serve_here: ServeHere, error: Exception, status: int, code: str) -> None:
    def fails(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        raise error

    async def fails_streaming(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        raise error
        yield ""

    client = serve_here(agent_app(Agent(llm=FunctionModel(fails, stream_function=fails_streaming))))
    for stream in (False, True):
        answer = ask(client, stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert "secret" not in answer.text


def test_a_turn_that_takes_too_long(serve_here: ServeHere) -> None:
    async def endless(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        await asyncio.sleep(60)
        return echo(messages, info)

    answer = ask(serve_here(agent_app(Agent(llm=FunctionModel(endless), timeout=0.2))))
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "turn_timeout")


def test_an_agent_without_a_model(serve_here: ServeHere, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TURNLOG_MODEL", "OPENAI_MODEL_NAME", "OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    answer = ask(serve_here(agent_app(Agent())))
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "model_not_configured")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("127.0.0.1", 200),
        ("[::1]:1", 200),
        ("rebound.example", 403),
        ("10.0.0.1", 403),
        ("localhost.evil.org", 403),
    ],
)
def test_only_this_machine(serve_here: ServeHere, host: str, status: int) -> None:
    client = serve_here(agent_app(Agent(llm=FunctionModel(echo)), only_local=True))
    answer = client.post("/chat", json={"message": "hi"}, headers={"host": host})
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] == "foreign_host"


def test_a_mount_in_another_app(serve_here: ServeHere) -> None:
    client = serve_here(Starlette(routes=[Mount("/bot", agent_app(Agent(llm=FunctionModel(echo)), store=InMemorySessionStore()))]))
    answer = client.post("/bot/v1/chat/completions", json={"messages": said("hi"), "session_id": "s"})
    assert answer.json()["choices"][0]["message"]["content"] == "1 heard"


def test_a_mount_whose_lifespan_is_handed_on_ends_with_the_other_app(tmp_path: Path) -> None:
    bot = agent_app(Agent(llm=FunctionModel(echo)), store=f"sqlite://{tmp_path}/s.sqlite")

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        async with bot.router.lifespan_context(bot):
            yield

    async def run() -> None:
        app = Starlette(routes=[Mount("/bot", bot)], lifespan=life)
        async with app.router.lifespan_context(app):
            assert not bot.state.turns._store.store.closed
        assert bot.state.turns._store.store.closed

    asyncio.run(run())


def test_system_messages_leave_the_agent_as_it_was(serve_here: ServeHere) -> None:
    def tell(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart(str(messages[-1].instructions))])

    client = serve_here(agent_app(Agent(llm=FunctionModel(tell), instructions="Be kind.")))
    told = client.post("/v1/chat/completions", json={"messages": [{"role": "system", "content": "Be brief."}, *said("hi")]})
    assert told.json()["choices"][0]["message"]["content"] == "Be kind.\n\nBe brief."
    assert ask(client).json()["choices"][0]["message"]["content"] == "Be kind."
