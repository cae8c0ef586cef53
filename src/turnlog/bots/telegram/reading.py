"""A Telegram update as ours: whose it is, where the answer goes, and whether the bot is meant at all."""

from __future__ import annotations

import re
from dataclasses import dataclass

import telegram
from telegram import Message, MessageEntity, User

from turnlog.bots.platform import Update

PICTURES = ("image/jpeg", "image/png", "image/webp", "image/gif")
"""The kinds of files that are taken for pictures."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that is still with Telegram."""

    file_id: str
    media_type: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An update, and the pictures to be fetched for it."""

    update: Update
    pictures: tuple[Picture, ...] = ()


def read(update: telegram.Update, me: User) -> Reading | None:
    """The update, or None for one that is not for ``me``, the bot: a group's talk, a service message, another bot's message."""
    message = update.message or update.edited_message
    if message is None or message.is_automatic_forward:
        return None
    text, entities = message.text or message.caption or "", message.entities or message.caption_entities
    if not text and message.effective_attachment is None:
        # A service message: somebody joined, a title changed.
        return None
    user, chat = message.from_user, message.sender_chat
    if chat is None and (user is None or user.is_bot):
        return None
    private = message.chat.type == message.chat.PRIVATE
    if not private:
        heard = _heard(text, entities, message, me)
        if heard is None:
            return None
        text = heard
    thread = message.message_thread_id if message.is_topic_message else None
    # Anonymous admins, and those who write as a channel, share one user: it is the chat they write as that tells them apart.
    writer, name = (chat.id, chat.title) if chat is not None else (user.id, user.full_name) if user is not None else (0, None)
    said = Update(
        id=str(update.update_id),
        user_id=str(writer),
        chat_id=str(message.chat.id),
        thread_id=str(thread) if thread is not None else None,
        user_name=name,
        text=text,
        is_private=private,
        address={"chat": message.chat.id, "thread": thread, "reply": None if private else message.message_id},
    )
    return Reading(said, _pictures(message))


def _heard(text: str, entities: tuple[MessageEntity, ...], message: Message, me: User) -> str | None:
    """What was said to the bot in a group, without its name around it; None where the bot was not meant."""
    name = f"@{me.username}".lower()
    units = text.encode("utf-16-le")
    meant = _is_reply_to(message, me)
    for entity in entities:
        words = units[2 * entity.offset : 2 * (entity.offset + entity.length)].decode("utf-16-le", "replace").lower()
        if entity.type == MessageEntity.BOT_COMMAND and entity.offset == 0:
            # A command without a name is for whichever bot, and only a reply says for which.
            if "@" in words and not words.endswith(name):
                return None
            meant = meant or words.endswith(name)
        elif entity.type == MessageEntity.MENTION:
            meant = meant or words == name
        elif entity.type == MessageEntity.TEXT_MENTION:
            meant = meant or (entity.user is not None and entity.user.id == me.id)
    if not meant:
        return None
    around = re.escape(name)
    return re.sub(rf"^\s*{around}(?!\w)[\s,:]*|\s*(?<!\w){around}\s*$", "", text, flags=re.IGNORECASE)


def _is_reply_to(message: Message, me: User) -> bool:
    replied = message.reply_to_message
    # In a forum every message replies to the one that began its topic.
    return replied is not None and replied.forum_topic_created is None and replied.from_user is not None and replied.from_user.id == me.id


def _pictures(message: Message) -> tuple[Picture, ...]:
    if message.photo:
        # Telegram makes JPEGs of photos, in several sizes, the largest last.
        return (Picture(message.photo[-1].file_id, "image/jpeg"),)
    document = message.document
    if document is not None and document.mime_type in PICTURES:
        return (Picture(document.file_id, document.mime_type),)
    return ()
