"""The command that prints what a store needs on its server: schema."""

from __future__ import annotations

from typing import Annotated

import typer

from turnlog.cli.app import app, examples
from turnlog.session.opening import schema_text


@app.command(
    "schema",
    epilog=examples(
        "turnlog schema sqlite:///var/bot/sessions.sqlite",
        "turnlog schema 'postgresql://db/bots?search=1' | psql bots",
    ),
)
def schema(
    url: Annotated[str, typer.Argument(metavar="URL", help="The URL of the store, with search=1 in it for the index of words too.")],
) -> None:
    """Print the statements that make a store's tables, or their like.

    For stores that may not make them on their own. Connects to nothing.
    """
    print(schema_text(url), end="")
