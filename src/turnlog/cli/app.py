"""The Typer application: the options every command shares, the store it works on, and what becomes of errors."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from turnlog import __version__
from turnlog.cli import safe
from turnlog.cli.sessions import complete_session
from turnlog.cli.stores import Store, open_any
from turnlog.errors import SessionError

FAILED, USAGE, FOUND, INTERRUPTED = 1, 2, 3, 130
"""Exit statuses beside 0: a SessionError; wrong usage, or a package that is not installed; verify or doctor found something; Ctrl-C."""


class Commands(TyperGroup):
    """Tells errors of turnlog in one line on stderr, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a SessionError ends with status 1, a missing package with 2, Ctrl-C with 130."""
        try:
            result = super().invoke(ctx)
            # Here, where a reader that has gone away is dealt with, and not as Python ends.
            sys.stdout.flush()
            return result
        except SessionError as error:
            tell_error(str(error))
            raise typer.Exit(FAILED) from None
        except ImportError as error:
            if "pip install" not in str(error):
                raise
            tell_error(str(error))
            raise typer.Exit(USAGE) from None
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                # Ends the line on which the terminal shows ^C.
                print(file=sys.stderr)
            raise typer.Exit(INTERRUPTED) from None


def tell_error(text: str) -> None:
    """Print ``error: text`` to stderr."""
    print(f"error: {safe.line(text)}", file=sys.stderr)


def examples(*lines: str) -> str:
    """An epilog that shows how a command is used, laid out as it stands."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


@dataclass(frozen=True, slots=True)
class Options:
    """The options given before the command."""

    store: str | None = None


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\n\n".join(
        [
            examples(
                "turnlog list",
                "turnlog show chat-123",
                "turnlog --store sqlite:///var/bot/sessions.sqlite search lisbon",
                "turnlog fork chat-123 --at 5",
            ),
            "\b\nExit status: 0 done, 1 an error of the store, 2 wrong usage, 3 verify or doctor found\nsomething, 130 interrupted.",
        ]
    ),
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"turnlog {__version__}")
        raise typer.Exit


STORE_HELP = (
    "Where the sessions are: json:///dir, sqlite:///file, another installed scheme, or PACKAGE.MODULE:NAME "
    "for a class with the five methods."
)


@app.callback()
def turnlog(
    ctx: typer.Context,
    store: Annotated[
        str | None,
        typer.Option(
            "--store", metavar="URL", envvar="TURNLOG_STORE", show_envvar=True, help=f"{STORE_HELP} Default: ~/.praisonai/sessions."
        ),
    ] = None,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")] = False,
) -> None:
    """Look at, branch, mend and move the sessions that agents and bots have stored.

    SESSION is a session id, or the beginning of one if no other begins so.
    """
    ctx.obj = Options(store)


StoreUrl = Annotated[str | None, typer.Option("--store", metavar="URL", help="Where the sessions are, as in turnlog --help.")]
Session = Annotated[str, typer.Argument(metavar="SESSION", help="Session id, or its beginning.", autocompletion=complete_session)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
NoPager = Annotated[bool, typer.Option("--no-pager", help="Do not page, even on a terminal.")]


def store_url(ctx: typer.Context, own: str | None) -> str | None:
    """The URL that a command works on: its own option, else the one before the command; None for the default."""
    return own or ctx.find_root().obj.store


def open_store(ctx: typer.Context, own: str | None) -> AbstractContextManager[Store]:
    """The store that a command works on; use it in a ``with``."""
    return open_any(store_url(ctx, own))
