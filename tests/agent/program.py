"""Agents in processes of their own: turns in several sessions, or turns on command until they are killed.

``python -m tests.agent.program chat URL PLACE [[STORE, SESSION], …] [TEXT, …]`` says all texts in each session. ``python -m
tests.agent.program nursery SOCKET`` imports everything and then forks one agent for each connection: it is sent a line with the arguments
of ``make``, answers with its process id, and then takes one JSON object a line, such as ``{"verb": "chat", "text": "hi"}``.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, TextIO


def script() -> list[str]:
    """What the user says in the script that is run on every store."""
    return ["my name is Ada", "add 2 and 3, add 40 and 2", "ünïcödé \u0000 {'a': 1} 🎉", "add 1 and 1", "what is my name?"]


def boom() -> str:
    """A tool that fails."""
    raise ValueError("the tool fell over")


def nap(word: str) -> str:
    """A tool that takes its time: as many hundredths of a second as the word is long."""
    time.sleep(len(word) / 100)
    return f"slept over {word}"


def wait_for(word: str) -> str:
    """A tool that waits for a file of that name in the working folder."""
    Path(f"{word}.started").touch()
    deadline = time.monotonic() + 60
    while not Path(word).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return f"{word} came"


def mark(word: str) -> str:
    """A tool that leaves a line in a file each time it runs."""
    with Path(f"{word}.marks").open("a") as file:
        file.write("ran\n")
    return f"marked {word}"


def make(url: str, kind: str, place: str, session_id: str, memory: dict[str, Any] | None = None) -> Any:
    """The agent of a program."""
    from tests.agent.api_client import openai_model
    from tests.agent.conftest import STORES, add
    from turnlog import Agent

    store = STORES[kind](Path(place))
    tools = [add, boom, nap, wait_for, mark]
    return Agent(llm=openai_model(url), tools=tools, memory={"session_id": session_id, "store": store, **(memory or {})})


def perform(agent: Any, command: dict[str, Any]) -> Any:
    """What a command of ``serve`` comes to."""
    verb = command["verb"]
    if verb == "chat":
        return agent.chat(command["text"])
    if verb == "stream":
        return "".join(agent.stream(command["text"]))
    if verb == "resume":
        return agent.resume()
    if verb == "drop":
        return agent.session.drop_interrupted()
    if verb == "interrupted":
        return [{"info": turn.info, "messages": [message.record for message in turn.messages]} for turn in agent.session.interrupted()]
    if verb == "history":
        return agent.chat_history
    return asyncio.run(_impatient(agent, command))


async def _impatient(agent: Any, command: dict[str, Any]) -> Any:
    """A turn that is cancelled after so many seconds."""
    return await asyncio.wait_for(agent.achat(command["text"]), command["seconds"])


def serve(lines: TextIO) -> None:
    """Take commands until the connection ends."""
    arguments = json.loads(lines.readline())
    os.chdir(arguments["place"])
    agent = make(**arguments)
    _tell(lines, {"pid": os.getpid()})
    for line in lines:
        try:
            outcome = {"answer": perform(agent, json.loads(line))}
        except BaseException as error:
            outcome = {"error": type(error).__name__, "text": str(error)}
        _tell(lines, outcome)


def _tell(lines: TextIO, value: Any) -> None:
    lines.write(json.dumps(value) + "\n")
    lines.flush()


def nursery(path: str) -> None:
    """Fork an agent for each connection; it ends when the standard input does."""
    import openai
    import pydantic_ai.models.openai

    import tests.agent.conftest
    import turnlog.agent.running

    for module in (openai, pydantic_ai.models.openai, tests.agent.conftest, turnlog.agent.running):
        assert module in sys.modules.values()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        print("listening", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                with connection, connection.makefile("rw", encoding="utf-8") as lines:
                    serve(lines)  # type: ignore[arg-type]
                os._exit(0)
            connection.close()


if __name__ == "__main__":
    task, *arguments = sys.argv[1:]
    if task == "nursery":
        nursery(*arguments)
    api_url, folder, sessions, texts = arguments
    for store_kind, name in json.loads(sessions):
        one = make(api_url, store_kind, folder, name)
        for said in json.loads(texts):
            one.chat(said)
