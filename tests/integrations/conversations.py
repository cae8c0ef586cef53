"""A random walk over two conversation stores at once: what one does, the other must do too."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pydantic_ai.conversation import Conversation
from pydantic_ai.conversation_store import ConversationEntry, ConversationStore
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import (
    BinaryImage,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import DeferredToolRequests
from pydantic_ai.usage import RunUsage

NAMES = [f"talk {number}" for number in range(9)]
SCOPES = [None, "ann", "bob"]


@dataclass
class Pair:
    """One conversation as each of the two stores gave it."""

    theirs: Conversation
    ours: Conversation

    def both(self) -> tuple[Conversation, Conversation]:
        """The two, to change them alike."""
        return self.theirs, self.ours


@dataclass
class Walk:
    """``theirs`` is the model; one of ``ours`` is taken at random for each step, as if several processes shared the place."""

    theirs: ConversationStore
    ours: list[ConversationStore]
    rng: random.Random
    pairs: list[Pair] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)
    """Entry ids: theirs to ours."""
    done: dict[str, int] = field(default_factory=dict)
    """Steps that went through, by name."""

    async def run(self, steps: int) -> None:
        """Take that many steps; AssertionError names the one where the two disagree."""
        kinds = [self.begin, self.load, self.load, self.extend, self.extend, self.extend, self.extend, self.rewrite, self.shorten]
        kinds += [self.branch, self.branch, self.fork, self.delete, self.fork, self.list, self.entries]
        for number in range(steps):
            step = self.rng.choice(kinds)
            try:
                done = await step()
            except AssertionError as error:
                raise AssertionError(f"step {number}, {step.__name__}: {error}") from error
            self.done[step.__name__] = self.done.get(step.__name__, 0) + bool(done)

    async def both(self, act: Callable[[ConversationStore, bool], Awaitable[Any]]) -> tuple[Any, Any]:
        """What an action gives on each; an error that one raises, both must raise, and then both are None."""
        outcomes = []
        for store, ours in ((self.theirs, False), (self.rng.choice(self.ours), True)):
            try:
                outcomes.append((await act(store, ours), None))
            except UserError as error:
                outcomes.append((None, type(error)))
        assert outcomes[0][1] == outcomes[1][1], f"theirs {outcomes[0]}, ours {outcomes[1]}"
        return outcomes[0][0], outcomes[1][0]

    async def begin(self) -> bool:
        """Save a conversation that was not loaded, perhaps over one that is there."""
        name, messages, scope = self.rng.choice(NAMES), self.messages(), self.rng.choice(SCOPES)
        pair = Pair(*(Conversation(conversation_id=name, messages=list(messages)) for _ in range(2)))
        return await self.save(pair, scope)

    async def load(self) -> bool:
        """Load all of a conversation, or its end."""
        name, limit, scope = self.rng.choice(NAMES), self.rng.choice([None, None, 0, 1, 2, 3, 7]), self.rng.choice(SCOPES)
        theirs, ours = await self.both(lambda store, _: store.load(name, limit=limit, scope=scope))
        return self.keep(theirs, ours)

    async def extend(self) -> bool:
        """Save a conversation with more messages, or with none but other usage."""
        if not self.pairs:
            return False
        pair, messages = self.rng.choice(self.pairs[-3:]), self.messages()
        cost = self.rng.choice([None, Decimal(0), Decimal("0.5")])
        usage, waits = self.rng.randrange(3), self.rng.random() < 0.2
        for conversation in pair.both():
            conversation.messages += messages
            conversation.usage = RunUsage(
                requests=usage, input_tokens=self.size(messages), details={"k": usage} if usage else {}, cost=cost
            )
            conversation.deferred_tool_requests = DeferredToolRequests(calls=[ToolCallPart("f", {"a": 1}, "c1")]) if waits else None
        return await self.save(pair, self.rng.choice(SCOPES))

    async def rewrite(self) -> bool:
        """Save a history with one message replaced: what was there becomes a branch."""
        if not self.pairs:
            return False
        pair = self.rng.choice(self.pairs[-3:])
        if not pair.ours.messages:
            return False
        place, instead = self.rng.randrange(len(pair.ours.messages)), self.messages()
        for conversation in pair.both():
            conversation.messages[place : place + 1] = instead
        return await self.save(pair, None)

    async def shorten(self) -> bool:
        """Save a history without its beginning or its end, with or without a word on what is stored."""
        if not self.pairs:
            return False
        pair, where, forget = self.rng.choice(self.pairs[-3:]), self.rng.choice([slice(1, None), slice(0, -1)]), self.rng.random() < 0.5
        for conversation in pair.both():
            conversation.messages = conversation.messages[where]
            if forget:
                conversation.new_message_index = None
        return await self.save(pair, None)

    async def branch(self) -> bool:
        """Continue a conversation from an earlier point or a branch, now and then from a stale revision."""
        if not self.pairs:
            return False
        pair, scope = self.rng.choice(self.pairs[-4:]), self.rng.choice(SCOPES[:2])
        point = await self.point(pair.ours.conversation_id)

        async def act(store: ConversationStore, ours: bool) -> Conversation:
            revision = (pair.ours if ours else pair.theirs).revision
            return await store.branch(pair.ours.conversation_id, expected_revision=revision, scope=scope, **self.said(point, ours))

        return self.keep(*await self.both(act))

    async def fork(self) -> bool:
        """Fork a conversation, perhaps to an id that is taken."""
        name, new = self.rng.choice(NAMES), self.rng.choice(NAMES)
        scope, source = self.rng.choice(SCOPES), self.rng.choice(SCOPES[:2])
        point = await self.point(name)

        async def act(store: ConversationStore, ours: bool) -> Conversation:
            return await store.fork(name, new_conversation_id=new, scope=scope, source_scope=source, **self.said(point, ours))

        return self.keep(*await self.both(act))

    async def delete(self) -> bool:
        """Delete a conversation."""
        if self.rng.random() < 0.3:
            return False
        name, scope = self.rng.choice(NAMES), self.rng.choice(SCOPES)
        await self.both(lambda store, _: store.delete(name, scope=scope))
        return True

    async def list(self) -> bool:
        """List conversations."""
        scope, limit = self.rng.choice(SCOPES), self.rng.choice([None, 0, 1, 3])
        theirs, ours = await self.both(lambda store, _: store.list_conversations(scope=scope, limit=limit))
        for one, other in zip(theirs, ours, strict=True):
            assert (one.conversation_id, one.scope, one.usage, one.deferred_tool_requests, one.forked_from) == (
                (other.conversation_id, other.scope, other.usage, other.deferred_tool_requests, other.forked_from)
            )
            assert self.ours_of(one.head_id) == other.head_id
            assert self.ours_of(one.forked_at) == other.forked_at
            assert [self.ours_of(tip) for tip in one.branches] == other.branches
        return bool(ours)

    async def entries(self) -> bool:
        """Look at the entries of a conversation, and at one by its id."""
        name, limit = self.rng.choice(NAMES), self.rng.choice([None, 0, 1, 2, 5])
        theirs, ours = await self.both(lambda store, _: store.load_entries(name, limit=limit))
        assert (theirs is None) == (ours is None)
        self.learn(theirs or [], ours or [])
        if ours:
            store = self.rng.choice(self.ours)
            line = await store.load_entries(name) or []
            place = self.rng.randrange(len(line))
            assert await store.read_entry(line[place].id) == line[place]
            assert await store.read_history(line[place].id) == line[: place + 1]
            assert await store.read_history(line[place].id, limit=2) == line[: place + 1][-2:]
        return bool(ours)

    async def save(self, pair: Pair, scope: str | None) -> bool:
        """Save on both."""
        theirs, ours = await self.both(lambda store, ours: store.save(pair.ours if ours else pair.theirs, scope=scope))
        if ours is None:
            return False
        self.learn(theirs, ours)
        return self.keep(*pair.both())

    def keep(self, theirs: Conversation | None, ours: Conversation | None) -> bool:
        """Compare two conversations and keep them for later steps."""
        assert (theirs is None) == (ours is None)
        if theirs is None or ours is None:
            return False
        assert theirs.messages == ours.messages
        assert (theirs.usage, theirs.deferred_tool_requests, theirs.new_message_index) == (
            (ours.usage, ours.deferred_tool_requests, ours.new_message_index)
        )
        self.pairs = [*[pair for pair in self.pairs if pair.ours is not ours][-6:], Pair(theirs, ours)]
        return True

    def learn(self, theirs: list[ConversationEntry], ours: list[ConversationEntry]) -> None:
        """Compare entries; ids must map one to one."""
        assert [entry.message for entry in theirs] == [entry.message for entry in ours]
        for one, other in zip(theirs, ours, strict=True):
            assert self.ids.setdefault(one.id, other.id) == other.id
            assert self.ours_of(one.parent_id) == other.parent_id

    def ours_of(self, identity: str | None) -> str | None:
        """Our id of an entry, by theirs."""
        return None if identity is None else self.ids[identity]

    async def point(self, name: str) -> dict[str, Any]:
        """Where to branch or fork a conversation: a number of messages, or an entry by their id, mostly one that will do."""
        if self.rng.random() < 0.4 or not self.ids:
            return {"at": self.rng.choice([0, 1, 2, 3, 9])}
        record = await self.theirs.read_record(name)
        if record is None or self.rng.random() < 0.1:
            return {"from_entry": self.rng.choice(list(self.ids))}
        line = await self.theirs.read_history(self.rng.choice([record.head_id, *record.branches]))
        return {"from_entry": self.rng.choice(line).id if line else self.rng.choice(list(self.ids))}

    def said(self, point: dict[str, Any], ours: bool) -> dict[str, Any]:
        """A point in the ids of a store."""
        return {"from_entry": self.ids[point["from_entry"]]} if ours and "from_entry" in point else point

    def size(self, messages: list[ModelMessage]) -> int:
        """Some number that depends on the messages."""
        return sum(len(message.parts) for message in messages)

    def messages(self) -> list[ModelMessage]:
        """None to three messages; some are several records, one is the same as others before."""
        rng = self.rng
        word = f"word {rng.randrange(40)}"
        image = BinaryImage(data=bytes([rng.randrange(256)]) * 90, media_type="image/png")
        choices: list[Callable[[], ModelMessage]] = [
            lambda: ModelRequest(parts=[UserPromptPart(word)]),
            lambda: ModelRequest(parts=[SystemPromptPart("be brief"), UserPromptPart([word, image])], instructions="i" * 70),
            lambda: ModelResponse(parts=[TextPart(word)]),
            lambda: ModelResponse(parts=[ThinkingPart(word, signature="s" * 80), ToolCallPart("f", {"q": word}, "c1")]),
            lambda: ModelRequest(
                parts=[ToolReturnPart("f", [word, image], "c1"), ToolReturnPart("g", word, "c2"), UserPromptPart("go on")]
            ),
            lambda: ModelRequest(parts=[]),
            lambda: ModelResponse(parts=[]),
        ]
        return [rng.choice(choices)() for _ in range(rng.choice([0, 1, 1, 2, 2, 3]))]
