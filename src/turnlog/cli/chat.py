"""The command chat: a conversation with a model on a terminal, kept in the store as it goes."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from turnlog.cli import safe
from turnlog.cli.app import FAILED, StoreUrl, app, examples, open_store, tell_error
from turnlog.cli.render import COLOURS, Transcript
from turnlog.cli.screen import console, counted, paged
from turnlog.cli.sessions import complete_session, count_of, find
from turnlog.cli.stores import Store
from turnlog.errors import SessionError
from turnlog.forms import Result, read_message
from turnlog.session import SessionMessage, SessionStore

if TYPE_CHECKING:
    from turnlog.agent import Agent

HELP = """/history        show the conversation
/undo           take the last exchange back
/resume         take an answer that was stopped to its end
/fork           go on in a fork; the conversation so far stays as it is
/new            begin another session
/help           this
/quit           end (so does Ctrl-D)
//text          say "/text"
Ctrl-C stops an answer; at the prompt it ends the chat."""


@app.command(
    "chat",
    epilog=examples(
        "turnlog chat",
        "turnlog chat chat-123 --model openai:gpt-6-luna",
        "turnlog chat --model test",
        "echo 'What did I ask first?' | turnlog chat chat-123",
    ),
)
def chat(
    ctx: typer.Context,
    session: Annotated[
        str | None,
        typer.Argument(
            metavar="SESSION",
            help="Session id, or its beginning; one that is not there is begun. Default: a new one.",
            show_default=False,
            autocompletion=complete_session,
        ),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help='The model; "test" answers without a key.')] = None,
    instructions: Annotated[str | None, typer.Option("--instructions", "-i", metavar="TEXT", help="What the model is told to be.")] = None,
    new: Annotated[bool, typer.Option("--new", help="Begin SESSION even where others begin with that name.")] = False,
    store: StoreUrl = None,
) -> None:
    """Talk with a model, and keep the conversation.

    /help lists what can be said to the chat itself.

    A pipe's lines are each a message.
    """
    from turnlog.agent import Agent, ModelNotConfiguredError

    # The library under the agent greets on terminals, in the middle of the first answer.
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
    with open_store(ctx, store) as opened:

        def begin(name: str) -> Agent:
            return Agent(llm=model, instructions=instructions, memory={"session_id": name, "store": opened})

        try:
            Talk(opened, begin, begin(chosen(opened, session, new))).run()
        except ModelNotConfiguredError as error:
            raise SessionError(f"{error}; here: turnlog chat --model MODEL") from error


def chosen(store: Store, text: str | None, new: bool) -> str:
    """The session to talk in: the one that ``text`` names or begins, else one of that id, which is to come to be."""
    if text is None:
        return new_name()
    begins = isinstance(store, SessionStore) and not new and any(True for _ in islice(store.iter_sessions(prefix=text), 1))
    return find(store, text) if begins else text


def new_name() -> str:
    """An id for a session that was given none: the time, and enough to tell two of one second apart."""
    return f"chat-{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


class Talk:
    """Reads lines, sends them to the agent, prints the answer as it comes."""

    def __init__(self, store: Store, begin: Callable[[str], Agent], agent: Agent) -> None:
        self._store = store
        self._begin = begin
        self._agent = agent
        self._screen = console()
        self._terminal = sys.stdin.isatty() and sys.stdout.isatty()
        self._commands = {
            "/history": self._history,
            "/undo": self._undo,
            "/resume": self._resume,
            "/fork": self._fork,
            "/new": self._new,
            "/help": self._help,
        }

    def run(self) -> None:
        """Go on until the input ends."""
        if self._terminal:
            # Gives the prompt a history and keys to edit with.
            with suppress(ImportError):
                import readline  # noqa: F401
            self._told(f"session {self._agent.session_id}: {self._count()}; /help for help, /quit to end")
        while (said := self._read()) is not None:
            if said.startswith("/") and not said.startswith("//"):
                if said.split()[0] == "/quit":
                    return
                self._obey(said.split()[0])
            elif said.strip():
                prompt = said.removeprefix("/") if said.startswith("//") else said
                self._answer(lambda prompt=prompt: self._agent.stream(prompt))  # type: ignore[misc]

    def _read(self) -> str | None:
        """The next line; None at the end."""
        try:
            return input("> " if self._terminal else "")
        except EOFError:
            if self._terminal:
                print()
            return None

    def _obey(self, command: str) -> None:
        obeyed = self._commands.get(command)
        if obeyed is None:
            tell_error(f"{command} is no command: /help lists them; //… says it to the model")
            return
        try:
            obeyed()
        except SessionError as error:
            tell_error(str(error))

    def _answer(self, begin: Callable[[], Iterable[str]]) -> None:
        """Print an answer as it comes."""
        from pydantic_ai.exceptions import AgentRunError, UserError

        from turnlog.agent import ModelNotConfiguredError

        try:
            if self._terminal:
                self._screen.put(Text("assistant", COLOURS["assistant"]))
            for piece in begin():
                print(safe.block(piece), end="", flush=True)
            print()
        except ModelNotConfiguredError:
            raise
        except KeyboardInterrupt:
            if not self._terminal:
                raise
            print()
            self._told("stopped; /resume takes it to its end")
        except LookupError as error:
            self._told(str(error))
        except (SessionError, AgentRunError, UserError, TimeoutError) as error:
            tell_error(str(error))
            if not self._terminal:
                # Whoever sent the lines cannot see it and try again.
                raise typer.Exit(FAILED) from None
            self._told("/resume tries it again")

    def _history(self) -> None:
        with paged(self._terminal) as screen:
            transcript = Transcript(screen)
            for index, message in enumerate(self._store.get_messages(self._agent.session_id)):
                transcript.show(index, message)

    def _undo(self) -> None:
        messages = self._store.get_messages(self._agent.session_id)
        asked = [index for index, message in enumerate(messages) if is_said(message)]
        if not asked or asked[-1] == 0:
            self._told("there is no exchange before this one to go back to; /new begins another session")
            return
        self._agent.revert(asked[-1] - 1)
        self._told(f"took {counted(len(messages) - asked[-1], 'message')} back; turnlog undo {self._agent.session_id} undoes that")

    def _resume(self) -> None:
        self._answer(lambda: [str(self._agent.resume())])

    def _fork(self) -> None:
        before = self._agent.session_id
        self._agent = self._agent.fork()
        self._told(f"now in session {self._agent.session_id}, a fork of {before}")

    def _new(self) -> None:
        self._agent = self._begin(new_name())
        self._told(f"now in session {self._agent.session_id}")

    def _help(self) -> None:
        print(HELP)

    def _count(self) -> str:
        exists = self._store.session_exists(self._agent.session_id)
        return counted(count_of(self._store, self._agent.session_id), "message") if exists else "new"

    def _told(self, text: str) -> None:
        self._screen.put(Text(safe.line(text), "dim"))


def is_said(message: SessionMessage) -> bool:
    """Whether a message is what the user said; in some forms results of tools stand under the user's role."""
    read = read_message(message.record)
    return read.role == "user" and any(not isinstance(piece, Result) for piece in read.pieces)
