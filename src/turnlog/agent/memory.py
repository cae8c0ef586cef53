"""What an agent remembers, where, and how much of it the model is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from turnlog.trim import Window

Count = Callable[[Mapping[str, Any]], int]

REFUSED = {
    "db": "pass the store itself or its URL as `store`, such as sqlite:///dir/file or json:///dir",
    "backend": "pass the store itself or its URL as `store`",
    "knowledge": "turnlog keeps conversations; it has no knowledge base",
    "learn": "turnlog keeps conversations; it derives no facts from them",
    "auto_memory": "turnlog keeps conversations; it derives no facts from them",
    "claude_memory": "turnlog keeps conversations; it has no memory tool",
    "prefetch": "the history is read when the turn begins; choose how much with history_limit or token_budget",
    "config": "pass the options themselves",
}
"""Options of other agents' memories, and what to do instead."""


def estimate_tokens(message: Mapping[str, Any]) -> int:
    """About how many tokens a message costs: a quarter of its JSON text. For exact budgets pass ``count_tokens``."""
    return len(json.dumps(message, ensure_ascii=False)) // 4 + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How an agent keeps its conversation. As a dict: ``Agent(memory={"session_id": "chat-123"})``."""

    session_id: str | None = None
    """The session that is continued. None: nothing is written anywhere, and the agent remembers as long as it lives."""
    auto_save: str | None = None
    """``session_id`` under its other name."""
    user_id: str | None = None
    """Noted with the session, for listings."""
    store: Any = None
    """A turnlog store, an object with the five methods, or a URL; None for the default store."""
    history: bool = True
    """Whether the model is sent earlier turns at all."""
    history_limit: int | None = None
    """At most this many earlier messages; the window begins at a user message and splits no tool group. None: all."""
    token_budget: int | None = None
    """At most this many tokens of earlier messages, as ``count_tokens`` counts them."""
    count_tokens: Count = estimate_tokens
    summarize: Any = None
    """A model (as ``llm`` takes it) that summarises what falls out of the window; None or False: what falls out is not sent."""
    wait: float = 0.0
    """Seconds to wait for a turn that another process runs on the session; 0: go on at once, and land behind what landed first."""

    @classmethod
    def of(cls, given: Any) -> Memory:
        """The value for what was passed as ``memory=``: None, a bool, a dict or a Memory. Raises TypeError, ValueError."""
        if isinstance(given, cls):
            return given
        if given is None or isinstance(given, bool):
            return cls(history=given is not False)
        if not isinstance(given, Mapping):
            raise TypeError(f'memory must be a dict or a Memory, not {given!r:.80}: write memory={{"session_id": "chat-123"}}')
        known = {each.name for each in fields(cls)}
        for name in given:
            if name not in known:
                why = REFUSED.get(name) or f"it takes {', '.join(sorted(known))}"
                raise TypeError(f"memory has no option {name!r:.80}: {why}")
        return cls(**given)

    def __post_init__(self) -> None:
        for name in ("history_limit", "token_budget"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ValueError(f"{name} must be an int of 1 or more, or None for no limit, not {value!r:.80}")
        if self.auto_save is not None and self.session_id is None:
            object.__setattr__(self, "session_id", self.auto_save)
        if self.summarize and not (self.history_limit or self.token_budget):
            raise ValueError("summarize needs history_limit or token_budget: without a limit nothing falls out of the window")

    def window(self, share: int = 1) -> Window:
        """The window of earlier messages; ``share`` divides its limits."""
        limit = max(1, self.history_limit // share) if self.history_limit else None
        budget = max(1, self.token_budget // share) if self.token_budget else None
        return Window(limit, budget=budget, count=self.count_tokens if budget else None, from_user=True)
