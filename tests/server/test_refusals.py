"""Bad requests: each gets the right status and OpenAI's error object, and leaves nothing behind."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.server.conftest import ALICE, ServedAgent, said
from turnlog.session import SqliteSessionStore

JSON = {"content-type": "application/json"}


def error_of(answer: httpx2.Response) -> tuple[int, str, str | None]:
    """Status, code and param of an error, whose form is checked."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return answer.status_code, body["error"]["code"], body["error"]["param"]


BODIES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "invalid_json"),
    "half": (b'{"messages": [', "invalid_json"),
    "no object": (b"[1]", "invalid_json"),
    "latin-1": ('{"messages": [{"role": "user", "content": "ü"}]}'.encode("latin-1"), "invalid_json"),
    "NaN": (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', "invalid_json"),
    "a long number": (b'{"seed": ' + b"1" * 5000 + b"}", "invalid_json"),
    "deep": (b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "invalid_json"),
    "half a pair": (rb'{"messages": [{"role": "user", "content": "\ud83d"}]}', "invalid_json"),
    "half a pair as session": (rb'{"session_id": "\uDE00", "messages": [{"role": "user", "content": "x"}]}', "invalid_json"),
}


@pytest.mark.parametrize("name", BODIES)
def test_bodies_that_are_no_json(server: ServedAgent, name: str) -> None:
    body, code = BODIES[name]
    assert error_of(server.post(content=body, headers=JSON)) == (400, code, None)
    assert error_of(server.post("/chat", content=body, headers=JSON)) == (400, code, None)


CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
FIELDS: dict[str, tuple[dict[str, Any], str, str | None]] = {
    "no messages": ({}, "missing_field", "messages"),
    "empty messages": ({"messages": []}, "invalid_value", "messages"),
    "messages as text": ({"messages": "hi"}, "invalid_value", "messages"),
    "a message as text": ({"messages": ["hi"]}, "invalid_value", "messages[0]"),
    "no role": ({"messages": [{"content": "hi"}]}, "invalid_value", "messages[0]"),
    "unknown role": ({"messages": [{"role": "root", "content": "hi"}]}, "invalid_value", "messages[0]"),
    "no content": ({"messages": [{"role": "user"}]}, "invalid_value", "messages[0].content"),
    "content as number": ({"messages": [{"role": "user", "content": 1}]}, "invalid_value", "messages[0].content"),
    "empty prompt": ({"messages": said("")}, "empty_prompt", "messages"),
    "blank prompt": ({"messages": said(" \n")}, "empty_prompt", "messages"),
    "blank parts": ({"messages": [{"role": "user", "content": [{"type": "text", "text": " \n"}]}]}, "empty_prompt", "messages"),
    "empty parts": ({"messages": [{"role": "user", "content": []}]}, "empty_prompt", "messages"),
    "unknown part": ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]}, "unsupported_part", "messages"),
    "part as text": ({"messages": [{"role": "user", "content": ["hi"]}]}, "unsupported_part", "messages"),
    "text part without text": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "unsupported_part", "messages"),
    "broken image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!"}}]}]},
        "unsupported_part",
        "messages",
    ),
    "ends with the assistant": ({"messages": [*said("hi"), {"role": "assistant", "content": "x"}]}, "invalid_value", "messages[1].role"),
    "only the system": ({"messages": [{"role": "system", "content": "x"}]}, "invalid_value", "messages[0].role"),
    "call without result": (
        {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}, *said("hi")]},
        "invalid_value",
        "messages",
    ),
    "result without call": (
        {"messages": [{"role": "tool", "content": "3", "tool_call_id": "x"}, *said("hi")]},
        "invalid_value",
        "messages",
    ),
    "tools": ({"messages": said("hi"), "tools": [{"type": "function"}]}, "unsupported_parameter", "tools"),
    "functions": ({"messages": said("hi"), "functions": [{}]}, "unsupported_parameter", "functions"),
    "n": ({"messages": said("hi"), "n": 2}, "unsupported_parameter", "n"),
    "form": ({"messages": said("hi"), "response_format": {"type": "json_object"}}, "unsupported_parameter", "response_format"),
    "logprobs": ({"messages": said("hi"), "logprobs": True}, "unsupported_parameter", "logprobs"),
    "sound": ({"messages": said("hi"), "modalities": ["text", "audio"]}, "unsupported_parameter", "modalities"),
    "stream as text": ({"messages": said("hi"), "stream": "yes"}, "invalid_value", "stream"),
    "stream options as text": ({"messages": said("hi"), "stream_options": "all"}, "invalid_value", "stream_options"),
    "session as number": ({"messages": said("hi"), "session_id": 5}, "invalid_value", "session_id"),
    "empty session": ({"messages": said("hi"), "session_id": ""}, "invalid_value", "session_id"),
    "long session": ({"messages": said("hi"), "session_id": "x" * 1020}, "invalid_value", "session_id"),
    "two sessions": ({"messages": said("hi"), "session_id": "a", "metadata": {"session_id": "b"}}, "invalid_value", "session_id"),
    "metadata as text": ({"messages": said("hi"), "metadata": "x"}, "invalid_value", "metadata"),
    "user as number": ({"messages": said("hi"), "user": 5}, "invalid_value", "user"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields(server: ServedAgent, place: Path, name: str) -> None:
    body, code, param = FIELDS[name]
    for stream in ({}, {"stream": True}):
        assert error_of(server.post(body={**stream, **body})) == (400, code, param)


def test_nothing_of_it_is_stored(server: ServedAgent, place: Path) -> None:
    server.post(body={"messages": said(""), "session_id": "nothing"})
    with SqliteSessionStore(place / "s.sqlite") as store:
        assert not store.session_exists("served.alice.nothing")


def test_an_unknown_model(server: ServedAgent) -> None:
    assert error_of(server.post(body={"model": "gpt-6-luna", "messages": said("hi")})) == (404, "model_not_found", "model")


def test_one_message_needs_one(server: ServedAgent) -> None:
    for body in ({}, {"message": ""}, {"query": None}):
        assert error_of(server.post("/chat", body)) == (400, "missing_field", "message")
    assert error_of(server.post("/chat", {"message": 5})) == (400, "invalid_value", "message")


@pytest.mark.parametrize("size", [5_000_000, 20_000_000])
def test_a_body_that_is_too_large(server: ServedAgent, size: int) -> None:
    whole = json.dumps({"messages": said("x" * size)}).encode()
    assert error_of(server.post(content=whole, headers=JSON)) == (413, "body_too_large", None)

    def pieces() -> Any:
        yield from (whole[start : start + 100_000] for start in range(0, len(whole), 100_000))

    # Without a length beforehand.
    assert error_of(server.post(content=pieces(), headers=JSON)) == (413, "body_too_large", None)


def test_a_client_that_sends_all_before_it_listens_sees_why(server: ServedAgent) -> None:
    host, port = server.host.removeprefix("http://").split(":")
    head = f"POST /chat HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ALICE}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((host, int(port)), timeout=30) as line:
        line.sendall(f"{head}Content-Length: 40000000\r\n\r\n".encode() + bytes(40_000_000))
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection((host, int(port)), timeout=30) as line:
        # Nobody reads that much for a refusal.
        line.sendall(f"{head}Content-Length: 400000000\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 413 ")


def test_a_megabyte_is_taken(server: ServedAgent, place: Path) -> None:
    text = "wörd 🙂 " * 100_000
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said(text), extra_body={"session_id": "large"})
    with SqliteSessionStore(place / "s.sqlite") as store:
        assert store.get_messages("served.alice.large")[0].content == text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_page_in_a_browser_cannot_ask_unasked(server: ServedAgent, kind: str) -> None:
    # These kinds are what a page of any origin may send without being allowed to.
    body = json.dumps({"message": "hi"}).encode()
    assert error_of(server.post("/chat", content=body, headers={"content-type": kind})) == (415, "unsupported_media_type", None)


def test_paths_and_methods(server: ServedAgent) -> None:
    assert error_of(server.post("/v1/completions", {})) == (404, "unknown_path", None)
    assert error_of(server.http.get("/../../etc/passwd")) == (404, "unknown_path", None)
    wrong = server.http.get("/v1/chat/completions", headers={"authorization": f"Bearer {ALICE}"})
    assert error_of(wrong) == (405, "method_not_allowed", None)
    assert wrong.headers["allow"] == "POST"


def test_a_session_header_that_is_no_text(server: ServedAgent) -> None:
    answer = server.post(body={"messages": said("hi")}, headers={b"x-turnlog-session": b"\xff\xfe"})
    assert error_of(answer) == (400, "invalid_value", "session_id")


def test_health_asks_for_no_token(server: ServedAgent) -> None:
    answer = server.http.get("/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
