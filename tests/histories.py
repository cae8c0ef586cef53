"""Messages in every form, random histories of agents at work with what must become of each message, and soups of any messages."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

FORMS = ("chat", "anthropic", "responses")

Message = dict[str, Any]

USER: Message = {"role": "user", "content": "go"}
SAID: Message = {"role": "assistant", "content": "done"}
THOUGHT: Message = {"type": "reasoning", "summary": []}
SEARCH: Message = {"type": "web_search_call", "status": "completed"}


def chat(*ids: str, **changed: Any) -> Message:
    """An OpenAI chat message with parallel calls."""
    made = [{"id": each, "type": "function", "function": {"name": "f", "arguments": "{}"}, **changed} for each in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def tool(call_id: Any, content: Any = "fine") -> Message:
    """An OpenAI chat result."""
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def use(*ids: str, **changed: Any) -> Message:
    """An Anthropic message with parallel calls."""
    return {"role": "assistant", "content": [{"type": "tool_use", "id": each, "name": "f", "input": {}, **changed} for each in ids]}


def result(*ids: Any, before: tuple[Message, ...] = (), after: tuple[Message, ...] = ()) -> Message:
    """An Anthropic message with results, and parts before or after them."""
    return {"role": "user", "content": [*before, *({"type": "tool_result", "tool_use_id": each} for each in ids), *after]}


def item(call_id: Any, **changed: Any) -> Message:
    """A call as an item of the responses API."""
    return {"type": "function_call", "call_id": call_id, "name": "f", "arguments": "{}", **changed}


def output(call_id: Any, **changed: Any) -> Message:
    """A result as an item of the responses API."""
    return {"type": "function_call_output", "call_id": call_id, "output": "fine", **changed}


WORDS: Message = {"type": "text", "text": "so"}
OLD_CALL: Message = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
OLD_RESULT: Message = {"role": "function", "name": "f", "content": "fine"}


@dataclass
class History:
    """Messages, and for each the number of the group that is kept or left out as one; None where it must be left out."""

    messages: list[Message] = field(default_factory=list)
    groups: list[int | None] = field(default_factory=list)
    numbers: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, messages: list[Message], *, keep: bool) -> None:
        """Add messages that stay together, or that must go."""
        group = next(self.numbers) if keep else None
        self.messages += messages
        self.groups += [group] * len(messages)

    def kept(self) -> list[Message]:
        """What a repair must give."""
        return [message for message, group in zip(self.messages, self.groups, strict=True) if group is not None]

    def window(self, limit: int | None, budget: int | None = None, count: Callable[[Message], int] = len) -> list[Message]:
        """What a window must give: the newest groups that fit."""
        chosen: list[Message] = []
        kept = [(group, message) for message, group in zip(self.messages, self.groups, strict=True) if group is not None]
        groups = [[message for _, message in pairs] for _, pairs in itertools.groupby(kept, key=lambda pair: pair[0])]
        for group in reversed(groups):
            more = [*group, *chosen]
            if (limit and len(more) > limit) or (budget is not None and sum(map(count, more)) > budget):
                break
            chosen = more
        return chosen


def text(role: str, rng: random.Random) -> Message:
    """A message without any call."""
    content: Any = f"words {rng.randrange(1000)}"
    if rng.random() < 0.15:
        content = [{"type": "text", "text": content}]
    return {"role": role, "content": content}


def calls(form: str, ids: list[str], rng: random.Random) -> list[Message]:
    """Parallel calls as the model makes them."""
    if form == "chat":
        return [chat(*ids)]
    if form == "anthropic":
        lead = [{"type": "text", "text": "let me see"}] if rng.random() < 0.5 else []
        return [{"role": "assistant", "content": [*lead, *use(*ids)["content"]]}]
    items = [item(each) for each in ids]
    if rng.random() < 0.4:
        items.insert(rng.randrange(len(items)), THOUGHT)
    if rng.random() < 0.15:
        items.append({"role": "assistant", "content": "meanwhile"})
    return items


def results(form: str, ids: list[str], rng: random.Random, *, error: bool = False) -> list[Message]:
    """The results of parallel calls, in any order; an error is a result like any other."""
    ids = rng.sample(ids, len(ids))
    said = "error: no such file" if error else "fine"
    if form == "chat":
        return [tool(each, said) for each in ids]
    if form == "anthropic":
        tail = [{"type": "text", "text": "go on"}] if rng.random() < 0.2 else []
        parts = [{"type": "tool_result", "tool_use_id": each, "content": said, **({"is_error": True} if error else {})} for each in ids]
        return [{"role": "user", "content": [*parts, *tail]}] if parts else []
    return [output(each, output=said) for each in ids]


def random_history(seed: int) -> History:
    """Some turns of an agent with parallel, nested, failed and interrupted tool calls, stray results and stray reasoning, all forms."""
    rng = random.Random(seed)
    history = History()
    ids = (f"call_{seed}_{number}" for number in itertools.count())
    forms = rng.choice([*((form,) for form in FORMS), FORMS])
    for _ in range(rng.randrange(1, 5)):
        if rng.random() < 0.9 or history.messages:
            history.add([text("user", rng)], keep=True)
        for _ in range(rng.randrange(3)):
            form = rng.choice(forms)
            step = rng.choice([whole, whole, failed, nested, interrupted, partly_done, stray, doubled, parted, thought])
            step(history, form, [next(ids) for _ in range(rng.randrange(1, 4))], ids, rng)
        if rng.random() < 0.8:
            history.add([text("assistant", rng)], keep=True)
    return history


def whole(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Calls and their results."""
    history.add([*calls(form, own, rng), *results(form, own, rng)], keep=True)


def failed(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Calls that were answered by errors."""
    history.add([*calls(form, own, rng), *results(form, own, rng, error=True)], keep=True)


def nested(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """A whole group within one that is open: the inner one stays."""
    own = [*own, next(ids)]
    some = own[1:] if form == "responses" else own[: rng.randrange(len(own))]
    first = results(form, some, rng)
    give_up(history, [*calls(form, own, rng), *first])
    whole(history, form, [next(ids)], ids, rng)
    history.add(results(form, [each for each in own if each not in some], rng), keep=False)


def interrupted(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Calls without any result; the user goes on."""
    give_up(history, calls(form, own, rng))
    history.add([text("user", rng)], keep=True)


def partly_done(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Calls with some of their results; the user goes on."""
    give_up(history, [*calls(form, [*own, next(ids)], rng), *results(form, own, rng)])
    history.add([text(rng.choice(["user", "system"]), rng)], keep=True)


def stray(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Results that nobody asked for, or before anybody asked."""
    history.add(results(form, own, rng), keep=False)
    if rng.random() < 0.5:
        history.add([text("user", rng)], keep=True)
        give_up(history, calls(form, own, rng))
        history.add([text("user", rng)], keep=True)


def doubled(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """A second result for calls that have theirs."""
    whole(history, form, own, ids, rng)
    history.add(results(form, own[:1], rng), keep=False)


def parted(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Calls and results with a user's words between."""
    give_up(history, calls(form, own, rng))
    history.add([text("user", rng)], keep=True)
    history.add(results(form, own, rng), keep=False)


def thought(history: History, form: str, own: list[str], ids: Any, rng: random.Random) -> None:
    """Reasoning before an answer, and reasoning before nothing."""
    history.add([THOUGHT, text("assistant", rng)], keep=True)
    history.add([text("user", rng)], keep=True)
    history.add([THOUGHT], keep=False)
    history.add([text("user", rng)], keep=True)


def give_up(history: History, messages: list[Message]) -> None:
    """Add calls that must go; what the model said beside them stays."""
    for message in messages:
        speech = message.get("role") == "assistant" and isinstance(message["content"], str)
        history.add([message], keep=speech)


SOUP: dict[str, list[Any]] = {
    "chat": [chat("a"), chat("b"), chat("a", "b"), tool("a"), tool("b"), OLD_CALL, OLD_RESULT],
    "anthropic": [use("a"), use("b"), use("a", "b"), result("a"), result("b"), result("a", "b"), result("a", after=(WORDS,))],
    "responses": [*map(item, "abc"), *map(output, "abc"), {"type": "computer_call", "call_id": "a"}, THOUGHT, SEARCH],
}
BAD: list[Any] = [
    "words",
    {**SAID, "tool_calls": []},
    chat("a", "a"),
    use("a", "a"),
    result("a", before=(WORDS,)),
    item(""),
    tool("a", None),
]


@st.composite
def soups(draw: st.DrawFn) -> list[Any]:
    """Any messages in any order: mostly of one form, so that they meet."""
    pool = draw(st.sampled_from([*SOUP.values(), [each for form in SOUP.values() for each in form]]))
    pool = [*pool, USER, SAID, THOUGHT, *(BAD if draw(st.booleans()) else [])]
    return draw(st.lists(st.sampled_from(pool), max_size=12))
