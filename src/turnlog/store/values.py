"""The value types that the store's verbs return."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from turnlog.heads import Head
from turnlog.messages import SessionMessage
from turnlog.trim import Window

DOCUMENT_FIELDS = ("agent_name", "user_id", "gateway_session_id", "agent_id")


def iso_time(seconds: float) -> str:
    """Seconds since the epoch as ISO 8601 text in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSnapshot:
    """A named position of a session. ``message_index`` is the index of its last message in the kept history, -1 for none."""

    id: str
    session_id: str
    message_index: int
    created_at: float
    label: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def message_count(self) -> int:
        """How many messages the history had then."""
        return self.message_index + 1

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTurn:
    """A turn that has not landed: the messages it has produced so far. Times are seconds since the epoch."""

    id: str
    session_id: str
    messages: list[SessionMessage]
    started_at: float
    updated_at: float
    info: dict[str, Any] = field(default_factory=dict)
    """What its writer noted."""

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {**values, "messages": [message.to_dict() for message in self.messages]}


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionData:
    """A session with its whole kept history. A session that does not exist has no messages and the revision ""."""

    session_id: str
    messages: list[SessionMessage] = field(default_factory=list)
    created_at: str | None = None
    """ISO 8601, UTC."""
    updated_at: str | None = None
    agent_name: str | None = None
    user_id: str | None = None
    title: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    gateway_session_id: str | None = None
    agent_id: str | None = None
    runtime_state: dict[str, Any] = field(default_factory=dict)
    last_compaction: dict[str, Any] | None = None
    parent_id: str | None = None
    forked_from_message_id: str | None = None
    """Index of the last message taken over from the parent, as text."""
    children_ids: list[str] = field(default_factory=list)
    snapshots: list[SessionSnapshot] = field(default_factory=list)
    is_shared: bool = False
    ttl: float | None = None
    """Seconds after the last change at which the session expires; None: never."""
    expires_at: str | None = None
    """ISO 8601, UTC; None: never."""
    revision: str = ""

    def get_chat_history(self, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The history as a model takes it, by the rules of the store's ``get_chat_history``."""
        return Window(max_messages).of([message.to_llm_message() for message in self.messages])

    def to_dict(self) -> dict[str, Any]:
        """The portable form that ``import_sessions`` reads; JSON types only."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "revision"}
        if self.ttl is None:
            del values["ttl"], values["expires_at"]
        values["messages"] = [message.to_dict() for message in self.messages]
        values["snapshots"] = [snapshot.to_dict() for snapshot in self.snapshots]
        return values


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """One line of a listing; nothing but the head was read."""

    session_id: str
    title: str | None
    message_count: int
    created_at: str
    updated_at: str
    agent_name: str | None
    user_id: str | None
    parent_id: str | None
    metadata: dict[str, Any]
    revision: str
    ttl: float | None = None
    """Seconds after the last change at which the session expires; None: never."""
    cursor: str | None = None
    """Where ``iter_sessions(cursor=…)`` goes on after this page; the same for all lines of a page."""

    expires_at: str | None = None
    """ISO 8601, UTC; None: never."""

    def to_dict(self) -> dict[str, Any]:
        """The dict that ``list_sessions`` gives."""
        values = {name: getattr(self, name) for name in self.__slots__ if name not in ("metadata", "revision", "cursor")}
        extras = {name: self.metadata.get(name) for name in ("agent_id", "source", "model", "total_tokens", "cost")}
        return {**values, "id": self.session_id, **extras}


@dataclass(frozen=True, slots=True)
class SessionSummary:
    """A session as ``recent`` shows it; ``when`` is ISO 8601 text."""

    session_id: str
    title: str = ""
    when: str | None = None
    message_count: int = 0

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class SessionHit:
    """A session found by ``search``: the best message (``anchor_index`` in the kept history) within its context."""

    session_id: str
    title: str = ""
    when: str | None = None
    snippet: str = ""
    score: float = 0.0
    anchor_index: int = -1
    messages: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON types."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What ``import_sessions`` did. ``skipped`` holds ``{"session_id", "reason"}`` for every session that was left out."""

    imported: int = 0
    skipped: list[dict[str, str]] = field(default_factory=list)
    version: int = 1

    @property
    def skipped_count(self) -> int:
        """How many were left out."""
        return len(self.skipped)

    def as_dict(self) -> dict[str, Any]:
        """All figures, as JSON types."""
        return {"imported": self.imported, "skipped": self.skipped, "skipped_count": self.skipped_count, "version": self.version}


@dataclass(frozen=True, slots=True)
class SessionDiff:
    """Two sessions side by side: the first ``common`` messages are the same, then each goes its own way."""

    ancestor: str | None
    """The session in which both begin: nearest common ancestor, or one of the two; None when they are unrelated."""
    common: int
    left: list[SessionMessage] = field(default_factory=list)
    right: list[SessionMessage] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What ``sweep`` put in order."""

    runs_collected: int = 0
    """Histories of cleared and deleted sessions whose remains were erased."""
    references_dropped: int = 0
    """Claims of forks that never came to be."""
    sessions_expired: int = 0
    """Sessions that were erased because their time had run out."""


def session_fields(head: Head) -> dict[str, Any]:
    """What a head says about its session, as keyword arguments of SessionData."""
    fields = json.loads(json.dumps(head.fields))
    return {
        "session_id": head.session_id,
        "created_at": iso_time(head.created_at),
        "updated_at": iso_time(head.updated_at),
        **{name: fields.get(name) for name in DOCUMENT_FIELDS},
        "title": title_of(head),
        "metadata": fields.get("metadata") or {},
        "runtime_state": fields.get("runtime_state") or {},
        "last_compaction": fields.get("last_compaction"),
        "parent_id": head.parent.session_id if head.parent else None,
        "forked_from_message_id": str(head.parent.message_index) if head.parent and head.parent.message_index >= 0 else None,
        "is_shared": bool(fields.get("is_shared")),
        **({"ttl": head.ttl, "expires_at": expiry(head)} if head.ttl is not None else {}),
        "revision": head.revision,
    }


def expiry(head: Head) -> str | None:
    """When the session expires, as ISO 8601 text in UTC; None for never."""
    return iso_time(head.updated_at + head.ttl) if head.ttl is not None else None


def title_of(head: Head) -> str | None:
    """The title given to the session, wherever the program that gave it keeps it."""
    title = head.fields.get("title") or (head.fields.get("metadata") or {}).get("title")
    return str(title) if title else None


def session_info(head: Head, cursor: str | None) -> SessionInfo:
    """The listing line of a head."""
    return SessionInfo(
        session_id=head.session_id,
        title=title_of(head),
        message_count=head.count,
        created_at=iso_time(head.created_at),
        updated_at=iso_time(head.updated_at),
        agent_name=head.fields.get("agent_name"),
        user_id=head.fields.get("user_id"),
        parent_id=head.parent.session_id if head.parent else None,
        metadata=json.loads(json.dumps(head.fields.get("metadata") or {})),
        revision=head.revision,
        cursor=cursor,
        ttl=head.ttl,
        expires_at=expiry(head),
    )
