"""Commands that look at sessions: list, show, search, diff."""

from __future__ import annotations

import re
import time
from datetime import datetime
from itertools import islice
from typing import Annotated, Any

import typer
from rich.text import Text

from turnlog.bots.keys import is_desk
from turnlog.cli import safe
from turnlog.cli.app import AsJson, NoPager, Session, StoreUrl, app, examples, open_store
from turnlog.cli.render import CONTEXT, Transcript
from turnlog.cli.screen import Plain, counted, local_time, note, paged, print_json, table, waiting
from turnlog.cli.sessions import conversations, find
from turnlog.cli.stores import Store
from turnlog.session import SessionHit, SessionInfo, SessionMessage, SessionStore

_SPAN = re.compile(r"(\d+)\s*([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}


def moment(text: str) -> float:
    """Seconds since the epoch for ``2026-11-02``, ``2026-11-02T10:31`` (both here, unless they name a zone), or ``7d`` ago."""
    if span := _SPAN.fullmatch(text.strip()):
        return time.time() - int(span[1]) * _SECONDS[span[2]]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text!r} is no time: write 30m, 12h, 7d, 4w or 2026-11-02") from error


@app.command(
    "list",
    epilog=examples(
        "turnlog list",
        "turnlog list --agent Assistant --since 7d",
        "turnlog list --prefix telegram- --all",
        "turnlog list --json | jq -r '.[].session_id'",
    ),
)
def list_sessions(
    ctx: typer.Context,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only ids that begin so.", show_default=False)] = "",
    agent: Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only sessions of this agent.")] = None,
    user: Annotated[str | None, typer.Option("--user", metavar="NAME", help="Only sessions of this user.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only those changed since: 30m, 12h, 7d, 4w or 2026-11-02.")
    ] = None,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="How many at most.")] = 50,
    everything: Annotated[
        bool, typer.Option("--all", help="All of them, whatever their number, and what bots keep for themselves.")
    ] = False,
    as_json: AsJson = False,
    no_pager: NoPager = False,
    store: StoreUrl = None,
) -> None:
    """List sessions, last changed first."""
    with open_store(ctx, store) as opened:
        found = opened.iter_sessions(prefix=prefix, agent_name=agent, user_id=user, since=moment(since) if since else None, page_size=200)
        with waiting("listing"):
            infos = list(found if everything else islice(conversations(found), number + 1))
    more = not everything and len(infos) > number
    infos = infos if everything else infos[:number]
    if as_json:
        print_json([info_dict(info) for info in infos])
    elif infos:
        rows = [
            [info.session_id, info.title or "", f"{info.message_count:,}", local_time(info.updated_at), info.agent_name or ""]
            for info in infos
        ]
        names = ["SESSION", "TITLE", "MESSAGES", "CHANGED", "AGENT"]
        if any(info.expires_at for info in infos):
            names.append("EXPIRES")
            rows = [[*row, local_time(info.expires_at)] for row, info in zip(rows, infos, strict=True)]
        with paged(not no_pager) as screen:
            table(screen, names, rows, gives_way=1, right=[2])
    else:
        note("no sessions; turnlog --store URL list looks elsewhere")
    if more:
        note(f"these are the {number} last changed; -n or --all shows more")


def info_dict(info: SessionInfo) -> dict[str, Any]:
    """A listing line as JSON types, with the metadata and the revision."""
    return {**info.to_dict(), "metadata": info.metadata, "revision": info.revision}


@app.command(
    "show",
    epilog=examples(
        "turnlog show chat-123",
        "turnlog show chat-123 -n 20 --full",
        "turnlog show chat-123 --json | jq '.messages[-1]'",
    ),
)
def show(
    ctx: typer.Context,
    session: Session,
    full: Annotated[bool, typer.Option("--full", help="Show tool calls, results, reasoning and metadata whole.")] = False,
    number: Annotated[int | None, typer.Option("--number", "-n", metavar="N", min=1, help="Only the last so many messages.")] = None,
    as_json: AsJson = False,
    no_pager: NoPager = False,
    store: StoreUrl = None,
) -> None:
    """Show a session with its messages.

    The oldest comes first, each with the index that fork and revert take. Tool calls, results and reasoning are a line each.
    """
    with open_store(ctx, store) as opened:
        with waiting("reading"):
            document, messages = whole(opened, find(opened, session))
    first = max(0, len(messages) - number) if number else 0
    if as_json:
        print_json({**document, "messages": [message.to_dict() for message in messages[first:]]})
        return
    with paged(not no_pager) as screen:
        show_head(screen, document, len(messages))
        transcript = Transcript(screen, full=full)
        for message in messages[max(0, first - CONTEXT) : first]:
            transcript.pass_over(message)
        for index, message in enumerate(messages[first:], first):
            screen.put()
            transcript.show(index, message)


def whole(store: Store, session_id: str) -> tuple[dict[str, Any], list[SessionMessage]]:
    """What is known of a session, as JSON types without its messages, and its messages; of one moment."""
    if not isinstance(store, SessionStore):
        return {"session_id": session_id}, store.get_messages(session_id)
    data = store.get_extended_session(session_id)
    document = data.to_dict()
    del document["messages"]
    return {**document, "revision": data.revision}, data.messages


def show_head(screen: Plain, document: dict[str, Any], count: int) -> None:
    """Print what is known of a session, a line each."""
    screen.put(Text(safe.line(document["session_id"]), "bold"))
    fork = document.get("forked_from_message_id")
    forked = document.get("parent_id")
    facts = [
        ("title", document.get("title")),
        ("agent", document.get("agent_name")),
        ("user", document.get("user_id")),
        ("begun", local_time(document.get("created_at"))),
        ("changed", local_time(document.get("updated_at"))),
        ("expires", local_time(document.get("expires_at"))),
        ("messages", f"{count:,}"),
        ("forked from", f"{forked}{f' after #{fork}' if fork else ''}" if forked else None),
        ("forks", ", ".join(document.get("children_ids") or ())),
        ("snapshots", ", ".join(snapshot_name(snapshot) for snapshot in document.get("snapshots") or ())),
    ]
    for name, value in facts:
        if value:
            screen.put(Text.assemble((f"  {name:<12}", "dim"), safe.line(str(value))))


def snapshot_name(snapshot: dict[str, Any]) -> str:
    """A snapshot's label or id, and the message it stands after."""
    place = f"after #{snapshot['message_index']}" if snapshot["message_index"] >= 0 else "empty"
    return f"{snapshot['label'] or snapshot['id']} ({place})"


@app.command("search", epilog=examples("turnlog search lisbon", "turnlog search 'night train' -n 20", "turnlog search lisbon --json"))
def search(
    ctx: typer.Context,
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="Whole words to look for; upper and lower case are the same.")],
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=1, help="How many sessions at most.")] = 10,
    around: Annotated[
        int, typer.Option("--around", metavar="N", min=0, help="With --json: how many messages around the best to give.")
    ] = 2,
    everything: Annotated[bool, typer.Option("--all", help="Also in what bots keep for themselves.")] = False,
    as_json: AsJson = False,
    no_pager: NoPager = False,
    store: StoreUrl = None,
) -> None:
    """Find sessions by the words in their messages, best first."""
    wanted = " ".join(words)
    with open_store(ctx, store) as opened, waiting("searching"):
        hits = found_in(opened, wanted, number, around, everything=everything)
    if as_json:
        print_json([hit.as_dict() for hit in hits])
        return
    if not hits:
        note("nothing found")
        return
    with paged(not no_pager) as screen:
        for hit in hits:
            title = f'  "{safe.short(hit.title, 60)}"' if hit.title != hit.session_id else ""
            place, when = (f" #{hit.anchor_index}", "dim"), (f"  {local_time(hit.when)}", "dim")
            screen.put(Text.assemble((safe.line(hit.session_id), "bold"), place, title, when))
            snippet = Text("  " + safe.line(hit.snippet))
            snippet.highlight_words([safe.line(word) for word in wanted.split()], "bold yellow", case_sensitive=False)
            screen.put(snippet)


def found_in(store: Store, words: str, number: int, around: int, *, everything: bool) -> list[SessionHit]:
    """The first ``number`` hits, those in what bots keep for themselves only with ``everything``."""
    take = number if everything else 2 * number
    while True:
        hits = store.search(words, limit=take, window=around)
        shown = [hit for hit in hits if everything or not is_desk(hit.session_id)][:number]
        if len(shown) == number or len(hits) < take:
            return shown
        take *= 4


@app.command("diff", epilog=examples("turnlog diff chat-123 chat-123-by-train", "turnlog diff a b --json | jq .common"))
def diff(
    ctx: typer.Context,
    left: Session,
    right: Annotated[str, typer.Argument(metavar="OTHER", help="The session to compare with.")],
    full: Annotated[bool, typer.Option("--full", help="Show tool calls, results, reasoning and metadata whole.")] = False,
    as_json: AsJson = False,
    no_pager: NoPager = False,
    store: StoreUrl = None,
) -> None:
    """Compare two sessions.

    Says how many messages they share from the start, then shows what each has of its own.
    """
    with open_store(ctx, store) as opened:
        names = [find(opened, left), find(opened, right)]
        with waiting("comparing"):
            found = opened.diff(*names)
            shared = opened.get_messages(names[0], max(0, found.common - CONTEXT), found.common)
    if as_json:
        sides = {"left": [m.to_dict() for m in found.left], "right": [m.to_dict() for m in found.right]}
        print_json({"left_id": names[0], "right_id": names[1], "ancestor": found.ancestor, "common": found.common, **sides})
        return
    with paged(not no_pager) as screen:
        ancestor = f"; both come from {safe.line(found.ancestor)}" if found.ancestor else ""
        screen.put(f"{counted(found.common, 'message')} in common{ancestor}")
        for mark, colour, name, messages in (("---", "red", names[0], found.left), ("+++", "green", names[1], found.right)):
            screen.put()
            screen.put(Text(f"{mark} {safe.line(name)}: {counted(len(messages), 'message')} of its own", f"bold {colour}"))
            transcript = Transcript(screen, full=full)
            for message in shared:
                transcript.pass_over(message)
            for index, message in enumerate(messages, found.common):
                transcript.show(index, message)
