"""Hostile input: every command with every kind of junk and with what belongs to others, large and broken messages, and floods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.bots.conftest import RunBot, Running
from tests.bots.edge import Edge
from tests.bots.stores import Open
from turnlog.bots.commands import COMMANDS

SCOPES = ("user", "chat", "thread")
ATTACKER = {"user": "mallory", "chat": "m", "thread_id": "mt"}
VICTIM = {"user": "alice", "chat": "a", "thread_id": "at"}
SECRET = "the secret of alice"
NAMES = [command.name for command in COMMANDS]
JUNK = [
    "\x00",
    "\x1b[2J",
    "\u202e",
    "'; DROP TABLE heads; --",
    "{{7*7}}",
    "../../etc/passwd",
    "-1",
    "9" * 4000,
    "x" * 100_000,
    "\n\n",
    "yes\x00",
]


def places(scope: str) -> list[str]:
    """What the victim's sessions are called, and what they could be mistaken for."""
    key = {"user": "bot_edge_alice", "chat": "bot_edge_chat_a", "thread": "bot_edge_thread_a_at"}[scope]
    return [key, f"{key}.desk", f"{key}.list", "bot_edge.desks", "alice", "a", "at", "first", "edge:alice", "*", ""]


def kept_of(store: Any, scope: str) -> list[Any]:
    """All that is stored of the victim."""
    prefix = places(scope)[0]
    ids = [*store.data] if hasattr(store, "data") else [info.session_id for info in store.iter_sessions()]
    return [(each, store.get_chat_history(each)) for each in sorted(ids) if each.startswith(prefix)]


@pytest.mark.parametrize("kind", ["memory", "five methods"])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_the_matrix_shows_or_touches_anothers(
    name: str, scope: str, kind: str, run_bot: RunBot, opened: Callable[[str], Open]
) -> None:
    async def run() -> None:
        store = opened(kind)()
        async with run_bot(store, scope=scope, edge=Edge(longest=100_000)) as running:
            for said in (SECRET, "/new", SECRET):
                await running.say(said, **VICTIM)
            later = [each for each, _ in kept_of(store, scope) if each.rpartition(".")[0] == places(scope)[0]]
            before = kept_of(store, scope)
            await running.say("hello", **ATTACKER)
            own = [*places(scope), *later, *(each.rpartition(".")[2] for each in later)]
            for argument in own:
                for said in (f"/{name} {argument}", f"/{name}@{argument or 'bot'}", f"/{name}\n{argument}", f"/{name} yes {argument}"):
                    answers = len(running.edge.screen("m"))
                    await running.say(said, **ATTACKER)
                    assert len(running.edge.screen("m")) > answers, said
                # What a command led into would be read, or written to, by what is said next.
                await running.say("/history 50", **ATTACKER)
                await running.say("probe", **ATTACKER)
            assert kept_of(store, scope) == before
            assert "secret" not in "\n".join(running.edge.screen("m"))
            # The victim's is there, and goes on.
            assert await running.say("more", **VICTIM) == "2: more"
            assert running.edge.screen("a")[0] == f"1: {SECRET}"

    asyncio.run(run())


@pytest.mark.parametrize("name", [*NAMES, "start", "nonsense", "NEW", "né"])
def test_junk_after_a_command_has_a_clear_answer(name: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened("sqlite")(), edge=Edge(longest=100_000)) as running:
            await running.say("hello")
            for junk in JUNK:
                answers = len(running.edge.screen())
                await running.say(f"/{name} {junk}")
                assert len(running.edge.screen()) > answers, junk[:20]
                assert running.edge.screen()[-1].strip()
            await running.say("/resume first")
            assert (await running.say("still here")).endswith(": still here")

    asyncio.run(run())


LARGE = {
    "letters": "x" * 1_000_000,
    "quotes": '"' * 1_000_000,
    "backslashes": "\\" * 1_000_000,
    "controls": "a" + "\x01" * 1_000_000,
    "emoji": "🌍" * 250_000,
    "lines": "a\n" * 500_000,
    "fences": "```\n" * 250_000,
}


@pytest.mark.parametrize("what", LARGE)
def test_a_megabyte_of_anything_is_answered_or_refused_plainly(what: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened("sqlite")(), edge=Edge(longest=1_500_000)) as running:
            await running.say(LARGE[what])
            (answer,) = running.edge.screen()
            assert answer.rstrip() == f"1: {LARGE[what]}".rstrip() or "too large" in answer or "Sorry" in answer
            assert bool(running.errors) == ("Sorry" in answer)
            running.errors.clear()
            await running.say("/new")
            assert await running.say("and now") == "1: and now"

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["memory", "five methods"])
def test_a_flood_with_commands_in_it_is_answered_in_its_order(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def flood(running: Running) -> None:
        texts = [("/status", "/new", "", "m")[number % 4] or "\x00" for number in range(500)]
        for number, text in enumerate(texts):
            await running.edge.deliver(text, number=str(number))
        await running.bot.idle()
        shown = running.edge.screen()
        assert len(shown) == 500
        for text, answer in zip(texts, shown, strict=True):
            begins = {"/status": "Conversation ", "/new": "A new conversation", "\x00": "I take text", "m": "1: m"}[text]
            assert answer.startswith(begins)

    async def run() -> None:
        async with run_bot(opened(kind)()) as running:
            await flood(running)

    asyncio.run(run())


def test_a_flood_over_the_rate_is_told_once_and_not_kept(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("memory")()
        async with run_bot(store, rate=(20, 60)) as running:
            await asyncio.gather(*(running.edge.deliver(f"m{number}", number=str(number)) for number in range(500)))
            await running.edge.deliver("hello", "bob")
            await running.bot.idle()
            assert len(running.edge.screen()) == 21
            assert sum("too many messages" in answer for answer in running.edge.screen()) == 1
            assert store.get_session_info("bot_edge_alice").message_count == 40
            assert running.edge.screen("bob") == ["1: hello"]

    asyncio.run(run())
