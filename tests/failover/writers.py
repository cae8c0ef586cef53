"""Four writers and two readers on one session while its server is killed or cut off, and the proof of what they saw."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from turnlog.errors import BackendUnavailableError, LockTimeoutError
from turnlog.store.sync import SessionStore
from turnlog.testing.linearizable import Recorder, check

SESSION = "s"
WRITERS = 4
READERS = 2
REFUSED = (BackendUnavailableError, LockTimeoutError)
"""After these a caller sends the same ids again; any other error ends the test."""
PAUSE = 0.004
"""Seconds between two calls of one writer, so that a history is no longer than it needs to be."""
AGAIN = 0.05
"""Seconds before what was refused is sent again."""
PATIENCE = 60.0
"""Seconds within which every writer must have gone on after a fault."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen: the kinds of anomalies, appends acknowledged, tries refused, seconds until every writer had gone on after a fault."""

    anomalies: list[str]
    acknowledged: int
    refused: int
    gaps: list[float]


def watch(
    opens: Callable[[], SessionStore], *faults: Callable[[], None], appends: int = 25, readers: int = READERS, new_ids: bool = False
) -> Seen:
    """Run the writers and readers on two stores, each fault once every writer has made ``appends`` more, and check all that was recorded.

    A writer that was refused sends the same turn again, under the same ids unless ``new_ids``. TimeoutError for a writer that stays
    refused, and whatever else a call raises. Without readers, what counts is acknowledged or not: the last read must have it once.
    """
    stores = [opens(), opens()]
    crowd = _Crowd(new_ids)
    threads = [threading.Thread(target=crowd.write, args=(stores[n % 2], f"w{n}"), name=f"w{n}") for n in range(WRITERS)]
    threads += [threading.Thread(target=crowd.read, args=(stores[n % 2],), name=f"r{n}") for n in range(readers)]
    gaps = []
    try:
        for thread in threads:
            thread.start()
        crowd.wait(appends)
        for fault in faults:
            begun = time.monotonic()
            fault()
            gaps.append(crowd.wait(1) - begun)
            crowd.wait(appends)
    finally:
        crowd.stop.set()
        for thread in threads:
            thread.join()
        for store in stores:
            store.close()
    if crowd.errors:
        raise crowd.errors[0]
    # By somebody who was not there before.
    last = opens()
    crowd.read_once(last)
    last.close()
    calls = crowd.recorder.calls
    appended = [call for call in calls if call.verb == "append"]
    acknowledged = len({call.ids for call in appended if call.outcome == "acknowledged"})
    anomalies = [f"{anomaly.kind}: {anomaly.text}" for anomaly in check(calls)]
    return Seen(anomalies, acknowledged, sum(call.outcome != "acknowledged" for call in appended), gaps)


def kinds(seen: Seen) -> set[str]:
    """The kinds of anomalies that were seen."""
    return {anomaly.partition(":")[0] for anomaly in seen.anomalies}


class _Crowd:
    """What the threads do, and how far they are."""

    def __init__(self, new_ids: bool) -> None:
        self.recorder = Recorder()
        self.stop = threading.Event()
        self.errors: list[BaseException] = []
        self._new_ids = new_ids
        self._done = {f"w{n}": 0 for n in range(WRITERS)}
        self._moved = threading.Condition()

    def wait(self, appends: int) -> float:
        """Wait until every writer has so many more acknowledged that it began from now on; gives when that was."""
        with self._moved:
            # One that is under way may have begun before.
            wanted = {name: done + appends + 1 for name, done in self._done.items()}
            behind: Callable[[], list[str]] = lambda: [name for name in wanted if self._done[name] < wanted[name]]  # noqa: E731
            if not self._moved.wait_for(lambda: self.errors or not behind(), PATIENCE):
                raise TimeoutError(f"writers that do not go on: {behind()}")
            return time.monotonic()

    def write(self, store: SessionStore, name: str) -> None:
        """Append turns of one and of two messages until it is time to stop."""

        def append() -> None:
            number = 0
            while not self._over():
                self._append(store, name, number)
                number += 1

        self._run(append)

    def read(self, store: SessionStore) -> None:
        """Read the whole history until it is time to stop."""

        def look() -> None:
            while not self._over():
                try:
                    self.read_once(store)
                except REFUSED:
                    self.stop.wait(AGAIN)

        self._run(look)

    def read_once(self, store: SessionStore) -> None:
        """Read the whole history."""
        with self.recorder.read() as seen:
            seen += [message["content"] for message in store.get_chat_history(SESSION)]

    def _append(self, store: SessionStore, name: str, number: int) -> None:
        texts = [f"{name} {number} {part}" for part in range(1 + number % 2)]
        for attempt in count():
            mark = f" try {attempt}" if self._new_ids else ""
            turn: list[dict[str, Any]] = [{"role": "user", "content": text, "id": text + mark} for text in texts]
            try:
                with self.recorder.append(texts):
                    store.add_messages(SESSION, turn)
            except REFUSED:
                if self.stop.wait(AGAIN):
                    return
                continue
            with self._moved:
                self._done[name] += 1
                self._moved.notify_all()
            return

    def _over(self) -> bool:
        return self.stop.wait(PAUSE)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            with self._moved:
                self.errors.append(error)
                self._moved.notify_all()
