"""Several agents on one session: their turns never interleave, none is lost, and with ``wait`` the later sees what the earlier said."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.agent.api_client import ModelApi
from tests.agent.conftest import FULL, MakeAgent, Start
from tests.agent.storm import split
from turnlog.agent import loop
from turnlog.errors import LockTimeoutError, UnsupportedVerbError


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_two_processes_interleave_nothing(kind: str, start_on: Start) -> None:
    agents = [start_on(kind) for _ in range(3)]
    for number in range(5):
        for name, agent in enumerate(agents):
            agent.send("chat", text=f"agent {name} turn {number}: add 2 and 3, use nap with a")
        assert [agent.answer() for agent in agents] == [{"answer": "The tools said 5; slept over a."}] * 3
    turns = split(agents[0].ask("history"))
    said = [turn[0]["content"].split(":")[0] for turn in turns]
    assert sorted(said) == sorted(f"agent {name} turn {number}" for name in range(3) for number in range(5))
    assert {tuple(message["role"] for message in turn) for turn in turns} == {("user", "assistant", "tool", "tool", "assistant")}
    assert all([text for text in said if f"agent {name}" in text] == [f"agent {name} turn {n}" for n in range(5)] for name in range(3))


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_without_wait_a_turn_lands_behind(kind: str, start_on: Start, api: ModelApi) -> None:
    first, second = start_on(kind), start_on(kind)
    first.send("chat", text=f"my name is Ada, hold behind{kind}")
    api.wait_held(f"behind{kind}")
    assert second.ask("chat", text="what is my name?") == "You did not say."
    api.release(f"behind{kind}")
    assert first.answer() == {"answer": "Hello, Ada."}
    assert [message["content"] for message in second.ask("history")][::2] == ["what is my name?", f"my name is Ada, hold behind{kind}"]


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_with_wait_the_second_sees_the_firsts_turn(kind: str, start_on: Start, api: ModelApi) -> None:
    first, second = start_on(kind, wait=30), start_on(kind, wait=30)
    first.send("chat", text=f"my name is Ada, hold seen{kind}")
    api.wait_held(f"seen{kind}")
    second.send("chat", text="what is my name?")
    time.sleep(0.3)
    assert len(api.requests()) == 1, "the second asked the model while the first was at work"
    api.release(f"seen{kind}")
    assert first.answer() == {"answer": "Hello, Ada."}
    assert second.answer() == {"answer": "Your name is Ada."}


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_a_killed_first_never_blocks_the_second(kind: str, start_on: Start, api: ModelApi) -> None:
    first, second = start_on(kind, wait=30), start_on(kind, wait=30)
    first.send("chat", text=f"my name is Ada, hold killed{kind}")
    api.wait_held(f"killed{kind}")
    second.send("chat", text="what is my name?")
    time.sleep(0.2)
    began = time.monotonic()
    first.kill()
    assert second.answer() == {"answer": "You did not say."}
    assert time.monotonic() - began < 15
    api.release(f"killed{kind}")
    assert len(second.ask("interrupted")) == 1


@pytest.mark.parametrize("kind", FULL)
def test_the_wait_ends_with_its_time_and_leaves_nothing(kind: str, api: ModelApi, make_agent: MakeAgent) -> None:
    key = f"long{FULL.index(kind)}"
    first = make_agent(kind)
    store = first.session.store
    done: list[str] = []
    thread = threading.Thread(target=lambda: done.append(first.chat(f"my name is Ada, hold {key}")))
    thread.start()
    api.wait_held(key)
    # It is noted as under way while the model is asked.
    deadline = time.monotonic() + 30
    while not loop.run(lambda: first._store.call("get_open_turns", "chat")) and time.monotonic() < deadline:
        time.sleep(0.01)
    second = make_agent(store, memory={"wait": 0.2})
    with pytest.raises(LockTimeoutError, match="not ended within"):
        second.chat("what is my name?")
    assert second.session.interrupted() == []
    api.release(key)
    thread.join()
    assert done == ["Hello, Ada."]
    assert make_agent(store, memory={"wait": 5}).chat("what is my name?") == "Your name is Ada."


def test_a_cancelled_wait_blocks_nobody(api: ModelApi, make_agent: MakeAgent) -> None:
    store = make_agent("memory").session.store
    first, second, third = (make_agent(store, memory={"wait": 20}) for _ in range(3))

    async def go() -> str:
        running = asyncio.create_task(first.achat("my name is Ada, hold patience"))
        await asyncio.to_thread(api.wait_held, "patience")
        waiting = asyncio.create_task(second.achat("never said"))
        await asyncio.sleep(0.2)
        waiting.cancel()
        await asyncio.wait([waiting])
        api.release("patience")
        await running
        answer: str = await third.achat("what is my name?")
        return answer

    began = time.monotonic()
    assert asyncio.run(go()) == "Your name is Ada."
    assert time.monotonic() - began < 15
    assert third.session.interrupted() == []


def test_many_waiting_threads_take_turns(make_agent: MakeAgent) -> None:
    store = make_agent("sqlite").session.store
    agents = [make_agent(store, memory={"wait": 60}) for _ in range(6)]
    answers: list[str] = []
    threads = [threading.Thread(target=lambda agent=agent: answers.append(agent.chat("count me"))) for agent in agents]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [f"{number} heard, the last: count me" for number in range(1, 7)]


def test_five_methods_cannot_wait(make_agent: MakeAgent) -> None:
    with pytest.raises(UnsupportedVerbError, match="wait"):
        make_agent("five methods", memory={"wait": 1}).chat("hi")
