"""The tree, as pure code over heads: fork, snapshot, revert, undo and retention give the heads and rows to write, and touch nothing.

A history is numbered from 0 without gaps ("absolute" index); ``Head.shed`` messages at its beginning are dropped, and the indexes
that users see count from there. Functions that may need stretches out of a path row take them as ``older``; ``needs_older`` says when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnlog.heads import Head, Parent, Path, PathRef, Position, Stretch

MAX_PAST = 64
"""Stretches a head holds before the older ones move to a path row."""
KEEP_PAST = 16
PAGE = 512
"""Stretches in a full page of a path. A path row itself keeps between one and two pages of the newest, so that reading the last messages
needs no page."""


def length(stretches: Iterable[Stretch]) -> int:
    """Messages covered."""
    return sum(stretch.stop - stretch.start for stretch in stretches)


def cut_spans(stretches: Sequence[Stretch], start: int, stop: int) -> list[Stretch]:
    """The part of consecutive stretches that holds messages ``start`` to ``stop``, counted from the first stretch."""
    spans = []
    at = 0
    for run, first, last in stretches:
        low, high = max(start, at), min(stop, at + last - first)
        if low < high:
            spans.append(Stretch(run, first + low - at, first + high - at))
        at += last - first
        if at >= stop:
            break
    return spans


def older_count(head: Head) -> int:
    """Messages that lie in the head's path rather than in the head."""
    return head.past_count - length(head.past)


def needs_older(head: Head, start: int) -> bool:
    """Whether reading from absolute index ``start`` needs the head's path."""
    return head.path is not None and start < older_count(head)


def read_spans(head: Head, start: int, stop: int, older: Sequence[Stretch] = ()) -> list[Stretch]:
    """Where messages ``start`` to ``stop`` (absolute) lie. ``older``: all stretches of the path, if needed."""
    if start >= head.past_count:
        base = head.tail - head.past_count
        return [Stretch(head.run, base + start, base + stop)] if start < stop else []
    skipped = 0 if older else older_count(head)
    stretches = [*older, *head.past, Stretch(head.run, head.tail, head.length)]
    return cut_spans(stretches, start - skipped, stop - skipped)


def position(head: Head, count: int, older: Sequence[Stretch] = ()) -> Position:
    """The first ``count`` messages (absolute) of the history, closed: what a snapshot, an undo point or a fork names."""
    in_path = older_count(head)
    # What is named ends in a stretch of its own, never in the path alone: needed_stop looks there.
    if head.path is None or count > in_path:
        stretches = [*head.past, Stretch(head.run, head.tail, head.length)]
        return Position(past=tuple(cut_spans(stretches, 0, count - in_path)), count=count, path=head.path)
    return Position(past=tuple(cut_spans(older, 0, count)), count=count, path=None)


def moved(head: Head, to: Position, *, undo: str | None) -> Head:
    """The head after a revert or an undo: its history is ``to``, further messages go behind all records there are."""
    past, past_count, tail = to.past, to.count, head.length
    if past and past[-1].run == head.run and past[-1].stop == head.length:
        # The last stretch ends where the next record goes: open it again instead of keeping a seam.
        tail = past[-1].start
        past_count -= head.length - tail
        past = past[:-1]
    return replace(head, past=past, past_count=past_count, path=to.path, tail=tail, undo=undo, counter=head.counter + 1)


def forked(
    head: Head, to: Position, *, session_id: str, run: str, born: str, now: float, fields: Mapping[str, Any], ttl: float | None = None
) -> Head:
    """The head of a fork that shares the records of ``to``."""
    return Head(
        session_id=session_id,
        run=run,
        born=born,
        past=to.past,
        past_count=to.count,
        path=to.path,
        shed=min(head.shed, to.count),
        parent=Parent(head.session_id, head.born, head.run, to.count - head.shed - 1),
        created_at=now,
        updated_at=now,
        ttl=ttl,
        fields=fields,
    )


def needed_stop(head: Head, to: Position) -> int:
    """The first record of the head's own run that ``to`` does not need."""
    return max((stretch.stop for stretch in to.past if stretch.run == head.run), default=0)


def spilled(to: Position, path: Path, run: str, names: Sequence[str]) -> tuple[Position, list[tuple[str, Path]]]:
    """Move the older stretches of an overfull position to a new path row of ``run``; gives the rows to write first.

    ``path`` is the position's present path (empty for none), ``names`` two fresh row keys.
    """
    stretches = path.stretches + to.past[:-KEEP_PAST]
    rows: list[tuple[str, Path]] = []
    pages = path.pages
    while len(stretches) >= 2 * PAGE:
        page = Path(stretches=stretches[:PAGE])
        key = f"{names[1]}.{len(rows)}"
        rows.append((key, page))
        pages = (*pages, (PathRef(run, key), page.count))
        stretches = stretches[PAGE:]
    rows.append((names[0], Path(pages, stretches)))
    return replace(to, past=to.past[-KEEP_PAST:], path=PathRef(run, names[0])), rows


def shares_beginning(one: Sequence[Stretch], other: Sequence[Stretch]) -> int:
    """How many messages two histories have in common from the start, by place of storage."""
    common = 0
    left, right = list(reversed(one)), list(reversed(other))
    while left and right:
        a, b = left.pop(), right.pop()
        if a.run != b.run or a.start != b.start:
            break
        size = min(a.stop - a.start, b.stop - b.start)
        common += size
        for stretch, rest in ((a, left), (b, right)):
            if stretch.start + size < stretch.stop:
                rest.append(Stretch(stretch.run, stretch.start + size, stretch.stop))
    return common


def encode_position(to: Position, run: str) -> dict[str, Any]:
    """The JSON form of a position in a row of ``run``. That run is written as "", so the row stays right if the run is renamed."""
    return {
        "past": [["" if name == run else name, start, stop] for name, start, stop in to.past],
        "count": to.count,
        "path": _encode_ref(to.path, run),
    }


def decode_position(data: Mapping[str, Any], run: str) -> Position:
    """The position that ``encode_position`` wrote."""
    return Position(
        past=tuple(Stretch(name or run, start, stop) for name, start, stop in data["past"]),
        count=data["count"],
        path=_decode_ref(data["path"], run),
    )


def encode_path(path: Path, run: str) -> dict[str, Any]:
    """The JSON form of a path row of ``run``."""
    return {
        "pages": [[_encode_ref(ref, run), count] for ref, count in path.pages],
        "stretches": [["" if name == run else name, start, stop] for name, start, stop in path.stretches],
    }


def decode_path(data: Mapping[str, Any], run: str) -> Path:
    """The path that ``encode_path`` wrote."""
    return Path(
        pages=tuple((PathRef(ref[0] or run, ref[1]), count) for ref, count in data["pages"]),
        stretches=tuple(Stretch(name or run, start, stop) for name, start, stop in data["stretches"]),
    )


def _encode_ref(ref: PathRef | None, run: str) -> list[str] | None:
    return None if ref is None else ["" if ref.run == run else ref.run, ref.key]


def _decode_ref(data: Sequence[str] | None, run: str) -> PathRef | None:
    return None if data is None else PathRef(data[0] or run, data[1])
