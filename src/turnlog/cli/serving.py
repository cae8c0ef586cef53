"""Commands that keep an agent at work: serve-agent and bot."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from contextlib import ExitStack
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from turnlog.cli.app import StoreUrl, app, examples, open_store
from turnlog.cli.stores import made_of

if TYPE_CHECKING:
    from turnlog.agent import Agent

AgentName = Annotated[str, typer.Argument(metavar="MODULE:AGENT", help="The agent, or a function that makes it, by its import path.")]


@app.command(
    "serve-agent",
    epilog=examples(
        "turnlog serve-agent mybot:agent",
        "turnlog serve-agent mybot:agent --host 0.0.0.0 --token-file tokens",
        "turnlog --store sqlite:///var/bot/sessions.sqlite serve-agent mybot:agent --port 9000",
    ),
)
def serve_agent(
    ctx: typer.Context,
    agent: AgentName,
    host: Annotated[str, typer.Option("--host", metavar="HOST", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", metavar="PORT", min=0, max=65535, help="The port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Who may ask: name: token, one a line. Needed beyond this machine.")
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", min=1, help="How long turns in flight may go on when it is stopped.")
    ] = 30.0,
    max_body: Annotated[int, typer.Option("--max-body", metavar="BYTES", min=1, help="The largest body of a request.")] = 4 * 1024 * 1024,
    store: StoreUrl = None,
) -> None:
    """Serve an agent as an OpenAI-compatible chat endpoint.

    A request may name its session; each token has sessions of its own.

    The sessions are in --store, else in the agent's own store, else in the default one.
    """
    from turnlog.server import Tokens
    from turnlog.server import serve_agent as serve

    # The library under the agent greets on terminals.
    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
    tokens = Tokens.read(token_file) if token_file is not None else None
    served = loaded_agent(agent)
    log_to_stderr("turnlog.server", "uvicorn.error")
    with ExitStack() as opened:
        place = given_store(ctx, store)
        if place is not None and "://" not in place:
            # A class with the five methods.
            place = opened.enter_context(open_store(ctx, store))

        def ready(url: str) -> None:
            print(f"{served.name} is served at {url}", flush=True)

        serve(served, host=host, port=port, tokens=tokens, store=place, max_body=max_body, grace=grace, ready=ready)


@app.command(
    "bot",
    epilog=examples(
        "turnlog bot console --agent mybot:agent",
        "TELEGRAM_BOT_TOKEN=… turnlog bot telegram --agent mybot:agent --allow 12345",
        "turnlog --store redis://localhost bot slack --agent mybot:agent --set app_token=xapp-…",
    ),
)
def bot(
    ctx: typer.Context,
    platform: Annotated[str, typer.Argument(metavar="PLATFORM", help="console, telegram, discord, slack, or an installed one.")],
    agent: Annotated[str, typer.Option("--agent", metavar="MODULE:AGENT", help="The agent, or a function that makes it.")],
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help="The platform's token. Default: PLATFORM_BOT_TOKEN in the environment.")
    ] = None,
    scope: Annotated[str, typer.Option("--scope", metavar="SCOPE", help="Whose a conversation is: user, chat or thread.")] = "user",
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Keeps several bots of one platform apart.")] = None,
    allow: Annotated[list[str] | None, typer.Option("--allow", metavar="USER", help="Only these users may; repeat it for more.")] = None,
    rate: Annotated[str | None, typer.Option("--rate", metavar="N/SECONDS", help="The most that a user may send, such as 20/60.")] = None,
    reset: Annotated[str | None, typer.Option("--reset", metavar="WHEN", help="A new conversation every day: daily@04:00.")] = None,
    idle: Annotated[float | None, typer.Option("--idle", metavar="MINUTES", help="A new conversation after so much silence.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the platform's; repeat it for more.")
    ] = None,
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", min=0, help="How long turns in flight may go on when it is stopped.")
    ] = 30.0,
    store: StoreUrl = None,
) -> None:
    """Run an agent as a bot on a chat platform.

    Each user has a conversation of their own, which survives restarts.

    The sessions are in --store, else in the agent's own store, else in the default one.
    """
    from turnlog.bots import Bot

    os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
    place = given_store(ctx, store)
    if place is not None and "://" not in place:
        # A class with the five methods, sync or async.
        place, _ = made_of(place)
    if platform != "console":
        # On a terminal that is the chat itself, nobody wonders whether it runs.
        log_to_stderr("turnlog.bots")
    options = _settings(settings or [])
    common: Any = {"scope": scope, "name": name, "allow": allow or None, "rate": _rate(rate), "reset": reset, "idle": idle}
    try:
        made = Bot(platform, agent=loaded_agent(agent), session_store=place, token=token, **common, **options)
    except (TypeError, ValueError) as error:
        unknown = [name for name in options if f"unexpected keyword argument '{name}'" in str(error)]
        if unknown:
            raise typer.BadParameter(f"{platform} has no option {unknown[0]}", param_hint="'--set'") from error
        raise typer.BadParameter(str(error)) from error
    made.run(timeout=grace)


def log_to_stderr(*names: str) -> None:
    """Let the lines of these loggers go to stderr with their time, and the warnings of all."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    for name in names:
        logging.getLogger(name).setLevel(logging.INFO)


def _rate(text: str | None) -> tuple[int, float] | None:
    if text is None:
        return None
    number, _, seconds = text.partition("/")
    try:
        return int(number), float(seconds)
    except ValueError:
        raise typer.BadParameter(f"{text} is no N/SECONDS, such as 20/60", param_hint="'--rate'") from None


def _settings(texts: list[str]) -> dict[str, Any]:
    """Options by name; a value is read as JSON where it is JSON, and else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()):
            raise typer.BadParameter(f"{text} is no NAME=VALUE", param_hint="'--set'")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def given_store(ctx: typer.Context, own: str | None) -> Any:
    """The store that was named on the command line, as it was named; None: it is the agent's, or what the environment names."""
    root = ctx.find_root()
    source = root.get_parameter_source("store")
    return own or (root.obj.store if source is not None and source.name == "COMMANDLINE" else None)


def loaded_agent(name: str) -> Agent:
    """The agent that ``MODULE:AGENT`` names, or that the function of that name makes. Raises typer.BadParameter."""
    from turnlog.agent import Agent

    module, colon, path = name.partition(":")
    if not (module and colon and path) or "/" in module or module.startswith(".") or module.endswith(".py"):
        text = f"{name} is no MODULE:AGENT, such as mybot:agent for mybot.py in this directory"
        raise typer.BadParameter(text, param_hint="'MODULE:AGENT'")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ModuleNotFoundError, AttributeError) as error:
        raise typer.BadParameter(f"{name} is not there: {error}", param_hint="'MODULE:AGENT'") from error
    if not isinstance(found, Agent) and callable(found):
        try:
            signature(found).bind()
        except TypeError as error:
            raise typer.BadParameter(
                f"{name} must make an agent without being given anything: {error}", param_hint="'MODULE:AGENT'"
            ) from error
        found = found()
    if not isinstance(found, Agent):
        raise typer.BadParameter(f"{name} is a {type(found).__name__}, and no turnlog Agent", param_hint="'MODULE:AGENT'")
    return found
