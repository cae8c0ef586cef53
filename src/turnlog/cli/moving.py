"""Commands that carry sessions: export, import, copy."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO, cast

import typer

from turnlog.cli import safe
from turnlog.cli.app import FAILED, StoreUrl, Yes, app, examples, open_store
from turnlog.cli.ask import ask
from turnlog.cli.erasing import find_all
from turnlog.cli.progress import Moving
from turnlog.cli.screen import counted, note, print_json
from turnlog.cli.sessions import complete_session
from turnlog.cli.stores import Store, open_any
from turnlog.session import SessionStore

if TYPE_CHECKING:
    from turnlog.transfer import TransferReport


class Written(StrEnum):
    """The formats that export writes."""

    TURNLOG = "turnlog"
    JSONL = "jsonl"


class Readable(StrEnum):
    """The formats that import reads."""

    TURNLOG = "turnlog"
    PRAISONAI = "praisonai"
    JSONL = "jsonl"
    CHATGPT = "chatgpt"


AsReport = Annotated[bool, typer.Option("--json", help="Print the report as one JSON document.")]


@app.command(
    "export",
    epilog=examples(
        "turnlog export -o backup.json",
        "turnlog export chat-123 | jq '.sessions[0].messages'",
        "turnlog export --format jsonl -o training.jsonl",
    ),
)
def export(
    ctx: typer.Context,
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION", help="Which; default: all.", show_default=False, autocompletion=complete_session),
    ] = None,
    form: Annotated[
        Written, typer.Option("--format", help="turnlog: one JSON document, nothing left out; jsonl: the messages of one session a line.")
    ] = Written.TURNLOG,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", dir_okay=False, help="Where to; default: stdout.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
    store: StoreUrl = None,
) -> None:
    """Write sessions to a file, or to stdout."""
    from turnlog.transfer import export_sessions

    with open_store(ctx, store) as opened:
        names = find_all(opened, sessions) if sessions else None
        with written_to(output, overwrite) as out, Moving() as moving:
            report = export_sessions(full(opened, "export"), out, names, format=form.value, progress=moving)
    tell(report, "exported", quiet=output is None)


@app.command(
    "import",
    epilog=examples(
        "turnlog import backup.json",
        "turnlog import ~/.praisonai/sessions",
        "turnlog import conversations.json --format chatgpt",
        "turnlog import chat.jsonl --id chat-123",
    ),
)
def import_(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", exists=True, help="A file, or a directory of session files.", show_default=False)],
    form: Annotated[
        Readable | None,
        typer.Option(
            "--format",
            help="turnlog: what export writes; praisonai: its session files or transcripts; jsonl: a message or a conversation a line; "
            "chatgpt: conversations.json. Default: by its content.",
        ),
    ] = None,
    new_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="The session's id, where PATH holds one.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace sessions that are there.")] = False,
    yes: Yes = False,
    as_json: AsReport = False,
    store: StoreUrl = None,
) -> None:
    """Store sessions from a file or a directory. What is there already and equal is left alone, so it may be run again."""
    from turnlog.transfer import import_path

    with open_store(ctx, store) as opened:
        if overwrite:
            ask([f"sessions of this store that {path} holds too are erased and replaced"], "replace them?", yes=yes)
        with Moving() as moving:
            report = import_path(
                full(opened, "import"),
                path,
                format=form.value if form else None,
                session_id=new_id,
                overwrite=overwrite,
                progress=moving,
            )
    conclude(report, "imported", as_json=as_json)


@app.command(
    "copy",
    epilog=examples(
        "turnlog copy json://~/.praisonai/sessions sqlite:///var/bot/sessions.sqlite",
        "turnlog copy sqlite://./a.sqlite sqlite://./b.sqlite --session chat-123",
    ),
)
def copy(
    source: Annotated[str, typer.Argument(metavar="SRC_URL", help="The store to copy from.")],
    target: Annotated[str, typer.Argument(metavar="DST_URL", help="The store to copy to.")],
    sessions: Annotated[list[str] | None, typer.Option("--session", metavar="SESSION", help="Only this session; may be repeated.")] = None,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="FILE", help="Notes what is done, so that a long copy resumes sooner.")
    ] = None,
    as_json: AsReport = False,
) -> None:
    """Copy sessions from one store to another.

    Carries messages, ids, times, snapshots and forks, and compares after the copy.
    May be run again after it was interrupted: what is there and equal is left alone.
    """
    from turnlog.transfer import copy_store

    with open_any(source) as old, open_any(target) as new:
        names = find_all(old, sessions) if sessions else None
        with Moving() as moving:
            report = copy_store(
                full(old, "copy"), full(new, "copy"), session_ids=names, state_path=str(state) if state else None, progress=moving
            )
    if not (report.sessions or report.already_there or report.skipped):
        note("there are no sessions in the source: see that SRC_URL names the place")
    conclude(report, "copied", as_json=as_json)


def full(store: Store, verb: str) -> SessionStore:
    """The store, where it is a full one; five methods can neither list nor store a session whole."""
    if isinstance(store, SessionStore):
        return store
    raise typer.BadParameter(f"{verb} needs a full store, not a class with the five methods", param_hint="'--store'")


@contextmanager
def written_to(path: Path | None, overwrite: bool) -> Iterator[TextIO]:
    """The file to write, readable by its owner alone, which appears under its name once it is whole; stdout for None."""
    if path is None:
        yield cast(TextIO, safe.JsonOut())
        return
    if path.exists() and not overwrite:
        raise typer.BadParameter(f"{path} is there already: choose another, or --overwrite", param_hint="'--output'")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be written: {error.strerror}", param_hint="'--output'") from error
    try:
        with open(handle, "w", encoding="utf-8") as out:
            yield out
            out.flush()
            os.fsync(handle)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def conclude(report: TransferReport, what: str, *, as_json: bool) -> None:
    """Print a report, and end with status 1 where something was skipped."""
    if as_json:
        print_json(report_dict(report))
    else:
        tell(report, what)
    if report.skipped:
        raise typer.Exit(FAILED)


def report_dict(report: TransferReport) -> dict[str, Any]:
    """A report as JSON types."""
    skipped = [{"name": skip.name, "reason": skip.reason} for skip in report.skipped]
    return {"sessions": report.sessions, "messages": report.messages, "already_there": report.already_there, "skipped": skipped}


def tell(report: TransferReport, what: str, *, quiet: bool = False) -> None:
    """Say what was carried, and on stderr what was not and why. ``quiet``: stdout belongs to the data."""
    there = f"; {counted(report.already_there, 'session')} already there" if report.already_there else ""
    said = f"{what} {counted(report.sessions, 'session')} with {counted(report.messages, 'message')}{there}"
    if quiet:
        note(said)
    else:
        print(said)
    for skip in report.skipped:
        print(f"skipped {safe.line(skip.name)}: {safe.line(skip.reason)}", file=sys.stderr)
