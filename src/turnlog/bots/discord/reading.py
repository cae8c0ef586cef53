"""A message or slash command of Discord's as an update: whose it is, where the answer goes, and whether the bot is meant at all."""

from __future__ import annotations

import re

import discord

from turnlog.bots.platform import Update

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
"""The kinds of files that are taken for pictures."""
LARGEST = 20 << 20
"""Bytes of a picture."""


def read(message: discord.Message, me: discord.ClientUser) -> Update | None:
    """The update, or None for a message that is not for ``me``, the bot: a channel's talk, a notice, another bot's message."""
    if message.author.bot or message.webhook_id is not None:
        return None
    if message.type not in (discord.MessageType.default, discord.MessageType.reply):
        return None
    # A message of a server that the client does not know yet has no guild; what tells is the kind of its channel.
    private = isinstance(message.channel, discord.DMChannel)
    if not private and me.id not in {user.id for user in message.mentions}:
        return None
    chat, thread = _place(message.channel)
    return Update(
        id=str(message.id),
        user_id=str(message.author.id),
        chat_id=chat,
        thread_id=thread,
        user_name=message.author.display_name,
        text=_text(message, me),
        is_private=private,
        address={"channel": message.channel.id, "reply": None if private else message.id},
    )


def read_command(interaction: discord.Interaction, text: str) -> Update:
    """A slash command's update. Its answer is shown to its user alone, in a server too."""
    user, channel = interaction.user, interaction.channel
    chat, thread = _place(channel) if channel is not None else (str(interaction.channel_id), None)
    private = interaction.guild_id is None
    return Update(
        id=str(interaction.id),
        user_id=str(user.id),
        chat_id=chat,
        thread_id=thread,
        user_name=user.display_name,
        text=text,
        address={
            # What only its user is to see is not said in a server's channel when the interaction has run out.
            "channel": interaction.channel_id if private else None,
            "reply": None,
            "application": interaction.application_id,
            "interaction": interaction.token,
        },
    )


def pictures(message: discord.Message) -> list[discord.Attachment]:
    """The pictures that came with a message."""
    return [each for each in message.attachments if media_type(each) in PICTURES and each.size <= LARGEST]


def media_type(attachment: discord.Attachment) -> str:
    """Such as "image/png"; "" where Discord does not tell."""
    return (attachment.content_type or "").split(";")[0].strip().lower()


def _place(channel: object) -> tuple[str, str | None]:
    """The channel, and the thread in it."""
    if isinstance(channel, discord.Thread):
        return str(channel.parent_id), str(channel.id)
    return str(getattr(channel, "id", "")), None


def _text(message: discord.Message, me: discord.ClientUser) -> str:
    """What was said, without the bot's name around it, and with other names as they are read."""
    mention = rf"<@!?{me.id}>"
    text = re.sub(rf"^\s*{mention}[\s,:]*|\s*{mention}\s*$", "", message.content)
    for user in message.mentions:
        text = re.sub(rf"<@!?{user.id}>", lambda _, name=user.display_name: f"@{name}", text)  # type: ignore[misc]
    return text
