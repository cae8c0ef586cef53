"""Commands that change sessions and lose nothing: fork, snapshot, revert, undo, rename."""

from __future__ import annotations

from typing import Annotated

import typer

from turnlog.cli import safe
from turnlog.cli.app import Session, StoreUrl, Yes, app, examples, open_store
from turnlog.cli.ask import ask
from turnlog.cli.reading import snapshot_name
from turnlog.cli.screen import console, counted, local_time, note, print_json, table
from turnlog.cli.sessions import count_of, find
from turnlog.errors import MessageIndexError, SnapshotNotFoundError
from turnlog.session import SessionSnapshot, SessionStore


@app.command(
    "fork",
    epilog=examples(
        "turnlog fork chat-123",
        "turnlog fork chat-123 --at 5 --title 'By train'",
        "turnlog show $(turnlog fork chat-123 --id chat-123-b)",
    ),
)
def fork(
    ctx: typer.Context,
    session: Session,
    at: Annotated[
        int | None, typer.Option("--at", metavar="INDEX", help="Fork after this message (as show counts); default: the last.")
    ] = None,
    title: Annotated[str | None, typer.Option("--title", metavar="TITLE", help="The fork's title.")] = None,
    new_id: Annotated[str | None, typer.Option("--id", metavar="NEW_ID", help="The fork's id; default: a random one.")] = None,
    store: StoreUrl = None,
) -> None:
    """Fork a session, and print the fork's id.

    The fork has the messages so far, or those up to --at, and goes its own way from there.
    """
    with open_store(ctx, store) as opened:
        name = find(opened, session)
        if isinstance(opened, SessionStore):
            child = opened.fork_session(name, at, title, new_session_id=new_id)
        elif title is None:
            child = opened.fork_session(name, at, new_session_id=new_id)
        else:
            raise typer.BadParameter("a store with five methods keeps no titles", param_hint="'--title'")
    print(safe.line(child))


@app.command(
    "snapshot",
    epilog=examples(
        "turnlog snapshot chat-123 --label 'before booking'",
        "turnlog snapshot chat-123 --list",
        "turnlog revert chat-123 --snapshot 'before booking'",
        "turnlog snapshot chat-123 --delete 'before booking'",
    ),
)
def snapshot(
    ctx: typer.Context,
    session: Session,
    label: Annotated[str | None, typer.Option("--label", "-l", metavar="LABEL", help="A name for people.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="List the snapshots there are.")] = False,
    delete: Annotated[
        str | None, typer.Option("--delete", metavar="SNAPSHOT", help="Forget a snapshot: its label, its id or the beginning.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: print one JSON document.")] = False,
    yes: Yes = False,
    store: StoreUrl = None,
) -> None:
    """Name the present state of a session; list or forget names.

    Prints the snapshot's id.
    """
    if (label is not None) + listed + (delete is not None) > 1:
        raise typer.BadParameter("--label, --list and --delete do not go together")
    with open_store(ctx, store) as opened:
        name = find(opened, session)
        if delete is not None:
            found = find_snapshot(opened.get_snapshots(name), name, delete)
            told = f"this forgets the snapshot {snapshot_name(found.to_dict())} of session {name}"
            ask([told, "messages that only it shows can then no longer be reached"], "forget it?", yes=yes)
            opened.delete_snapshot(name, found.id)
            print(f"forgot {safe.line(found.label or found.id)}")
        elif listed:
            show_snapshots(opened.get_snapshots(name), as_json=as_json)
        else:
            print(opened.create_snapshot(name, label))


def show_snapshots(snapshots: list[SessionSnapshot], *, as_json: bool) -> None:
    """Print snapshots, oldest first."""
    if as_json:
        print_json([each.to_dict() for each in snapshots])
    elif snapshots:
        rows = [[each.id, each.label or "", str(each.message_index), local_time(each.created_at)] for each in snapshots]
        table(console(), ["SNAPSHOT", "LABEL", "AFTER", "TAKEN"], rows, gives_way=1, right=[2])
    else:
        note("no snapshots")


def find_snapshot(snapshots: list[SessionSnapshot], session_id: str, text: str) -> SessionSnapshot:
    """The snapshot that ``text`` names: by id, by label, or by the beginning of its id. Raises SnapshotNotFoundError."""
    for named in (
        [each for each in snapshots if each.id == text],
        [each for each in snapshots if each.label == text],
        [each for each in snapshots if text and each.id.startswith(text)],
    ):
        if len(named) == 1:
            return named[0]
        if named:
            ids = ", ".join(each.id for each in named)
            raise SnapshotNotFoundError(
                f"several snapshots of {session_id!r} go by {text!r}: {ids}; give one of these ids", snapshot_id=text
            )
    have = ", ".join(snapshot_name(each.to_dict()) for each in snapshots[-5:]) or "none"
    raise SnapshotNotFoundError(f"session {session_id!r} has no snapshot {text!r}; it has {have}", session_id=session_id, snapshot_id=text)


@app.command(
    "revert",
    epilog=examples(
        "turnlog revert chat-123 5",
        "turnlog revert chat-123 --snapshot 'before booking' --yes",
        "turnlog undo chat-123",
    ),
)
def revert(
    ctx: typer.Context,
    session: Session,
    index: Annotated[
        int | None, typer.Argument(metavar="INDEX", help="The message (as show counts) to be the last one.", show_default=False)
    ] = None,
    snapshot: Annotated[
        str | None, typer.Option("--snapshot", metavar="SNAPSHOT", help="Go back to a snapshot: its label, its id or the beginning.")
    ] = None,
    yes: Yes = False,
    store: StoreUrl = None,
) -> None:
    """Take a session back to a message or to a snapshot. undo takes that back."""
    if (index is None) == (snapshot is None):
        raise typer.BadParameter("give either the INDEX of a message or --snapshot")
    with open_store(ctx, store) as opened:
        name = find(opened, session)
        count = count_of(opened, name)
        if snapshot is not None:
            chosen = find_snapshot(opened.get_snapshots(name), name, snapshot)
            told = f"this takes session {name} with {counted(count, 'message')} back to the snapshot {snapshot_name(chosen.to_dict())}"
            ask([told, f"turnlog undo {name} takes it back"], "revert?", yes=yes)
            opened.revert_to_snapshot(name, chosen.id)
        elif index is not None:
            if not 0 <= index < count:
                have = f"0 to {count - 1}" if count else "none, it is empty"
                raise MessageIndexError(
                    f"session {name!r} has no message {index}; it has {have}", session_id=name, index=index, count=count
                )
            gone = counted(count - index - 1, "message")
            span = f", #{index + 1} to #{count - 1}," if index + 1 < count else ""
            ask([f"this takes {gone}{span} off the end of session {name}", f"turnlog undo {name} takes it back"], "revert?", yes=yes)
            opened.revert_to_message(name, index)
        print(f"{safe.line(name)} now has {counted(count_of(opened, name), 'message')}")


@app.command("undo", epilog=examples("turnlog undo chat-123"))
def undo(ctx: typer.Context, session: Session, store: StoreUrl = None) -> None:
    """Take back the last revert of a session. Messages added since stay stored; a further undo brings them back."""
    with open_store(ctx, store) as opened:
        name = find(opened, session)
        opened.undo_revert(name)
        print(f"{safe.line(name)} now has {counted(count_of(opened, name), 'message')}")


@app.command("rename", epilog=examples("turnlog rename chat-123 'Trip to Lisbon'"))
def rename(
    ctx: typer.Context,
    session: Session,
    title: Annotated[str, typer.Argument(metavar="TITLE", help='The new title; "" takes it away.')],
    store: StoreUrl = None,
) -> None:
    """Give a session a title. Its id stays."""
    with open_store(ctx, store) as opened:
        name = find(opened, session)
        opened.rename_session(name, title)
        print(f"{safe.line(name)} is now {safe.line(repr(title))}" if title else f"{safe.line(name)} has no title now")
