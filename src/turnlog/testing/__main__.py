"""``python -m turnlog.testing package.module:Class``: verify a store and print the report."""

from __future__ import annotations

import argparse
import random
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from turnlog.testing.registry import all_cases
from turnlog.testing.report import Outcome
from turnlog.testing.runner import Verification
from turnlog.testing.subject import Subject
from turnlog.testing.targets import PlacelessUrlFactory, UrlFactory, load, looks_full

DESCRIPTION = """Verify a session store against turnlog's numbered promises, and print the report.

The target is a class or a factory, as package.module:Name. A class with the five methods is held to what five methods can keep; a
class with add_messages and get_revision is held to everything. A target whose first parameter is required, or is named path, session_dir or
the like, is given a new place for every case, which is opened a second time and by other processes to try durability and races.
"""

EPILOG = """examples:
  python -m turnlog.testing mypackage.stores:MyStore
  python -m turnlog.testing turnlog.session:SqliteSessionStore
  python -m turnlog.testing --store-url 'json://{place}/sessions' --level full
  python -m turnlog.testing mypackage.stores:open_store --only 3.2 --only 3.7.3 --seed 7

exit status: 0 every case that was run passed, 1 a promise is broken, 2 wrong usage
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        prog="python -m turnlog.testing", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("target", nargs="?", metavar="PACKAGE.MODULE:NAME", help="the class or factory to verify")
    made.add_argument("--store-url", metavar="URL", help="verify the store that turnlog opens from this URL instead; {place} is replaced")
    made.add_argument("--async", dest="asynchronous", action="store_true", help="with --store-url: the async form of the store")
    made.add_argument("--level", choices=("quick", "full"), default="quick", help="quick: seconds; full: minutes (default: quick)")
    made.add_argument(
        "--contract", choices=("auto", "five", "full"), default="auto", help="five methods, or everything (default: by the methods)"
    )
    made.add_argument(
        "--only", action="append", default=[], metavar="NUMBER", help="a case or a promise, such as 3.7.2 or 3.7; may be repeated"
    )
    made.add_argument("--seed", type=int, default=0, help="seed of the random cases; -1 draws one (default: 0)")
    made.add_argument("--time-limit", type=float, metavar="SECONDS", help="cut every case after this time (default: a limit for each case)")
    made.add_argument("-x", "--stop-at-failure", action="store_true", help="stop at the first failure")
    made.add_argument("-q", "--quiet", action="store_true", help="print only the report at the end, not each case as it ends")
    made.add_argument("--list", action="store_true", help="print the number and title of every case, and stop")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit status."""
    options = parser().parse_args(arguments)
    if options.list:
        for one in all_cases():
            print(f"{one.number:<8}{one.title}{'' if one.five else '  [full store]'}{'  [full level]' if one.level == 'full' else ''}")
        return 0
    try:
        seed = options.seed if options.seed >= 0 else random.randrange(10**6)
        verification = Verification(_subject(options), options.level, seed, _command(options), options.time_limit)
        verification.cases(options.only)
    except (ValueError, ImportError, AttributeError, TypeError) as error:
        print(f"python -m turnlog.testing: {error}", file=sys.stderr)
        return 2
    begun, outcomes = time.perf_counter(), []
    for outcome in verification.outcomes(options.only, stop_at_failure=options.stop_at_failure):
        outcomes.append(outcome)
        if not options.quiet:
            print(_progress(outcome), file=sys.stderr, flush=True)
    report = verification.summary(outcomes, time.perf_counter() - begun)
    print(report)
    return 0 if report.passed else 1


def _progress(outcome: Outcome) -> str:
    return f"{outcome.status:<8}{outcome.number:<8}{outcome.title}"


def _command(options: argparse.Namespace) -> str:
    target = [options.target] if options.target else ["--store-url", options.store_url]
    flags = [*(["--async"] if options.asynchronous else []), *([] if options.contract == "auto" else ["--contract", options.contract])]
    return shlex.join(["python", "-m", "turnlog.testing", *target, *flags])


def _subject(options: argparse.Namespace) -> Subject:
    if (options.target is None) == (options.store_url is None):
        raise ValueError("give either PACKAGE.MODULE:NAME or --store-url; --help shows examples")
    factory: Callable[..., Any]
    if options.store_url is not None:
        kind = UrlFactory if "{place}" in options.store_url else PlacelessUrlFactory
        factory, name = kind(options.store_url, options.asynchronous), options.store_url
        full = options.contract != "five"
    else:
        factory, name = load(options.target), options.target
        full = options.contract == "full" or (options.contract == "auto" and looks_full(factory))
    return Subject(factory, five=not full, name=name)


if __name__ == "__main__":
    sys.exit(main())
