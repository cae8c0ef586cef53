"""The real Agent and bot session manager of praisonaiagents on turnlog's stores, by the one line `use_store(store)`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.interop.stand_in_model import StandInModel
from turnlog.session import validate_history

Run = Callable[..., subprocess.CompletedProcess[str]]

PROGRAM = str(Path(__file__).with_name("agent_program.py"))
full = pytest.mark.parametrize("store", ["json://./sessions", "sqlite://./sessions.sqlite", "memory://"])
every = pytest.mark.parametrize("store", ["json://./sessions", "sqlite://./sessions.sqlite", "memory://", "five"])
lasting = pytest.mark.parametrize("store", ["json://./sessions", "sqlite://./sessions.sqlite", "five"])


@pytest.fixture
def program(run_python: Run, model: StandInModel) -> Callable[[str, str], dict[str, Any]]:
    """Run a task of agent_program.py on a store; what it printed. Nothing may be said about a store that failed."""

    def run(store: str, task: str) -> dict[str, Any]:
        done = run_python(PROGRAM, store, task, **model.environment)
        complaints = [line for line in done.stderr.splitlines() if "session store" in line.lower() or "Traceback" in line]
        assert complaints == [], done.stderr
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return run


def spoken(request: dict[str, Any]) -> list[str]:
    """What the model was sent but for the system text."""
    return [message["content"] for message in request["messages"] if message["role"] != "system"]


@every
def test_an_agent_keeps_its_turns_and_another_goes_on(program: Any, store: str, model: StandInModel) -> None:
    done = program(store, "talk")
    assert done["answers"] == ["heard 1: My name is Ada.", "heard 2: I live in Graz.", "heard 3: What is my name?"]
    expected = ["My name is Ada.", done["answers"][0], "I live in Graz.", done["answers"][1], "What is my name?", done["answers"][2]]
    assert [message["content"] for message in done["history"]] == expected
    assert spoken(model.requests[-1]) == expected[:-1]


@lasting
def test_a_later_process_remembers(program: Any, store: str, model: StandInModel) -> None:
    program(store, "talk")
    program(store, "talk")
    assert len(spoken(model.requests[3])) == 7
    assert spoken(model.requests[3])[:2] == ["My name is Ada.", "heard 1: My name is Ada."]


@full
def test_a_streamed_turn_is_kept_once(program: Any, store: str, model: StandInModel) -> None:
    done = program(store, "stream")
    assert model.requests[0]["stream"] is True
    assert [message["content"] for message in done["history"]] == ["My name is Ada.", "heard 1: My name is Ada."]


@full
def test_a_session_with_tool_calls_can_be_continued(program: Any, store: str, model: StandInModel) -> None:
    done = program(store, "tools")
    assert done["answers"][0] == 'the tool said "sunny"'
    assert done["answers"][1].endswith("Thank you.")
    assert validate_history(done["history"]) == []
    assert all(validate_history(request["messages"]) == [] for request in model.requests)


@full
def test_agents_search_their_sessions(program: Any, store: str) -> None:
    found, recent = program(store, "recall")["answers"]
    assert (found["success"], found["total_found"], found["results"][0]["session_id"]) == (True, 1, "chat-123")
    assert "Graz" in found["results"][0]["snippet"]
    assert (recent["success"], recent["results"][0]["session_id"], recent["results"][0]["message_count"]) == (True, "chat-123", 6)


@every
def test_a_bot_keeps_one_session_per_user(program: Any, store: str) -> None:
    done = program(store, "bot")
    assert done["answers"] == ["heard 1: I am Ada.", "heard 1: I am Bob.", "heard 2: Hello?", "heard 3: Still there?"]
    first, second = done["history"]["12345"], done["history"]["678"]
    assert [message["content"] for message in first] == [
        "I am Ada.", "heard 1: I am Ada.", "Hello?", "heard 2: Hello?", "Still there?", "heard 3: Still there?",
    ]  # fmt: skip
    assert [message["content"] for message in second] == ["I am Bob.", "heard 1: I am Bob."]
    assert done["reset"] == []


@every
def test_one_person_on_two_platforms_has_one_conversation(program: Any, store: str) -> None:
    done = program(store, "linked")
    assert done["answers"] == ["heard 1: I am Alice.", "heard 2: Who am I?", "heard 3: And here?"]
    assert done["history"][::2] == ["I am Alice.", "Who am I?", "And here?"]
    assert done["history"][1::2] == done["answers"]
    assert done["reset"] == []


@every
def test_a_group_shares_a_conversation_with_what_the_bot_overheard(program: Any, store: str) -> None:
    done = program(store, "group")
    assert done["history"][0].endswith("It rains.")
    assert [text for text in done["history"] if text in done["answers"]] == done["answers"]
    assert len(done["history"]) == 5
    assert done["alone"] == []


@every
def test_conversations_end_by_silence_and_by_their_length(program: Any, store: str) -> None:
    done = program(store, "policies")
    assert done["answers"] == ["heard 1: one", "heard 2: two", "heard 1: three"]
    assert done["history"] == {"idle": ["three", "heard 1: three"], "short": ["two", "heard 2: two", "three", "heard 3: three"]}
    assert done["reaped"] == [1]


@every
def test_a_conversation_goes_on_elsewhere(program: Any, store: str) -> None:
    done = program(store, "handoff")
    assert done["answers"] == ["heard 1: I am Ada.", "heard 2: Who am I?"]
    assert done["history"] == ["I am Ada.", "heard 1: I am Ada.", "Who am I?", "heard 2: Who am I?"]
    assert (done["cleared"], done["left"]) == (1, [["I am Ada.", "heard 1: I am Ada."], []])


@full
def test_users_at_once_keep_to_themselves(program: Any, store: str) -> None:
    done = program(store, "crowd")
    for user, texts in done["history"].items():
        assert texts[::2] == [f"{user} one", f"{user} two", f"{user} three"]
        assert texts[1::2] == [f"heard {number}: {text}" for number, text in enumerate(texts[::2], 1)]
