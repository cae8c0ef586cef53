"""The platform port: what a chat platform tells the core and does for it, and how a platform is found by its name."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from turnlog.errors import SessionError, UnsupportedVerbError

ENTRY_POINTS = "turnlog.bots"
"""The entry point group by which a package brings a platform: name = the platform's, value = a module with ``make(**options)``."""
BUILT_IN = ("console", "telegram", "discord", "slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Photo:
    """A picture that came with an update. ``media_type`` such as "image/jpeg"."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One message of a user, as it came."""

    id: str
    """The platform's id: unique for this bot, and the same again when the update is delivered again."""
    user_id: str
    chat_id: str
    thread_id: str | None = None
    user_name: str | None = None
    text: str = ""
    photos: tuple[Photo, ...] = ()
    is_private: bool = True
    """False in a group, where others read along."""
    address: dict[str, Any] = field(default_factory=dict)
    """JSON: where the answer goes. Another worker can deliver with it."""


class Command(NamedTuple):
    """One line of the platform's menu: ``name`` without its slash, and what it does in one sentence."""

    name: str
    text: str


Receive = Callable[[Update], Awaitable[None]]
"""Returns once the update is stored: only then may the platform acknowledge it. What it raises means: not stored, to be delivered again."""


class DeliveryError(SessionError):
    """A platform did not take a message. Attributes: ``retry_after`` in seconds, if it told so; ``permanent``: trying again is of no
    use, for the user has blocked the bot or the chat is gone."""

    retry_after: float | None = None
    permanent: bool = False


class TokenError(DeliveryError, ValueError):
    """There is no token for the platform, or the platform does not know it."""


@runtime_checkable
class Platform(Protocol):
    """What the core needs of a chat platform. Its methods are called in one event loop.

    A platform whose ``polls`` is true is opened by one worker at a time, the holder of the poller's lease; without that attribute, by
    every worker. ``send``, ``edit`` and ``typing`` are called on every worker, also where ``open`` was not. A platform with an asyncio
    event ``ended`` sets it when nothing more will come, as at the end of an input; the bot then ends when all is answered.

    A platform that ``polls`` can be opened again after it was closed: an object that was handed to a bot is, when its worker had lost the
    lease and has it again.
    """

    name: str
    longest: int
    """Characters that one message may have, as ``len`` counts them."""
    edit_every: float | None
    """Seconds between two edits of one message that the platform bears; None: it cannot edit."""

    async def open(self, receive: Receive, commands: Sequence[Command]) -> None:
        """Connect, register the menu and begin to receive. Returns when it runs; raises where it cannot."""

    async def close(self) -> None:
        """Stop receiving and release what was opened. Idempotent. Called with no ``open`` before it, too; after it nothing is asked of the
        object, unless it ``polls``: then answers may be sent that were in flight, before it is opened again or closed for good."""

    async def send(self, address: dict[str, Any], text: str) -> str:
        """Send markdown, in the platform's own form, and return the id of the message. Raises DeliveryError."""

    async def edit(self, address: dict[str, Any], message_id: str, text: str) -> None:
        """Replace a message that was sent; the text that it has already is no error. Raises DeliveryError."""

    async def typing(self, address: dict[str, Any]) -> None:
        """Show for some seconds that an answer is being written. Raises DeliveryError."""


@runtime_checkable
class SendsFiles(Protocol):
    """The optional ability to send a file; without it ``/export`` comes as text."""

    async def send_file(self, address: dict[str, Any], name: str, data: bytes) -> str:
        """Send a file and return the id of the message. Raises DeliveryError."""


@runtime_checkable
class TellsOutages(Protocol):
    """The optional ability to tell that receiving fails: once for an outage, however often the platform tries again meanwhile."""

    on_outage: Callable[[Exception], None]
    """What to call with the error; set before ``open``."""


def make_platform(name: str, **options: Any) -> Platform:
    """The platform of that name: built in, or brought by an installed package. Raises UnsupportedVerbError for an unknown name,
    ImportError with the pip command where its package is missing, TypeError for options that it does not have."""
    if name in BUILT_IN:
        module = importlib.import_module(f"turnlog.bots.{name}")
    else:
        from importlib.metadata import entry_points

        found = [point for point in entry_points(group=ENTRY_POINTS) if point.name == name]
        if not found:
            reason = f"there is no platform {name!r:.80}: {', '.join(BUILT_IN)} are built in, others come with packages"
            raise UnsupportedVerbError(reason, verb="Bot", reason=reason)
        module = found[0].load()
    platform: Platform = module.make(**options)
    return platform
