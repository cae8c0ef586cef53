"""``python -m bench``: measures, shows each bar beside its limit, and writes the figures where it is told to."""

from __future__ import annotations

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import server_peers
from bench.adapters import adapter_bars
from bench.agents import agent_bars
from bench.appends import append_bars
from bench.heads import aftermath_bars, head_bars
from bench.imports import import_bars
from bench.listings import file_bars, row_bars
from bench.machine import facts, in_memory
from bench.measure import Bar
from bench.peers import peer_figures, present
from bench.picture import picture
from bench.plan import Plan
from bench.reads import SOURCE, read_bars
from bench.report import Results, bar_line, heading, page, peer_lines, summary
from bench.server_report import database_lines, databases_page, replaced, section
from bench.subjects import JSON, SQLITE

DOCS = SOURCE.parent / "docs"
SECTIONS: dict[str, tuple[Callable[[Plan], Iterator[Bar]], ...]] = {
    "imports": (import_bars,),
    "json": (partial(append_bars, subject=JSON), partial(read_bars, subject=JSON), file_bars),
    "sqlite": (partial(append_bars, subject=SQLITE), partial(read_bars, subject=SQLITE), row_bars),
    "heads": (head_bars, aftermath_bars),
    "agents": (adapter_bars, agent_bars),
}
SERVERS = {
    "redis": ("redis", "redis_bars"),
    "postgres": ("postgres", "postgres_bars"),
    "mongodb": ("mongodb", "mongodb_bars"),
    "server-listings": ("server_listings", "server_listing_bars"),
    "sizes": ("server_sizes", "size_bars"),
}
"""Sections that start servers of their own, with their module and function: measured only where they are asked for."""
PEERS, SERVER_PEERS = "peers", "server-peers"
GUIDE = "choosing-a-backend.md"
NEEDED_GB = 4
WRITES = f"""write docs/benchmarks.md and docs/benchmarks.svg, which needs all parts; with --only {" --only ".join(SERVERS)} the page
docs/benchmarks-databases.md, with --only {SERVER_PEERS} the databases' section of docs/choosing-a-backend.md and docs/databases.svg"""


def main(arguments: list[str] | None = None) -> int:
    """Run; 0 unless a measurement failed. A bar that falls short is a result, not a failure."""
    options = _options(arguments)
    options.scratch.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=options.scratch)).resolve()
    try:
        plan = Plan.quick(scratch) if options.quick else Plan(scratch=scratch)
        if shutil.disk_usage(scratch).free < NEEDED_GB << 30:
            print(f"The bench needs {NEEDED_GB} GiB of disk: pass --scratch with a folder that has them.", file=sys.stderr)
            return 1
        results = run(plan, options.only or [*SECTIONS, PEERS], quick=options.quick)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps(results.to_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.write_docs:
        print(f"written: {', '.join(_write_docs(results, options.only))}")
    return 1 if results.failures else 0


def _write_docs(results: Results, only: list[str] | None) -> Iterator[str]:
    """Write the pages that these parts make, and name them."""
    if not only:
        yield _written("benchmarks.md", page(results))
        yield _written("benchmarks.svg", picture(results.peers))
    elif {*SERVERS} <= {*only}:
        yield _written("benchmarks-databases.md", databases_page(results))
    if results.databases:
        guide = (DOCS / GUIDE).read_text(encoding="utf-8")
        yield _written(GUIDE, replaced(guide, section(results.databases)))
        yield _written("databases.svg", picture(results.databases.figures, first_colour=1))


def _written(name: str, text: str) -> str:
    (DOCS / name).write_text(text, encoding="utf-8")
    return f"docs/{name}"


def run(plan: Plan, names: list[str], *, quick: bool) -> Results:
    """Measure the named sections and show each figure as soon as it is there."""
    results = Results(facts(plan.scratch), quick)
    print(", ".join(f"{name} {value}" for name, value in results.machine.items()))
    if in_memory(plan.scratch):
        print('The scratch folder lies in memory: bars with durability "power" say little there. Pass --scratch with a folder on a disk.')
    for name in names:
        for measured in server_bars(name) if name in SERVERS else SECTIONS.get(name, ()):
            print(f"\n{heading()}")
            _guarded(results, name, lambda measured=measured: _show(results, measured(plan)))  # type: ignore[misc]
        if name == PEERS:
            _guarded(results, name, lambda: _show_peers(results, plan))
        if name == SERVER_PEERS:
            _guarded(results, name, lambda: _show_server_peers(results, plan))
    print(f"\n{summary(results)}.")
    for failure in results.failures:
        print(f"failed: {failure}")
    return results


def server_bars(name: str) -> tuple[Callable[[Plan], Iterator[Bar]], ...]:
    """The bars on one database."""
    module, bars = SERVERS[name]
    return (getattr(importlib.import_module(f"bench.{module}"), bars),)


def _show(results: Results, bars: Iterator[Bar]) -> None:
    for bar in bars:
        results.bars.append(bar)
        print(f"{bar_line(bar)}", flush=True)


def _show_peers(results: Results, plan: Plan) -> None:
    _, missing = present()
    print()
    if missing:
        print(f"  Not installed here: {', '.join(missing)}. `make bench` installs them.")
    results.peers.extend(peer_figures(plan))
    for line in peer_lines(results.peers):
        print(line)


def _show_server_peers(results: Results, plan: Plan) -> None:
    _, missing = server_peers.present()
    print()
    if missing:
        print(f"  Not installed here: {', '.join(missing)}. `make bench-servers` installs them.")
    results.databases = server_peers.measure(plan)
    for line in database_lines(results.databases):
        print(line)


def _guarded(results: Results, name: str, measure: Callable[[], None]) -> None:
    """One section that fails leaves the others their turn."""
    try:
        measure()
    except Exception as error:  # noqa: BLE001  # whatever it is, it is shown, and counts as a failure
        traceback.print_exc()
        said = str(error).strip().partition("\n")[0]
        results.failures.append(f"{name}: {type(error).__name__}: {said}")


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure turnlog beside floors and other stores.")
    parser.add_argument("--quick", action="store_true", help="shorter sessions and fewer rounds: about a minute")
    parts = [*SECTIONS, *SERVERS, PEERS, SERVER_PEERS]
    parser.add_argument("--only", action="append", choices=parts, help="measure this part only; may be given several times")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--write-docs", action="store_true", help=WRITES)
    parser.add_argument("--scratch", type=Path, default=Path("build/bench"), help="where to work, on the disk to measure (build/bench)")
    options = parser.parse_args(arguments)
    if options.write_docs and options.only and SERVER_PEERS not in options.only and not {*SERVERS} <= {*options.only}:
        parser.error(
            f"--write-docs needs all parts of a page: leave out --only, or say --only {SERVER_PEERS}, or name {', '.join(SERVERS)}"
        )
    return options


if __name__ == "__main__":
    sys.exit(main())
