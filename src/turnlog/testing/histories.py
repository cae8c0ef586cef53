"""Histories with tool calls for the kit: made of blocks, so that it is known which cut is right without asking a store."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """Messages that only make sense together. ``valid`` is False for what an API would refuse, such as a call without its results."""

    messages: tuple[Message, ...]
    valid: bool = True


def text(role: str, content: str) -> Block:
    """One message of text."""
    return Block(({"role": role, "content": content},))


def call(identity: str, name: str = "look_up") -> Message:
    """One tool call in OpenAI's shape."""
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": '{"city": "Zürich"}'}}


def result(identity: str, content: str = "ok") -> Message:
    """The result of a tool call in OpenAI's shape."""
    return {"role": "tool", "tool_call_id": identity, "content": content}


def group(*identities: str, content: Any = None, results: Sequence[str] | None = None) -> Block:
    """An assistant's parallel calls and their results; with other ``results`` the group is not valid."""
    answered = identities if results is None else tuple(results)
    opening = {"role": "assistant", "content": content, "tool_calls": [call(identity) for identity in identities]}
    return Block((opening, *(result(identity) for identity in answered)), sorted(answered) == sorted(identities))


def blocks_group(*identities: str, results: Sequence[str] | None = None) -> Block:
    """The same in Anthropic's shape: two messages of content blocks."""
    answered = identities if results is None else tuple(results)
    uses = [{"type": "tool_use", "id": identity, "name": "look_up", "input": {"q": identity}} for identity in identities]
    opening = {"role": "assistant", "content": [{"type": "text", "text": "let me see"}, *uses]}
    answers = [{"type": "tool_result", "tool_use_id": identity, "content": "ok"} for identity in answered]
    if not answers:
        return Block((opening,), False)
    return Block((opening, {"role": "user", "content": answers}), sorted(answered) == sorted(identities))


def stored(blocks: Sequence[Block]) -> list[Message]:
    """What is appended."""
    return [message for block in blocks for message in block.messages]


def window(blocks: Sequence[Block], count: int | None) -> list[Message]:
    """What a model must get: the last ``count`` messages of the valid blocks, fewer where the cut would split one."""
    visible = [block for block in blocks if block.valid]
    if not count:
        return stored(visible)
    kept: list[Block] = []
    room = count
    for block in reversed(visible):
        room -= len(block.messages)
        if room < 0:
            break
        kept.insert(0, block)
    return stored(kept)


CURATED: dict[str, list[Block]] = {
    "one call": [text("user", "weather?"), group("c1"), text("assistant", "sunny"), text("user", "thanks"), text("assistant", "welcome")],
    "three parallel calls": [text("user", "three cities?"), group("a", "b", "c"), text("assistant", "done"), text("user", "more")],
    "calls after calls": [text("user", "go"), group("a"), group("b", "c"), group("d"), text("assistant", "done"), text("user", "again")],
    "results in another order": [text("user", "go"), group("a", "b", "c", results=["c", "a", "b"]), text("assistant", "done")],
    "text beside the calls": [text("user", "go"), group("a", "b", content="let me look"), text("assistant", "done")],
    "ids used again": [text("user", "go"), group("a"), text("assistant", "x"), text("user", "again"), group("a"), text("assistant", "y")],
    "no result at all": [text("user", "go"), group("a", results=[]), text("user", "still there?"), text("assistant", "yes")],
    "one of two results": [text("user", "go"), group("a", "b", results=["b"]), text("user", "hello?"), text("assistant", "yes")],
    "an unfinished last turn": [text("user", "go"), group("a"), text("assistant", "and"), group("b", "c", results=["b"])],
    "a result without its call": [text("user", "go"), Block((result("z"),), False), text("assistant", "hm"), text("user", "next")],
    "a result too late": [
        text("user", "go"),
        group("a", results=[]),
        text("user", "and?"),
        Block((result("a"),), False),
        text("assistant", "x"),
    ],
    "a system message first": [text("system", "be brief"), text("user", "go"), group("a", "b"), text("assistant", "done")],
    "only a group": [group("a", "b", "c")],
    "a group at the end": [text("user", "go"), text("assistant", "wait"), group("a", "b")],
    "content blocks": [text("user", "go"), blocks_group("a", "b"), text("assistant", "done"), text("user", "more")],
    "content blocks unanswered": [text("user", "go"), blocks_group("a", results=[]), text("user", "hello?")],
}
"""Named histories, each with one trouble."""


def random_history(source: random.Random, length: int = 14) -> list[Block]:
    """Blocks of about ``length`` messages: turns with parallel, repeated, failed and interrupted calls."""
    blocks: list[Block] = [text("system", "s")] if source.random() < 0.3 else []
    number = 0
    while sum(len(block.messages) for block in blocks) < length:
        blocks.append(text("user", f"question {len(blocks)}"))
        for _ in range(source.choice((0, 0, 1, 1, 2, 3))):
            identities = [f"call_{number + i}" for i in range(source.choice((1, 1, 2, 3, 5)))]
            number += len(identities)
            trouble = source.random()
            answered = source.sample(identities, len(identities) if trouble < 0.75 else source.randrange(len(identities)))
            interrupted = len(answered) < len(identities)
            blocks.append(group(*identities, results=answered, content=None if interrupted else source.choice((None, "hm"))))
            if interrupted:
                break
            if trouble < 0.1:
                blocks.append(Block((result(f"orphan_{number}"),), False))
        else:
            if source.random() < 0.85:
                blocks.append(text("assistant", f"answer {len(blocks)}"))
    return blocks
