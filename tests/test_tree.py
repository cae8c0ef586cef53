"""The tree as pure code: positions, reverts, forks and paths give back the messages that a list would, for heads of every shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlog import tree
from turnlog.heads import Head, Path, PathRef, Position, Stretch


def head(**values: Any) -> Head:
    return Head(**{"session_id": "s", "run": "r", "born": "b", **values})


def places(stretches: Any) -> list[tuple[str, int]]:
    """Every record that the stretches hold, as (run, seq)."""
    return [(run, seq) for run, start, stop in stretches for seq in range(start, stop)]


stretches = st.lists(
    st.tuples(st.sampled_from("qrs"), st.integers(0, 30), st.integers(1, 9)).map(lambda t: Stretch(t[0], t[1], t[1] + t[2])), max_size=8
)


@given(stretches, st.integers(0, 40), st.integers(0, 40))
def test_cut_spans_is_a_slice(spans: list[Stretch], start: int, stop: int) -> None:
    cut = tree.cut_spans(spans, start, stop)
    assert places(cut) == places(spans)[start:stop]
    assert all(span.start < span.stop for span in cut)


@given(stretches, stretches)
def test_shares_beginning_is_the_common_beginning(one: list[Stretch], other: list[Stretch]) -> None:
    left, right = places(one), places(other)
    expected = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    assert tree.shares_beginning(one, other) == expected
    assert tree.shares_beginning(one, [*one, *other]) == len(left)


def test_shares_beginning_does_not_care_where_the_seams_are() -> None:
    assert tree.shares_beginning([Stretch("r", 0, 5)], [Stretch("r", 0, 2), Stretch("r", 2, 4), Stretch("q", 0, 9)]) == 4
    assert tree.shares_beginning([], [Stretch("r", 0, 2)]) == 0


class Line:
    """A head with its path rows, beside the list of records it should show."""

    def __init__(self) -> None:
        self.head, self.paths, self.shown, self.number = head(), {}, [], 0
        self.paths: dict[PathRef, Path]
        self.shown: list[tuple[str, int]]

    def older(self) -> list[Stretch]:
        def flat(path: Path) -> list[Stretch]:
            return [*(stretch for ref, _ in path.pages for stretch in flat(self.paths[ref])), *path.stretches]

        return flat(self.paths[self.head.path]) if self.head.path else []

    def append(self, size: int) -> None:
        self.shown += [(self.head.run, seq) for seq in range(self.head.length, self.head.length + size)]
        self.head = replace(self.head, length=self.head.length + size, counter=self.head.counter + 1)

    def position(self, count: int) -> Position:
        to = tree.position(self.head, count, self.older())
        assert to.count == count
        stop = max((seq + 1 for run, seq in self.shown[:count] if run == self.head.run), default=0)
        assert tree.needed_stop(self.head, to) == stop, "a fork would claim too little"
        if len(to.past) < tree.MAX_PAST:
            return to
        self.number += 1
        names = (f"path{self.number}", f"page{self.number}")
        short, rows = tree.spilled(to, self.paths[to.path] if to.path else Path(), self.head.run, names)
        self.paths.update({PathRef(self.head.run, key): path for key, path in rows})
        assert len(short.past) == tree.KEEP_PAST
        assert short.path == PathRef(self.head.run, names[0])
        assert self.paths[short.path].count == count - tree.length(short.past)
        assert tree.needed_stop(self.head, short) == stop
        return short

    def revert(self, count: int) -> None:
        self.head = tree.moved(self.head, self.position(count), undo="u")
        self.shown = self.shown[:count]

    def fork(self, count: int) -> None:
        self.number += 1
        to = self.position(count)
        self.head = tree.forked(self.head, to, session_id="s", run=f"r{self.number}", born="b", now=0.0, fields={})
        self.shown = self.shown[:count]

    def check(self) -> None:
        assert self.head.count == len(self.shown)
        assert tree.older_count(self.head) == len(places(self.older()))
        for start, stop in ((0, len(self.shown)), (len(self.shown) // 2, len(self.shown)), (1, len(self.shown) - 1)):
            older = self.older() if tree.needs_older(self.head, start) else []
            assert places(tree.read_spans(self.head, start, stop, older)) == self.shown[start:stop]


@pytest.mark.parametrize(("full", "kept", "page"), [(3, 1, 1), (4, 2, 2), (6, 3, 2), (64, 16, 512)])
@given(st.data())
def test_random_lines(full: int, kept: int, page: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree, "MAX_PAST", full)
        patch.setattr(tree, "KEEP_PAST", kept)
        patch.setattr(tree, "PAGE", page)
        line = Line()
        for _ in range(data.draw(st.integers(1, 30))):
            line.append(data.draw(st.integers(1, 3)))
            if data.draw(st.booleans()):
                line.revert(len(line.shown) - 1)
            elif data.draw(st.integers(0, 5)) == 0:
                move = data.draw(st.sampled_from([line.revert, line.fork]))
                move(data.draw(st.integers(0, len(line.shown))))
            line.check()


def test_a_position_at_the_seam_of_path_and_head_ends_in_a_stretch() -> None:
    deep = head(path=PathRef("r", "p"), past=(Stretch("r", 8, 9),), past_count=5, tail=10, length=12)
    to = tree.position(deep, 4, [Stretch("q", 0, 1), Stretch("r", 0, 3)])
    assert to == Position((Stretch("q", 0, 1), Stretch("r", 0, 3)), 4)
    assert tree.needed_stop(deep, to) == 3


def test_moving_to_the_end_of_the_run_opens_the_last_stretch_again() -> None:
    back = tree.moved(head(length=9), Position((Stretch("r", 0, 4),), 4), undo="u")
    assert (back.past, back.past_count, back.tail, back.count, back.undo, back.counter) == ((Stretch("r", 0, 4),), 4, 9, 4, "u", 1)
    again = tree.moved(back, Position((Stretch("r", 0, 9),), 9), undo=None)
    assert (again.past, again.past_count, again.tail, again.count) == ((), 0, 0, 9)


def test_a_fork_keeps_what_was_cut_out_of_sight() -> None:
    child = tree.forked(head(length=9, shed=4), Position((Stretch("r", 0, 7),), 7), session_id="c", run="q", born="d", now=5.0, fields={})
    assert (child.count, child.shed, child.length, child.created_at) == (3, 4, 0, 5.0)
    assert child.parent is not None
    assert (child.parent.session_id, child.parent.born, child.parent.run, child.parent.message_index) == ("s", "b", "r", 2)


def test_the_newest_pages_of_a_path_stay_in_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "PAGE", 4)
    past = tuple(Stretch("r", 2 * number, 2 * number + 1) for number in range(16 + 23))
    short, rows = tree.spilled(Position(past, len(past)), Path(), "r", ("path", "page"))
    assert short.past == past[-16:]
    assert [key for key, _ in rows] == ["page.0", "page.1", "page.2", "page.3", "path"]
    assert [len(path.stretches) for _, path in rows] == [4, 4, 4, 4, 7]
    assert rows[-1][1].pages == tuple((PathRef("r", f"page.{number}"), 4) for number in range(4))


@given(stretches, st.booleans())
def test_rows_come_back_and_name_their_own_run_by_nothing(past: list[Stretch], deep: bool) -> None:
    refs = (PathRef("r", "k"), PathRef("q", "k"))
    to = Position(tuple(past), tree.length(past) + 7, refs[0] if deep else None)
    path = Path(((refs[0], 3), (refs[1], 4)), tuple(past))
    stored, row = tree.encode_position(to, "r"), tree.encode_path(path, "r")
    assert tree.decode_position(stored, "r") == to
    assert tree.decode_path(row, "r") == path
    assert all(stretch[0] != "r" for stretch in stored["past"])
    renamed = tree.decode_position(stored, "other")
    assert places(renamed.past) == [("other" if run == "r" else run, seq) for run, seq in places(past)]
