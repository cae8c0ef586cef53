"""A program with a real agent and a real bot session manager, made to keep its sessions in turnlog by one line.

``python agent_program.py STORE TASK``: STORE is a store URL, or ``five`` for a class with the five methods; TASK names a function below.
Prints one JSON object: ``answers``, and ``history``, what the store then holds.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from praisonaiagents import Agent
from praisonaiagents.tools.session_tools import session_search

from turnlog.as_praisonai import use_store
from turnlog.session import open_store

SESSION = "chat-123"


class FiveMethods:
    """The five methods and nothing else, on one JSON file."""

    path = Path("five.json")

    def _read(self) -> dict[str, list[dict[str, Any]]]:
        return json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    def _write(self, kept: dict[str, list[dict[str, Any]]]) -> bool:
        self.path.write_text(json.dumps(kept), encoding="utf-8")
        return True

    def add_message(self, session_id: str, role: str, content: str, metadata: dict[str, Any] | None = None) -> bool:
        kept = self._read()
        kept.setdefault(session_id, []).append({"role": role, "content": content})
        return self._write(kept)

    def get_chat_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        return self._read().get(session_id, [])[-(max_messages or 0) :]

    def clear_session(self, session_id: str) -> bool:
        return self._write({**self._read(), session_id: []})

    def delete_session(self, session_id: str) -> bool:
        return self._write({key: value for key, value in self._read().items() if key != session_id})

    def session_exists(self, session_id: str) -> bool:
        return session_id in self._read()


def agent() -> Agent:
    """An agent of the shared session."""
    return Agent(name="Assistant", instructions="Answer.", memory={"session_id": SESSION, "user_id": "user-1"})


def talk(store: Any) -> dict[str, Any]:
    """Two turns of one agent, a third of a second agent with the same session."""
    one = agent()
    answers = [one.start("My name is Ada."), one.chat("I live in Graz."), agent().chat("What is my name?")]
    return {"answers": answers, "history": store.get_chat_history(SESSION)}


def stream(store: Any) -> dict[str, Any]:
    """One streamed turn."""
    answer = "".join(agent().start("My name is Ada.", stream=True))
    return {"answers": [answer], "history": store.get_chat_history(SESSION)}


def tools(store: Any) -> dict[str, Any]:
    """A turn with a tool call, then another agent that must be able to go on."""

    def weather() -> str:
        """Tell the weather."""
        return "sunny"

    def armed() -> Agent:
        return Agent(name="Assistant", instructions="Answer.", tools=[weather], memory={"session_id": SESSION, "user_id": "user-1"})

    answers = [armed().chat("What is the weather?"), armed().chat("Thank you.")]
    return {"answers": answers, "history": store.get_chat_history(SESSION)}


def recall(store: Any) -> dict[str, Any]:
    """The search tool of agents, on what `talk` left."""
    talk(store)
    return {"answers": [json.loads(session_search(query="Graz")), json.loads(session_search())], "history": store.get_chat_history(SESSION)}


def bot(store: Any) -> dict[str, Any]:
    """Two users of a bot; the first comes back through a new session manager, and then starts over."""
    from praisonai_bot.bots._session import BotSessionManager
    from praisonaiagents.session import get_default_session_store

    speaker = Agent(name="Assistant", instructions="Answer.")

    def manager() -> Any:
        return BotSessionManager(store=get_default_session_store(), platform="telegram")

    async def conversation() -> list[str]:
        one = manager()
        turns = (("12345", "I am Ada."), ("678", "I am Bob."), ("12345", "Hello?"))
        answers = [await one.chat(speaker, user, text) for user, text in turns]
        return [*answers, await manager().chat(speaker, "12345", "Still there?")]

    answers = asyncio.run(conversation())
    history = {user: store.get_chat_history(f"bot_telegram_{user}") for user in ("12345", "678")}
    manager().reset("678")
    return {"answers": answers, "history": history, "reset": store.get_chat_history("bot_telegram_678")}


def _texts(store: Any, session_id: str) -> list[str]:
    return [message["content"] for message in store.get_chat_history(session_id)]


def _managed(platform: str, **options: Any) -> Any:
    from praisonai_bot.bots._session import BotSessionManager
    from praisonaiagents.session import get_default_session_store

    return BotSessionManager(store=get_default_session_store(), platform=platform, **options)


def linked(store: Any) -> dict[str, Any]:
    """One person on two platforms, by the resolver that keeps who is who in a file; then the person starts over."""
    from praisonaiagents.session import FileIdentityResolver

    speaker = Agent(name="Assistant", instructions="Answer.")
    resolver = FileIdentityResolver("identity.json")
    resolver.link("telegram", "12345", "alice")
    resolver.link("discord", "snowflake-1", "alice")

    async def conversation() -> list[str]:
        one, two = _managed("telegram", identity_resolver=resolver), _managed("discord", identity_resolver=resolver)
        return [
            await one.chat(speaker, "12345", "I am Alice."),
            await two.chat(speaker, "snowflake-1", "Who am I?"),
            await one.chat(speaker, "12345", "And here?"),
        ]

    answers = asyncio.run(conversation())
    history = _texts(store, "alice")
    _managed("discord", identity_resolver=resolver).reset("snowflake-1")
    return {"answers": answers, "history": history, "reset": _texts(store, "alice")}


def group(store: Any) -> dict[str, Any]:
    """A group that shares one conversation, and says things that the bot only hears."""
    speaker = Agent(name="Assistant", instructions="Answer.")
    manager = _managed("telegram", session_scope="per_chat")
    place = {"chat_id": "-100", "thread_id": "7"}

    async def conversation() -> list[str]:
        assert manager.record_passive("1", "It rains.", sender="Ada", **place) is True
        return [await manager.chat(speaker, user, text, **place) for user, text in (("2", "What did Ada say?"), ("1", "Right."))]

    answers = asyncio.run(conversation())
    return {"answers": answers, "history": _texts(store, manager._session_key("1", **place)), "alone": _texts(store, "bot_telegram_1")}


def policies(store: Any) -> dict[str, Any]:
    """A conversation that ends by silence, one that keeps its newest messages only, and one that nobody has used for long."""
    import time

    from praisonai_bot.bots._reset_policy import SessionResetPolicy

    speaker = Agent(name="Assistant", instructions="Answer.")
    idle = _managed("idle", reset_policy=SessionResetPolicy(mode="idle", idle_minutes=30))
    short = _managed("short", max_history=4)

    async def conversation() -> dict[str, Any]:
        answers = [await idle.chat(speaker, "1", text) for text in ("one", "two")]
        idle._last_active["1"] -= 31 * 60
        answers.append(await idle.chat(speaker, "1", "three"))
        for text in ("one", "two", "three"):
            await short.chat(speaker, "1", text)
        history = {name: _texts(store, f"bot_{name}_1") for name in ("idle", "short")}
        short._last_active["1"] = time.monotonic() - 100
        return {"answers": answers, "history": history, "reaped": [short.reap_stale(50), *_texts(store, "bot_short_1")]}

    return asyncio.run(conversation())


def handoff(store: Any) -> dict[str, Any]:
    """A conversation that goes on in another place, and then all users of a manager are cleared."""
    speaker = Agent(name="Assistant", instructions="Answer.")
    one, two = _managed("telegram"), _managed("discord")

    async def conversation() -> list[str]:
        before = await one.chat(speaker, "1", "I am Ada.")
        two.seed_history("thread-9", one.export_history("1"))
        return [before, await two.chat(speaker, "thread-9", "Who am I?")]

    answers = asyncio.run(conversation())
    history = _texts(store, "bot_discord_thread-9")
    cleared = two.reset_all()
    return {"answers": answers, "history": history, "cleared": cleared, "left": [_texts(store, f"bot_{each}") for each in BOTH]}


BOTH = ("telegram_1", "discord_thread-9")


def crowd(store: Any) -> dict[str, Any]:
    """Ten users at once, three messages each, and one agent for them all."""
    speaker = Agent(name="Assistant", instructions="Answer.")
    manager = _managed("telegram")

    async def one(user: str) -> None:
        for text in ("one", "two", "three"):
            await manager.chat(speaker, user, f"{user} {text}")

    async def all_at_once() -> None:
        await asyncio.gather(*(one(f"u{number}") for number in range(10)))

    asyncio.run(all_at_once())
    return {"history": {f"u{number}": _texts(store, f"bot_telegram_u{number}") for number in range(10)}}


ALL = (talk, stream, tools, recall, bot, linked, group, policies, handoff, crowd)
TASKS: dict[str, Callable[[Any], dict[str, Any]]] = {task.__name__: task for task in ALL}

if __name__ == "__main__":
    chosen, name = sys.argv[1:]
    kept = use_store(FiveMethods() if chosen == "five" else open_store(chosen))
    print(json.dumps(TASKS[name](kept)))
