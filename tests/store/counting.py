"""A memory backend that notes every call of the port."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Backend, SharedRuns


class Counting(MemoryBackend):
    """``calls``: the verbs called since ``took`` was last asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def took(self, verb: Callable[[], Any]) -> list[str]:
        """The calls that ``verb`` makes."""
        self.calls = []
        verb()
        return self.calls

    def left(self) -> dict[str, Any]:
        """What there is beside heads."""
        places = {"records": self._runs, "rows": self._rows, "claims": self._claims, "marks": self._marks}
        return {name: dict(place) for name, place in places.items() if place}


def _counted(verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    method = getattr(MemoryBackend, verb)

    async def call(self: Counting, *args: Any, **kwargs: Any) -> Any:
        self.calls.append(verb)
        return await method(self, *args, **kwargs)

    return call


for _protocol in (Backend, SharedRuns):
    for _verb in vars(_protocol):
        if not _verb.startswith("_") and _verb != "together":
            setattr(Counting, _verb, _counted(_verb))
