"""The console bot, as the example and as the command run it: in processes of their own."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from turnlog.agent.models import PROVIDER_KEYS

ROOT = Path(__file__).parents[2]

Run = Callable[..., subprocess.CompletedProcess[str]]

AGENT = (
    'from turnlog import Agent\nagent = Agent("Tester", llm="test")\nwithout_model = Agent("Tester")\nnothing = 5\ndef choosy(key): ...\n'
)
NO_KEYS = dict.fromkeys(("TURNLOG_MODEL", "OPENAI_MODEL_NAME", *PROVIDER_KEYS), "")


def talk(run_python: Run, *arguments: str, lines: str, tmp_path: Path, **variables: str) -> str:
    """What the bot answers to lines on its input."""
    program = tmp_path / "talk.py"
    program.write_text(
        "import subprocess, sys\n"
        "done = subprocess.run([sys.executable, *sys.argv[2:]], input=sys.argv[1], text=True, capture_output=True)\n"
        "sys.stdout.write(done.stdout)\nsys.stderr.write(done.stderr)\nsys.exit(done.returncode)\n"
    )
    return run_python(str(program), lines, *arguments, PYDANTIC_AI_NO_BANNER="1", **variables).stdout


def test_a_conversation_goes_on_after_a_restart(run_python: Run, tmp_path: Path) -> None:
    example = [str(ROOT / "examples" / "console_bot.py"), f"json://{tmp_path}/sessions"]
    said = talk(run_python, *example, lines="hello\n/status\n", tmp_path=tmp_path)
    assert said == "success (no tool calls)\nConversation first: 2 messages.\n"
    # The last line has no end.
    said = talk(run_python, *example, lines="again\r\n\n/status", tmp_path=tmp_path)
    assert said == "success (no tool calls)\nConversation first: 4 messages.\n"


@pytest.mark.parametrize("store", ["sqlite", "tests.verify.document_store:DocumentStore", "tests.verify.document_store:AsyncDocumentStore"])
def test_the_command_runs_a_bot(store: str, run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "mybot.py").write_text(AGENT)
    place = f"sqlite://{tmp_path}/s.sqlite" if store == "sqlite" else store
    path = f"{ROOT / 'src'}{os.pathsep}{ROOT}"
    command = ["-m", "turnlog", "--store", place, "bot", "console", "--agent", "mybot:agent", "--allow", "me", "--set", "user=me"]
    said = talk(run_python, *command, lines="hello\n/status\n", tmp_path=tmp_path, PYTHONPATH=path)
    assert said == "success (no tool calls)\nConversation first: 2 messages.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no platform 'nowhere'"),
        (["console", "--scope", "world"], "scope must be user, chat, thread"),
        (["console", "--rate", "many"], "is no N/SECONDS"),
        (["console", "--reset", "noon"], "daily@HH:MM"),
        (["console", "--set", "user"], "is no NAME=VALUE"),
        (["console", "--set", "colour=red"], "Invalid value for '--set': console has no option colour"),
        (["console", "--store", "nothing.stores:Mine"], "gives no store: No module named 'nothing'"),
        (["console", "--store", "sqlite:s.sqlite"], "is no store URL"),
        (["console", "--agent", "./mybot.py:agent"], "such as mybot:agent for mybot.py in this directory"),
        (["console", "--agent", "mybot.py:agent"], "such as mybot:agent for mybot.py in this directory"),
        (["console", "--agent", "mybot:choosy"], "must make an agent without being given anything"),
        (["console", "--agent", "mybot:without_model"], "no model is configured"),
        (["console", "--agent", "mybot:nothing"], "no turnlog Agent"),
    ],
)
def test_what_makes_no_sense_is_told(arguments: list[str], said: str, run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "mybot.py").write_text(AGENT)
    done = run_python(
        "-m",
        "turnlog",
        "bot",
        "--agent",
        "mybot:agent",
        *arguments,
        status=1 if arguments[-1] in ("nowhere", "mybot:without_model") else 2,
        **NO_KEYS,
    )
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_on_a_terminal_a_signal_ends_it_in_good_order(number: signal.Signals, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYDANTIC_AI_NO_BANNER": "1"}
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "examples" / "console_bot.py")],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        cwd=tmp_path,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        os.write(ours, b"hello\n")
        seen = b""
        until = time.monotonic() + 60
        while b"success" not in seen and time.monotonic() < until:
            seen += os.read(ours, 4096)
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert b"Traceback" not in seen
        assert b"Fatal" not in seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_nothing_drives_the_terminal() -> None:
    import asyncio
    import io

    from turnlog.bots.console import Console

    out = io.StringIO()
    asyncio.run(Console(user="me", input=io.StringIO(), output=out).send({}, "red \x1b[31m and\x07\n\tgone \u202e"))
    assert out.getvalue() == "red \ufffd[31m and\ufffd\n\tgone \ufffd\n"
