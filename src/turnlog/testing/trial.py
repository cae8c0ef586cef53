"""What one case is given: a fresh store, a place, seeded randomness, races of threads and writers in other processes."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from turnlog.testing.checks import Mismatch, NotRun
from turnlog.testing.faces import Loop
from turnlog.testing.registry import Level
from turnlog.testing.subject import Subject
from turnlog.testing.writers import Writer

Number = TypeVar("Number", int, float)

DELAYS = (0.0, 3e-5, 2e-4, 1e-3)
"""Seconds within which the threads of a race begin one after the other."""

INTERVAL = sys.getswitchinterval()
"""Seconds after which threads change places outside of races. Asked for once: a race that hangs has not put it back yet."""

MEANWHILE = 5000
"""Calls after which what is done meanwhile comes to its end."""


class Trial:
    """One run of one case. Everything made here is closed and removed when the case ends."""

    def __init__(self, subject: Subject, *, level: Level, seed: str) -> None:
        self.subject = subject
        self.level = level
        self.random = random.Random(seed)
        self.loop = Loop()
        self.root = Path(tempfile.mkdtemp(prefix="turnlog-verify-"))
        """A directory around every place of this case, to see what is written outside of them."""
        self._stores: list[Any] = []
        self._writers: list[Writer] = []
        self._places = 0
        self._lock = threading.RLock()
        self.place = self.new_place()
        self._raw: Any = None
        self._store: Any = None

    @property
    def raw(self) -> Any:
        """The fresh store as the factory gave it."""
        # The threads of a race may be the first to ask, all at once.
        with self._lock:
            if self._raw is None:
                self._raw = self._open(self.place)
            return self._raw

    @property
    def store(self) -> Any:
        """The fresh store, to be called without await whether it is sync or async."""
        with self._lock:
            if self._store is None:
                self._store = self.subject.face(self.raw, self.loop)
            return self._store

    def open_again(self, place: Path | None = None, **options: Any) -> Any:
        """Another instance on the same place, or on one of ``new_place``."""
        self.subject.need_place()
        return self.subject.face(self._open(place or self.place, **options), self.loop)

    def another(self, **options: Any) -> Any:
        """A store in a place of its own, with options such as ``max_messages``."""
        if "max_messages" in options and not self.subject.takes_limit:
            raise NotRun("the factory takes no max_messages, so stores cannot be made to shed old turns")
        return self.subject.face(self._open(self.new_place(), **options), self.loop)

    def many(self, quick: Number, full: Number) -> Number:
        """How many rounds, by level."""
        return full if self.level == "full" else quick

    def race(self, *actions: Callable[[], Any], meanwhile: Callable[[int], Any] | None = None, seconds: float = 60.0) -> list[Any]:
        """Run the actions in threads that start together; their results in order. The first error any raised is raised here.

        ``meanwhile(0)``, ``meanwhile(1)`` and so on are called in one more thread as long as an action runs; then how many calls
        there were stands at the end of the results.
        """
        count = len(actions) + (meanwhile is not None)
        barrier = threading.Barrier(count)
        results: list[Any] = [None] * count
        errors: list[Exception] = []
        ended: set[int] = set()
        # A barrier lets go of threads one after the other: each waits a little more, so that any of them can be first, by any margin.
        delays = [self.random.choice(DELAYS) * self.random.random() for _ in range(count)]

        def run(index: int, action: Callable[[], Any]) -> None:
            try:
                barrier.wait(seconds)
                begin = time.perf_counter() + delays[index]
                while time.perf_counter() < begin:
                    pass
                results[index] = action()
            except Exception as error:  # noqa: BLE001  # raised again once all threads have ended
                errors.append(error)
            finally:
                ended.add(index)

        def go_on() -> int:
            assert meanwhile is not None
            for number in range(MEANWHILE):
                if len(ended) == len(actions) and number:
                    return number
                meanwhile(number)
            return MEANWHILE

        all_actions = [*actions, *([go_on] if meanwhile is not None else [])]
        threads = [threading.Thread(target=run, args=(i, action), daemon=True) for i, action in enumerate(all_actions)]
        # Threads change places a hundred times as often as usual, so that what a lock forgets is met in few rounds.
        sys.setswitchinterval(INTERVAL / 100)
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(seconds)
        finally:
            sys.setswitchinterval(INTERVAL)
        if any(thread.is_alive() for thread in threads):
            raise Mismatch(f"every thread of the race ends within {seconds:.0f} s", "at least one still runs")
        if errors:
            raise errors[0]
        return results

    def writer(self, job: str, *, place: Path | None = None, **arguments: Any) -> Writer:
        """Start another process that opens the same place and does ``job`` (a function of turnlog.testing.jobs)."""
        return self.writers(job, [arguments], place=place)[0]

    def writers(self, job: str, each: Sequence[dict[str, Any]], *, place: Path | None = None) -> list[Writer]:
        """Start a process for each of these arguments; they begin together, once all have imported what they need."""
        header = self.subject.child_header()
        started = [Writer(header, place or self.place, job, arguments) for arguments in each]
        self._writers += started
        for one in started:
            one.await_ready()
        for one in started:
            one.begin()
        return started

    def files(self, place: Path | None = None) -> list[Path]:
        """Every file under the place, sorted; NotRun where the store keeps none."""
        self.subject.need_place()
        found = sorted(path for path in (place or self.place).rglob("*") if not path.is_dir())
        if not found:
            raise NotRun("the store keeps no files in its place")
        return found

    def copied(self, files: Mapping[Path, bytes]) -> Path:
        """A new place with these files, each where it lies under ``place``."""
        place = self.new_place()
        for path, data in files.items():
            copy = place / path.relative_to(self.place)
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            copy.write_bytes(data)
        return place

    def close_stores(self) -> None:
        """Close what the case opened."""
        while self._stores:
            if callable(close := getattr(self._stores.pop(), "close", None)):
                self.loop.run(close)

    def close(self) -> None:
        """End what the case left: writers are killed and files removed."""
        for writer in self._writers:
            writer.kill()
        self.loop.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def abandon(self) -> None:
        """As ``close``, where the case hangs: its thread, its stores and its loop are left to themselves."""
        for writer in self._writers:
            writer.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def _open(self, place: Path, **options: Any) -> Any:
        store = self.subject.open(place, self.loop, **options)
        self._stores.append(store)
        return store

    def new_place(self) -> Path:
        """A new, empty place."""
        self._places += 1
        # Two levels down, so that "../" in an id is still seen; the random part keeps places apart on a server.
        place = self.root / f"p{self._places}" / f"{self.root.name.rpartition('-')[2].lower()}_{self._places}"
        place.mkdir(mode=0o700, parents=True)
        return place
