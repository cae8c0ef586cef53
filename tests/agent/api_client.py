"""The model API as tests see it: started and ended here, its log, and models of both vendors' SDKs that talk to it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class ModelApi:
    """The server's process. ``url`` is the base of the OpenAI-compatible part."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.agent.model_api"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.host = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        self.url = f"{self.host}/v1"

    def close(self) -> None:
        """End the server."""
        self._process.communicate(timeout=20)

    def log(self) -> dict[str, Any]:
        """What was seen: ``requests``, ``refused`` and ``held``."""
        with urllib.request.urlopen(f"{self.host}/log", timeout=20) as answer:
            log: dict[str, Any] = json.load(answer)
        return log

    def requests(self) -> list[dict[str, Any]]:
        """The bodies of all requests, oldest first."""
        requests: list[dict[str, Any]] = self.log()["requests"]
        return requests

    def forget(self) -> None:
        """Empty the log."""
        self._post("/forget")

    def release(self, key: str) -> None:
        """Let the answers through that "hold KEY" holds."""
        self._post(f"/release/{key}")

    def wait_held(self, key: str, seconds: float = 30) -> None:
        """Return once an answer is held; fails when none is within the time."""
        deadline = time.monotonic() + seconds
        while key not in self.log()["held"]:
            assert time.monotonic() < deadline, f"no answer was held for {key}"
            time.sleep(0.01)

    def _post(self, path: str) -> None:
        with urllib.request.urlopen(urllib.request.Request(f"{self.host}{path}", data=b"", method="POST"), timeout=20) as answer:
            answer.read()


def openai_model(url: str) -> Any:
    """OpenAI's SDK over the API; a failed request is not tried again."""
    from openai import AsyncOpenAI
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
    return OpenAIChatModel("scripted-a", provider=OpenAIProvider(openai_client=client))


def anthropic_model(url: str) -> Any:
    """Anthropic's SDK over the API; a failed request is not tried again."""
    from anthropic import AsyncAnthropic
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key="none", max_retries=0)
    return AnthropicModel("scripted-b", provider=AnthropicProvider(anthropic_client=client))


MODELS = {"openai": openai_model, "anthropic": anthropic_model}
