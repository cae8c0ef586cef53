"""A pytest plugin for openai-agents' own tests: where they make a SQLiteSession, they get a TurnlogSession over a SQLite file.

Loaded with ``-p suite_swap`` before any of those tests. ``SWAP_REPORT`` names the file that gets a line of JSON for each test in which
such a session was made: its node id, its outcome and, where it failed, the last line of the error.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import agents
import agents.memory
import agents.memory.sqlite_session
import pytest

from turnlog.integrations.openai_agents import TurnlogSession
from turnlog.session import SqliteSessionStore

_made = 0
_memory = tempfile.mkdtemp(prefix="swap-")
atexit.register(shutil.rmtree, _memory, ignore_errors=True)


class SQLiteSession(TurnlogSession):
    """A TurnlogSession that is made and closed as the framework's SQLiteSession is."""

    def __init__(self, session_id: str, db_path: str | Path = ":memory:", *_: Any, session_settings: Any = None, **more: Any) -> None:
        global _made
        _made += 1
        # A database in memory belongs to one session object; here that is a file of its own.
        path = f"{_memory}/{_made}.sqlite" if str(db_path) == ":memory:" else f"{db_path}.turnlog"
        self._file = SqliteSessionStore(path)
        super().__init__(session_id, self._file, session_settings=session_settings)

    def close(self) -> None:  # type: ignore[override]  # that is how those tests call it
        """Close the file, at once."""
        self._file.close()


for place in (agents, agents.memory, agents.memory.sqlite_session):
    place.SQLiteSession = SQLiteSession


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Note how a test ended that made a session, if this one did."""
    report = yield
    if call.when == "call" and _made > getattr(item, "made_before", _made):
        said = str(call.excinfo.value).strip().splitlines()[:1] if call.excinfo else []
        why = f"{call.excinfo.typename}: {''.join(said)}" if call.excinfo else ""
        with open(os.environ["SWAP_REPORT"], "a", encoding="utf-8") as lines:
            lines.write(json.dumps({"test": item.nodeid, "outcome": report.outcome, "why": why}) + "\n")
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Remember how many sessions there were before."""
    item.made_before = _made  # type: ignore[attr-defined]
