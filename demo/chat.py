"""A small chat program over a session of JSON files: ``python -m demo.chat FOLDER`` goes on with a conversation, one line a turn."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import demo  # noqa: F401  # finds turnlog in a clone
from demo.model import turn
from turnlog.session import DefaultSessionStore, SessionStore

SESSION = "ada"


def main(arguments: Sequence[str] | None = None) -> int:
    """Read what the user says from standard input; print each answer word by word, and end its line once the turn is stored."""
    parser = argparse.ArgumentParser(prog="python -m demo.chat", description="Talk to the stand-in model over a session. End with ctrl-D.")
    parser.add_argument("folder", help="where the session files are")
    parser.add_argument("--session", default=SESSION, metavar="ID", help="the session to go on with (default: %(default)s)")
    parser.add_argument("--pace", type=float, default=0.05, metavar="SECONDS", help="time for a word of an answer (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        with DefaultSessionStore(options.folder) as store:
            _talk(store, options.session, options.pace)
    except KeyboardInterrupt:
        print()
        return 130
    return 0


def _talk(store: SessionStore, session: str, pace: float) -> None:
    if sys.stdin.isatty():
        print(f"{len(store.get_messages(session))} messages so far. Try: What do you know about me?")
    for text in _lines():
        messages = turn(store.get_chat_history(session), text)
        _speak(messages[-1]["content"], pace)
        store.add_messages(session, messages)
        print(flush=True)


def _lines() -> Iterator[str]:
    """What the user types, line by line, until the end of the input."""
    person = sys.stdin.isatty()
    while True:
        try:
            text = input("you    " if person else "").strip()
        except EOFError:
            return
        if text:
            if person:
                print("model  ", end="")
            yield text


def _speak(text: str, pace: float) -> None:
    for word in text.split():
        print(word, end=" ", flush=True)
        time.sleep(pace)


if __name__ == "__main__":
    sys.exit(main())
