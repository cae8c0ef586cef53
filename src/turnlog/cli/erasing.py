"""Commands that erase: delete, erase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated

import typer

from turnlog.cli import safe
from turnlog.cli.app import StoreUrl, Yes, app, examples, open_store
from turnlog.cli.ask import ask
from turnlog.cli.reading import moment
from turnlog.cli.screen import counted, waiting
from turnlog.cli.sessions import SHOWN, complete_session, find, info_of
from turnlog.cli.stores import Store
from turnlog.session import SessionStore

IN_FILES = "the live data files hold nothing of what was erased"
COMPACTED = {
    "json_file": IN_FILES,
    "sqlite": IN_FILES,
    "memory": "nothing of what was erased is left",
    "redis": "memory and the live files of the primaries hold nothing of what was erased; files of replicas, and backups, may",
    "postgres": "the live tables hold nothing of what was erased; write-ahead log, standbys and backups may, until they are recycled",
    "mongodb": (
        "no document holds anything of what was erased, and the server gives back free space where there is much; the blocks that it "
        "keeps it does not wipe, so bytes may stay in the live data files until it writes over them, and longer in oplog and backups"
    ),
}
"""By backend of turnlog's, what holds after a compaction; docs/choosing-a-backend.md and docs/stores.md have it in tables."""
ELSEWHERE = "its backend did what it can; whether bytes of what was erased stay in its files, its own documentation says"
"""The same for a backend that a package brings."""

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
        "turnlog erase --user u-17 --compact",
        "turnlog erase --agent Assistant --older-than 90d",
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
        bool, typer.Option("--compact", help="Also rewrite the live data files, and say what may still hold what was erased.")
    ] = False,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Erase the sessions of this user.")] = None,
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Erase the sessions of this agent.")] = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="TIME", help="Erase those not changed since: 30m, 12h, 90d, 4w or 2026-11-02.")
    ] = None,
    yes: Yes = False,
    store: StoreUrl = None,
) -> None:
    """Erase sessions or their messages, and what is left of them.

    Of --user, --agent and --older-than all that are given must hold. --compact also sees to what earlier erasures left in the
    live data files, and says how far that goes on the store's engine. Erased messages are at once out of reach, unless a fork
    still shows them. What logs and backups of an engine hold stays there.
    """
    where = Where.of(user, agent, older_than)
    if where and (sessions or clear):
        raise typer.BadParameter("--user, --agent and --older-than choose the sessions: name none, and leave --clear out")
    if not sessions and not compact and not where:
        raise typer.BadParameter("name sessions to erase, choose them by --user, --agent or --older-than, or give --compact")
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
        if where:
            first, *named = where.told(opened)
            if named:
                ask([first, *named], "erase?", yes=yes)
            with waiting("erasing"):
                # Where nobody was asked, what has come meanwhile stays.
                print(f"deleted {counted(where.erase(opened) if named or yes else 0, 'session')}")
        with waiting("erasing"):
            if sweep is not None:
                sweep(compact=True)
                print(f"compacted: {left_of_the_erased(opened)}")


def left_of_the_erased(store: Store) -> str:
    """What a compaction leaves of what was erased, as far as it is sure."""
    module = type(store.backend).__module__ if isinstance(store, SessionStore) else ""
    engine = module.removeprefix("turnlog.backends.") if module.startswith("turnlog.backends.") else ""
    return COMPACTED.get(engine.partition(".")[0], ELSEWHERE)


@dataclass(frozen=True, slots=True)
class Where:
    """Which sessions to erase, by what they have in common; false where nothing was given."""

    user: str | None
    agent: str | None
    before: float | None
    """Seconds since the epoch: those last changed before."""

    @classmethod
    def of(cls, user: str | None, agent: str | None, older_than: str | None) -> Where:
        """As the options name it."""
        return cls(user, agent, moment(older_than) if older_than is not None else None)

    def __bool__(self) -> bool:
        return self != Where(None, None, None)

    def told(self, store: Store) -> list[str]:
        """What that erases, in lines: how many sessions, and those last changed among them."""
        found = store.iter_sessions(agent_name=self.agent, user_id=self.user, until=self.before, page_size=200)
        first = [f"  {loss(store, info.session_id)}" for info in islice(found, SHOWN)]
        more = sum(1 for _ in found)
        return [f"this erases {counted(len(first) + more, 'session')}:", *first, *([f"  and {more:,} more"] if more else [])]

    def erase(self, store: Store) -> int:
        """Erase them."""
        before = datetime.fromtimestamp(self.before, UTC) if self.before is not None else None
        erased: int = store.delete_where(user_id=self.user, agent=self.agent, older_than=before)
        return erased


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
