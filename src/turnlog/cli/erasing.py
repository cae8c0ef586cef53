"""Commands that erase: delete, erase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from turnlog.cli import safe
from turnlog.cli.app import StoreUrl, Yes, app, examples, open_store
from turnlog.cli.ask import ask
from turnlog.cli.screen import counted, waiting
from turnlog.cli.sessions import complete_session, find, info_of
from turnlog.cli.stores import Store
from turnlog.session import SessionStore

Sessions = Annotated[
    list[str], typer.Argument(metavar="SESSION", help="Session ids, or their beginnings.", autocompletion=complete_session)
]


@app.command("delete", epilog=examples("turnlog delete chat-123", "turnlog delete chat-123 chat-124 --yes"))
def delete(ctx: typer.Context, sessions: Sessions, yes: Yes = False, store: StoreUrl = None) -> None:
    """Erase sessions, after saying what that erases. Their forks keep what they share."""
    with open_store(ctx, store) as opened:
        names = find_all(opened, sessions)
        ask(["this erases:", *(f"  {loss(opened, name)}" for name in names)], "erase?", yes=yes)
        with waiting("erasing"):
            for name in names:
                opened.delete_session(name)
                print(f"deleted {safe.line(name)}")


@app.command(
    "erase",
    epilog=examples(
        "turnlog erase chat-123 --compact",
        "turnlog erase chat-123 --clear",
        "turnlog erase --compact",
    ),
)
def erase(
    ctx: typer.Context,
    sessions: Annotated[
        list[str] | None,
        typer.Argument(metavar="SESSION", help="Session ids, or their beginnings.", show_default=False, autocompletion=complete_session),
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Erase the messages only; id, title and metadata stay.")] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Also rewrite the live data files, so that nothing of what was erased stays in them.")
    ] = False,
    yes: Yes = False,
    store: StoreUrl = None,
) -> None:
    """Erase sessions or their messages, and what is left of them.

    --compact also removes what earlier erasures left in the live data files. Erased messages are at
    once out of reach, unless a fork still shows them. What logs and backups of an engine hold stays there.
    """
    if not sessions and not compact:
        raise typer.BadParameter("name sessions to erase, or give --compact")
    if clear and not sessions:
        raise typer.BadParameter("name the sessions to clear", param_hint="'--clear'")
    with open_store(ctx, store) as opened:
        # A store that cannot compact says so before anything is erased.
        sweep = opened.sweep if compact else None
        names = find_all(opened, sessions or [])
        if names:
            what = "this erases all messages, snapshots and undo points of:" if clear else "this erases:"
            ask([what, *(f"  {loss(opened, name)}" for name in names)], "erase?", yes=yes)
        with waiting("erasing"):
            for name in names:
                (opened.clear_session if clear else opened.delete_session)(name)
                print(f"{'cleared' if clear else 'deleted'} {safe.line(name)}")
            if sweep is not None:
                sweep(compact=True)
                print("compacted: the live data files hold nothing of what was erased")


def find_all(store: Store, texts: Sequence[str]) -> list[str]:
    """The sessions that were named, each once."""
    return list(dict.fromkeys(find(store, text) for text in texts))


def loss(store: Store, session_id: str) -> str:
    """What goes with a session, in a line: title, messages, snapshots; and the forks that keep what they share."""
    if not isinstance(store, SessionStore):
        return f"{safe.line(session_id)}: {counted(len(store.get_messages(session_id)), 'message')}"
    info = info_of(store, session_id)
    snapshots, forks = len(store.get_snapshots(session_id)), store.get_children(session_id)
    title = f' "{safe.line(info.title)}"' if info.title else ""
    things = [counted(info.message_count, "message"), *([counted(snapshots, "snapshot")] if snapshots else [])]
    kept = f" (kept: what {', '.join(safe.line(each) for each in forks)} share{'s' if len(forks) == 1 else ''} with it)" if forks else ""
    return f"{safe.line(session_id)}{title}: {' and '.join(things)}{kept}"
