"""The messages that all stores are given, and the sessions built of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

from bench.plan import Plan

ROLES = ("user", "assistant")
SENTENCE = "The parcel left the depot at nine and the driver asked twice whether the side door on the yard would be open today. "
TEXTS = tuple((SENTENCE[at:] + SENTENCE + SENTENCE)[: 160 + 10 * at] for at in range(9))
"""Texts of 160 to 240 characters, as long as people and models write in a chat."""

TURN = 1_000
"""Messages handed over at once while a long session is built."""
SINGLE = 2_000
"""Messages at the end of a long session that were added one by one, as an agent adds them."""


def messages() -> Iterator[tuple[str, str]]:
    """Role and text of one message after another, for ever."""
    return zip(cycle(ROLES), cycle(TEXTS), strict=False)


def history(count: int) -> list[dict[str, Any]]:
    """That many messages as dicts."""
    return [{"role": role, "content": text} for role, text in islice(messages(), count)]


def build(plan: Plan, store: Any, session_id: str, count: int, *, what: str) -> None:
    """Fill a session with ``count`` messages: whole turns first, then one message at a time."""
    single = min(SINGLE, count)
    with plan.progress.step(f"{what}: writing a session of {count:,} messages") as step:
        for done in range(0, count - single, TURN):
            store.add_messages(session_id, history(min(TURN, count - single - done)))
            step.far(done, count)
        for role, text in islice(messages(), single):
            store.add_message(session_id, role, text)


def appender(add: Callable[[str, str], object]) -> Callable[[], object]:
    """An operation that hands one more message to ``add``."""
    stream = messages()
    return lambda: add(*next(stream))
