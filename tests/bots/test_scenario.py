"""One script of a conversation gives the same conversation on every store, also after a restart in its middle."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

import pytest

from tests.bots.conftest import RunBot
from tests.bots.edge import Edge
from tests.bots.stores import FIVE, FULL, KINDS, Open

SCRIPT = [
    ("alice", "my name is Alice"),
    ("bob", "hello"),
    ("alice", "second"),
    ("alice", "/status"),
    ("alice", "/new"),
    ("alice", "fresh"),
    ("bob", "/fork"),
    ("bob", "in the fork"),
    ("alice", "/resume first"),
    ("alice", "third"),
    ("alice", "//literally"),
    ("bob", "/history"),
    ("bob", "/nonsense now"),
    ("alice", "/sessions"),
    ("alice", "/resume e"),
    ("bob", "/forget"),
    ("bob", "/forget yes"),
    ("bob", "anew"),
    ("alice", "/status"),
]
FULL_ONLY = [("alice", "/undo"), ("alice", "after the undo"), ("alice", "/history 4")]


def play(run_bot: RunBot, open_store: Open, script: list[tuple[str, str]], *, restart_every: int) -> list[str]:
    """What the users saw, in their order; the bot is started anew after every ``restart_every`` messages."""
    seen: list[str] = []

    async def run(part: list[tuple[int, tuple[str, str]]]) -> None:
        async with run_bot(open_store(), edge=Edge()) as running:
            for number, (user, text) in part:
                seen.append(f"{user}: {await running.say(text, user, number=f'{number}')}")

    numbered = list(enumerate(script))
    for start in range(0, len(script), restart_every):
        asyncio.run(run(numbered[start : start + restart_every]))
    return [re.sub(r", 20\d\d-\d\d-\d\d \d\d:\d\d UTC", "", line) for line in seen]


def test_the_script_on_one_store(run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    seen = play(run_bot, opened("memory"), SCRIPT + FULL_ONLY, restart_every=100)
    assert seen[:6] == [
        "alice: 1: my name is Alice",
        "bob: 1: hello",
        "alice: 2: second",
        "alice: Conversation first: 4 messages.",
        "alice: A new conversation. The one before is kept: /resume first",
        "alice: 1: fresh",
    ]
    assert re.fullmatch(r"bob: Now in ([0-9a-f]{8}), a fork. /resume first goes back.", seen[6])
    assert seen[7:11] == [
        "bob: 2: in the fork",
        "alice: Now in first, with 4 messages.",
        "alice: 3: third",
        "alice: 4: /literally",
    ]
    assert seen[11] == "bob: **user**: hello\n\n**assistant**: 1: hello\n\n**user**: in the fork\n\n**assistant**: 2: in the fork"
    assert seen[12].startswith("bob: /nonsense is no command.")
    assert re.fullmatch(
        r"alice: - first \(this one\): my name is Alice \(8 messages\)\n- [0-9a-f]{8}: fresh \(2 messages\)\n/resume NAME goes on .*",
        seen[13],
    )
    assert seen[15].startswith("bob: This erases 2 conversations")
    assert seen[16:18] == ["bob: Erased: your conversations, and all that was kept of you.", "bob: 1: anew"]
    assert seen[-3] == "alice: The last exchange is taken back."
    assert seen[-2] == "alice: 4: after the undo"
    assert seen[-1].startswith("alice: **user**: third\n\n**assistant**: 3: third\n\n**user**: after the undo")


@pytest.mark.parametrize("restart_every", [100, 4, 1], ids=["in one go", "restarted now and then", "restarted after every message"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_store_gives_the_same_conversation(kind: str, restart_every: int, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    script = SCRIPT + (FULL_ONLY if kind in FULL else [])
    wanted = play(run_bot, opened("memory" if kind != "memory" else "sqlite"), script, restart_every=100)
    seen = play(run_bot, opened(kind), script, restart_every=restart_every)
    if kind in FIVE:
        # Five methods cannot tell what changed last.
        seen[13], wanted[13] = (re.sub(r"- .*\n", "", line) for line in (seen[13], wanted[13]))
    assert seen == wanted


@pytest.mark.parametrize("kind", FIVE)
def test_five_methods_say_what_they_cannot_do(kind: str, run_bot: RunBot, opened: Callable[[str], Open]) -> None:
    async def run() -> None:
        async with run_bot(opened(kind)()) as running:
            await running.say("hello")
            assert "only the five basic methods" in await running.say("/undo")
            assert await running.say("still here") == "2: still here"

    asyncio.run(run())
