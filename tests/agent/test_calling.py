"""The many ways to call an agent: in and out of event loops, from threads, after a fork, from its own tools, and interrupted by Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.agent.api_client import ModelApi
from tests.agent.conftest import MakeAgent
from turnlog import Agent

Run = Callable[..., subprocess.CompletedProcess[str]]

PRELUDE = """
import asyncio, os, sys
from turnlog import Agent
from turnlog.session import InMemorySessionStore
agent = Agent(llm=sys.argv[1], memory={"session_id": "chat", "store": InMemorySessionStore()})
"""


def test_plain_and_async_calls_mix(api: ModelApi, run_python: Run) -> None:
    program = PRELUDE + (
        "said = [agent.chat('one, keep open')]\n"
        "said += [asyncio.run(agent.achat(f'{word}, keep open')) for word in ('two', 'three')]\n"
        "said += [agent.start('four'), asyncio.run(agent.astart('five'))]\n"
        "print([text[0] for text in said])"
    )
    assert run_python("-c", program, api.url).stdout == "['1', '2', '3', '4', '5']\n"


def test_after_a_fork_parent_and_child_go_on(api: ModelApi, run_python: Run) -> None:
    program = PRELUDE + (
        "agent.chat('one, keep open')\n"
        "child = os.fork()\n"
        "said = agent.chat(f'two by {bool(child)}, keep open')\n"
        "if not child:\n"
        "    print(said, flush=True)\n"
        "    os._exit(0)\n"
        "assert os.waitpid(child, 0)[1] == 0\n"
        "print(said, agent.chat('three'))"
    )
    out = run_python("-c", program, api.url).stdout
    assert out.splitlines() == [
        "2 heard, the last: two by False, keep open",
        "2 heard, the last: two by True, keep open 3 heard, the last: three",
    ]


def test_in_a_running_event_loop(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")

    async def cell() -> tuple[str, str, int]:
        return agent.chat("my name is Ada"), "".join(agent.stream("what is my name?")), len(agent.chat_history)

    assert asyncio.run(cell()) == ("Hello, Ada.", "Your name is Ada.", 4)


@pytest.mark.parametrize("kind", ["json", "sqlite", "memory", "async sqlite", "async json"])
def test_from_several_threads_each_gets_its_own_answer(kind: str, make_agent: MakeAgent) -> None:
    agent = make_agent(kind)
    answers: dict[int, str] = {}

    def say(number: int) -> None:
        answers[number] = agent.chat(f"thread {number}")

    threads = [threading.Thread(target=say, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: answer.partition(": ")[2] for number, answer in answers.items()} == {n: f"thread {n}" for n in range(8)}
    assert len(agent.chat_history) == 16


def test_gathered_turns_each_get_their_own_answer(make_agent: MakeAgent) -> None:
    agent = make_agent("async memory")

    async def go() -> list[str]:
        return list(await asyncio.gather(*(agent.achat(f"task {number}") for number in range(8))))

    assert [answer.partition(": ")[2] for answer in asyncio.run(go())] == [f"task {number}" for number in range(8)]


def test_ctrl_c_interrupts_the_turn(api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent("memory")

    def press() -> None:
        api.wait_held("ctrlc")
        os.kill(os.getpid(), signal.SIGINT)

    presser = threading.Thread(target=press)
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        agent.chat("my name is Ada, hold ctrlc")
    presser.join()
    assert agent.chat_history == []
    (turn,) = agent.session.interrupted()
    assert turn.info["state"] == "interrupted"
    api.release("ctrlc")
    assert agent.resume() == "Hello, Ada."


def test_ctrl_c_amid_a_stream(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")

    def read() -> None:
        for piece in agent.stream("tell 60 slowly"):
            if piece == " word5":
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        read()
    assert agent.chat_history == []
    assert len(agent.session.interrupted()) == 1


@pytest.mark.parametrize("verb", ["chat", "stream", "resume"])
def test_a_plain_call_in_an_async_tool_is_refused(verb: str, make_agent: MakeAgent) -> None:
    inner = make_agent("memory", memory={"session_id": "inner"})

    async def nested() -> str:
        """Ask another agent."""
        if verb == "stream":
            return "".join(inner.stream("hello"))
        return str(inner.chat("hello") if verb == "chat" else inner.resume())

    agent = make_agent("memory", tools=[nested])
    with pytest.raises(RuntimeError, match="achat"):
        agent.chat("use nested")
    assert agent.chat_history == []


def test_agents_call_agents_in_tools(make_agent: MakeAgent) -> None:
    inner = make_agent("memory", memory={"session_id": "inner"})

    async def nested() -> str:
        """Ask another agent."""
        return str(await inner.achat("hello"))

    def plain() -> str:
        """Ask another agent."""
        return str(inner.chat("hello"))

    agent = make_agent("memory", tools=[nested, plain])
    assert agent.chat("use nested") == "The tools said 1 heard, the last: hello."
    assert agent.chat("use plain") == "The tools said 2 heard, the last: hello."


def test_a_stream_is_stored_once_it_was_read_to_its_end(make_agent: MakeAgent) -> None:
    agent = make_agent("memory")
    pieces = agent.start("tell 4", stream=True)
    assert [next(pieces) for _ in range(2)] == ["word0", " word1"]
    time.sleep(0.3)
    assert agent.chat_history == []
    assert list(pieces) == [" word2", " word3"]
    assert len(agent.chat_history) == 2
    assert agent.last_turn is not None and agent.last_turn.output == "word0 word1 word2 word3"


def test_nothing_is_asked_before_the_first_piece_is(api: ModelApi, make_agent: MakeAgent) -> None:
    make_agent("memory").stream("hello")
    assert api.requests() == []


def test_the_default_store_is_in_the_home(api: ModelApi, run_python: Run, home: object) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom turnlog import Agent\n"
        "Agent(name='Assistant', llm=sys.argv[1], memory={'session_id': 'chat-123'}).start('Hello!')\n"
        "print((Path.home() / '.praisonai/sessions/chat-123.json').exists())"
    )
    assert run_python("-c", program, api.url).stdout == "True\n"


def test_the_session_is_labelled_once(make_agent: MakeAgent) -> None:
    agent = make_agent("sqlite", name="Assistant", memory={"user_id": "u1"})
    agent.chat("hello")
    (line,) = agent.session.store.iter_sessions()
    assert (line.agent_name, line.user_id, line.message_count) == ("Assistant", "u1", 2)


def test_wrong_options_are_refused(tmp_path: object) -> None:
    for options in ({"memory": {"db": "x"}}, {"memory": {"colour": 1}}, {"memory": "chat"}, {"colour": 1}):
        with pytest.raises(TypeError):
            Agent(**options)  # type: ignore[arg-type]
    for memory in ({"history_limit": 0}, {"token_budget": True}, {"summarize": "test"}):
        with pytest.raises(ValueError, match="history_limit|token_budget"):
            Agent(memory=memory)
    with pytest.raises(TypeError, match="twice"):
        Agent(memory={"session_id": "a", "store": "memory://"}, session_store="memory://")


def test_a_cancelled_reader_of_a_stream_leaves_no_task(api: ModelApi, make_agent: MakeAgent) -> None:
    agent = make_agent("async memory")

    async def read() -> None:
        async for _ in agent.astream("tell 20, hold reader"):
            pass

    async def go() -> set[str]:
        reading = asyncio.create_task(read())
        await asyncio.to_thread(api.wait_held, "reader")
        await asyncio.sleep(0.1)
        reading.cancel()
        await asyncio.wait([reading])
        return {task.get_coro().__qualname__ for task in asyncio.all_tasks()}

    # Clients of earlier tests may be closing themselves.
    assert asyncio.run(go()) <= {f"{go.__qualname__}", "AsyncClient.aclose"}
    api.release("reader")
    assert len(agent.session.interrupted()) == 1
