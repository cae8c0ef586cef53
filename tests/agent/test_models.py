"""Which model an agent talks to, and that none is looked for, nor any library of models loaded, before the first turn."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.agent.api_client import ModelApi
from turnlog import Agent
from turnlog.agent import ModelNotConfiguredError
from turnlog.agent.models import PROVIDER_KEYS, choose_model
from turnlog.errors import SessionError

Run = Callable[..., subprocess.CompletedProcess[str]]

VARIABLES = ["TURNLOG_MODEL", "OPENAI_MODEL_NAME", "OPENAI_BASE_URL", *PROVIDER_KEYS]
LIBRARIES = "[name for name in sorted(sys.modules) if name.split('.')[0] in ('pydantic_ai', 'pydantic', 'openai', 'anthropic', 'httpx')]"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_no_model_library_is_loaded_before_the_first_turn(run_python: Run) -> None:
    program = (
        "import sys\nfrom turnlog import Agent, Memory\n"
        "agent = Agent(name='A', memory={'session_id': 'chat'}, tools=[print], llm='test')\n"
        f"agent.session, agent.chat_history, repr(agent)\nprint({LIBRARIES})\n"
        f"print(agent.chat('hi') != '', {LIBRARIES} != [])"
    )
    assert run_python("-c", program).stdout.splitlines()[0] == "[]"


def test_without_pydantic_ai_the_error_names_the_command(run_python: Run) -> None:
    program = (
        "import sys\nsys.modules['pydantic_ai'] = None\nfrom turnlog import Agent\n"
        "try:\n    Agent()\nexcept ImportError as error:\n    print(error)"
    )
    assert "pip install 'turnlog[agent]'" in run_python("-c", program).stdout


def test_without_a_model_the_error_lists_the_ways() -> None:
    agent = Agent(memory={"session_id": "chat", "store": "memory://"})
    with pytest.raises(ModelNotConfiguredError) as caught:
        agent.chat("hi")
    assert isinstance(caught.value, SessionError)
    for way in ("llm=", "TURNLOG_MODEL", "OPENAI_MODEL_NAME", *PROVIDER_KEYS):
        assert way in str(caught.value)
    assert agent.chat_history == []
    assert agent.session.interrupted() == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("openai:gpt-6-luna", "openai:gpt-6-luna"),
        ("anthropic:claude-sonnet-5-5", "anthropic:claude-sonnet-5-5"),
        ("openai/gpt-6-luna", "openai:gpt-6-luna"),
        ("gpt-6-luna", "openai:gpt-6-luna"),
        ("test", "test"),
        ({"model": "groq/llama"}, "groq:llama"),
    ],
)
def test_strings_are_pydantic_ais(given: Any, expected: str) -> None:
    assert choose_model(given) == expected


def test_the_environment_names_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, model in reversed(PROVIDER_KEYS.items()):
        monkeypatch.setenv(key, "k")
        assert choose_model(None) == model
    monkeypatch.setenv("OPENAI_MODEL_NAME", "gpt-7")
    assert choose_model(None) == "openai:gpt-7"
    monkeypatch.setenv("TURNLOG_MODEL", "anthropic:claude-7")
    assert choose_model(None) == "anthropic:claude-7"
    assert choose_model("test") == "test"


def named(model: Any) -> tuple[str, str]:
    """The name of a served model, and where it is served."""
    return model.model_name, str(model.client.base_url)


def test_urls_name_a_server_and_perhaps_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(choose_model("http://127.0.0.1:9/v1#qwen")) == ("qwen", "http://127.0.0.1:9/v1/")
    assert named(choose_model("http://127.0.0.1:9/v1")) == ("default", "http://127.0.0.1:9/v1/")
    assert named(choose_model("qwen", base_url="http://127.0.0.1:9/v1")) == ("qwen", "http://127.0.0.1:9/v1/")
    assert named(choose_model({"model": "openai:qwen", "base_url": "http://127.0.0.1:9/v1"})) == ("qwen", "http://127.0.0.1:9/v1/")
    monkeypatch.setenv("OPENAI_MODEL_NAME", "mine")
    assert named(choose_model("http://127.0.0.1:9/v1")) == ("mine", "http://127.0.0.1:9/v1/")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8/v1")
    assert named(choose_model(None)) == ("mine", "http://127.0.0.1:8/v1/")
    assert choose_model("anthropic:claude-7") == "anthropic:claude-7"


def test_keys_are_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(model: Any) -> str:
        return str(model.client.api_key)

    assert key(choose_model("http://127.0.0.1:9/v1", api_key="mine")) == "mine"
    assert key(choose_model({"model": "m", "base_url": "http://127.0.0.1:9/v1", "api_key": "its"}, api_key="mine")) == "its"
    assert key(choose_model("http://127.0.0.1:9/v1")) == "none"
    monkeypatch.setenv("OPENAI_API_KEY", "theirs")
    assert key(choose_model("http://127.0.0.1:9/v1")) == "theirs"


@pytest.mark.parametrize("given", [7, ["test"], object(), {"model": "m", "temperature": 1}])
def test_what_is_no_model_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="llm"):
        choose_model(given)


def test_a_model_from_the_environment_is_talked_to(api: ModelApi, run_python: Run) -> None:
    program = "from turnlog import Agent\nprint(Agent().chat('hello'))"
    variables = {"OPENAI_BASE_URL": api.url, "OPENAI_API_KEY": "none", "OPENAI_MODEL_NAME": "scripted"}
    assert run_python("-c", program, **variables).stdout == "1 heard, the last: hello\n"
    assert [request["model"] for request in api.requests()] == ["scripted"]
