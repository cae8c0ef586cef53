"""chat: through a pipe and on a terminal, with a model that needs no key."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run, command, on_terminal, variables
from turnlog.session import SessionStore

ANSWER = "success (no tool calls)"


@pytest.fixture
def url(tmp_path: Path) -> str:
    """One store is enough here: nothing depends on which."""
    (tmp_path / "place").mkdir()
    return f"sqlite://{tmp_path}/place/s.sqlite"


def test_a_pipe_is_a_conversation(run: Run, store: SessionStore) -> None:
    assert run("chat", "talk", "--model", "test", input="Hello\n\nAgain\n").stdout == f"{ANSWER}\n{ANSWER}\n"
    assert [message.content for message in store.get_messages("talk")] == ["Hello", ANSWER, "Again", ANSWER]


def test_a_chat_goes_on_where_it_was(run: Run, store: SessionStore) -> None:
    run("chat", "oth", "--model", "test", input="And you?\n")
    assert [message.content for message in store.get_messages("other")] == ["Hello", "And you?", ANSWER]
    run("chat", "oth", "--new", "--model", "test", input="Hi\n")
    assert store.get_messages("oth")[0].content == "Hi"
    assert "several sessions begin" in run("chat", "tri", "--model", "test", input="Hi\n", status=1).stderr


def test_a_chat_without_a_session_begins_one(run: Run, store: SessionStore) -> None:
    run("chat", "--model", "test", input="Hi\n")
    (name,) = [info.session_id for info in store.iter_sessions(prefix="chat-")]
    assert len(store.get_messages(name)) == 2


def test_the_commands_of_the_chat(run: Run, store: SessionStore) -> None:
    said = "one\ntwo\n/history\n/undo\n/fork\nthree\n//slash\n/nonsense\n/undo\n/resume\n/new\n/undo\nfour\n/help\n/quit\nnever\n"
    done = run("chat", "talk", "--model", "test", input=said)
    assert [message.content for message in store.get_messages("talk")] == ["one", ANSWER]
    assert "#2 user" in done.stdout
    assert "\n  two\n" in done.stdout
    assert "took 2 messages back; turnlog undo talk undoes that\n" in done.stdout
    (fork,) = store.get_children("talk")
    assert f"now in session {fork}, a fork of talk\n" in done.stdout
    assert [message.content for message in store.get_messages(fork)] == ["one", ANSWER, "three", ANSWER]
    assert done.stderr == "error: /nonsense is no command: /help lists them; //… says it to the model\n"
    assert f"session '{fork}' has no interrupted turn\n" in done.stdout
    (new,) = [info.session_id for info in store.iter_sessions(prefix="chat-")]
    assert f"now in session {new}\nthere is no exchange before this one to go back to" in done.stdout
    assert [message.content for message in store.get_messages(new)] == ["four", ANSWER]
    assert done.stdout.endswith("at the prompt it ends the chat.\n")


def test_what_is_said_with_a_slash_reaches_the_model(run: Run, store: SessionStore) -> None:
    run("chat", "talk", "--model", "test", input="//etc/hosts\n")
    assert store.get_messages("talk")[0].content == "/etc/hosts"


def test_without_a_model_the_error_says_how_to_name_one(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.endswith("_API_KEY") or name in ("TURNLOG_MODEL", "OPENAI_MODEL_NAME"):
            monkeypatch.delenv(name)
    refused = run("chat", "talk", input="Hi\n", status=1)
    assert refused.stderr.startswith("error: no model is configured")
    assert "turnlog chat --model MODEL" in refused.stderr


def test_a_model_that_fails_is_told_in_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    refused = run("chat", "talk", "--model", "openai:gpt-x", input="Hi\n", status=1)
    assert refused.stderr.startswith("error: Set the `OPENAI_API_KEY`")
    assert refused.stderr.count("\n") == 1


def test_without_the_agents_package_the_command_that_installs_it_is_named(url: str, store: SessionStore) -> None:
    code = f"import sys; sys.modules['pydantic_ai'] = None; from turnlog.cli import main; sys.exit(main(['--store', {url!r}, 'chat']))"
    done = subprocess.run(
        [*command()[:1], "-c", code], env=variables(), capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'turnlog[agent]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_on_a_terminal(url: str, store: SessionStore) -> None:
    status, seen = on_terminal(["--store", url, "chat", "talk", "--model", "test"], "Hello\n/quit\n", NO_COLOR="1")
    assert status == 0
    assert "session talk: new; /help for help, /quit to end" in seen
    assert f"assistant\x1b[0m\n{ANSWER}\n" in seen
    assert on_terminal(["--store", url, "chat", "talk", "--model", "test"], "\x04", after="> ")[0] == 0
    assert len(store.get_messages("talk")) == 2


@pytest.fixture
def endless() -> Iterator[str]:
    """A model server whose answer begins and never ends."""
    over = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            start = '{"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
            for text in ("Once", " upon\x1b[2J", " a time"):
                said = text.replace("\x1b", "\\u001b")
                self.wfile.write(f'data: {start}[{{"index":0,"delta":{{"content":"{said}"}}}}]}}\n\n'.encode())
            self.wfile.flush()
            over.wait(60)

        def log_message(self, *_: object) -> None:
            """Nothing to note."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_ctrl_c_stops_an_answer_and_then_the_chat(url: str, store: SessionStore, endless: str) -> None:
    ours, theirs = pty.openpty()
    line = command("--store", url, "chat", "talk", "--model", endless)
    environment = variables(TERM="xterm", NO_COLOR="1")
    with subprocess.Popen(line, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True) as process:
        os.close(theirs)
        seen = ""

        def wait_for(text: str) -> None:
            nonlocal seen
            while text not in seen:
                seen += os.read(ours, 4096).decode()
            seen = seen.partition(text)[2]

        try:
            wait_for("> ")
            os.write(ours, b"Tell me a story\n")
            # The answer comes as it is made, and cannot drive the terminal.
            wait_for("Once upon\\x1b[2J a time")
            process.send_signal(signal.SIGINT)
            wait_for("stopped; /resume takes it to its end")
            wait_for("> ")
            while process.poll() is None:
                # One that comes between the prompt and the wait for a key is seen at the next key only, or at the next signal.
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
            assert process.returncode == 130
        finally:
            process.kill()
            os.close(ours)
    assert store.get_chat_history("talk") == []
