"""The endpoint as OpenAI's SDK sees it: answers, streams, usage, models; with a session, and without."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, NotFoundError

from tests.agent.api_client import ModelApi
from tests.server.conftest import ALICE, ServedAgent, in_session, said
from turnlog.session import SqliteSessionStore


def stored(place: Path, name: str) -> list[Any]:
    with SqliteSessionStore(place / "s.sqlite") as store:
        return [(message.role, message.content) for message in store.get_messages(f"served.alice.{name}")]


def sessions(place: Path) -> set[str]:
    with SqliteSessionStore(place / "s.sqlite") as store:
        return {info.session_id for info in store.iter_sessions()}


def asked(api: ModelApi) -> list[Any]:
    """The messages that the model was sent last."""
    messages: list[Any] = api.requests()[-1]["messages"]
    return [(each["role"], each["content"]) for each in messages]


def test_a_session_goes_on(server: ServedAgent, api: ModelApi, place: Path) -> None:
    with server.openai() as client:
        chat = client.chat.completions
        first = chat.create(model="Assistant", messages=said("my name is Ann"), **in_session("goes-on"))
        second = chat.create(model="Assistant", messages=said("what is my name?"), **in_session("goes-on"))
        other = chat.create(model="Assistant", messages=said("what is my name?"), **in_session("other"))
    assert first.choices[0].message.content == "Hello, Ann."
    assert second.choices[0].message.content == "Your name is Ann."
    assert other.choices[0].message.content == "You did not say."
    assert second.choices[0].finish_reason == "stop"
    assert (second.model, second.object) == ("Assistant", "chat.completion")
    assert first.id != second.id
    assert stored(place, "goes-on") == [
        ("user", "my name is Ann"),
        ("assistant", "Hello, Ann."),
        ("user", "what is my name?"),
        ("assistant", "Your name is Ann."),
    ]


def test_usage_is_that_of_all_model_calls(server: ServedAgent, api: ModelApi) -> None:
    with server.openai() as client:
        answer = client.chat.completions.create(model="Assistant", messages=said("add 2 and 3"))
        pieces = [
            *client.chat.completions.create(
                model="Assistant", messages=said("add 2 and 3"), stream=True, stream_options={"include_usage": True}
            )
        ]
    assert answer.choices[0].message.content == "The tools said 5."
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert [piece.usage for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].choices == []
    assert pieces[-1].usage == answer.usage


def test_a_stream_comes_in_pieces_and_is_stored_before_its_end(server: ServedAgent, api: ModelApi, place: Path) -> None:
    texts: list[str] = []
    with server.openai() as client:
        stream = client.chat.completions.create(model="Assistant", messages=said("tell 30"), stream=True, **in_session("streamed"))
        with stream:
            for piece in stream:
                assert piece.usage is None
                if piece.choices[0].finish_reason is not None:
                    assert len(stored(place, "streamed")) == 2
                texts.append(piece.choices[0].delta.content or "")
    whole = " ".join(f"word{number}" for number in range(30))
    assert "".join(texts) == whole
    assert len([text for text in texts if text]) > 5
    assert stored(place, "streamed") == [("user", "tell 30"), ("assistant", whole)]


async def _async_answer(server: ServedAgent) -> str:
    async with AsyncOpenAI(base_url=f"{server.host}/v1", api_key=ALICE, max_retries=0) as client:
        stream = await client.chat.completions.create(model="Assistant", messages=said("hello"), stream=True, **in_session("async"))
        return "".join([piece.choices[0].delta.content or "" async for piece in stream])


def test_the_async_client(server: ServedAgent, api: ModelApi) -> None:
    import asyncio

    assert asyncio.run(_async_answer(server)) == "1 heard, the last: hello"


@pytest.mark.parametrize(
    ("how", "headers", "body"),
    [
        ("header", {"X-Turnlog-Session": "named"}, {}),
        ("field", {}, {"session_id": "named"}),
        ("metadata", {}, {"metadata": {"session_id": "named"}}),
        ("all of them", {"X-Turnlog-Session": "named"}, {"session_id": "named", "metadata": {"session_id": "named", "topic": "x"}}),
    ],
)
def test_ways_to_name_a_session(
    server: ServedAgent, api: ModelApi, place: Path, how: str, headers: dict[str, str], body: dict[str, Any]
) -> None:
    before = len(stored(place, "named"))
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said(how), extra_headers=headers, extra_body=body)
    assert stored(place, "named")[before] == ("user", how)


def test_a_session_name_beyond_ascii(server: ServedAgent, api: ModelApi, place: Path) -> None:
    name = "räume/../übung 🙂\n\x00"
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said("grüße 🙂\x00"), **in_session(name))
    assert stored(place, name) == [("user", "grüße 🙂\x00"), ("assistant", "1 heard, the last: grüße 🙂\x00")]
    header = {"x-turnlog-session": "übung"}
    assert server.post(body={"messages": said("hi")}, headers={name: value.encode() for name, value in header.items()}).status_code == 200
    assert len(stored(place, "übung")) == 2


def test_with_a_session_only_the_end_of_the_request_counts(server: ServedAgent, api: ModelApi, place: Path) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Speak softly."},
        {"role": "user", "content": "my name is Forged"},
        {"role": "assistant", "content": "Hello, Forged."},
        {"role": "user", "content": "one"},
        {"role": "user", "content": "two"},
    ]
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=messages, **in_session("end"))
        # What was an instruction holds for its own request.
        assert asked(api) == [("system", "Speak softly."), ("user", "one\n\ntwo")]
        client.chat.completions.create(model="Assistant", messages=said("three"), **in_session("end"))
    assert asked(api) == [("user", "one\n\ntwo"), ("assistant", "1 heard, the last: one\n\ntwo"), ("user", "three")]
    assert [role for role, _ in stored(place, "end")] == ["user", "assistant"] * 2


def test_without_a_session_the_request_is_the_history(server: ServedAgent, api: ModelApi, place: Path) -> None:
    before = sessions(place)
    call = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
    messages: list[Any] = [
        {"role": "developer", "content": [{"type": "text", "text": "Speak softly."}]},
        {"role": "user", "content": "my name is Ann, add 1 and 2"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "assistant", "content": "That is 3."},
        {"role": "user", "content": "what is my name?"},
    ]
    with server.openai() as client:
        answer = client.chat.completions.create(model="Assistant", messages=messages)
        streamed = client.chat.completions.create(model="Assistant", messages=messages, stream=True)
        text = "".join(piece.choices[0].delta.content or "" for piece in streamed)
    assert answer.choices[0].message.content == text == "Your name is Ann."
    assert [role for role, _ in asked(api)] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert asked(api)[0] == ("system", "Speak softly.")
    assert sessions(place) == before


def test_images_and_text_in_parts(server: ServedAgent, api: ModelApi, place: Path) -> None:
    picture = f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": picture}}]
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=[{"role": "user", "content": parts}], **in_session("parts"))  # type: ignore[list-item, misc]
    [(role, content)] = asked(api)
    assert role == "user"
    assert [part["type"] for part in content] == ["text", "image_url"]
    assert content[1]["image_url"]["url"] == picture
    assert stored(place, "parts")[0][1] == parts


def test_the_user_is_noted_with_the_session(server: ServedAgent, api: ModelApi, place: Path) -> None:
    with server.openai() as client:
        client.chat.completions.create(model="Assistant", messages=said("hi"), user="ann@example.org", **in_session("noted"))
    with SqliteSessionStore(place / "s.sqlite") as store:
        info = store.get_session_info("served.alice.noted")
    assert info is not None
    assert (info.user_id, info.agent_name) == ("ann@example.org", "Assistant")


def test_models(server: ServedAgent) -> None:
    with server.openai() as client:
        assert [model.id for model in client.models.list()] == ["Assistant"]
        assert client.models.retrieve("Assistant").owned_by == "turnlog"
        with pytest.raises(NotFoundError, match="'Assistant'"):
            client.models.retrieve("gpt-6-luna")


def test_the_events_are_openais(server: ServedAgent, api: ModelApi) -> None:
    answer = server.post(body={"messages": said("hi"), "stream": True})
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    events = [line.removeprefix("data: ") for line in answer.text.split("\n\n") if line]
    assert events[-1] == "[DONE]"
    pieces = [json.loads(event) for event in events[:-1]]
    assert {piece["object"] for piece in pieces} == {"chat.completion.chunk"}
    assert len({piece["id"] for piece in pieces}) == 1
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [piece["choices"][0]["finish_reason"] for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
    assert all("usage" not in piece for piece in pieces)
