"""TurnlogConversationStore beside pydantic-ai's own store, under real agents, across processes and among other writers."""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai import Agent, DeferredToolRequests
from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationConflict, InMemoryConversationStore
from pydantic_ai.exceptions import CallDeferred, UserError
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ToolCallPart, ToolReturnPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolResults
from pydantic_ai.usage import RunUsage

from tests.integrations.conversations import Walk
from tests.strict_api import broken_rules
from turnlog.errors import NothingToUndoError, SessionNotFoundError
from turnlog.integrations.pydantic_ai import TurnlogConversationStore, add_messages, load_messages
from turnlog.session import SessionStore, open_async_store, open_store
from turnlog.store.drive import drive

pytestmark = pytest.mark.anyio

URLS = ["memory://", "sqlite://{}/talks.sqlite?durability=process", "json://{}/talks?durability=process"]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=URLS, ids=["memory", "sqlite", "json"])
def sessions(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    with open_store(request.param.format(tmp_path)) as store:
        yield store


@pytest.fixture
def talks(sessions: SessionStore) -> TurnlogConversationStore:
    return TurnlogConversationStore(sessions)


def asked(text: str) -> ModelRequest:
    return ModelRequest(parts=[UserPromptPart(text)])


def answered(text: str) -> ModelResponse:
    return ModelResponse(parts=[TextPart(text)])


def echo(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """Calls the first tool once a turn, then says how many prompts it has seen."""
    last = messages[-1].parts[-1]
    if info.function_tools and isinstance(last, UserPromptPart):
        return ModelResponse(parts=[ToolCallPart(info.function_tools[0].name, {"city": "Oslo"})])
    prompts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
    return ModelResponse(parts=[TextPart(f"{len(prompts)} prompts")])


def weather_agent() -> Agent[None, str]:
    agent = Agent(FunctionModel(echo), instructions="Be brief.")

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"rain in {city}"

    return agent


# ------------------------------------------------------------------------------------------------------------ beside their own store


@pytest.mark.parametrize("seed", range(3))
async def test_a_random_walk_agrees_with_their_own_store(sessions: SessionStore, seed: int) -> None:
    walk = Walk(InMemoryConversationStore(), [TurnlogConversationStore(sessions) for _ in range(2)], random.Random(seed))
    await walk.run(350)
    assert all(walk.done.get(name, 0) > 0 for name in ("begin", "load", "extend", "rewrite", "branch", "fork", "delete", "list", "entries"))


@pytest.mark.soak
@pytest.mark.timeout(1_800)
async def test_a_long_random_walk_agrees_with_their_own_store(sessions: SessionStore) -> None:
    walk = Walk(InMemoryConversationStore(), [TurnlogConversationStore(sessions) for _ in range(2)], random.Random(77))
    await walk.run(10_000)


async def test_an_async_store_will_do(tmp_path: Path) -> None:
    async with open_async_store(f"sqlite://{tmp_path}/talks.sqlite") as store:
        walk = Walk(InMemoryConversationStore(), [TurnlogConversationStore(store)], random.Random(5))
        await walk.run(150)


# --------------------------------------------------------------------------------------------------------------------- under agents


async def test_an_agent_goes_on_where_it_was(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    agent = weather_agent()
    result = await agent.run("How is it in Oslo?", conversation=Conversation(conversation_id="talk"))
    saved = await talks.save(result)
    assert [entry.message for entry in saved] == result.all_messages()
    again = await TurnlogConversationStore(sessions).load("talk")
    assert again is not None and again.messages == result.all_messages() and again.usage == result.conversation.usage
    result = await agent.run("And now?", conversation=again)
    assert result.output == "2 prompts"
    await talks.save(result)
    loaded = await talks.load("talk")
    assert loaded is not None and loaded.messages == result.all_messages() and loaded.usage.requests == 4
    history = sessions.get_chat_history("talk")
    assert [message["role"] for message in history] == ["user", "assistant", "tool", "assistant"] * 2
    assert history[2]["content"] == "rain in Oslo" and broken_rules(history) == []


async def test_a_paused_run_goes_on_after_a_restart(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    agent = Agent(FunctionModel(echo), output_type=[str, DeferredToolRequests])

    @agent.tool_plain
    def weather(city: str) -> str:
        raise CallDeferred(metadata={"desk": city})

    paused = await agent.run("How is it?", conversation=Conversation(conversation_id="talk"))
    assert isinstance(paused.output, DeferredToolRequests)
    await talks.save(paused)
    loaded = await TurnlogConversationStore(sessions).load("talk")
    assert loaded is not None and loaded.deferred_tool_requests == paused.output
    call = paused.output.calls[0].tool_call_id
    done = await agent.run(conversation=loaded, deferred_tool_results=DeferredToolResults(calls={call: "sun"}))
    await talks.save(done)
    ended = await talks.load("talk")
    assert ended is not None and ended.deferred_tool_requests is None and done.output == "1 prompts"
    assert broken_rules(sessions.get_chat_history("talk")) == []


RESTARTED = """
import asyncio, sys
from pydantic_ai import Agent
from pydantic_ai.conversation import Conversation
from pydantic_ai.models.test import TestModel
from turnlog.integrations.pydantic_ai import TurnlogConversationStore

async def main():
    async with TurnlogConversationStore(sys.argv[1]) as talks:
        agent = Agent(TestModel(custom_output_text="fine"))
        talk = await talks.load("talk") or Conversation(conversation_id="talk")
        await talks.save(await agent.run("How are you?", conversation=talk))
        print(len(talk.messages))

asyncio.run(main())
"""


@pytest.mark.parametrize("url", URLS[1:], ids=["sqlite", "json"])
def test_every_process_finds_what_the_last_one_saved(
    url: str, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    place = url.format(tmp_path)
    assert [run_python("-c", RESTARTED, place).stdout.strip() for _ in range(3)] == ["0", "2", "4"]


# ---------------------------------------------------------------------------------------------------------------- among other writers


async def test_of_two_savers_one_wins_and_the_other_is_told(sessions: SessionStore) -> None:
    stores = [TurnlogConversationStore(sessions) for _ in range(4)]
    await stores[0].save(Conversation(conversation_id="talk", messages=[asked("hello"), answered("hi")]))
    loaded = [await store.load("talk") for store in stores]

    async def save(number: int) -> bool:
        talk = loaded[number]
        assert talk is not None
        talk.messages += [asked(f"from {number}"), answered("yes")]
        try:
            await stores[number].save(talk)
        except ConversationConflict:
            return False
        return True

    outcomes = await asyncio.gather(*(save(number) for number in range(4)))
    assert sum(outcomes) == 1
    stored = await stores[0].load("talk")
    assert stored is not None and len(stored.messages) == 4
    winner = outcomes.index(True)
    assert stored.messages[2].parts[0].content == f"from {winner}"  # type: ignore[union-attr]


async def test_what_others_append_is_loaded_and_never_lost(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    talk = Conversation(conversation_id="talk", messages=[asked("hello"), answered("hi")])
    await talks.save(talk)
    sessions.add_message("talk", "user", "from elsewhere")
    talk.messages.append(asked("too late"))
    with pytest.raises(ConversationConflict):
        await talks.save(talk)
    loaded = await talks.load("talk", limit=1)
    assert loaded is not None and loaded.messages[0].parts[0].content == "from elsewhere"  # type: ignore[union-attr]
    loaded.messages.append(answered("now"))
    await talks.save(loaded)
    assert [message["content"] for message in sessions.get_chat_history("talk")] == ["hello", "hi", "from elsewhere", "now"]


async def test_a_session_of_others_is_a_conversation(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    sessions.set_agent_info("chat", user_id="ann")
    sessions.add_messages(
        "chat",
        [
            {"role": "user", "content": "What is it?", "id": "m0"},
            {"role": "assistant", "content": None, "tool_calls": [call], "id": "m1"},
            {"role": "tool", "tool_call_id": "c1", "content": "a cat", "id": "m2"},
            {"role": "user", "content": "Sure?", "id": "m3"},
            {"role": "assistant", "content": "Yes.", "id": "m4"},
        ],
    )
    entries = await talks.load_entries("chat", scope="ann")
    assert entries is not None and [entry.id for entry in entries] == ["m0", "m1", "m2", "m4"]
    assert [entry.parent_id for entry in entries] == [None, "m0", "m1", "m2"]
    assert [record.conversation_id for record in await talks.list_conversations(scope="ann")] == ["chat"]
    assert await talks.load("chat", scope="bob") is None
    forked = await talks.fork("chat", from_entry="m2", new_conversation_id="other")
    assert isinstance(forked.messages[-1].parts[0], ToolReturnPart) and forked.messages[-1].parts[0].tool_name == "look"
    loaded = await talks.load("chat")
    assert loaded is not None
    branched = await talks.branch("chat", at=1, expected_revision=loaded.revision)
    branched.messages.append(answered("A dog."))
    await talks.save(branched)
    assert [message["content"] for message in sessions.get_chat_history("chat")] == ["What is it?", "A dog."]
    assert await talks.read_entry("m4") == entries[-1]


async def test_a_left_history_is_a_snapshot(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    talk = Conversation(conversation_id="talk", messages=[asked("hello"), answered("hi"), asked("more"), answered("less")])
    entries = await talks.save(talk)
    await talks.branch("talk", at=2, expected_revision=talk.revision)
    (snapshot,) = sessions.get_snapshots("talk")
    assert snapshot.label == entries[-1].id and snapshot.message_index == 3
    assert len(sessions.get_snapshot_messages("talk", snapshot.id)) == 4
    assert len(sessions.get_messages("talk")) == 2


async def test_a_history_that_is_left_again_is_the_newest_branch(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    theirs = InMemoryConversationStore()
    tips: list[list[int]] = []
    for store in (theirs, talks):
        talk = Conversation(conversation_id="talk", messages=[asked("a"), answered("b"), asked("c")])
        ids = [entry.id for entry in await store.save(talk)]
        talk = await store.branch("talk", at=2, expected_revision=talk.revision)
        talk = await store.branch("talk", at=1, expected_revision=talk.revision)
        talk = await store.branch("talk", from_entry=ids[2], expected_revision=talk.revision)
        talk.messages.pop()
        await store.save(talk)  # ends in b again, which is a branch as well
        await store.branch("talk", at=1, expected_revision=talk.revision)
        record = await store.read_record("talk")
        assert record is not None
        tips.append([ids.index(tip) for tip in record.branches])
    assert tips[0] == tips[1] == [2, 1]
    assert len(sessions.get_snapshots("talk")) == 2


async def test_a_save_of_nothing_but_usage_moves_no_history(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    talk = Conversation(conversation_id="talk", messages=[asked("a")])
    await talks.save(talk)
    talk.usage = RunUsage(requests=3, details={"k": 1})
    stale = talk.revision
    assert await talks.save(talk) == [] and talk.revision != stale
    loaded = await talks.load("talk")
    assert loaded is not None and loaded.usage == talk.usage
    with pytest.raises(NothingToUndoError):
        sessions.undo_revert("talk")


async def test_a_save_is_one_append_that_repeats_nothing(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    talk = Conversation(conversation_id="talk", messages=[asked("hello"), answered("hi")])
    await talks.save(talk)
    before = sessions.get_messages("talk")
    for number in range(5):
        talk.messages += [asked(f"{number}"), answered("yes")]
        await talks.save(talk)
    stored = sessions.get_messages("talk")
    assert len(stored) == 12 and stored[:2] == before


async def test_a_fork_outlives_what_it_came_from(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    await talks.save(Conversation(conversation_id="talk", messages=[asked("hello"), answered("hi")]), scope="ann")
    forked = await talks.fork("talk", new_conversation_id="fork")
    await talks.delete("talk", scope="bob")
    assert sessions.session_exists("talk")
    await talks.delete("talk", scope="ann")
    with pytest.raises(SessionNotFoundError):
        sessions.fork_session("talk")
    fork = await TurnlogConversationStore(sessions).load("fork", scope="ann")
    assert fork is not None and fork.messages == forked.messages


async def test_an_expired_conversation_makes_room_for_a_new_one(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    await talks.save(Conversation(conversation_id="talk", messages=[asked("old")]))
    expire(sessions, "talk")
    assert await talks.load("talk") is None
    new = Conversation(conversation_id="talk", messages=[asked("new")])
    await talks.save(new)
    loaded = await TurnlogConversationStore(sessions).load("talk")
    assert loaded is not None and loaded.messages == new.messages


async def test_a_fork_lives_as_long_as_what_it_came_from(sessions: SessionStore) -> None:
    talks = TurnlogConversationStore(SessionStore(sessions.backend, ttl=60))
    await talks.save(Conversation(conversation_id="talk", messages=[asked("hello")]))
    sessions.set_session_ttl("talk", 90)
    await talks.fork("talk", new_conversation_id="fork")
    await TurnlogConversationStore(sessions).fork("talk", new_conversation_id="other")
    found = {info.session_id: info.ttl for info in sessions.iter_sessions()}
    assert found == {"talk": 90.0, "fork": 60.0, "other": 90.0}


async def test_an_entry_is_found_in_what_lives(talks: TurnlogConversationStore, sessions: SessionStore) -> None:
    (entry,) = await talks.save(Conversation(conversation_id="talk", messages=[asked("hello")]))
    await talks.fork("talk", new_conversation_id="fork")
    expire(sessions, "fork")
    fresh = TurnlogConversationStore(sessions)
    assert (await fresh.read_entry(entry.id)).message == entry.message
    expire(sessions, "talk")
    with pytest.raises(LookupError):
        await TurnlogConversationStore(sessions).read_entry(entry.id)


def expire(sessions: SessionStore, session_id: str) -> None:
    """Let the time of a session have run out, without changing its place in a listing."""
    head = drive(sessions.backend.get_head(session_id))
    assert head is not None
    ended = replace(head, counter=head.counter + 1, ttl=1e-6)
    assert drive(sessions.backend.put_head(ended, expect=head.revision))


# --------------------------------------------------------------------------------------------------------------------------- the rest


async def test_only_a_full_store_will_do() -> None:
    class Five:
        pass

    with pytest.raises(TypeError, match="Five is no full store"):
        TurnlogConversationStore(Five())  # type: ignore[arg-type]


async def test_a_store_that_was_handed_over_stays_open(sessions: SessionStore, tmp_path: Path) -> None:
    async with TurnlogConversationStore(sessions):
        pass
    assert not sessions.session_exists("talk")
    async with TurnlogConversationStore(f"sqlite://{tmp_path}/own.sqlite") as own:
        await own.save(Conversation(conversation_id="talk", messages=[asked("hello")]))
    with pytest.raises(Exception, match="closed"):
        await own.load("talk")


async def test_an_unknown_entry_is_a_lookup_error(talks: TurnlogConversationStore) -> None:
    with pytest.raises(LookupError):
        await talks.read_entry("nowhere")
    with pytest.raises(UserError):
        await talks.branch("nowhere", at=0, expected_revision=None)


async def test_message_history_by_hand(tmp_path: Path) -> None:
    agent = Agent(TestModel(custom_output_text="fine"))
    async with open_async_store(f"sqlite://{tmp_path}/plain.sqlite") as waiting:
        for store in (waiting, f"json://{tmp_path}/plain"):
            messages: list[ModelMessage] = []
            for number in range(2):
                assert await load_messages(store, "chat") == messages
                result = await agent.run("Hello?", message_history=messages)
                await add_messages(store, "chat", result.new_messages(), turn_id=f"turn-{number}")
                await add_messages(store, "chat", result.new_messages(), turn_id=f"turn-{number}")
                messages = result.all_messages()
            assert await load_messages(store, "chat", limit=1) == messages[-1:]
