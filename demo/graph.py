"""Draws two branches of one conversation the way git draws its graph: newest on top, a lane each."""

from __future__ import annotations

from collections.abc import Sequence

from demo.stage import Stage, pad


def graph(stage: Stage, trunk: Sequence[str], side: Sequence[str], names: tuple[str, str]) -> list[str]:
    """The lines of two histories that begin alike, a dot for each text; ``names`` stand where each of them ends."""
    shared = 0
    while shared < min(len(trunk), len(side)) and trunk[shared] == side[shared]:
        shared += 1
    own, theirs = trunk[shared:], side[shared:]
    trunk_end, side_end = stage.paint("yellow", names[0]), stage.paint("magenta", names[1])
    dot, side_dot = stage.paint("yellow", "*"), stage.paint("magenta", "*")
    lane = stage.paint("yellow", "|") if own else " "
    lines = [f"{dot}   {text}" for text in reversed(own)]
    if own:
        lines[0] += f"  {trunk_end}"
    if theirs:
        lines += [f"{lane} {side_dot} {text}" for text in reversed(theirs)]
        lines[len(own)] += f"  {side_end}"
        lines.append(lane + stage.paint("magenta", "/"))
    lines += [f"{dot}   {text}" for text in reversed(trunk[:shared])]
    ends = ([] if own else [trunk_end]) + ([] if theirs else [side_end])
    if shared:
        lines[-shared] = "  ".join([lines[-shared], *ends])
    return lines


def beside(drawings: Sequence[Sequence[str]], width: int) -> list[str]:
    """Drawings side by side on one ground line, each ``width`` columns wide."""
    height = max(len(drawing) for drawing in drawings)
    level = [[""] * (height - len(drawing)) + list(drawing) for drawing in drawings]
    return ["".join(pad(line, width) for line in row) for row in zip(*level, strict=True)]
