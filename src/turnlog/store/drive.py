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
    backend: Any


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
            doing = method(self, *args, **kwargs)
            return await doing if self.backend.blocking else await _heeding(doing)
        # Imported here: a sync store never needs an event loop, and asyncio is most of an import's cost.
        import asyncio

        return await asyncio.to_thread(lambda: drive(method(direct, *args, **kwargs)))

    return call


async def _heeding(doing: Coroutine[Any, Any, T]) -> T:
    """The outcome of ``doing``; CancelledError where its task was cancelled meanwhile and a driver lost that.

    So does ``asyncio.wait_for`` before Python 3.12, which redis-py sends with.
    """
    import asyncio

    try:
        task = asyncio.current_task()
    except RuntimeError:
        # Something other than asyncio drives it.
        task = None
    before = task.cancelling() if task is not None else 0
    outcome = await doing
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return outcome
