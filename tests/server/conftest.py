"""What tests of the served agent get: the model's API, servers in processes of their own, and clients."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from openai import OpenAI

from tests.agent.api_client import ROOT, ModelApi

ALICE, BOB = "alice-0123456789", "bob-0123456789"
TOKENS = f"# who may ask\nalice: {ALICE}\n\nbob: {BOB}\n"

Json = dict[str, Any]


class ServedAgent:
    """``turnlog serve-agent`` in a process of its own, on a free port."""

    def __init__(self, *arguments: str, target: str = "tests.server.served:agent", store: str | None = None, **variables: str) -> None:
        chosen = ["--store", store] if store else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "turnlog", *chosen, "serve-agent", target, "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._lines: list[str] = []
        self._reader = threading.Thread(target=lambda: self._lines.extend(self._process.stderr or []))
        self._reader.start()
        line = self._process.stdout.readline()
        found = re.fullmatch(r"Assistant is served at (http://127\.0\.0\.1:\d+)/v1\n", line)
        if found is None:
            self.end()
        assert found is not None, f"it did not start: {line}{self.log}"
        self.host = found[1]
        # One for all requests: making one takes as long as ten requests.
        self.http = httpx2.Client(base_url=self.host, timeout=60)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return "".join(self._lines)

    def openai(self, token: str = ALICE, **options: Any) -> OpenAI:
        """OpenAI's SDK as a client; a failed request is not tried again."""
        return OpenAI(base_url=f"{self.host}/v1", api_key=token, **{"max_retries": 0, "timeout": 60, **options})

    def post(self, path: str = "/v1/chat/completions", body: Any = None, token: str | None = ALICE, **options: Any) -> httpx2.Response:
        """A request by hand. ``body``: what becomes JSON."""
        given = {"authorization": f"Bearer {token}"} if token is not None else {}
        headers = {**given, **options.pop("headers", {})}
        more = options if body is None else {"json": body, **options}
        return self.http.post(path, headers=headers, **more)

    def stop(self) -> None:
        """Tell it to stop."""
        self._process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        """Wait until it has stopped; gives its status."""
        try:
            status = self._process.wait(timeout=40)
        finally:
            self._process.kill()
            self._process.wait()
            self._reader.join()
            if hasattr(self, "http"):
                self.http.close()
            for stream in (self._process.stdout, self._process.stderr):
                assert stream is not None
                stream.close()
        return status

    def close(self) -> None:
        """Stop it, if it has not been."""
        if self._process.poll() is None:
            self.stop()
        if self._process.stdout is not None and not self._process.stdout.closed:
            self.end()


Serve = Callable[..., ServedAgent]


@pytest.fixture(scope="module")
def running_api() -> Iterator[ModelApi]:
    """One model for a file of tests."""
    api = ModelApi()
    yield api
    api.close()


@pytest.fixture
def api(running_api: ModelApi) -> Iterator[ModelApi]:
    """The model with an empty log; the test fails if a request was refused."""
    running_api.forget()
    yield running_api
    refused = running_api.log()["refused"]
    assert not refused, f"the model's API answered 400: {refused[0]['rules']}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shared server of a file of tests keeps its sessions and its tokens."""
    place = tmp_path_factory.mktemp("server")
    (place / "tokens").write_text(TOKENS, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def server(running_api: ModelApi, place: Path) -> Iterator[ServedAgent]:
    """A server on SQLite that asks for tokens, one for a file of tests."""
    one = ServedAgent("--token-file", str(place / "tokens"), store=f"sqlite://{place}/s.sqlite", MODEL_URL=running_api.url)
    yield one
    one.close()


@pytest.fixture
def start(api: ModelApi, place: Path) -> Iterator[Serve]:
    """``start(*options, store=URL)``: a server of the test's own, with the same tokens."""
    begun: list[ServedAgent] = []

    def begin(*arguments: str, **options: Any) -> ServedAgent:
        begun.append(ServedAgent("--token-file", str(place / "tokens"), *arguments, **{"MODEL_URL": api.url, **options}))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


def said(text: str) -> list[Any]:
    """The messages of a request that only asks."""
    return [{"role": "user", "content": text}]


def in_session(name: str) -> Json:
    """The SDK's options that name a session."""
    return {"extra_body": {"session_id": name}}
