"""The results as a table on the screen, as JSON and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.measure import Bar
from bench.peers import PeerFigure
from bench.server_peers import Databases, ServerFigure

Figure = TypeVar("Figure", PeerFigure, ServerFigure)
WIDTH = 58
LEAST = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(slots=True)
class Results:
    """All that a run has measured."""

    machine: Mapping[str, str]
    quick: bool
    bars: list[Bar] = field(default_factory=list)
    peers: list[PeerFigure] = field(default_factory=list)
    databases: Databases | None = None
    failures: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Everything, as JSON types; times in seconds."""
        return {
            "machine": dict(self.machine),
            "quick": self.quick,
            "bars": [bar.to_dict() for bar in self.bars],
            "peers": [figure.to_dict() for figure in self.peers],
            "databases": self.databases and self.databases.to_dict(),
            "failures": self.failures,
        }


def duration(seconds: float | None) -> str:
    """Seconds in the unit that suits them; three digits count."""
    if seconds is None:
        return ""
    unit, size = next(((unit, size) for unit, size in LEAST.items() if seconds < 1000 * size), ("s", 1.0))
    return f"{_digits(seconds / size)} {unit}"


def times(ratio: float) -> str:
    """A ratio as a factor."""
    return f"{_digits(ratio)} x"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def verdict(bar: Bar) -> str:
    """What to say of a bar."""
    return "" if bar.limit is None else "holds" if bar.holds else "FALLS SHORT"


def figure(bar: Bar) -> str:
    """The measured figure with its unit."""
    return f"{bar.value:.0f} {bar.unit}" if bar.limit == 0 else f"{_digits(bar.value)} {bar.unit}"


def limit(bar: Bar) -> str:
    """The limit, as it stands behind the figure."""
    return "" if bar.limit is None else f"≤ {bar.limit:g} {bar.unit}"


def spread(bar: Bar) -> str:
    """The lowest and the highest figure of a round."""
    return f"{_digits(bar.low)}–{_digits(bar.high)}"


def heading() -> str:
    """The first line of the table on the screen."""
    return f"  {'':{WIDTH}}{'turnlog':>9} {'floor':>9} {'figure':>10} {'min–max':>13} {'limit':>9}"


def bar_line(bar: Bar) -> str:
    """One bar as a line of the table on the screen."""
    times = f"{duration(bar.ours):>9} {duration(bar.floor):>9}"
    return f"  {bar.name:{WIDTH}}{times} {figure(bar):>10} {spread(bar):>13} {limit(bar):>9}  {verdict(bar)}".rstrip()


def peer_lines(figures: Sequence[PeerFigure]) -> Iterable[str]:
    """The stores side by side, for the screen."""
    lengths = sorted({each.length for each in figures})
    head = "".join(f"{length:>11,}" for length in lengths)
    yield f"  {'':{WIDTH}}{'append at message':>{11 * len(lengths)}}  {'last 50 of':>{11 * len(lengths)}}  survives"
    yield f"  {'':{WIDTH}}{head}  {head}  power loss"
    for name, row in by_name(figures).items():
        added = "".join(f"{duration(row[length].append):>11}" for length in lengths)
        read = "".join(f"{duration(row[length].last):>11}" for length in lengths)
        yield f"  {name:{WIDTH}}{added}  {read}  {'yes' if next(iter(row.values())).power else 'no'}"


def by_name(figures: Iterable[Figure]) -> dict[str, dict[int, Figure]]:
    """The figures of each store by length."""
    rows: dict[str, dict[int, Figure]] = {}
    for each in figures:
        rows.setdefault(each.name, {})[each.length] = each
    return rows


def summary(results: Results) -> str:
    """One sentence on how many bars hold."""
    judged = [bar for bar in results.bars if bar.limit is not None]
    short = [bar for bar in judged if not bar.holds]
    said = f"{len(judged) - len(short)} of {len(judged)} bars hold"
    return said + (": these fall short: " + "; ".join(f"{bar.group}, {bar.name}" for bar in short) if short else "")


PAGE = """# Benchmarks

What turnlog costs, beside floors written by hand and beside other stores. `make bench` measures all of it again in a few minutes and
`make bench ARGS=--write-docs` writes this page; `make bench ARGS=--quick` takes a minute.

## How it is measured

All sides of a comparison run in turn, in many short rounds, in one process and on one disk. A ratio is taken within each round; shown
are the median of the ratios and the lowest and highest one. On a shared machine single rounds go astray in both directions; the median
does not. Messages hold 160 to 240 characters. *turnlog* and *floor* are medians for one operation through the public store.

- **JSON floor**: `json.dumps` of the message, `flock`, `pwrite`, with "power" `fdatasync`, unlock.
- **SQLite floor**: bare `sqlite3` on a copy of turnlog's own file, hence the same tables, indexes and length: begin, update, insert,
  commit, with the same durability.
- **Opened cold**: a new process, from constructing the store to the answer.
- **Forks, snapshots, reverts**: beside one row inserted by bare `sqlite3`. Their bar is on the default durability; with "process" nothing
  waits for the disk, and what is left is a few statements and reading the head.

## Bars

{bars}

{summary}.

## Side by side

![Append and read cost against the length of the session, for each store](benchmarks.svg)

{peers}

*Survives power loss*: whether the append waits for the disk. praisonaiagents' stores run with `retention="keep_all"`, openai-agents' inside
one running event loop. The appends come first, so a session that began with 10 messages holds about 80 when it is read.

## Measured on

{machine}
"""


def page(results: Results) -> str:
    """The page of the documentation."""
    short = " (quick run: shorter sessions, fewer rounds)" if results.quick else ""
    return PAGE.format(
        bars=bar_tables(results),
        summary=summary(results) + short,
        peers=_peer_table(results.peers),
        machine=machine_lines(results),
    )


def bar_tables(results: Results) -> str:
    """Every bar, a table for each group."""
    groups = dict.fromkeys(bar.group for bar in results.bars)
    return "\n\n".join(f"### {group}\n\n{_bar_table(results.bars, group)}" for group in groups)


def machine_lines(results: Results) -> str:
    """What it was measured on, as a list."""
    return "\n".join(f"- {name}: {value}" for name, value in results.machine.items())


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---", *["---:"] * (len(head) - 2), "---"]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, marks, *rows))


def _bar_table(bars: Iterable[Bar], group: str) -> str:
    rows = [
        (bar.name, duration(bar.ours), duration(bar.floor), figure(bar), spread(bar), limit(bar), verdict(bar) or "(for information)")
        for bar in bars
        if bar.group == group
    ]
    return _table(("", "turnlog", "floor", "figure", "min–max", "limit", ""), rows)


def _peer_table(figures: Sequence[PeerFigure]) -> str:
    lengths = sorted({each.length for each in figures})
    head = ["", *[f"append at {length:,}" for length in lengths], *[f"last 50 of {length:,}" for length in lengths], "survives power loss"]
    rows = []
    for name, row in by_name(figures).items():
        added = [duration(row[length].append) for length in lengths]
        read = [duration(row[length].last) for length in lengths]
        rows.append([name, *added, *read, "yes" if next(iter(row.values())).power else "no"])
    return _table(head, rows)
