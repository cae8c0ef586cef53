"""turnlog serve-agent: what it refuses before it serves."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.server.conftest import ROOT, Serve
from turnlog import Agent
from turnlog.server import AddressError, serve_agent

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["tests.server.served"], 2, "is no MODULE:AGENT"),
        (["tests.server.nothing:agent"], 2, "No module named"),
        (["tests.server.served:nothing"], 2, "nothing"),
        (["tests.server.served:NO_AGENT"], 2, "is a int, and no turnlog Agent"),
        (["tests.server.served:without_model"], 1, "error: no model is configured"),
        (["tests.server.served:without_model", "--host", "0.0.0.0"], 1, "pass tokens (a token file), or listen on 127.0.0.1"),
        (["tests.server.served:without_model", "--token-file", "no-file"], 1, "no-file cannot be read"),
    ],
)
def test_what_it_refuses(run_python: Run, arguments: list[str], status: int, told: str) -> None:
    variables = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "MODEL_URL": "http://127.0.0.1:1", "OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}
    done = run_python("-m", "turnlog", "serve-agent", *arguments, "--port", "0", status=status, **variables)
    assert told in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port}") as caught:
            serve_agent(Agent(llm="test"), port=port)
    assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


def test_without_tokens_it_serves_this_machine(start: Serve, tmp_path: Path) -> None:
    from tests.server.conftest import ServedAgent

    server = ServedAgent(store=f"json://{tmp_path}/json", MODEL_URL="http://127.0.0.1:1")
    assert server.http.get("/v1/models").status_code == 200
    assert server.http.get("/v1/models", headers={"host": "rebound.example"}).status_code == 403
    server.close()


def test_without_the_packages_the_command_that_installs_them_is_named(run_python: Run) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from turnlog.cli import main; sys.exit(main(['serve-agent', 'm:a']))"
    assert "pip install 'turnlog[serve]'" in run_python("-c", code, status=2).stderr
