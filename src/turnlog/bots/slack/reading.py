"""An event or slash command of Slack's as an update: whose it is, where the answer goes, and whether the bot is meant at all."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from turnlog.bots.platform import Update

Json = dict[str, Any]

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
"""The kinds of files that are taken for pictures."""
LARGEST = 20 << 20
"""Bytes of a picture."""
SAID = (None, "file_share", "thread_broadcast", "me_message")
"""The subtypes of messages in which a user says something; others are notices, edits and other bots' messages."""

_MARKED = re.compile(r"<([@#!]?)([^<>|]*)(?:\|([^<>]*))?>")


@dataclass(frozen=True, slots=True)
class Reading:
    """An update, and the pictures to be fetched for it, as Slack tells of files."""

    update: Update
    pictures: tuple[Json, ...] = ()


def read(event: Json, me: str, commands: Collection[str]) -> Reading | None:
    """The update, or None for an event that is not for ``me``, the bot's user id. ``commands``: the names that ``!name`` may give."""
    user, channel, ts = event.get("user"), event.get("channel"), event.get("ts")
    if not user or not channel or not ts or user == me or event.get("bot_id") or event.get("subtype") not in SAID:
        return None
    private = channel.startswith("D")
    said = event.get("text") or ""
    if not private and f"<@{me}>" not in said and f"<@{me}|" not in said:
        return None
    text = _plain(re.sub(rf"^\s*<@{me}(?:\|[^<>]*)?>[\s,:]*|\s*<@{me}(?:\|[^<>]*)?>\s*$", "", said))
    word = text[1:].split(maxsplit=1)
    if text.startswith("!") and word and word[0] in commands:
        text = f"/{text[1:]}"
    # In a channel the answer begins a thread, and what is said there is the same conversation.
    thread = event.get("thread_ts") or (None if private else ts)
    update = Update(
        id=f"{channel}-{ts}",
        user_id=user,
        chat_id=channel,
        thread_id=thread,
        text=text,
        is_private=private,
        address={"channel": channel, "thread": thread, "only": None},
    )
    return Reading(update, tuple(file for file in event.get("files") or () if file.get("mimetype") in PICTURES))


def read_command(body: Json, commands: Collection[str]) -> Update:
    """A slash command's update: ``/new`` itself, or one of another name with ours behind it. In a channel only its user sees the answer."""
    name, said = body["command"].removeprefix("/"), _plain(body.get("text") or "").strip()
    if name in commands:
        text = f"/{name} {said}".rstrip()
    elif said.split(maxsplit=1)[:1] and said.split(maxsplit=1)[0] in commands:
        text = f"/{said}"
    else:
        text = said or "/help"
    channel, user = body["channel_id"], body["user_id"]
    return Update(
        id=f"command-{body['trigger_id']}",
        user_id=user,
        chat_id=channel,
        user_name=body.get("user_name"),
        text=text,
        address={"channel": channel, "thread": None, "only": None if channel.startswith("D") else user},
    )


def chat_of(payload: Json) -> str:
    """Within what the order counts."""
    event = payload.get("event")
    return str(event.get("channel") if isinstance(event, dict) else payload.get("channel_id"))


def _plain(text: str) -> str:
    """Slack's text as its user wrote it."""
    return _MARKED.sub(_shown, text).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _shown(found: re.Match[str]) -> str:
    sign, what, label = found.groups()
    if sign == "!":
        return f"@{(label or what).removeprefix('@').split('^')[0]}"
    if sign:
        return f"{sign}{(label or what).removeprefix(sign)}"
    return what if not label or label == what or what.endswith(f"://{label}") else f"{label} ({what})"
