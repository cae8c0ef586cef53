"""An agent behind an OpenAI-compatible endpoint: two clients with a token each, and a restart in the middle of a conversation.

pip install 'turnlog[cli,serve]'
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from openai import OpenAI
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from turnlog import Agent, Session


def answer(messages: list[ModelMessage]) -> str:
    """Stands in for a model, as this must run without a key: it remembers names."""
    said = [str(part.content) for message in messages for part in message.parts if part.part_kind == "user-prompt"]
    names = [text.split()[-1].strip(".") for text in said if text.startswith("My name is")]
    return f"You are {names[-1]}." if names else "I do not know you."


def stand_in(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """The answer at once."""
    return ModelResponse(parts=[TextPart(answer(messages))])


async def stand_in_streaming(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
    """The answer word by word."""
    for word in answer(messages).split(" "):
        yield f"{word} "


# What is served. With a key at hand: llm="openai:gpt-6-luna".
agent = Agent("Assistant", "Answer briefly.", llm=FunctionModel(stand_in, stream_function=stand_in_streaming))


@contextmanager
def served(place: Path) -> Iterator[str]:
    """``turnlog serve-agent`` on a free port, with its sessions in ``place``; gives its URL."""
    command = [sys.executable, "-m", "turnlog", "--store", f"sqlite://{place}/sessions.sqlite", "serve-agent", "serve_agent:agent"]
    options = ["--port", "0", "--token-file", str(place / "tokens")]
    with open(place / "server.log", "ab") as log:
        process = subprocess.Popen([*command, *options], cwd=Path(__file__).parent, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[-1]
        finally:
            process.terminate()  # it finishes the turns that it has begun


def main(place: Path) -> None:
    """Two people, one agent."""
    (place / "tokens").write_text("alice: secret-of-alice\nbob: secret-of-bob\n", encoding="utf-8")
    session = {"session_id": "chat-123"}

    with served(place) as url, OpenAI(base_url=url, api_key="secret-of-alice") as alice:
        first = alice.chat.completions.create(
            model="Assistant", messages=[{"role": "user", "content": "My name is Alice."}], extra_body=session
        )
        print("alice is told:", first.choices[0].message.content)

    with served(place) as url, OpenAI(base_url=url, api_key="secret-of-alice") as alice:
        stream = alice.chat.completions.create(
            model="Assistant", messages=[{"role": "user", "content": "Who am I?"}], stream=True, extra_body=session
        )
        words = [piece.choices[0].delta.content or "" for piece in stream]
        print("after a restart, streamed:", "".join(words).strip())

        # Another token's session of the same name is another session. This client is turnlog's own.
        bob = Session("chat-123", agent_url=url.removesuffix("/v1"), headers={"Authorization": "Bearer secret-of-bob"})
        print("bob is told:", bob.chat("Who am I?"))


if __name__ == "__main__":
    with TemporaryDirectory() as directory:
        main(Path(directory).resolve())
