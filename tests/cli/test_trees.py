"""The drawing of a tree, and the command that draws it."""

from __future__ import annotations

import math
import random

from tests.cli.conftest import Run
from tests.cli.test_reading import Read
from turnlog.cli.graph import draw
from turnlog.session import SessionStore


def drawn(root: str, children: dict[str, list[str]]) -> str:
    """The drawing as text."""
    return "\n".join(lanes + (name or "") for lanes, name in draw(root, children))


def parents_of(lines: list[tuple[str, str | None]]) -> dict[str, str | None]:
    """Read a drawing back, as a person does: up the lane, or to the lane that it leaves."""
    owner: dict[int, str | None] = {0: None}
    parents: dict[str, str | None] = {}
    for lanes, name in lines:
        if name is None:
            lane = lanes.index("\\") // 2
            owner[lane + 1] = owner[lane]
        else:
            lane = lanes.index("*") // 2
            parents[name] = owner[lane]
            owner[lane] = name
    return parents


def test_one_line_of_descent_stays_in_its_lane() -> None:
    assert drawn("a", {"a": ["b"], "b": ["c"]}) == "* a\n* b\n* c"


def test_forks_leave_the_lane() -> None:
    tree = {"a": ["b", "c", "d"], "c": ["e", "f"], "e": ["g"]}
    assert drawn("a", tree).splitlines() == [
        "* a",
        "|\\",
        "| * b",
        "|\\",
        "| * d",
        "* c",
        "|\\",
        "| * f",
        "* e",
        "* g",
    ]


def test_nested_forks_keep_the_lanes_beside_them() -> None:
    tree = {"a": ["b", "c"], "b": ["b1", "b2"], "c": ["c1", "c2", "c3"]}
    assert drawn("a", tree).splitlines() == ["* a", "|\\", "| * b", "| |\\", "| | * b1", "| * b2", *drawn("c", tree).splitlines()]


def test_random_trees_are_drawn_whole_and_narrow() -> None:
    rng = random.Random(7)
    for size in (1, 2, 10, 300, 3000):
        parents = {str(n): str(rng.randrange(n) if rng.random() < 0.7 else n - 1) for n in range(1, size)}
        children: dict[str, list[str]] = {}
        for child, parent in parents.items():
            children.setdefault(parent, []).append(child)
        lines = list(draw("0", children))
        assert parents_of(lines) == {"0": None, **parents}
        assert max(len(lanes) for lanes, _ in lines) <= 2 * math.log2(size) + 3


def test_a_long_descent_needs_no_deep_calls() -> None:
    assert len(list(draw("0", {str(n): [str(n + 1)] for n in range(20_000)}))) == 20_001


def test_tree_draws_all_families(run: Run, store: SessionStore) -> None:
    store.fork_session("trip", 1, "By bus", new_session_id="trip-bus")
    lines = run("tree").stdout.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["* trip", "|\\", "| * trip-train", "* trip-bus", "", "* other"]
    assert '"By train"  after #5, 7 messages' in lines[2]


def test_tree_of_one_session_is_its_family(run: Run) -> None:
    assert run("tree", "trip-t").stdout == run("tree", "trip").stdout
    assert "other" not in run("tree", "trip").stdout


def test_tree_as_json(read: Read) -> None:
    (family,) = read("tree", "trip-train")
    assert (family["session_id"], family["message_count"], family["parent_id"]) == ("trip", 6, None)
    (fork,) = family["children"]
    assert (fork["session_id"], fork["parent_id"], fork["forked_from_message_index"]) == ("trip-train", "trip", 5)
    assert len(read("tree")) == 2


def test_a_fork_whose_parent_is_gone_stands_alone(run: Run, store: SessionStore) -> None:
    store.delete_session("trip")
    store.add_message("trip", "user", "another life")
    assert run("tree", "trip-train").stdout.splitlines()[0].startswith('* trip-train  "By train"  7 messages')
    assert len(run("tree", "trip").stdout.splitlines()) == 1
