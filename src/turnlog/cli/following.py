"""The command tail: the last messages of a session, and those that come."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from turnlog.cli import safe
from turnlog.cli.app import Session, StoreUrl, app, examples, open_store
from turnlog.cli.render import CONTEXT, Transcript
from turnlog.cli.screen import console, counted, note, print_json
from turnlog.cli.sessions import find
from turnlog.cli.stores import Store
from turnlog.errors import SessionNotFoundError
from turnlog.session import SessionMessage, SessionStore


@app.command(
    "tail", epilog=examples("turnlog tail chat-123", "turnlog tail chat-123 -f", "turnlog tail chat-123 -n 1 -f --json | jq .content")
)
def tail(
    ctx: typer.Context,
    session: Session,
    number: Annotated[int, typer.Option("--number", "-n", metavar="N", min=0, help="How many of the last messages.")] = 10,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more and print them, until Ctrl-C.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Show tool calls, results, reasoning and metadata whole.")] = False,
    interval: Annotated[float, typer.Option("--interval", metavar="SECONDS", min=0.01, help="With -f: seconds between two looks.")] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON array; with -f one message a line.")] = False,
    store: StoreUrl = None,
) -> None:
    """Print the last messages of a session; -f waits for more."""
    with open_store(ctx, store) as opened:
        view = View(opened, find(opened, session))
        before, last = view.last(number)
        if as_json and not follow:
            print_json([entry(index, message) for index, message in last])
            return
        screen = console()
        transcript = Transcript(screen, full=full)
        for message in before:
            transcript.pass_over(message)
        for index, message in view.follow(last, interval) if follow else last:
            if as_json:
                print(safe.json_text(entry(index, message), indent=None), flush=True)
            else:
                transcript.show(index, message)
                sys.stdout.flush()


def entry(index: int, message: SessionMessage) -> dict[str, Any]:
    """A message as JSON types, with its index in the history."""
    return {"index": index, **message.to_dict()}


class View:
    """A session as seen so far, by the names of its messages."""

    def __init__(self, store: Store, session_id: str) -> None:
        self._store = store
        self._full = store if isinstance(store, SessionStore) else None
        self._session_id = session_id
        self._seen: list[str] = []

    def last(self, number: int) -> tuple[list[SessionMessage], list[tuple[int, SessionMessage]]]:
        """Some messages before the last ``number``, and these, each with its index."""
        messages = self._store.get_messages(self._session_id)
        self._seen = [self._name(message) for message in messages]
        first = max(0, len(messages) - number)
        return messages[max(0, first - CONTEXT) : first], list(enumerate(messages[first:], first))

    def follow(self, first: list[tuple[int, SessionMessage]], interval: float) -> Iterator[tuple[int, SessionMessage]]:
        """``first``, then every message that comes; looks again after ``interval`` seconds.

        Where the history was cut, says so on stderr and goes on behind the cut. Raises SessionNotFoundError once the session is gone.
        """
        yield from first
        revision = ""
        while True:
            # The revision is read before the messages: what comes between is seen at the next look.
            now = self._full.get_revision(self._session_id) if self._full else None
            if not now or now != revision:
                start, new = self._news()
                del self._seen[start:]
                self._seen += [self._name(message) for message in new]
                yield from enumerate(new, start)
            revision = now or ""
            time.sleep(interval)

    def _news(self) -> tuple[int, list[SessionMessage]]:
        """Where what has not been seen begins, and the messages from there on. Drops from the front of what was seen what retention did."""
        start = len(self._seen)
        recent = self._store.get_messages(self._session_id, max(0, start - 1))
        if not recent and not self._store.session_exists(self._session_id):
            raise SessionNotFoundError(f"session {self._session_id!r} was deleted", session_id=self._session_id)
        if start == 0 or (recent and self._name(recent[0]) == self._seen[-1]):
            return start, recent[1:] if start else recent
        messages = self._store.get_messages(self._session_id)
        names = [self._name(message) for message in messages]
        if self._seen[-1] in names:
            self._seen = names[: names.index(self._seen[-1]) + 1]
        else:
            pairs = enumerate(zip(self._seen, names, strict=False))
            cut = next((index for index, (one, other) in pairs if one != other), min(len(self._seen), len(names)))
            self._seen = names[:cut]
            note(f"-- the history was cut to {counted(cut, 'message')} --")
        return len(self._seen), messages[len(self._seen) :]

    def _name(self, message: SessionMessage) -> str:
        """What tells a message from others: its id, or its content in a store that keeps no ids."""
        return message.id if self._full else json.dumps(message.record, sort_keys=True)
