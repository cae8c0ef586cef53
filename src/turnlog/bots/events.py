"""What a desk's log is made of: the events as JSON, and what they come to when they are read in order."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from turnlog.bots.keys import encoded
from turnlog.bots.platform import Photo, Update

Event = dict[str, Any]
"""``e`` says what happened ("update", "sent", "planned", "current", "delivered", "checkpoint"), ``k`` is the event's own id; all
but the last name the update they are about in ``of``."""

KNOWN = 256
"""Ids of updates that a checkpoint remembers, so that one of them that is delivered again is not answered again."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An update that has not been answered. ``uid`` is its id, told apart by platform; ``at`` when it came, seconds since the epoch."""

    uid: str
    platform: str
    at: float
    update: Update


@dataclass(slots=True)
class State:
    """What is known of one user (chat, thread) at the end of the log."""

    current: str | None = None
    """The session in use; None: the first."""
    last: float | None = None
    """When the message came that was answered last."""
    waiting: dict[str, Waiting] = field(default_factory=dict)
    """By uid, in the order in which they came."""
    sent: dict[str, list[str]] = field(default_factory=dict)
    """The platform's ids of the messages sent so far as an answer, by uid."""
    planned: dict[str, Event] = field(default_factory=dict)
    """What a command is about to do that must not be done twice, by uid."""
    known: dict[str, None] = field(default_factory=dict)
    """The uids that were seen, oldest first."""
    seen: str | None = None
    """The id of the last event that was read."""
    size: int = 0
    """Characters that were read."""
    count: int = 0
    """Events that were read, or written since by this worker."""
    erased: bool = False
    """Whether the log has been erased since: nothing of this is to be written to it."""

    def apply(self, event: Event) -> None:
        """Go on by one event."""
        kind: str = event["e"]
        uid: str = event.get("of", "")
        if kind == "update":
            if uid not in self.known:
                self.known[uid] = None
                self.waiting[uid] = waiting_of(event)
        elif kind == "sent":
            self.sent[uid] = list(event["messages"])
        elif kind == "planned":
            self.planned[uid] = event["plan"]
        elif kind == "current":
            self.current = event["session"]
        elif kind == "delivered":
            self.waiting.pop(uid, None)
            self.sent.pop(uid, None)
            self.planned.pop(uid, None)
            self.last = event["last"] if event["last"] is not None else self.last
        elif kind == "checkpoint":
            self.current, self.last = event["current"], event["last"]
            self.known |= dict.fromkeys(event["known"])

    def checkpoint(self) -> Event:
        """The event that stands for all that is not waiting."""
        return {"e": "checkpoint", "current": self.current, "last": self.last, "known": list(self.known)[-KNOWN:]}

    def marks(self) -> Event:
        """What a later reader of the log's end must know of its beginning, and how far back it has to read."""
        return {"current": self.current, "last": self.last, "seen": self.seen, "oldest": next(iter(self.waiting), None)}


class TooShortError(Exception):
    """The end of a log that was read does not reach back to all that waits: read more of it."""


def folded(events: Sequence[Event], *, whole: bool) -> State:
    """The state at the end of the log. Raises TooShortError where ``events``, its end, do not reach back far enough."""
    state = State()
    after = 0
    if not whole:
        marked = next((event for event in reversed(events) if "marks" in event), None)
        if marked is None:
            raise TooShortError
        marks = marked["marks"]
        places = {event["k"]: place for place, event in enumerate(events)}
        first = {event["of"]: place for place, event in reversed([*enumerate(events)]) if event["e"] == "update"}
        if marks["seen"] not in places or (marks["oldest"] is not None and marks["oldest"] not in first):
            raise TooShortError
        state.current, state.last, after = marks["current"], marks["last"], places[marks["seen"]] + 1
    for place, event in enumerate(events):
        # What the marks tell of is newer than the events they were taken behind.
        before = (state.current, state.last)
        state.apply(event)
        if place < after:
            state.current, state.last = before
    state.seen = events[-1]["k"] if events else None
    return state


def uid_of(platform: str, update_id: str) -> str:
    """The id of an update among those of all platforms; the id of its turn, too."""
    return f"{encoded(platform)}-{encoded(update_id)}"


def update_event(uid: str, platform: str, at: float, update: Update) -> Event:
    """The event of an update that came."""
    fields = asdict(update)
    fields["photos"] = [{"media_type": photo.media_type, "data": base64.b64encode(photo.data).decode()} for photo in update.photos]
    return {"e": "update", "of": uid, "platform": platform, "at": at, "update": fields}


def waiting_of(event: Event) -> Waiting:
    """The update in an event."""
    fields = dict(event["update"])
    photos = tuple(Photo(media_type=each["media_type"], data=base64.b64decode(each["data"])) for each in fields.pop("photos"))
    return Waiting(event["of"], event["platform"], event["at"], Update(**fields, photos=photos))
