"""The picture of the stores side by side: cost against length on logarithmic scales, as SVG that suits light and dark pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from bench.peers import PeerFigure
from bench.report import by_name, duration
from bench.server_peers import ServerFigure

WIDTH, HEIGHT = 880, 860
LEFT, PANEL = 66, 440
"""Where the panels begin and how wide they are; the names stand to the right."""
TOPS = (76, 506)
TALL = 310
LABEL = 15
"""Pixels between two names at least."""

FONT = """
svg { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; }
.title { font-size: 15px; font-weight: 600; } .bold { font-weight: 600; }
.grid { stroke-width: 1; } .line { fill: none; stroke-width: 2; } .thick { stroke-width: 3.5; } .thin { stroke-width: 1; }
"""
LIGHT = {
    "page": "#ffffff",
    "text": "#1f2328",
    "faint": "#59636e",
    "grid": "#d1d9e0",
    "lines": ["#59636e", "#0550ae", "#218bff", "#116329", "#2da44e", "#cf222e", "#e16f24", "#9a6700", "#8250df", "#bf3989"],
}
DARK = {
    "page": "#0d1117",
    "text": "#f0f6fc",
    "faint": "#9198a1",
    "grid": "#3d444d",
    "lines": ["#9198a1", "#79c0ff", "#388bfd", "#7ee787", "#3fb950", "#ff7b72", "#f0883e", "#e3b341", "#bc8cff", "#f778ba"],
}
"""Colours of a light and of a dark page; one for each store in its place."""
COLOURS = len(LIGHT["lines"])


@dataclass(frozen=True, slots=True)
class Line:
    """One store: its name, its place among the stores, its points as length and seconds."""

    name: str
    place: int
    points: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a value lies on a logarithmic axis from pixel ``start`` to ``stop``."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        return self.start + (math.log10(value) - self.low) / ((self.high - self.low) or 1) * (self.stop - self.start)


def picture(figures: Sequence[PeerFigure | ServerFigure], first_colour: int = 0) -> str:
    """The SVG document; ``first_colour`` is that of the first store."""
    rows = by_name(figures)
    panels = []
    for top, title, value in zip(TOPS, ("One append", "Reading the last 50 messages"), (_append, _last), strict=True):
        lines = []
        for place, (name, row) in enumerate(rows.items()):
            points = tuple((length, seconds) for length, each in sorted(row.items()) if (seconds := value(each)) is not None)
            if points:
                lines.append(Line(name, first_colour + place, points))
        panels.append(_panel(top, title, lines))
    text = "; ".join(
        f"{name}: {', '.join(f'{duration(each.append)} at {each.length:,}' for each in row.values())}" for name, row in rows.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title description">\n'
        f'<title id="title">What an append and a read cost as a session grows</title>\n<desc id="description">{escape(text)}</desc>\n'
        f'<style>{_style()}</style>\n<rect class="page" width="{WIDTH}" height="{HEIGHT}" rx="8"/>\n{"".join(panels)}</svg>\n'
    )


def _style() -> str:
    return f"{FONT}{_colours(LIGHT)}@media (prefers-color-scheme: dark) {{\n{_colours(DARK)}}}\n"


def _colours(palette: Mapping[str, Any]) -> str:
    rules = [f".{name} {{ fill: {palette[name]}; }}" for name in ("page", "text", "faint")]
    rules.append(f".grid {{ stroke: {palette['grid']}; }}")
    for place, colour in enumerate(palette["lines"]):
        rules.append(f".c{place} .line {{ stroke: {colour}; }} .c{place} .dot, .c{place} .name {{ fill: {colour}; }}")
    return "\n".join(rules) + "\n"


def _append(figure: PeerFigure) -> float | None:
    return figure.append


def _last(figure: PeerFigure) -> float | None:
    return figure.last


def _panel(top: float, title: str, lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    seconds = [value for line in lines for _, value in line.points]
    lengths = sorted({length for line in lines for length, _ in line.points})
    y = Scale(math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds))), top + TALL, top)
    x = Scale(math.log10(lengths[0]), math.log10(lengths[-1]), LEFT, LEFT + PANEL)
    parts = [f'<text class="text title" x="{LEFT}" y="{top - 42}">{title}</text>']
    parts.append(
        f'<text class="faint" x="{LEFT}" y="{top - 22}">time for one, against messages in the session; both scales are logarithmic</text>'
    )
    for power in range(int(y.low), int(y.high) + 1):
        at = y(10.0**power)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + PANEL}" y1="{at:.1f}" y2="{at:.1f}"/>')
        parts.append(f'<text class="faint" x="{LEFT - 8}" y="{at + 4:.1f}" text-anchor="end">{_power_of_ten(power)}</text>')
    for length in lengths:
        parts.append(f'<text class="faint" x="{x(length):.1f}" y="{top + TALL + 22}" text-anchor="middle">{length:,}</text>')
    places = _spread([y(line.points[-1][1]) for line in lines], top + TALL)
    for line, at in zip(lines, places, strict=True):
        parts.append(_drawn(line, x, y, LEFT + PANEL + 20, at))
    return "\n".join(parts) + "\n"


def _drawn(line: Line, x: Callable[[float], float], y: Callable[[float], float], label: float, at: float) -> str:
    ours = line.name.startswith("turnlog")
    points = [(x(length), y(seconds)) for length, seconds in line.points]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    dots = "".join(f'<circle class="dot" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>' for a, b in points)
    a, b = points[-1]
    text = f"{line.name}, {duration(line.points[-1][1])}"
    return (
        f'<g class="c{line.place % COLOURS}"><polyline class="line{" thick" if ours else ""}" points="{path}"/>{dots}'
        f'<line class="line thin" x1="{a + 4:.1f}" y1="{b:.1f}" x2="{label - 3:.1f}" y2="{at:.1f}"/>'
        f'<text class="name{" bold" if ours else ""}" x="{label}" y="{at + 4:.1f}">{escape(text)}</text></g>'
    )


def _power_of_ten(power: int) -> str:
    value = 10.0**power
    unit, size = ("µs", 1e-6) if power < -3 else ("ms", 1e-3) if power < 0 else ("s", 1.0)
    return f"{value / size:g} {unit}"


def _spread(wanted: Sequence[float], lowest: float) -> list[float]:
    """Places near the wanted ones, in the same order, at least ``LABEL`` apart and not below ``lowest``."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    places = [wanted[index] for index in order]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + LABEL)
    for index in range(len(places) - 1, -1, -1):
        places[index] = min(places[index], lowest)
        lowest = places[index] - LABEL
    spread = [0.0] * len(wanted)
    for index, place in zip(order, places, strict=True):
        spread[index] = place
    return spread
