"""Commands that look for what is wrong: doctor in the files of a store, verify in the code of one."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from turnlog.cli import safe
from turnlog.cli.app import FOUND, AsJson, StoreUrl, Yes, app, examples, store_url
from turnlog.cli.ask import ask
from turnlog.cli.screen import console, counted, errors, print_json, waiting
from turnlog.cli.stores import named_url

if TYPE_CHECKING:
    from turnlog.testing.registry import Level
    from turnlog.testing.report import Outcome
    from turnlog.testing.runner import Verification

PLACE = "{place}"


@app.command("doctor", epilog=examples("turnlog doctor", "turnlog --store sqlite:///var/bot/sessions.sqlite doctor --fix"))
def doctor(
    ctx: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without losing a message.")] = False,
    as_json: AsJson = False,
    store: StoreUrl = None,
) -> None:
    """Look for torn, foreign and left-over files in a store.

    Changes nothing without --fix.
    Ends with status 3 while something is left to mend.
    """
    from turnlog.transfer import examine

    url = named_url(store_url(ctx, store))
    with waiting("examining"):
        findings = examine(url, fix=fix)
    left = [finding for finding in findings if not finding.fixed]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        screen = console()
        for finding in findings:
            state = ("mended", "green") if finding.fixed else (finding.kind, "bold red")
            screen.put(Text.assemble(state, f"  {safe.line(finding.path)}"))
            screen.put(f"  {safe.line(finding.text)}")
            if finding.fix and not finding.fixed:
                screen.put(Text(f"  fix: {safe.line(finding.fix)}", "yellow"))
        print(verdict(len(findings), len(left), fix))
    if left:
        raise typer.Exit(FOUND)


def verdict(found: int, left: int, fix: bool) -> str:
    """What the doctor says at the end."""
    if not found:
        return "nothing wrong was found"
    mended = f"{found - left} mended, " if fix else ""
    return f"{counted(found, 'finding')}: {mended}{left} left{'' if fix else '; turnlog doctor --fix mends what is safe to mend'}"


class Depth(StrEnum):
    """How long to look."""

    QUICK = "quick"
    FULL = "full"


@app.command(
    "verify",
    epilog=examples(
        "turnlog verify mypackage.stores:MyStore",
        f"turnlog verify 'sqlite://{PLACE}/s.sqlite' --level full",
        "turnlog verify memory:// --only 3.6",
    ),
)
def verify(
    target: Annotated[str, typer.Argument(metavar="TARGET", help=f"PACKAGE.MODULE:NAME, or a store URL with {PLACE} in it.")],
    level: Annotated[Depth, typer.Option("--level", help="quick: seconds; full: minutes.")] = Depth.QUICK,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NUMBER", help="A case or a promise, such as 3.7; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the random cases.")] = 0,
    as_json: AsJson = False,
    yes: Yes = False,
) -> None:
    """Put turnlog's promises to a store.

    Ends with status 3 if one is broken.

    TARGET is a class or a function that gives a store; with just the five methods it is held to what five methods can keep. In a URL,
    {place} is replaced by a new directory for every case.
    """
    verification = verification_of(target, level.value, seed)
    try:
        verification.cases(only or ())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="'--only'") from error
    if "://" in target and PLACE not in target and not target.startswith("memory:"):
        ask([f"this writes sessions to {target}, and erases sessions there: let it be a place of its own"], "verify there?", yes=yes)
    begun, outcomes = time.perf_counter(), []
    for outcome in verification.outcomes(only or ()):
        outcomes.append(outcome)
        show_outcome(outcome)
    report = verification.summary(outcomes, time.perf_counter() - begun)
    if as_json:
        figures = {"subject": report.subject, "kind": report.kind, "level": report.level, "seed": report.seed, "seconds": report.seconds}
        print_json({**figures, "passed": report.passed, "outcomes": [asdict(outcome) for outcome in report.outcomes]})
    else:
        print(safe.block(str(report)))
    if not report.passed:
        raise typer.Exit(FOUND)


def verification_of(target: str, level: Level, seed: int) -> Verification:
    """The verification of what ``target`` names. Raises typer.BadParameter where it names nothing that can be verified."""
    from turnlog.testing.runner import Verification
    from turnlog.testing.subject import Subject
    from turnlog.testing.targets import PlacelessUrlFactory, UrlFactory, load, looks_full

    if "://" in target:
        if PLACE not in target and target.startswith(("json:", "sqlite:")):
            raise typer.BadParameter(f"verify writes and erases sessions: put {PLACE} into the URL, as in sqlite://{PLACE}/s.sqlite")
        factory = UrlFactory(target) if PLACE in target else PlacelessUrlFactory(target)
        return Verification(Subject(factory, five=False, name=target), level, seed)
    try:
        factory = load(target)
    except (ImportError, AttributeError, ValueError) as error:
        raise typer.BadParameter(f"{target!r} gives no store: {error}") from error
    return Verification(Subject(factory, five=not looks_full(factory), name=target), level, seed)


def show_outcome(outcome: Outcome) -> None:
    """One line on stderr for a case that has ended, where a person looks on."""
    if sys.stderr.isatty():
        colours = {"passed": "green", "failed": "bold red"}
        errors().print(Text.assemble((f"{outcome.status:<8}", colours.get(outcome.status, "dim")), f"{outcome.number:<8}{outcome.title}"))
