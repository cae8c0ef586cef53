"""Who may talk to the bot, and how much at a time."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from typing import Literal

Verdict = Literal["welcome", "repeated", "stranger", "too many", "silence"]
"""What becomes of an update: ``stranger`` and ``too many`` are told so, ``silence`` is not told again."""

REMEMBERED = 10_000
"""Users of whom is known what they sent last, and that they were told."""


class Limits:
    """``allow``: ids of the users who may (None: all). ``rate``: (n, seconds), messages a user may send within a time, counted here in
    this process."""

    def __init__(
        self,
        allow: Collection[str | int] | None = None,
        rate: tuple[int, float] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate is not None and (rate[0] < 1 or rate[1] <= 0):
            raise ValueError(f"rate must be (messages, seconds), such as (20, 60), not {rate!r:.80}")
        if isinstance(allow, str):
            raise TypeError(f"allow must be a list of user ids, not the text {allow!r:.80}: write allow=[{allow!r:.80}]")
        self._allow = None if allow is None else frozenset(str(each) for each in allow)
        self._rate = rate
        self._clock = clock
        self._sent: OrderedDict[str, deque[tuple[float, str]]] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()

    def judge(self, user_id: str, update_id: str) -> Verdict:
        """Look at an update and count it."""
        if self._allow is not None and user_id not in self._allow:
            return "stranger" if self._tell(user_id, 3600.0) else "silence"
        if self._rate is None:
            return "welcome"
        most, seconds = self._rate
        now = self._clock()
        sent = self._sent.setdefault(user_id, deque())
        self._sent.move_to_end(user_id)
        _forget_oldest(self._sent)
        while sent and sent[0][0] <= now - seconds:
            sent.popleft()
        if any(known == update_id for _, known in sent):
            return "repeated"
        if len(sent) >= most:
            return "too many" if self._tell(user_id, seconds) else "silence"
        sent.append((now, update_id))
        return "welcome"

    def _tell(self, user_id: str, seconds: float) -> bool:
        """Whether the user has not been told within the last ``seconds``; counts as told now."""
        now = self._clock()
        if now - self._told.get(user_id, float("-inf")) < seconds:
            return False
        self._told[user_id] = now
        self._told.move_to_end(user_id)
        _forget_oldest(self._told)
        return True


def _forget_oldest(known: OrderedDict[str, object] | OrderedDict[str, deque[tuple[float, str]]] | OrderedDict[str, float]) -> None:
    while len(known) > REMEMBERED:
        known.popitem(last=False)
