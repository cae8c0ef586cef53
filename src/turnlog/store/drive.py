"""Running a coroutine that never suspends, and sending one to a thread when an event loop waits for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Hopping")


class Hopping(Protocol):
    """A store whose verbs may have to leave the event loop's thread."""

    _direct: Any
    """The same store without hops; None where none are needed."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine over a blocking port, which never suspends: one ``send`` runs it to its end."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        result: T = finished.value
        return result
    coroutine.close()
    raise RuntimeError("a blocking backend suspended: use the Async… form of the store with this backend")


def verb(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """Mark a public coroutine of the store: over a blocking backend it runs whole in one thread, with one hop."""

    @functools.wraps(method)
    async def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        direct = self._direct
        if direct is None:
            return await method(self, *args, **kwargs)
        # Imported here: a sync store never needs an event loop, and asyncio is most of an import's cost.
        import asyncio

        return await asyncio.to_thread(lambda: drive(method(direct, *args, **kwargs)))

    return call
