"""A request that is sent again with its Idempotency-Key: one turn, and its answer as often as it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from openai import UnprocessableEntityError

from tests.agent.api_client import ModelApi
from tests.server.conftest import BOB, Serve, ServedAgent, in_session, said
from turnlog.session import SqliteSessionStore

KEY = {"Idempotency-Key": "order-17"}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.fixture
def ask(server: ServedAgent) -> Callable[..., Any]:
    """``ask(text, session)``: the answer's text and its tokens, whole or streamed."""

    def ask_once(text: Any, session: str, *, stream: bool = False, key: dict[str, str] = KEY, on: ServedAgent = server) -> tuple[str, int]:
        options: Any = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
        with on.openai() as client:
            answer: Any = client.chat.completions.create(
                model="Assistant", messages=said(text), extra_headers=key, **in_session(session), **options
            )
            if not stream:
                return answer.choices[0].message.content, answer.usage.total_tokens
            pieces = list(answer)
        return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices), pieces[-1].usage.total_tokens

    return ask_once


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("then", [False, True])
def test_it_is_answered_once(first: bool, then: bool, ask: Callable[..., Any], api: ModelApi, place: Path) -> None:
    name = f"once-{first}-{then}"
    answer = ask("add 2 and 3", name, stream=first)
    asked = len(api.requests())
    assert answer[1] > 0
    assert ask("add 2 and 3", name, stream=then) == answer
    assert len(api.requests()) == asked
    # Also when the conversation has gone on.
    ask("and now?", name, key={})
    assert ask("add 2 and 3", name, stream=then) == answer
    with SqliteSessionStore(place / "s.sqlite") as store:
        questions = [message.content for message in store.get_messages(f"served.alice.{name}") if message.role == "user"]
    assert questions == ["add 2 and 3", "and now?"]


def test_the_short_form_too(server: ServedAgent, api: ModelApi) -> None:
    body = {"message": "hello", "session_id": "short"}
    answers = [server.post("/chat", body, headers=KEY).json() for _ in range(3)]
    assert answers == [{"response": "1 heard, the last: hello"}] * 3
    assert len(api.requests()) == 1


def test_two_at_once_are_one(ask: Callable[..., Any], api: ModelApi) -> None:
    with ThreadPoolExecutor(4) as pool:
        answers = set(pool.map(lambda _: ask("slow 0.2 hello", "at-once"), range(4)))
    assert len(answers) == 1
    assert len(api.requests()) == 1


def test_a_key_belongs_to_its_session_and_its_token(server: ServedAgent, ask: Callable[..., Any], api: ModelApi) -> None:
    ask("hello", "mine")
    ask("hello", "mine, too")
    body = {"message": "hello", "session_id": "mine"}
    assert server.post("/chat", body, headers=KEY, token=BOB).json() == {"response": "1 heard, the last: hello"}
    assert len(api.requests()) == 3


def test_a_key_of_another_message_is_refused(ask: Callable[..., Any], api: ModelApi) -> None:
    ask([{"type": "text", "text": "look"}, PICTURE], "reused")
    ask([{"type": "text", "text": "look"}, PICTURE], "reused")
    assert len(api.requests()) == 1
    for stream in (False, True):
        with pytest.raises(UnprocessableEntityError) as caught:
            ask("something else", "reused", stream=stream)
        assert caught.value.code == "idempotency_key_reused"


def test_what_failed_is_tried_anew(server: ServedAgent, ask: Callable[..., Any], api: ModelApi, place: Path) -> None:
    body = {"message": "fail once, please", "session_id": "failed"}
    assert server.post("/chat", body, headers=KEY).status_code == 502
    assert server.post("/chat", body, headers=KEY).json() == {"response": "1 heard, the last: fail once, please"}
    with SqliteSessionStore(place / "s.sqlite") as store:
        assert store.get_open_turns("served.alice.failed") == []


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_a_key_must_be_one(key: str, server: ServedAgent) -> None:
    refused = server.post("/chat", {"message": "hello", "session_id": "s"}, headers={"Idempotency-Key": key})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "Idempotency-Key"


def test_without_a_session_each_request_stands_alone(server: ServedAgent, api: ModelApi) -> None:
    for _ in range(2):
        assert server.post("/chat", {"message": "hello"}, headers=KEY).status_code == 200
    assert len(api.requests()) == 2


def test_two_servers_on_one_store(start: Serve, ask: Callable[..., Any], api: ModelApi, tmp_path: Path) -> None:
    servers = [start(store=f"sqlite://{tmp_path}/two.sqlite") for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ask, "hold both", "talk", on=server) for server in servers]
        deadline = time.monotonic() + 30
        while len(api.requests()) < 2:
            assert time.monotonic() < deadline, "one waits for the other"
            time.sleep(0.02)
        api.release("both")
        answers = {each.result() for each in both}
    assert len(answers) == 1
    with SqliteSessionStore(tmp_path / "two.sqlite") as store:
        assert len(store.get_messages("served.alice.talk")) == 2
        assert store.get_open_turns("served.alice.talk") == []


def test_with_five_methods(start: Serve, ask: Callable[..., Any], api: ModelApi, tmp_path: Path) -> None:
    server = start(store="tests.cli.five_methods:FiveMethods", FIVE_METHODS_FILE=str(tmp_path / "five.json"))
    assert ask("add 2 and 3", "talk", on=server) == ask("add 2 and 3", "talk", on=server)
    assert len({str(request["messages"][0]) for request in api.requests()}) == 1
    assert sum(len(request["messages"]) == 1 for request in api.requests()) == 1
