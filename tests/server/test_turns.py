"""Turns under way: clients that go away, several at once, a server that stops, starts again, or has a sibling on the same store."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import APIError, APIStatusError, InternalServerError

from tests.agent.api_client import ModelApi
from tests.server.conftest import ALICE, Serve, ServedAgent, in_session, said
from turnlog.session import DefaultSessionStore, SessionStore, SqliteSessionStore

KEY = "served.alice.talk"


def until(true: Callable[[], Any], seconds: float = 30) -> Any:
    """What ``true`` gives, once it gives something."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)
    return found


def interrupted(store: SessionStore, key: str) -> list[Any]:
    return [turn for turn in store.get_open_turns(key) if turn.info["state"] == "interrupted"]


@pytest.fixture(scope="module", autouse=True)
def threads_before() -> int:
    """Threads that tests of other files have left in this process."""
    return threading.active_count()


@pytest.fixture
def store(place: Path) -> Any:
    with SqliteSessionStore(place / "s.sqlite") as opened:
        yield opened


# A client that goes away --------------------------------------------------------------------------------------------------------


def test_a_client_that_leaves_a_stream_interrupts_the_turn(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with server.openai() as client:
        stream = client.chat.completions.create(
            model="Assistant", messages=said("tell 30 hold leaves"), stream=True, **in_session("leaves")
        )
        for piece in stream:
            if piece.choices[0].delta.content:
                break
        api.wait_held("leaves")
        stream.close()
    [turn] = until(lambda: interrupted(store, "served.alice.leaves"))
    api.release("leaves")
    assert [message.role for message in turn.messages] == ["user", "assistant"]
    assert str(turn.messages[1].content).startswith("word0")
    assert store.get_messages("served.alice.leaves") == []
    # The session is free.
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said("go on"), **in_session("leaves"))
    assert len(store.get_messages("served.alice.leaves")) == 2


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat"])
def test_a_client_that_does_not_wait_interrupts_the_turn(server: ServedAgent, api: ModelApi, store: SessionStore, path: str) -> None:
    name = f"hurry{len(path)}"
    body = {"messages": said(f"hold {name}"), "message": f"hold {name}", "session_id": name}
    with pytest.raises(httpx2.ReadTimeout):
        server.post(path, body, timeout=1)
    [turn] = until(lambda: interrupted(store, f"served.alice.{name}"))
    api.release(name)
    assert [message.content for message in turn.messages] == [f"hold {name}"]


def test_a_client_that_waits_in_line_and_leaves(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with ThreadPoolExecutor() as pool, server.openai() as client:
        first = pool.submit(client.chat.completions.create, model="Assistant", messages=said("hold inline"), **in_session("inline"))
        api.wait_held("inline")
        with pytest.raises(httpx2.ReadTimeout):
            server.post("/chat", {"message": "never", "session_id": "inline"}, timeout=0.5)
        api.release("inline")
        first.result()
        client.chat.completions.create(model="Assistant", messages=said("then"), **in_session("inline"))
    contents = [message.content for message in store.get_messages("served.alice.inline") if message.role == "user"]
    assert contents == ["hold inline", "then"]
    assert interrupted(store, "served.alice.inline") == []


def test_a_client_that_leaves_amid_its_request(server: ServedAgent) -> None:
    host, port = server.host.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        head = f"POST /chat HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ALICE}\r\nContent-Type: application/json\r\n"
        line.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    until(lambda: "amid its request" in server.log)
    assert "Traceback" not in server.log


# Several at once ----------------------------------------------------------------------------------------------------------------


def check_order(store: SessionStore, key: str, count: int) -> None:
    """Every turn whole, and each has seen all before it."""
    messages = store.get_messages(key)
    assert [message.role for message in messages] == ["user", "assistant"] * count
    for number in range(count):
        question, answer = messages[2 * number : 2 * number + 2]
        assert answer.content == f"{number + 1} heard, the last: {question.content}"
    assert len({message.content for message in messages[::2]}) == count


def test_turns_of_one_session_follow_each_other(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with ThreadPoolExecutor(8) as pool, server.openai() as client:

        def ask(number: int) -> None:
            answer = client.chat.completions.create(
                model="Assistant", messages=said(f"slow 0.05 no {number}"), stream=number % 2 == 0, **in_session("crowd")
            )
            if number % 2 == 0:
                deque(answer)

        deque(pool.map(ask, range(16)))
    check_order(store, "served.alice.crowd", 16)


def test_sessions_do_not_wait_for_each_other(server: ServedAgent, api: ModelApi) -> None:
    with ThreadPoolExecutor(20) as pool, server.openai() as client:

        def ask(number: int) -> None:
            client.chat.completions.create(model="Assistant", messages=said(f"hold together {number}"), **in_session(f"apart-{number}"))

        asked = [pool.submit(ask, number) for number in range(10)]
        until(lambda: api.log()["held"].count("together") == 10)
        api.release("together")
        deque(each.result() for each in asked)


def test_two_servers_on_one_store(start: Serve, api: ModelApi, tmp_path: Path) -> None:
    url = f"sqlite://{tmp_path}/two.sqlite"
    servers = [start(store=url), start(store=url)]
    clients = [server.openai() for server in servers]
    with ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> None:
            clients[number % 2].chat.completions.create(model="Assistant", messages=said(f"slow 0.05 no {number}"), **in_session("talk"))

        deque(pool.map(ask, range(16)))
    for client in clients:
        client.close()
    with SqliteSessionStore(tmp_path / "two.sqlite") as store:
        check_order(store, KEY, 16)


# Stopping and starting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["json", "sqlite", "five methods"])
def test_a_conversation_goes_on_after_a_restart(start: Serve, api: ModelApi, tmp_path: Path, kind: str) -> None:
    urls = {
        "json": f"json://{tmp_path}/json",
        "sqlite": f"sqlite://{tmp_path}/s.sqlite",
        "five methods": "tests.cli.five_methods:FiveMethods",
    }
    options = {"store": urls[kind], "FIVE_METHODS_FILE": str(tmp_path / "five.json")}
    first = start(**options)
    with first.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said("my name is Ann, add 2 and 3"), **in_session("talk"))
    first.stop()
    assert first.end() == -15
    with start(**options).openai() as client:
        answer = client.chat.completions.create(model="Assistant", messages=said("what is my name?"), **in_session("talk"))
    assert answer.choices[0].message.content == "Your name is Ann."
    # The calls and their results went along.
    assert [each["role"] for each in api.requests()[-1]["messages"]] == ["user", "assistant", "tool", "assistant", "user"]


def test_an_agents_own_store_is_used(start: Serve, api: ModelApi, tmp_path: Path) -> None:
    url = f"json://{tmp_path}/own"
    with start(target="tests.server.served:own_store", OWN_STORE=url, TURNLOG_STORE=f"json://{tmp_path}/not-here").openai() as client:
        client.chat.completions.create(model="Assistant", messages=said("hi"), **in_session("talk"))
    with DefaultSessionStore(tmp_path / "own") as store:
        assert len(store.get_messages(KEY)) == 2
    assert not (tmp_path / "not-here").exists()


def test_a_server_that_stops_finishes_what_it_began(start: Serve, api: ModelApi, tmp_path: Path) -> None:
    server = start(store=f"sqlite://{tmp_path}/s.sqlite")
    with ThreadPoolExecutor() as pool, server.openai() as client:

        def stream() -> str:
            pieces = client.chat.completions.create(
                model="Assistant", messages=said("tell 30 hold stop"), stream=True, **in_session("talk")
            )
            return "".join(piece.choices[0].delta.content or "" for piece in pieces)

        asked = pool.submit(stream)
        api.wait_held("stop")
        server.stop()
        until(lambda: "Waiting for connections to close" in server.log)
        with pytest.raises(httpx2.ConnectError):
            httpx2.get(f"{server.host}/health")
        api.release("stop")
        assert asked.result() == " ".join(f"word{number}" for number in range(30))
    assert server.end() == -15
    with SqliteSessionStore(tmp_path / "s.sqlite") as store:
        assert len(store.get_messages(KEY)) == 2
        assert store.get_open_turns(KEY) == []


@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_that_may_not_wait_longer_interrupts(start: Serve, api: ModelApi, tmp_path: Path, streamed: bool) -> None:
    server = start("--grace", "1", store=f"sqlite://{tmp_path}/s.sqlite")
    words = f"tell 30 hold never{streamed}"
    with ThreadPoolExecutor() as pool, server.openai() as client:

        def ask() -> str:
            answer = client.chat.completions.create(model="Assistant", messages=said(words), stream=streamed, **in_session("talk"))
            return "".join(piece.choices[0].delta.content or "" for piece in answer)

        asked = pool.submit(ask)
        api.wait_held(f"never{streamed}")
        server.stop()
        with pytest.raises(APIError if streamed else InternalServerError, match="the turn was interrupted"):
            asked.result(timeout=30)
    assert server.end() == -15
    api.release(f"never{streamed}")
    assert "Traceback" not in server.log
    with SqliteSessionStore(tmp_path / "s.sqlite") as store:
        [turn] = interrupted(store, KEY)
        assert turn.messages[0].content == words
        assert store.get_messages(KEY) == []


# What fails ---------------------------------------------------------------------------------------------------------------------


def test_a_model_that_fails(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with server.openai() as client:
        for stream in (False, True):
            with pytest.raises(APIStatusError) as caught:
                client.chat.completions.create(model="Assistant", messages=said("fail"), stream=stream, **in_session("failing"))
            assert caught.value.status_code == 502
            assert (caught.value.code, caught.value.type) == ("model_failed", "server_error")
    assert len(interrupted(store, "served.alice.failing")) == 2


def test_a_client_that_tries_again_gets_its_answer(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with server.openai(max_retries=2) as client:
        answer = client.chat.completions.create(model="Assistant", messages=said("fail once"), **in_session("again"))
    assert answer.choices[0].message.content == "1 heard, the last: fail once"
    assert len(store.get_messages("served.alice.again")) == 2


def test_a_tool_that_fails(server: ServedAgent, api: ModelApi, store: SessionStore) -> None:
    with server.openai(max_retries=2) as client, pytest.raises(InternalServerError) as caught:
        client.chat.completions.create(model="Assistant", messages=said("use explode with glass"), **in_session("tool"))
    assert caught.value.code == "agent_failed"
    assert "glass" not in str(caught.value)
    # It is not tried again unasked: tools do things.
    assert len(interrupted(store, "served.alice.tool")) == 1


def test_the_log_holds_nothing_that_was_said(start: Serve, api: ModelApi, tmp_path: Path) -> None:
    server = start(store=f"sqlite://{tmp_path}/s.sqlite")
    word = "Xylophone"
    with server.openai() as client:
        for text in (word, f"fail {word}", f"use explode with {word}"):
            for stream in (False, True):
                try:
                    answer = client.chat.completions.create(
                        model="Assistant", messages=said(text), stream=stream, user=word, **in_session(word)
                    )
                    deque(answer)
                except APIError:
                    continue
    for content in (f'{{"{word}": ', f'{{"messages": [{{"role": "{word}"}}]}}', f'{{"messages": [], "session_id": "{word}"}}'):
        server.post(content=content.encode(), headers={"content-type": "application/json"})
        server.post(f"/{word}?q={word}", content=content.encode(), token=f"{word}{word}")
        server.post(f"/chat?q={word}", content=content.encode(), headers={"x-turnlog-session": word})
    server.close()
    lines = server.log.splitlines()
    assert word not in server.log
    assert any(re.search(r"INFO POST /v1/chat/completions 200 \d+ ms alice$", line) for line in lines)
    assert any("ERROR the turn failed: RuntimeError at " in line for line in lines)
    assert "Traceback" not in server.log


def test_nothing_of_a_failed_turn_is_left_over(server: ServedAgent, threads_before: int) -> None:
    """The file's own server has been through all of the above."""
    assert "Traceback" not in server.log
    assert threading.active_count() < threads_before + 20
