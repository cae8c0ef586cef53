"""The Discord bot in servers, as simcord plays them: members, permissions, threads, and what others may see."""

from __future__ import annotations

import asyncio
from typing import Any

import simcord

from tests.bots.chatting import chatting
from turnlog.bots import DeliveryError
from turnlog.bots.discord.platform import Discord, _client
from turnlog.session import InMemorySessionStore


def played(check: Any, **options: Any) -> None:
    """``check(chat, env, guild)`` with a bot in a server; simcord logs its client in and connects it."""

    async def run() -> None:
        client = _client()
        async with simcord.run(client) as env:
            guild = env.create_guild()
            platform = Discord("", client=client)
            async with chatting(platform, InMemorySessionStore(), **options) as chat:
                await check(chat, env, guild)

    asyncio.run(run())


def said(channel: Any) -> list[str]:
    """What the bot said in a channel."""
    return [each.content for each in channel.history() if each.author.bot and each.type.name != "thread_created"]


def test_a_member_talks_to_it_in_a_channel_and_alone() -> None:
    async def check(chat: Any, env: Any, guild: Any) -> None:
        channel = guild.create_text_channel("general")
        alice = guild.add_member(env.create_user("alice"))
        await alice.send(channel, "not for the bot")
        await alice.send(channel, f"{guild.me.mention} hello")
        await alice.send_dm("second")
        assert said(channel) == ["1: hello"]
        assert said(alice.user.dm_channel) == ["2: second"]
        # It goes on with the answer to what it said.
        await alice.send(channel, "third", reply_to=channel.history()[-1])
        assert said(channel) == ["1: hello", "3: third"]

    played(check)


def test_threads_are_conversations_of_their_own() -> None:
    async def check(chat: Any, env: Any, guild: Any) -> None:
        channel = guild.create_text_channel("general")
        alice, bob = guild.add_member(env.create_user("alice")), guild.add_member(env.create_user("bob"))
        message = await alice.send(channel, f"{guild.me.mention} one")
        await message.create_thread(name="a thread")
        [thread] = channel.threads
        await bob.send(thread, f"{guild.me.mention} two")
        await bob.send(channel, f"{guild.me.mention} three")
        assert said(channel) == ["1: alice: one", "2: bob: three"]
        assert said(thread) == ["1: bob: two"]

    played(check, scope="thread")


def test_the_menu_answers_its_user_alone() -> None:
    async def check(chat: Any, env: Any, guild: Any) -> None:
        channel = guild.create_text_channel("general")
        alice, bob = guild.add_member(env.create_user("alice")), guild.add_member(env.create_user("bob"))
        assert {"new", "sessions", "help"} <= set(alice.available_commands(channel))
        await alice.send(channel, f"{guild.me.mention} hello")
        result = await alice.slash(channel, "history", argument="5")
        assert result.ephemeral
        assert "hello" in result.response.content
        assert [message.content for message in channel.history(viewer=bob) if message.author.bot] == ["1: hello"]
        await alice.user.slash("new")
        assert said(alice.user.dm_channel) == ["A new conversation. The one before is kept: /resume first"]

    played(check)


def test_a_channel_where_it_may_not_speak() -> None:
    async def check(chat: Any, env: Any, guild: Any) -> None:
        channel = guild.create_text_channel("general")
        alice = guild.add_member(env.create_user("alice"))
        env.inject_error("POST", f"/channels/{channel.id}/messages", status=403, code=50013, message="Missing Permissions")
        await alice.send(channel, f"{guild.me.mention} hello")
        [(error, _)] = chat.errors
        assert isinstance(error, DeliveryError)
        assert error.permanent
        chat.errors.clear()
        await alice.send_dm("second")
        assert said(alice.user.dm_channel) == ["2: second"]

    played(check)


def test_an_answer_calls_nobody() -> None:
    async def check(chat: Any, env: Any, guild: Any) -> None:
        channel = guild.create_text_channel("general")
        alice, bob = guild.add_member(env.create_user("alice")), guild.add_member(env.create_user("bob"))
        await alice.send(channel, f"{guild.me.mention} say @everyone and {bob.mention}")
        [answer] = [message for message in channel.history() if message.author.bot]
        assert not answer.mention_everyone
        assert answer.mentions == []

    played(check)
