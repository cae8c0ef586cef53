"""The stores on database servers side by side, as lines on the screen and as a section of the documentation."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import WIDTH, Results, bar_tables, by_name, duration, machine_lines, summary, times
from bench.server_peers import Databases, Race
from bench.server_writer import EACH, WRITERS

BEGIN, END = "<!-- databases: written by the bench -->", "<!-- end of databases -->"
ALL = WRITERS * EACH


def kept(race: Race) -> str:
    """What is left of all writers' messages."""
    parts = [f"{race.kept} of {ALL}"]
    if race.refused:
        parts.append(f"{race.refused} refused ({', '.join(race.errors)})")
    if race.lost:
        parts.append(f"{race.lost} lost silently")
    return ", ".join(parts)


def _rows(results: Databases) -> Iterator[tuple[str, list[str]]]:
    for name, row in by_name(results.figures).items():
        longest = row[max(row)]
        syncs = f"{results.syncs[name]:.2g}" if name in results.syncs else "not counted"
        cells = [duration(longest.append), times(longest.append_ratio), duration(longest.last), times(longest.last_ratio)]
        yield name, [*cells, kept(results.races[name]), syncs]


def database_lines(results: Databases) -> Iterator[str]:
    """The stores at the longest session, for the screen."""
    length = max(figure.length for figure in results.figures)
    yield f"  {', '.join(f'{name} {value}' for name, value in results.versions.items())}"
    yield f"  {f'at {length:,} messages':{WIDTH - 16}}{'append':>9}{'x':>8}{'last 50':>11}{'x':>8}{'syncs':>13}  {WRITERS} writers keep"
    for name, (append, ratio, last, last_ratio, left, syncs) in _rows(results):
        yield f"  {name:{WIDTH - 16}}{append:>9}{ratio:>8}{last:>11}{last_ratio:>8}{syncs:>13}  {left}"


PAGE = """# Benchmarks of the databases

What turnlog costs on PostgreSQL, MongoDB and Redis, beside the bare drivers. `make bench-servers` starts private servers and measures all
of it again, `make bench-servers ARGS=--write-docs` writes this page, and the
[table of other stores](choosing-a-backend.md#beside-other-stores).

## How it is measured

As on [the other page](benchmarks.md): all sides in turn, in many short rounds; a ratio is taken within a round, and shown are the median,
the lowest and the highest. The servers run on the machine that measures.

- **Floor of an append**: the same rows, documents or keys, with the same indexes, by one bare statement or one round trip of the driver, as
  durable.
- **Words indexed**: beside the floor without words.
- **Last 50**: beside a bare range read of that many records; turnlog reads the head first.
- **Fork**: beside one small row, document or hash written by the driver, as durable.
- **At once**: tasks of one event loop over an async store, beside the async driver with as many connections; time for one message.
- **Pages**: 50 of one user's sessions, newest first.
- **Bytes**: by the server's own figures.

## Bars

{bars}

{summary}.

## Measured on

{machine}
"""


def databases_page(results: Results) -> str:
    """The page of the documentation on what the databases cost."""
    short = " (quick run: shorter sessions, fewer rounds)" if results.quick else ""
    return PAGE.format(bars=bar_tables(results), summary=summary(results) + short, machine=machine_lines(results))


SECTION = """
![Append and read cost against the length of the session, for each store on its server](databases.svg)

| | append at {length:,} | beside turnlog | last 50 of {length:,} | beside turnlog | {writers} writers x {each}: kept | syncs an append |
| --- | ---: | ---: | ---: | ---: | --- | ---: |
{rows}

{about}

"""
ABOUT = """Measured by `make bench-servers SECTIONS=server-peers ARGS=--write-docs`: each store through its own public API with the same
messages, all in turn in many short rounds on one machine; medians, and the median of the ratios within a round. The servers wait
for the disk with each write ({versions}).

turnlog's stores are the async ones, as the others' are but for LangGraph's. Where a name says *journaled*, both wait for MongoDB's
journal; beside `"process"`, neither does. A session of LangGraph is a graph of one node over `MessagesState`, continued by `update_state`.
The {writers} writers are processes that write to one session at once; none tries a refused message again: PostgresSaver
leaves it to its user to have one writer at a time, DatabaseSessionService to read the session again and to repeat what it refused."""


def section(results: Databases) -> str:
    """The section of the documentation, without its markers."""
    rows = "\n".join(f"| {name} | {' | '.join(cells)} |" for name, cells in _rows(results))
    versions = ", ".join(f"{name} {value}" for name, value in results.versions.items())
    about = ABOUT.format(versions=versions, writers=WRITERS)
    length = max(figure.length for figure in results.figures)
    return SECTION.format(rows=rows, about=about, length=length, writers=WRITERS, each=EACH)


def replaced(page: str, text: str) -> str:
    """``page`` with ``text`` between the markers. Raises ValueError where a marker is missing."""
    before, found, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not found or not end:
        raise ValueError(f"the page has no place for this section: it lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n{text}{END}{after}"
