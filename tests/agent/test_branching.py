"""Fork, revert, edit and undo of an agent's session, and what the session tells of itself."""

from __future__ import annotations

import pytest

from tests.agent.conftest import FULL, STORES, MakeAgent
from tests.strict_api import broken_rules
from turnlog.errors import MessageIndexError, NothingToUndoError, SessionNotFoundError

FORKING = [name for name in STORES if name != "five methods on files"]


@pytest.mark.parametrize("kind", FORKING)
def test_a_fork_goes_its_own_way(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("add 2 and 3")
    child = agent.fork()
    child.chat("my name is Bob")
    assert child.session_id != agent.session_id
    assert child.chat("what is my name?") == "Your name is Bob."
    assert agent.chat("what is my name?") == "Your name is Ada."
    assert child.chat_history[:6] == agent.chat_history[:6]


@pytest.mark.parametrize("kind", FORKING)
def test_a_fork_at_a_message_and_under_a_name(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("my name is Bob")
    child = agent.fork(1, session_id="child")
    assert child.session_id == "child"
    assert child.chat("what is my name?") == "Your name is Ada."
    again = make_agent(agent.session.store, memory={"session_id": "child"})
    assert len(again.chat_history) == 4
    with pytest.raises(MessageIndexError):
        agent.fork(99)


def test_a_fork_amid_a_tool_group_is_valid_to_go_on_with(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")
    agent.chat("add 2 and 3, add 4 and 5")
    for index in range(5):
        child = agent.fork(index)
        assert broken_rules(child.chat_history) == []
        assert child.chat("add 1 and 1") == "The tools said 2."


def test_a_fork_of_what_was_never_said(make_agent: MakeAgent) -> None:
    with pytest.raises(SessionNotFoundError):
        make_agent("memory").fork()


@pytest.mark.parametrize("kind", FULL)
def test_revert_and_undo(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("my name is Bob")
    agent.revert(1)
    assert agent.chat("what is my name?") == "Your name is Ada."
    agent.revert(1)
    agent.session.undo()
    assert len(agent.chat_history) == 4
    with pytest.raises(MessageIndexError):
        agent.revert(99)


def test_nothing_to_undo(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")
    agent.chat("hello")
    with pytest.raises(NothingToUndoError):
        agent.session.undo()


@pytest.mark.parametrize("kind", FULL)
def test_edit_asks_anew_in_a_fork(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("what is my name?")
    first = agent.edit(0, "my name is Bob")
    assert first.last_turn is not None and first.last_turn.output == "Hello, Bob."
    assert [message["content"] for message in first.chat_history] == ["my name is Bob", "Hello, Bob."]
    later = agent.edit(2, "add 2 and 3")
    assert later.last_turn is not None and later.last_turn.output == "The tools said 5."
    assert len(later.chat_history) == 6
    assert len(agent.chat_history) == 4
    store = agent.session.store
    children = make_agent(store).session._ask("get_children")
    assert children == [first.session_id, later.session_id]


@pytest.mark.parametrize("kind", ["five methods", "async five methods"])
def test_edit_works_on_five_methods(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("what is my name?")
    assert agent.edit(2, "add 2 and 3").chat("what is my name?") == "Your name is Ada."
    first = agent.edit(0, "my name is Bob")
    assert len(first.chat_history) == 2


@pytest.mark.parametrize("kind", STORES)
def test_usage_messages_and_the_last_turn(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.chat("add 2 and 3")
    turn = agent.last_turn
    assert turn is not None
    assert (turn.output, turn.model, turn.input_tokens) == ("The tools said 5.", "scripted-a", 3 + 5)
    again = make_agent(agent.session.store)
    usage = again.session.usage()
    assert (usage.turns, usage.input_tokens, usage.models) == (2, 1 + 3 + 5, ("scripted-a",))
    assert usage.output_tokens > 0 and usage.seconds >= turn.seconds
    assert [message.role for message in again.session.messages()] == ["user", "assistant", "user", "assistant", "tool", "assistant"]
    assert [message.role for message in again.session.messages(-1)] == ["assistant"]
    assert again.chat_history == again.session.history()
    assert all(set(message) <= {"role", "content", "tool_calls", "tool_call_id"} for message in again.chat_history)


@pytest.mark.parametrize("kind", STORES)
def test_clear(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    agent.chat("my name is Ada")
    agent.clear_history()
    assert agent.chat_history == []
    assert agent.chat("what is my name?") == "You did not say."
