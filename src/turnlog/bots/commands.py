"""The commands that users give: what each does to the conversations of whoever gives it, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from turnlog.bots.conversations import Conversations, Line
from turnlog.bots.desk import Desk
from turnlog.bots.events import State, Waiting
from turnlog.bots.platform import Command
from turnlog.errors import ConflictError, MessageIndexError, SessionError, SessionNotFoundError, StorageError
from turnlog.messages import SessionMessage
from turnlog.session.awaiting import AwaitedStore
from turnlog.toolcalls import is_user

COMMANDS = (
    Command("new", "Begin a new conversation; this one is kept"),
    Command("sessions", "List your conversations"),
    Command("resume", "Go on with an earlier one: /resume NAME"),
    Command("undo", "Take the last exchange back"),
    Command("fork", "Go on in a copy; this conversation stays as it is"),
    Command("history", "Show the last messages: /history 20"),
    Command("export", "Get this conversation as JSON"),
    Command("forget", "Erase all your conversations"),
    Command("status", "Say which conversation this is"),
    Command("help", "List the commands"),
)
"""The menu, in its order."""

_WORD = re.compile(r"/([A-Za-z][A-Za-z0-9_]*)(?:@\S*)?(?:\s+(.*))?", re.DOTALL)
SHOWN = 10
"""Messages that ``/history`` shows, and conversations that ``/sessions`` lists, unless asked for more."""
MOST_SHOWN = 50
LONGEST_LINE = 500
"""Characters of a message that ``/history`` shows."""
LONGEST_EXPORT = 20_000
"""Characters of an export that are sent as text, where the platform takes no files."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command answers. ``forgets``: the desk, too, is to be erased once the answer has arrived."""

    text: str
    forgets: bool = False
    file: bytes | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A command with all it works on: the store, what its user has, and what it was given behind its name."""

    store: AwaitedStore
    desk: Desk
    state: State
    waiting: Waiting
    argument: str
    has_files: bool
    overheard: bool
    """Whether others read the answer to whom the conversation does not belong."""

    @property
    def own(self) -> Conversations:
        """The user's conversations."""
        return Conversations(self.store, self.desk.key)

    @property
    def current(self) -> str:
        """The session in use."""
        return self.state.current or self.desk.key


def command_in(text: str) -> tuple[str, str] | None:
    """The command that a message is, without its slash, and what is behind it; None for a message to the agent. ``//…`` is one of these."""
    found = _WORD.fullmatch(text.strip())
    return None if found is None else (found[1].lower(), (found[2] or "").strip())


async def obey(name: str, asked: Asked) -> Reply:
    """Do what a command says. Refusals are answers; raises StorageError."""
    if name not in _DO:
        return Reply(f"/{name[:40]} is no command. {HINT}")
    if asked.overheard and name in TELLING:
        return Reply(f"Others would read along: say /{name} to me alone.")
    try:
        return await _DO[name](asked)
    except StorageError:
        raise
    except SessionError as error:
        # Of the user's own conversations; no error holds what is in them.
        return Reply(f"That was not possible: {error}")


TELLING = frozenset({"sessions", "history", "export"})
"""The commands whose answers show what is in conversations."""
HINT = "/help lists the commands; begin with // to say something that begins with /."


async def _new(asked: Asked) -> Reply:
    session_id = asked.own.later(asked.waiting.uid)
    await asked.own.begin(session_id)
    before = asked.current
    is_kept = before != session_id and await asked.own.count(before) > 0
    await asked.desk.switch(asked.state, asked.waiting.uid, session_id)
    kept = f" The one before is kept: /resume {asked.own.name(before)}" if is_kept else ""
    return Reply(f"A new conversation.{kept}")


async def _sessions(asked: Asked) -> Reply:
    lines = await asked.own.all()
    if not lines:
        return Reply("There is no conversation yet: say something.")
    listed = [await _listed(asked, line) for line in lines[:SHOWN]]
    more = [f"… and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return Reply("\n".join([*listed, *more, "/resume NAME goes on with one."]))


async def _listed(asked: Asked, line: Line) -> str:
    first = await asked.store.call("get_messages", line.session_id, 0, 1)
    about = _one_line(_said(first[0]), 60) if first else ""
    here = " (this one)" if line.session_id == asked.current else ""
    when = f", {line.changed[:16].replace('T', ' ')} UTC" if line.changed else ""
    return f"- {line.name}{here}: {about} ({_counted(line.messages)}{when})"


async def _resume(asked: Asked) -> Reply:
    if not asked.argument:
        return Reply("Which one? /sessions lists them, /resume NAME goes on with one.")
    try:
        session_id = await asked.own.named(asked.argument)
    except SessionNotFoundError as error:
        return Reply(f"{str(error).capitalize()}. /sessions lists them.")
    await asked.desk.switch(asked.state, asked.waiting.uid, session_id)
    return Reply(f"Now in {asked.own.name(session_id)}, with {_counted(await asked.own.count(session_id))}.")


async def _undo(asked: Asked) -> Reply:
    if not asked.store.full:
        return _needs_full("/undo")
    plan = asked.state.planned.get(asked.waiting.uid)
    if plan is None:
        info = await asked.store.call("get_session_info", asked.current)
        begins = await _last_exchange(asked, info.message_count) if info is not None else 0
        if begins == 0:
            return Reply("There is no exchange before this one to go back to. /new begins another conversation.")
        plan = {"session": asked.current, "index": begins - 1, "revision": info.revision}
        await asked.desk.plan(asked.state, asked.waiting.uid, plan)
    try:
        await asked.store.finish("revert_to_message", plan["session"], plan["index"], expect_revision=plan["revision"])
    except (ConflictError, MessageIndexError):
        info = await asked.store.call("get_session_info", plan["session"])
        if info is None or info.message_count != plan["index"] + 1:
            return Reply("The conversation has changed meanwhile; nothing was taken back.")
    return Reply("The last exchange is taken back.")


async def _last_exchange(asked: Asked, count: int) -> int:
    """The index of the message that the user said last; 0 also where there is none."""
    take = 32
    while True:
        start = max(0, count - take)
        for message in reversed(await asked.store.call("get_messages", asked.current, start, count)):
            count -= 1
            if is_user(message.record):
                return count
        if start == 0:
            return 0
        take *= 2


async def _fork(asked: Asked) -> Reply:
    child = asked.own.later(asked.waiting.uid)
    if asked.current != child:
        if not await asked.store.call("session_exists", child):
            await asked.own.begin(child)
            try:
                await asked.store.finish("fork_session", asked.current, new_session_id=child)
            except SessionNotFoundError:
                return Reply("There is nothing to fork yet: say something.")
        before = asked.current
        await asked.desk.switch(asked.state, asked.waiting.uid, child)
        return Reply(f"Now in {asked.own.name(child)}, a fork. /resume {asked.own.name(before)} goes back.")
    return Reply(f"Now in {asked.own.name(child)}, a fork.")


async def _history(asked: Asked) -> Reply:
    wanted = int(asked.argument) if asked.argument.isascii() and asked.argument.isdigit() and len(asked.argument) < 6 else SHOWN
    messages = await asked.store.call("get_messages", asked.current, -max(1, min(wanted, MOST_SHOWN)), None)
    shown = [f"**{message.role}**: {_one_line(_said(message), LONGEST_LINE)}" for message in messages if _said(message)]
    return Reply("\n\n".join(shown) or "Nothing has been said yet.")


async def _export(asked: Asked) -> Reply:
    data = await asked.store.call("export_session", asked.current)
    if not data["sessions"]:
        return Reply("Nothing has been said yet.")
    text = json.dumps(data, ensure_ascii=False, indent=1)
    if asked.has_files:
        return Reply("", file=text.encode("utf-8", "backslashreplace"))
    if len(text) > LONGEST_EXPORT:
        return Reply(f"This conversation is too long for this chat, {len(text):,} characters; whoever runs the bot can export it.")
    # Longer than any run of marks in it.
    marks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return Reply(f"{marks}json\n{text}\n{marks}")


async def _forget(asked: Asked) -> Reply:
    if asked.argument.lower() != "yes":
        count = len(await asked.own.all())
        what = "1 conversation" if count == 1 else f"{count} conversations"
        return Reply(f"This erases {what} and all that is kept of you here, for good. To do it, say: /forget yes")
    await asked.own.erase()
    return Reply("Erased: your conversations, and all that was kept of you.", forgets=True)


async def _status(asked: Asked) -> Reply:
    count = await asked.own.count(asked.current)
    behind = len(asked.state.waiting) - 1
    waiting = f", {_counted(behind)} of yours waiting" if behind > 0 else ""
    return Reply(f"Conversation {asked.own.name(asked.current)}: {_counted(count)}{waiting}.")


async def _help(asked: Asked) -> Reply:
    lines = [f"/{command.name} - {command.text}" for command in COMMANDS]
    return Reply("\n".join(lines))


_DO: dict[str, Callable[[Asked], Awaitable[Reply]]] = {
    "new": _new,
    "sessions": _sessions,
    "resume": _resume,
    "undo": _undo,
    "fork": _fork,
    "history": _history,
    "export": _export,
    "forget": _forget,
    "status": _status,
    "help": _help,
    "start": _help,
}


def _needs_full(command: str) -> Reply:
    return Reply(f"{command} is not possible here: this bot's store has only the five basic methods, which cannot take anything back.")


def _said(message: SessionMessage) -> str:
    """What a message says as text; "" for one that says nothing, as a call of a tool."""
    content: Any = message.content
    if isinstance(content, list):
        content = " ".join(part.get("text") or "[picture]" for part in content if isinstance(part, dict))
    return content if isinstance(content, str) and message.role in ("user", "assistant") else ""


def _one_line(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def _counted(number: int) -> str:
    return "1 message" if number == 1 else f"{number} messages"
