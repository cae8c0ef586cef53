"""Scripts written for praisonaiagents.session, run as they stand by `python -m turnlog.as_praisonai`, in homes that were empty."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.stand_in_model import StandInModel

Run = Callable[..., subprocess.CompletedProcess[str]]

# With -S Python does not look into site-packages, so the real package is not there.
WITH = ["-m", "turnlog.as_praisonai"]
WITHOUT = ["-S", *WITH]
BOTH = pytest.mark.parametrize("command", [WITH, WITHOUT], ids=["with the package", "without it"])


@pytest.fixture
def model() -> Iterator[StandInModel]:
    """What the agents of the samples talk to."""
    server = StandInModel()
    yield server
    server.close()


PROTOCOL = """
from praisonaiagents.session import SessionStoreProtocol

class RedisSessionStore:
    \"\"\"Your custom Redis-backed session store.\"\"\"

    def add_message(self, session_id, role, content, metadata=None):
        # Save to Redis
        ...
        return True

    def get_chat_history(self, session_id, max_messages=None):
        # Load from Redis
        return [{"role": "user", "content": "Hi"}]

    def clear_session(self, session_id):
        return True

    def delete_session(self, session_id):
        return True

    def session_exists(self, session_id):
        return False

# Verify at runtime
store = RedisSessionStore()
assert isinstance(store, SessionStoreProtocol)  # ✅ True
"""

DEFAULT = """
from praisonaiagents.session import DefaultSessionStore

store = DefaultSessionStore(
    session_dir="custom/path",
    max_messages=200,
)
"""

HIERARCHY = """
from praisonaiagents.session import HierarchicalSessionStore

store = HierarchicalSessionStore()
parent = store.create_session(title="Main")
for number in range(6):
    store.add_message(parent, "user", f"message {number}")
child = store.fork_session(parent, from_message_index=5)

assert store.get_chat_history(child) == store.get_chat_history(parent)
assert (store.get_parent(child), store.get_children(parent)) == (parent, [child])
"""

CONFORMANCE = """
from typing import Any, Dict, List, Optional
from praisonaiagents.session import SessionStoreProtocol

{documented}

store = InMemorySessionStore()
assert isinstance(store, SessionStoreProtocol)
store.add_message("test", "user", "Hello")
history = store.get_chat_history("test")
assert history == [{"role": "user", "content": "Hello"}]
"""

PERSISTENCE = """
from praisonaiagents.session import get_default_session_store, SessionStoreProtocol

store = get_default_session_store()
store.add_user_message("session-123", "Hello")
store.add_assistant_message("session-123", "Hi there!")
history = store.get_chat_history("session-123")
assert history == [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi there!"}]
assert [each["session_id"] for each in store.list_sessions()] == ["session-123"]
assert isinstance(get_default_session_store(), SessionStoreProtocol)
store.update_session_metadata("session-123", model="gpt-4o-mini", total_tokens=125, cost=0.0032, source="chat", agent_id="assistant-001")
store.update_session_metadata("session-123", cost=None, custom_field="my value")
assert store.get_session("session-123").metadata["cost"] == 0.0032
store.delete_session("session-123")
assert not store.session_exists("session-123")
"""

SNAPSHOTS = """
from praisonaiagents.session.hierarchy import HierarchicalSessionStore

store = HierarchicalSessionStore(session_dir="./sessions")
session_id = store.create_session(title="My Project")
store.add_message(session_id, "user", "Phase 1")
snap1 = store.create_snapshot(session_id, label="After Phase 1")
store.add_message(session_id, "user", "Phase 2")
snap2 = store.create_snapshot(session_id, label="After Phase 2")
shown = [f"{snap.label}: {snap.message_index + 1} messages" for snap in store.get_snapshots(session_id)]
assert shown == ["After Phase 1: 1 messages", "After Phase 2: 2 messages"], shown
store.revert_to_snapshot(session_id, snap1)
assert [each["content"] for each in store.get_chat_history(session_id)] == ["Phase 1"]
"""

EXPORT = """
from praisonaiagents.session import HierarchicalSessionStore

store1 = HierarchicalSessionStore(session_dir="./store1")
session_id = store1.create_session(title="Portable Session")
store1.add_message(session_id, "user", "Important data")

exported = store1.export_session(session_id)

store2 = HierarchicalSessionStore(session_dir="./store2")
new_id = store2.import_session(exported)
assert store2.get_chat_history(new_id) == [{"role": "user", "content": "Important data"}]
assert store2.get_extended_session(new_id).title == "Portable Session"
"""

SUBMODULES = """
import praisonaiagents.session.store
import praisonaiagents.session as session
from praisonaiagents.session import *
from praisonaiagents.session.hierarchy import SessionSnapshot, get_hierarchical_session_store
from praisonaiagents.session.protocols import ImportReport, SessionHit, SessionSummary
from praisonaiagents.session.store import SessionData, SessionMessage, get_default_session_store

import turnlog.session
assert session.DefaultSessionStore is turnlog.session.DefaultSessionStore is DefaultSessionStore
assert praisonaiagents.session.store.SessionData is turnlog.session.SessionData is SessionData
"""

DOCUMENTED = (Path(__file__).parent / "typing" / "documented_store.py").read_text(encoding="utf-8").partition("\nclass ")
SNIPPETS = {
    "the protocol": PROTOCOL,
    "the default store": DEFAULT,
    "the hierarchical store": HIERARCHY,
    "the in-memory class": CONFORMANCE.replace("{documented}", DOCUMENTED[1] + DOCUMENTED[2]),
    "direct access": PERSISTENCE,
    "snapshots": SNAPSHOTS,
    "export and import": EXPORT,
    "submodules": SUBMODULES,
}


@BOTH
@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_documented_snippet_runs_as_it_stands(command: list[str], snippet: str, run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SNIPPETS[snippet], encoding="utf-8")
    done = run_python("-W", "error", *command, "script.py")
    assert (done.stdout, done.stderr) == ("", "")


AGENT = """
from praisonaiagents import Agent

agent = Agent(
    name="Assistant",
    memory={"session_id": "chat-123"}
)
agent.start("Hello!")
"""

BOT = """
import asyncio
from praisonaiagents import Agent
from praisonaiagents.session import get_default_session_store
from praisonai_bot.bots._session import BotSessionManager

manager = BotSessionManager(store=get_default_session_store(), platform="telegram")
print(asyncio.run(manager.chat(Agent(name="Assistant", instructions="Answer."), "12345", "Hello!")))
"""


def test_the_real_agent_of_the_first_snippet_keeps_its_session_in_turnlog(
    run_python: Run, tmp_path: Path, home: Path, model: StandInModel
) -> None:
    (tmp_path / "script.py").write_text(AGENT, encoding="utf-8")
    for _ in range(2):
        run_python(*WITH, "script.py", **model.environment)
    kept = json.loads((home / ".praisonai" / "sessions" / "chat-123.json").read_text(encoding="utf-8"))
    assert [message["content"] for message in kept["messages"]] == ["Hello!", "heard 1: Hello!", "Hello!", "heard 2: Hello!"]
    assert all(message["metadata"]["turnlog"]["id"] for message in kept["messages"])  # only turnlog gives messages ids
    assert (kept["session_id"], kept["agent_name"], kept["metadata"]["model"]) == ("chat-123", "Assistant", "stand-in")


def test_the_real_bot_session_manager_keeps_one_session_per_user_in_turnlog(
    run_python: Run, tmp_path: Path, home: Path, model: StandInModel
) -> None:
    (tmp_path / "script.py").write_text(BOT, encoding="utf-8")
    assert "heard 1: Hello!" in run_python(*WITH, "script.py", **model.environment).stdout
    assert "heard 2: Hello!" in run_python(*WITH, "script.py", **model.environment).stdout
    assert (home / ".praisonai" / "sessions" / "bot_telegram_12345.json").exists()


ABSENT = {
    "from praisonaiagents.session import EncryptedSessionStore": "EncryptedSessionStore",
    "from praisonaiagents.session import DefaultSessionStore, Session": "Session",
    "from praisonaiagents.session.store import NoSuchName": "NoSuchName",
    "import praisonaiagents.session.sqlite_transcript_store": "sqlite_transcript_store",
    "from praisonaiagents.session.api import Session": "api",
}


@BOTH
@pytest.mark.parametrize("code", ABSENT)
def test_a_name_that_turnlog_lacks_raises_import_error(command: list[str], code: str, run_python: Run) -> None:
    said = run_python(*command, "-c", f"try:\n {code}\nexcept ImportError as error:\n print(error)").stdout
    assert re.search(rf"turnlog.*has no {ABSENT[code]}\b", said)
    assert "DefaultSessionStore" in said


def test_without_the_package_there_is_no_agent(run_python: Run) -> None:
    for code in ("from praisonaiagents import Agent", "import praisonaiagents.agent"):
        said = run_python(*WITHOUT, "-c", f"try:\n {code}\nexcept ImportError as error:\n print(error)").stdout
        assert "not installed" in said
        assert "pip install praisonaiagents" in said
    asked = "import praisonaiagents, praisonaiagents.session as s; print(hasattr(praisonaiagents, 'Agent'), hasattr(s, 'Session'))"
    assert run_python(*WITHOUT, "-c", asked).stdout == "False False\n"


def test_with_the_package_the_rest_of_it_is_real(run_python: Run) -> None:
    code = """
from praisonaiagents import Agent
from praisonaiagents.session.context import get_session_context
from praisonaiagents.session.workspace import workspace_id
from praisonaiagents.utils import atomic_io
from praisonaiagents.session.store import FileLock
import praisonaiagents.session, praisonaiagents.gateway, turnlog.session, os
with FileLock(os.path.abspath("settings.json")):
    print(Agent.__module__, get_session_context.__module__, workspace_id.__module__, os.path.exists("settings.json.lock"))
"""
    expected = "praisonaiagents.agent.agent praisonaiagents.session.context praisonaiagents.session.workspace True"
    assert run_python(*WITH, "-c", code).stdout.strip() == expected


ABOUT = """
import os, sys
print(__name__, sys.argv[1:], os.path.basename(sys.argv[0]), sys.path[0] == {path!r}, vars(sys.modules["__main__"]) is globals())
"""


@BOTH
def test_a_script_sees_what_python_would_show_it(command: list[str], run_python: Run, tmp_path: Path) -> None:
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "beside.py").write_text("word = 'found'\n", encoding="utf-8")
    (folder / "script.py").write_text(ABOUT.format(path=str(folder)) + "import beside\nprint(beside.word, __file__)\n", encoding="utf-8")
    said = run_python(*command, "programs/script.py", "-m", "--help", "-c", "x").stdout.splitlines()
    assert said == ["__main__ ['-m', '--help', '-c', 'x'] script.py True True", "found programs/script.py"]


@BOTH
def test_modules_and_code_run_too(command: list[str], run_python: Run, tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    more = "print(__spec__.name, __package__)\nfrom praisonaiagents.session import SessionData"
    (tmp_path / "tool" / "__main__.py").write_text(ABOUT.format(path=str(tmp_path)) + more, encoding="utf-8")
    assert run_python(*command, "-m", "tool", "-c", "1").stdout.splitlines() == [
        "__main__ ['-c', '1'] __main__.py True True",
        "tool.__main__ tool",
    ]
    said = run_python(*command, "-c", ABOUT.format(path=""), "-m", "1").stdout
    assert said == "__main__ ['-m', '1'] -c True True\n"


@BOTH
def test_how_a_program_ends_is_how_the_command_ends(command: list[str], run_python: Run) -> None:
    run_python(*command, "-c", "raise SystemExit(7)", status=7)
    assert "ZeroDivisionError" in run_python(*command, "-c", "1 / 0", status=1).stderr
    assert "can't open file 'missing.py'" in run_python(*command, "missing.py", status=2).stderr
    assert "give a script" in run_python(*command, status=2).stderr
    said = run_python(*command, "--help").stdout
    assert all(word in said for word in ("script | -m module | -c code", "-m ", "-c ", "ImportError", "~/.praisonai/sessions"))


@BOTH
def test_install_and_use_store_work_from_code(command: list[str], run_python: Run) -> None:
    plain = command[: command.index("-m")]
    code = """
from turnlog import as_praisonai
from turnlog.session import InMemorySessionStore
as_praisonai.install()
as_praisonai.install()
store = as_praisonai.use_store(InMemorySessionStore())
from praisonaiagents.session import get_default_session_store, get_hierarchical_session_store
assert get_default_session_store() is store is get_hierarchical_session_store()
"""
    run_python(*plain, "-c", code)


def test_install_takes_over_from_modules_that_are_loaded(run_python: Run) -> None:
    code = """
import praisonaiagents.session.context, praisonaiagents.session.hierarchy, praisonaiagents
before = praisonaiagents.session.context
from turnlog import as_praisonai, session
as_praisonai.install()
import praisonaiagents.session.hierarchy
from praisonaiagents import session as now
assert now.DefaultSessionStore is session.DefaultSessionStore is praisonaiagents.session.hierarchy.DefaultSessionStore
assert now.context is before is praisonaiagents.session.context
"""
    run_python("-c", code)


def test_use_store_says_what_is_missing(run_python: Run) -> None:
    said = run_python("-S", "-c", "from turnlog.as_praisonai import use_store; use_store()", status=1).stderr
    assert "ModuleNotFoundError: No module named 'praisonaiagents'" in said
