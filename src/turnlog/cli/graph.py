"""A tree of sessions as text, drawn as git draws its graph: a ``*`` for each session, a lane for each line of descent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence


def draw(root: str, children: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str | None]]:
    """The lines of the tree below ``root``, oldest on top: what stands left of a session and its id, or a joint and None.

    ``children`` gives the forks of a session, oldest first. A session's parent is the one above it in its lane, or the one that its lane
    leaves. The fork with most below it, the youngest of equals, stays in the parent's lane: so a tree of n sessions is at most
    2 * log2(n) columns wide.
    """
    sizes = _sizes(root, children)
    waiting: list[tuple[str, str, bool]] = [("", root, False)]
    while waiting:
        lanes, name, leaves = waiting.pop()
        if leaves:
            yield f"{lanes}|\\", None
            lanes += "| "
        yield f"{lanes}* ", name
        below = children.get(name, ())
        if below:
            stays = max(reversed(below), key=lambda child: sizes[child])
            waiting.append((lanes, stays, False))
            waiting += [(lanes, child, True) for child in reversed(below) if child != stays]


def _sizes(root: str, children: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many sessions are in the tree of each, itself included."""
    order = [root]
    for name in order:
        order += children.get(name, ())
    sizes = dict.fromkeys(order, 1)
    for name in reversed(order):
        sizes[name] += sum(sizes[child] for child in children.get(name, ()))
    return sizes
