"""Nobody sees another's session: every command of every user against everybody else's conversations, in every scope."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.bots.conftest import RunBot, Running
from tests.bots.edge import Edge
from tests.bots.stores import QUICK, Open
from turnlog.bots.commands import COMMANDS

# Ids that look like one another, or like what the bot makes of them.
USERS = ["alice", "alic", "alice.desk", "chat_alice", "@alice", ""]


def secret(user: str) -> str:
    return f"secret {USERS.index(user)}x"


@pytest.mark.parametrize("kind", QUICK)
def test_no_command_shows_or_touches_what_is_anothers(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened(kind)()
        async with run_bot(store, edge=Edge(longest=100_000)) as running:
            for user in USERS:
                await running.say(secret(user), user, chat=f"c{USERS.index(user)}")
                await running.say("/new", user, chat=f"c{USERS.index(user)}")
                await running.say(secret(user), user, chat=f"c{USERS.index(user)}")
            ids = [session for session in _sessions(store) if not session.endswith((".desk", ".list", ".desks"))]
            assert len(ids) == 2 * len(USERS)
            before = _conversations(store, ids)
            for user in USERS:
                await _try_everything(running, user, ids, list(USERS))
            # Nothing but the user's own was changed: what there was is there, at the beginning of what is there now.
            after = _conversations(store, ids)
            assert all(after[session][: len(before[session])] == before[session] for session in ids)
            await _forget_one_after_another(running, store)

    asyncio.run(run())


async def _try_everything(running: Running, user: str, ids: list[str], others: list[str]) -> None:
    chat = f"c{USERS.index(user)}"
    arguments = [*ids, *(each.rpartition(".")[2] for each in ids), *others, "..", "*", "%"]
    commands = [f"/resume {argument}" for argument in arguments]
    for command in COMMANDS:
        if command.name not in ("undo", "forget"):
            commands += [f"/{command.name}", f"/{command.name} {arguments[0]}", f"/{command.name} {arguments[-4]}"]
    for said in commands:
        await running.say(said, user, chat=chat)
    assert await running.say("/history", user, chat=chat)
    shown = "\n".join(running.edge.screen(chat))
    assert secret(user) in shown
    assert not [each for each in USERS if each != user and secret(each) in shown]


async def _forget_one_after_another(running: Running, store: Any) -> None:
    for number, user in enumerate(USERS):
        await running.say("/forget yes", user, chat=f"c{number}")
        texts = str([store.get_chat_history(session) for session in _sessions(store)])
        assert not [each for each in USERS[: number + 1] if secret(each) in texts]
        assert all(secret(each) in texts for each in USERS[number + 1 :])
    left = [session for session in _sessions(store) if not session.endswith(".desks")]
    assert left == []


def _sessions(store: Any) -> list[str]:
    return [*store.data] if hasattr(store, "data") else [info.session_id for info in store.iter_sessions()]


def _conversations(store: Any, ids: list[str]) -> dict[str, list[Any]]:
    return {session: store.get_chat_history(session) for session in ids}


@pytest.mark.parametrize("scope", ["user", "chat", "thread"])
def test_who_shares_a_conversation_in_each_scope(scope: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    places = [(user, chat, thread) for user in ("a", "b") for chat in ("c", "d") for thread in (None, "t", "u")]

    def whose(user: str, chat: str, thread: str | None) -> Any:
        return {"user": user, "chat": chat, "thread": (chat, thread)}[scope]

    async def run() -> None:
        async with run_bot(opened("memory")(), scope=scope) as running:
            counts: dict[Any, int] = {}
            for user, chat, thread in places:
                owner = whose(user, chat, thread)
                counts[owner] = counts.get(owner, 0) + 1
                said = await running.say("hi", user, chat=chat, thread_id=thread, is_private=False, user_name=user.upper())
                who = "" if scope == "user" else f"{user.upper()}: "
                assert said == f"{counts[owner]}: {who}hi"

    asyncio.run(run())


def test_in_a_group_nothing_of_a_users_own_is_read_out(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened("memory")()) as running:
            await running.say("my secret", "alice")
            for command in ("/history", "/sessions", "/export"):
                said = await running.say(command, "alice", chat="group", is_private=False)
                assert said == f"Others would read along: say {command} to me alone."
            assert "my secret" in await running.say("/history", "alice")

    asyncio.run(run())


def test_what_waits_behind_a_forget_is_answered(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run(kind: str) -> None:
        async with run_bot(opened(kind)()) as running:
            for text in ("one", "/forget yes", "two", "three"):
                await running.edge.deliver(text)
            await running.bot.idle()
            assert running.edge.screen()[2:] == ["1: two", "2: three"]

    for kind in QUICK:
        asyncio.run(run(kind))


def test_the_desk_is_the_users_for_whoever_erases_by_user(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        store = opened("sqlite")()
        async with run_bot(store) as running:
            await running.say("hello")
            found = sorted(info.session_id for info in store.iter_sessions(user_id="edge:alice"))
            assert found == ["bot_edge_alice", "bot_edge_alice.desk"]

    asyncio.run(run())
