"""Whether recorded appends and reads of one session are linearizable: a recorder for races, failovers and kills, and the check."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal

Outcome = Literal["acknowledged", "failed", "unknown"]
Kind = Literal["lost", "doubled", "stale read", "swapped", "split turn", "phantom", "not a prefix", "future read"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call on the session. Times are seconds of one clock; ``ended`` is ``math.inf`` for a call that never returned.

    ``ids`` names, in order, the messages that were appended as one turn, or all that a read of the whole history saw: message ids, or
    texts that nobody else writes. ValueError for an append that names no message or one twice, and for an end before the beginning.
    """

    verb: Literal["append", "read"]
    ids: tuple[str, ...]
    began: float
    ended: float = math.inf
    outcome: Outcome = "unknown"
    """Of an append: "failed" claims that nothing was or will be written, "unknown" leaves it open. A read that returned: "acknowledged"."""
    by: str = ""
    """Who called; only told in anomalies."""

    def __post_init__(self) -> None:
        if self.verb == "append" and (not self.ids or len(set(self.ids)) < len(self.ids)):
            raise ValueError(f"an append of {self.ids!r:.200}: name at least one message, and each once")
        if not self.began <= self.ended:
            raise ValueError(f"a call from {self.began} to {self.ended}: take both times from one clock that never runs back")

    def __str__(self) -> str:
        what = f"{len(self.ids)} message(s)" if self.verb == "read" else " + ".join(f"{message!r:.60}" for message in self.ids[:3])
        outcome = f", {self.outcome}" if self.verb == "append" else ""
        return f"the {self.verb} of {what} ({self.by or 'somebody'}, {self.began:.6f} to {self.ended:.6f}{outcome})"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Something that no order of the calls explains; ``text`` names the calls that contradict each other.

    "lost": known to be stored (acknowledged, or seen by a read that ended), yet no read that began later shows it; "stale read": such a
    read lacks it and another has it. "doubled": twice in one read. "split turn": the messages of one append not all there, in a row and in
    order. "phantom": nobody appended it, or its append failed. "future read": seen before its append began. "swapped": two appends in an
    order that real time or another read denies. "not a prefix": two reads that differ at one place, and one lacks what the other has there.
    """

    kind: Kind
    text: str


class Recorder:
    """Keeps the calls that any number of threads or tasks make on one session.

    With ``log`` it also writes a new file of JSON lines, each call at once and an append also before it is made, so that ``load`` knows the
    calls of a process that was killed: an append without an end is unknown. One log for each process. ``clock`` must never run back and
    be the same for all whose calls are checked together, as ``time.monotonic`` is for the processes of one Linux machine.
    """

    def __init__(self, log: str | os.PathLike[str] | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._calls: dict[int, Call] = {}
        self._log = None if log is None else os.open(log, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    @property
    def calls(self) -> list[Call]:
        """The calls so far; an append that still runs is unknown. Reads that raised said nothing and are not among them."""
        with self._lock:
            return list(self._calls.values())

    @contextmanager
    def append(self, ids: Iterable[str], *, nothing_written: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
        """Around one append of messages, of one turn if they are several: acknowledged when the body ends.

        When it raises, unknown, or failed for the errors ``nothing_written``. To try again is another append of the very same ids.
        """
        names = tuple(map(sys.intern, ids))
        with self._lock:
            number, begun = len(self._calls), Call("append", names, self._clock(), by=_caller())
            self._keep(number, begun)
        outcome: Outcome = "unknown"
        try:
            yield
            outcome = "acknowledged"
        except nothing_written:
            outcome = "failed"
            raise
        finally:
            ended = self._clock()
            with self._lock:
                self._keep(number, replace(begun, ended=ended, outcome=outcome))

    @contextmanager
    def read(self) -> Iterator[list[str]]:
        """Around one read of the whole history; the body puts the ids or texts of all messages into the list that this gives."""
        seen: list[str] = []
        began = self._clock()
        yield seen
        call = Call("read", tuple(map(sys.intern, seen)), began, self._clock(), "acknowledged", _caller())
        with self._lock:
            self._keep(len(self._calls), call)

    def close(self) -> None:
        """Close the log, if there is one."""
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _keep(self, number: int, call: Call) -> None:
        self._calls[number] = call
        if self._log is not None:
            fact = {name: getattr(call, name) for name in Call.__slots__ if getattr(call, name) != math.inf}
            line = json.dumps({"number": number, **fact}).encode() + b"\n"
            while line:
                line = line[os.write(self._log, line) :]


def _caller() -> str:
    return f"{os.getpid()} {threading.current_thread().name}"


def load(log: str | os.PathLike[str]) -> list[Call]:
    """The calls in a recorder's log. A last line that a kill cut short was not said; any other that is not a recorder's raises."""
    calls: dict[int, Call] = {}
    text = Path(log).read_text(encoding="utf-8")
    for line in text[: text.rfind("\n") + 1].splitlines():
        fact = json.loads(line)
        number, ids = fact.pop("number"), tuple(map(sys.intern, fact.pop("ids")))
        calls[number] = Call(ids=ids, **fact)
    return list(calls.values())


def check(calls: Iterable[Call]) -> list[Anomaly]:
    """What, in all calls on one session that was empty before and was only appended to and read, no order of the calls explains.

    Exact: the list is empty if and only if the calls are linearizable, with an unknown append at any time after it began, or never.
    Appends of the very same ids are one append, tried again. ValueError where two appends share only some ids, and where no read began
    after the last acknowledgement: such calls prove little. Takes time in proportion to the ids in all reads, and n log n for n calls.
    """
    calls = sorted(calls, key=lambda call: call.began)
    reads = [call for call in calls if call.verb == "read"]
    of = _appends(calls)
    appends = list(dict.fromkeys(of.values()))
    last_read = reads[-1].began if reads else -math.inf
    if unread := [append.call for append in appends if last_read <= append.acknowledged < math.inf]:
        raise ValueError(f"no read began after the end of {unread[0]}: read once more when all writers are done")
    found: _Found = defaultdict(list)
    order, views = _views(reads, of, found)
    _note_known(order, views)
    _check_presence(appends, views, last_read, found)
    _check_real_time(order, views, found)
    return [Anomaly(kind, texts[0] + (f" (and {len(texts) - 1} more like it)" if texts[1:] else "")) for (kind, _), texts in found.items()]


@dataclass(slots=True, eq=False)
class _Append:
    """One append with all its tries: of these ``call`` is the first acknowledged one, else the first that may have written."""

    call: Call
    began: float = math.inf
    acknowledged: float = math.inf
    place: float = math.inf  # in the order
    known: float = math.inf  # since when it must be seen
    shown: float = -math.inf  # when the last read that shows it began

    def note(self, ended: float, began: float) -> None:
        self.known, self.shown = min(self.known, ended), max(self.shown, began)


# Reads that show the first appends of the order, sorted by when they began, and how many.
_Views = list[tuple[Call, int]]
# What is wrong, and the texts of all calls that show it.
_Found = defaultdict[tuple[Kind, Hashable], list[str]]


def _appends(calls: Sequence[Call]) -> dict[str, _Append]:
    """The append of each message."""
    made: dict[tuple[str, ...], _Append] = {}
    of: dict[str, _Append] = {}
    for call in (call for call in calls if call.verb == "append"):
        append = made.setdefault(call.ids, _Append(call))
        for message in call.ids:
            if of.setdefault(message, append) is not append:
                raise ValueError(f"{call} and {of[message].call} share a message: give every message a name of its own")
        if call.outcome != "failed" and math.isinf(append.began):
            append.call, append.began = call, call.began
        if call.outcome == "acknowledged" and call.ended < append.acknowledged:
            append.call, append.acknowledged, append.known = call, call.ended, call.ended
    return of


def _views(reads: Sequence[Call], of: dict[str, _Append], found: _Found) -> tuple[list[_Append], _Views]:
    """The order that the longest read shows, and the reads that agree with it; finds what the others show, and notes it."""
    longest = max(reads, key=lambda read: len(read.ids), default=Call("read", (), 0))
    faults: _Found = defaultdict(list)
    order = _whole(longest, of, faults)
    lengths = {messages: length for length, messages in enumerate(accumulate((len(each.call.ids) for each in order), initial=0))}
    if faults:
        # Its messages do not stand where the order has their appends, so that no read can be compared with it by messages alone.
        lengths, longest = {}, max(reads, key=lambda read: len(_whole(read, of, faults)))
        order = _whole(longest, of, faults)
    for place, append in enumerate(order):
        append.place = place
    views: _Views = []
    for read in reads:
        length = lengths.get(len(read.ids))
        if length is None or longest.ids[: len(read.ids)] != read.ids:
            seen = _whole(read, of, found)
            length = len(seen)
            if seen != order[:length]:
                for append in seen:
                    append.note(read.ended, read.began)
                # Without a difference it shows more appends than the longest read, thus not all of each, which is found already.
                for here, there in [pair for pair in zip(seen, order, strict=False) if pair[0] is not pair[1]][:1]:
                    kind: Kind = "swapped" if here.place < math.inf and there in seen else "not a prefix"
                    found[kind, (here, there)].append(f"{read} shows {here.call} where {longest} shows {there.call}")
                continue
        views.append((read, length))
    return order, views


def _whole(read: Call, of: dict[str, _Append], found: _Found) -> list[_Append]:
    """The appends that a read shows, each where its first message stands; finds what is not whole in it."""
    places: dict[str, int] = {}
    seen: dict[_Append, None] = {}
    for message in read.ids:
        append = of.get(message)
        if append is None:
            found["phantom", message].append(f"{read} shows {message!r:.60}, which nobody appended")
        elif math.isinf(append.began):
            found["phantom", message].append(f"{read} shows {message!r:.60} of {append.call}")
        elif message in places:
            found["doubled", message].append(f"{read} shows {message!r:.60} more than once, of {append.call}")
        else:
            places[message] = len(places)
            seen[append] = None
    for append in seen:
        ids = append.call.ids
        first = places.get(ids[0], -1)
        if len(ids) > 1 and [places.get(message) for message in ids] != [*range(first, first + len(ids))]:
            found["split turn", append].append(f"{read} does not show in one piece {append.call}")
    return list(seen)


def _note_known(order: Sequence[_Append], views: _Views) -> None:
    """Note at each append since when the reads let it be known, and when the last read that shows it began."""
    ended, began = [math.inf] * (len(order) + 1), [-math.inf] * (len(order) + 1)
    for read, length in views:
        ended[length], began[length] = min(ended[length], read.ended), max(began[length], read.began)
    earliest, latest = math.inf, -math.inf
    for append in reversed(order):
        append.note(earliest := min(earliest, ended.pop()), latest := max(latest, began.pop()))


def _check_presence(appends: Sequence[_Append], views: _Views, last_read: float, found: _Found) -> None:
    """What is known stays to be seen."""
    kept: list[_Append] = []
    for append in sorted(appends, key=lambda append: append.known):
        if append.known < last_read and append.shown <= append.known:
            found["lost", append].append(f"no read that began after {append.known:.6f}, when it was known, shows {append.call}")
        else:
            kept.append(append)
    due, furthest = 0, None
    for read, length in views:
        while due < len(kept) and kept[due].known < read.began:
            furthest = kept[due] if furthest is None or kept[due].place > furthest.place else furthest
            due += 1
        if furthest is not None and furthest.place >= length:
            found["stale read", furthest].append(f"{read} lacks, though known since {furthest.known:.6f}, {furthest.call}")


def _check_real_time(order: Sequence[_Append], views: _Views, found: _Found) -> None:
    """Nothing stands before what was acknowledged before it began, and nothing is seen before it began."""
    first: _Append | None = None
    for append in reversed(order):
        if first is not None and first.acknowledged < append.began:
            found["swapped", (append, first)].append(f"{append.call} stands before {first.call}, which was acknowledged before it began")
        first = append if first is None or append.acknowledged < first.acknowledged else first
    newest: list[_Append] = []
    for append in order:
        newest.append(append if not newest or append.began > newest[-1].began else newest[-1])
    for read, length in views:
        if length and newest[length - 1].began > read.ended:
            found["future read", newest[length - 1]].append(f"{read} shows, before it began, {newest[length - 1].call}")
