"""Windows: the newest part of a history that an API still takes, by number of messages, by tokens, by turns; also from its end alone.

A store that reads backwards asks ``Window(limit=…, budget=…, count=…, from_user=…).of_suffix(suffix, whole=…)``: the window, or None for
"read further back and ask again with more". It is always what ``.of(history)`` gives for the whole history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from turnlog.errors import MessageIndexError
from turnlog.toolcalls import Message, is_plain, is_user
from turnlog.validity import BOUND, Scan

M = TypeVar("M", bound=Message)

Count = Callable[[Any], int]
"""Gives the tokens of one message; any tokenizer will do."""


@dataclass(frozen=True, slots=True)
class Window:
    """How much of a history is wanted. Every part that is left open (None; for ``limit`` also 0) does not limit.

    ``limit``: at most this many messages. ``budget``: at most this many tokens, as ``count`` counts them. ``from_user``: begins
    at a message in which a user speaks, or is empty. Fewer messages than allowed come only where the next one would split a
    tool group. Each message is counted at most once in a call, newest first, and none that is older than the first that does not fit.
    """

    limit: int | None = None
    budget: int | None = None
    count: Count | None = None
    from_user: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 0:
            raise MessageIndexError(f"the limit is {self.limit}: pass a number of messages, None or 0 for all", index=self.limit, count=0)
        if self.budget is not None and self.count is None:
            raise ValueError("a token budget needs a function that counts the tokens of a message: pass count")

    def of(self, messages: Sequence[M]) -> list[M]:
        """The window of a whole history; the messages themselves, not copies."""
        window = self.of_suffix(messages, whole=True)
        assert window is not None, "a whole history always has a window"
        return window

    def of_suffix(self, messages: Sequence[M], *, whole: bool) -> list[M] | None:
        """The window of the history that ``messages`` are the end of; None where that also depends on messages before them.

        ``whole`` says that nothing is before them; then the answer is never None.
        """
        kept, bound = self._decided(messages, whole)
        start, full = self._start(kept, bound)
        if not full and not whole:
            return None
        if self.from_user:
            while start < len(kept) and (bound[start] == BOUND or not is_user(kept[start])):
                start += 1
        return kept[start:]

    def _decided(self, messages: Sequence[M], whole: bool) -> tuple[list[M], bytes]:
        """The messages that a repaired history surely keeps, and for each its state; as many from the end as the window can need."""
        part = messages[-self.limit - 1 :] if self.limit else messages
        if is_plain(part):
            # The first of them may belong to what is not in sight (reasoning before an answer), so it only counts as a neighbour.
            kept = list(part if whole and len(part) == len(messages) else part[1:])
            return kept, bytes(len(kept))
        scan = Scan(messages, whole=whole)
        indexes = [index for index in range(scan.edge, len(messages)) if scan.states[index]]
        return [messages[index] for index in indexes], bytes(scan.states[index] for index in indexes)

    def _start(self, kept: Sequence[M], bound: bytes) -> tuple[int, bool]:
        """Where in ``kept`` the window begins, and whether it is full: nothing before could still be in it."""
        size = len(kept)
        begin = max(size - self.limit, 0) if self.limit else 0
        full = bool(self.limit) and size >= (self.limit or 0)
        if self.budget is not None and self.count is not None:
            left = self.budget
            for place in range(size - 1, begin - 1, -1):
                left -= self.count(kept[place])
                if left < 0:
                    begin, full = place + 1, True
                    break
        while begin < size and bound[begin] == BOUND:
            begin += 1
        return begin, full


def window(messages: Sequence[M], limit: int | None, *, from_user: bool = False) -> list[M]:
    """The last ``limit`` messages of the repaired history; all for None or 0. See Window."""
    return Window(limit, from_user=from_user).of(messages)


def within_tokens(messages: Sequence[M], budget: int, count: Count) -> list[M]:
    """The longest end of the repaired history that costs at most ``budget`` tokens; each message is counted at most once, newest first."""
    return Window(budget=budget, count=count).of(messages)


def turns(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """The turns of a history as ``(start, stop)``: each begins where a user speaks; what is before the first belongs to it."""
    if not messages:
        return []
    later = [index for index, message in enumerate(messages) if is_user(message)][1:]
    return list(zip([0, *later], [*later, len(messages)], strict=True))


def first_kept(messages: Sequence[Message], limit: int | None) -> int:
    """The smallest index from which whole turns remain, at most ``limit`` messages; the newest turn remains whole, however long.

    None or 0: 0, everything remains.
    """
    if not limit or len(messages) <= limit:
        return 0
    starts = [start for start, _ in turns(messages)]
    return next((start for start in starts if len(messages) - start <= limit), starts[-1])
