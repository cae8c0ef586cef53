"""What is more than text comes back exactly, in a new process and with the other vendor's model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.messages import (
    BinaryContent,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.agent.api_client import ModelApi
from tests.agent.conftest import STORES, MakeAgent, Start

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    + "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
PICTURE = BinaryContent(data=PIXEL, media_type="image/png")
ELSEWHERE = ImageUrl(url="https://example.org/cat.png")
OTHER = {"openai": "anthropic", "anthropic": "openai"}


@pytest.mark.parametrize("kind", ["json", "sqlite", "five methods on files", "async json"])
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_images_are_sent_again_as_they_were(kind: str, vendor: str, api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent(kind, vendor)
    agent.chat(["What is this?", PICTURE, "and that?", ELSEWHERE])
    make_agent(kind, vendor).chat("and now?")
    first, second = api.requests()
    assert second["messages"][0] == first["messages"][0]
    assert any("image" in part["type"] for part in first["messages"][0]["content"])


def recording(replies: list[ModelResponse]) -> tuple[FunctionModel, list[list[ModelMessage]]]:
    """A model that gives these answers one after another, and what it was sent."""
    sent: list[list[ModelMessage]] = []

    def respond(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        sent.append(list(messages))
        return replies[len(sent) - 1]

    return FunctionModel(respond), sent


def plain(messages: list[ModelMessage]) -> list[dict[str, Any]]:
    """The messages as pydantic-ai writes them, without what belongs to one run."""
    dumps: list[dict[str, Any]] = ModelMessagesTypeAdapter.dump_python(messages, mode="json")
    for message in dumps:
        for key in ("run_id", "conversation_id", *(("instructions", "timestamp") if message["kind"] == "request" else ())):
            message.pop(key, None)
    return dumps


@pytest.mark.parametrize("kind", STORES)
def test_a_rich_turn_comes_back_equal(kind: str, make_agent: MakeAgent) -> None:
    call = ToolCallPart("add", {"a": 2, "b": 3}, "call-1", provider_name="p", provider_details={"k": 1})
    thought = ThinkingPart("Let me see.", signature="c2ln" * 20, provider_name="anthropic", id="t1")
    replies = [
        ModelResponse(parts=[thought, TextPart("I add."), call, ToolCallPart("add", '{"a": 1, "b": 1}', "call-2")], provider_name="p"),
        ModelResponse(parts=[ThinkingPart("Done.", signature="x"), TextPart("5 and 2")]),
        ModelResponse(parts=[TextPart("You are welcome.")]),
    ]
    model, sent = recording(replies)
    agent = make_agent(kind, llm=model)
    agent.chat(["Look", PICTURE, ELSEWHERE, "and add."])
    twin = make_agent(agent.session.store, llm=model)
    twin.chat("Thanks.")
    answered = [*sent[1], replies[1]]
    assert plain(sent[2][:-1]) == plain(answered)


@pytest.mark.parametrize("kind", ["json", "sqlite", "five methods"])
@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
def test_the_other_vendors_model_goes_on_and_back(kind: str, vendor: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind, vendor)
    store = agent.session.store
    agent.chat(["my name is Ada, think", PICTURE])
    agent.chat("add 2 and 3, add 4 and 5, think")
    other = make_agent(store, OTHER[vendor])
    assert other.chat("what is my name?") == "Your name is Ada."
    assert other.chat("add 1 and 1, think") == "The tools said 2."
    assert "".join(other.stream("add 1 and 2, then think")) == "The tools said 3."
    assert make_agent(store, vendor).chat("add 20 and 3") == "The tools said 23."
    assert "".join(make_agent(store, OTHER[vendor]).stream("what is my name?")) == "Your name is Ada."


def test_signatures_of_thoughts_are_sent_back(api: ModelApi, make_agent: MakeAgent) -> None:
    make_agent("json", "anthropic").chat("add 2 and 3, think")
    make_agent("json", "anthropic").chat("and now?")
    blocks = [block for message in api.requests()[-1]["messages"] for block in message["content"] if isinstance(block, dict)]
    assert [block["type"] for block in blocks if block["type"] in ("thinking", "tool_use")] == ["thinking", "tool_use"]


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_an_interrupted_turn_with_an_image_is_resumed(
    kind: str, api: ModelApi, make_agent: MakeAgent, start_on: Start, tmp_path: Path
) -> None:
    agent = make_agent(kind)
    with pytest.raises(Exception, match="500"):
        agent.chat([f"What is this? fail picture{kind}", PICTURE])
    assert start_on(kind).ask("resume").startswith("1 heard")
    first, second = api.requests()
    assert first["messages"] == second["messages"]


def test_odd_text_comes_back(make_agent: MakeAgent) -> None:
    texts = ["\x00 nul", "🎉" * 100, '{"turnlog":1,"x":2}', "line\nline\r\n\ttab", "  spaces  ", "x" * 200_000]
    says: Callable[[str], Any] = make_agent("json").chat
    for text in texts:
        says(text)
    assert [message["content"] for message in make_agent("json").chat_history][::2] == texts
