"""Session keys: which session a message belongs to. Injective: two users, chats or threads never share one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from turnlog.bots.platform import Update

Scope = Literal["user", "chat", "thread"]
Link = Callable[[str, str], str | None] | Mapping[tuple[str, str], str]
"""Names the person behind a user of a platform; None, or no entry: a user like any other."""

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")
DESK = ".desk"
"""Ends the id of a desk: what is kept of one user (chat, thread) beside the conversations."""
DESKS = ".desks"
"""Ends the id of the session in which the keys of all desks are kept where a store cannot list."""
LIST = ".list"
"""Ends the id of the session in which the ids of later conversations are kept where a store cannot list."""
POLLER = ".poller"
"""Ends the id of the session whose lease is the poller's."""
LONGEST = 120
"""Characters of one encoded part; a longer one is named by its hash."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose conversation an update belongs to: the key its sessions' ids begin with, and the name noted with them as their user."""

    key: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Keys:
    """Makes keys for one bot. ``name`` keeps several bots of one platform apart in one store."""

    platform: str
    name: str | None = None
    scope: Scope = "user"
    link: Link | None = None

    def __post_init__(self) -> None:
        if self.name == "":
            raise ValueError("name must not be empty: leave it out, or say what keeps this bot apart")
        if self.scope not in get_args(Scope):
            raise ValueError(f"scope must be {', '.join(get_args(Scope))}, not {self.scope!r:.80}")

    @property
    def bot(self) -> str:
        """What the ids of this bot's sessions begin with, before ``_`` and the key's own part: ``bot_telegram``."""
        name = f".{encoded(self.name)}" if self.name is not None else ""
        return f"bot_{encoded(self.platform)}{name}"

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The beginnings of all keys that this bot may make."""
        return (f"{self.bot}_", f"{self.persons}@") if self.link is not None else (f"{self.bot}_",)

    @property
    def persons(self) -> str:
        """What stands before the name of a person who is known on several platforms."""
        return f"bot_{'.' + encoded(self.name) if self.name is not None else ''}"

    def owner(self, update: Update) -> Owner:
        """Whose conversation the update belongs to. A chat without threads is one thread."""
        if self.scope == "thread" and update.thread_id is not None:
            return Owner(f"{self.bot}_thread_{encoded(update.chat_id)}_{encoded(update.thread_id)}", None)
        if self.scope != "user":
            return Owner(f"{self.bot}_chat_{encoded(update.chat_id)}", None)
        person = self._person(update.user_id)
        if person is not None:
            return Owner(f"{self.persons}@{encoded(person)}", person)
        return Owner(f"{self.bot}_{encoded(update.user_id)}", f"{self.platform}:{update.user_id}")

    def _person(self, user_id: str) -> str | None:
        if self.link is None:
            return None
        if isinstance(self.link, Mapping):
            return self.link.get((self.platform, user_id))
        return self.link(self.platform, user_id)


def is_desk(session_id: str) -> bool:
    """Whether a session is no conversation: a desk, or what else a bot keeps for itself."""
    return session_id.startswith("bot_") and session_id.endswith((DESK, DESKS, LIST, POLLER))


def encoded(part: str) -> str:
    """``part`` in letters, digits, ``-`` and ``%``, so that no ``_``, ``.`` or ``@`` of its own ends it: different texts stay different."""
    plain = "".join(each if each in PLAIN else "".join(f"%{byte:02X}" for byte in each.encode("utf-8", "surrogatepass")) for each in part)
    if len(plain) <= LONGEST:
        return plain
    # No encoded text has two signs of percent in a row.
    return f"%%{hashlib.sha256(part.encode('utf-8', 'surrogatepass')).hexdigest()}"


def digest(text: str) -> str:
    """Eight letters and digits that stand for ``text``: the same for the same, and for two of one user's never the same by chance."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
