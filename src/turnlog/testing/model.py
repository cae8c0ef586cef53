"""What a store must do, as plain lists and dicts that copy everything: the judge of random walks. Shares no code with the stores."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """The store must raise the error of this name."""


@dataclass(eq=False)
class Said:
    """One message; two are the same only if they are one object."""

    content: str
    identity: str


@dataclass(eq=False)
class Life:
    """One session from its creation to its delete."""

    history: list[Said] = field(default_factory=list)
    undo: list[list[Said]] = field(default_factory=list)
    snapshots: dict[str, list[Said]] = field(default_factory=dict)
    known: dict[str, str] = field(default_factory=dict)
    title: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    turns: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    """The open ones by id, as (content, id) pairs."""
    parent: tuple[str, Life] | None = None


class Model:
    """All sessions of a store."""

    def __init__(self) -> None:
        self.sessions: dict[str, Life] = {}

    def existing(self, name: str) -> Life:
        """The session, or the refusal that there is none."""
        if name not in self.sessions:
            raise Refused("SessionNotFoundError")
        return self.sessions[name]

    def append(self, name: str, contents: list[tuple[str, str]]) -> None:
        """Add ``(content, id)`` pairs: all, or, where all are known alike, none."""
        life = self.sessions.get(name) or Life()
        alike = [life.known.get(identity) == content for content, identity in contents]
        if contents and all(alike):
            return
        if any(identity in life.known for _, identity in contents):
            raise Refused("ConflictError")
        self.sessions[name] = life
        life.known.update({identity: content for content, identity in contents})
        life.history = life.history + [Said(content, identity) for content, identity in contents]

    def clear(self, name: str) -> None:
        """Erase the messages, snapshots, undo points and open turns."""
        if name in self.sessions:
            self.replace(name, [])

    def replace(self, name: str, contents: list[tuple[str, str]]) -> None:
        """Erase as ``clear`` does, and put these in their place."""
        life = self.sessions.setdefault(name, Life())
        life.history, life.undo, life.snapshots, life.known, life.turns = [], [], {}, {}, {}
        self.append(name, contents)

    def delete(self, name: str) -> None:
        """End the session."""
        self.sessions.pop(name, None)

    def fork(self, name: str, index: int | None, child: str) -> None:
        """A session with the messages up to ``index``."""
        life = self.existing(name)
        if index is not None and not 0 <= index < len(life.history):
            raise Refused("MessageIndexError")
        if child in self.sessions:
            raise Refused("ConflictError")
        taken = life.history if index is None else life.history[: index + 1]
        self.sessions[child] = Life(history=list(taken), metadata=dict(life.metadata), parent=(name, life))

    def snapshot(self, name: str, label: str) -> None:
        """Keep the present history under a label."""
        life = self.existing(name)
        life.snapshots[label] = list(life.history)

    def drop_snapshot(self, name: str, label: str) -> None:
        """Forget a snapshot."""
        life = self.existing(name)
        if life.snapshots.pop(label, None) is None:
            raise Refused("SnapshotNotFoundError")

    def revert(self, name: str, index: int) -> None:
        """Keep the messages up to ``index``."""
        life = self.existing(name)
        if not 0 <= index < len(life.history):
            raise Refused("MessageIndexError")
        self._move(life, life.history[: index + 1])

    def go_to(self, name: str, label: str) -> None:
        """Make the history what it was at a snapshot."""
        life = self.existing(name)
        if label not in life.snapshots:
            raise Refused("SnapshotNotFoundError")
        self._move(life, list(life.snapshots[label]))

    def _move(self, life: Life, target: list[Said]) -> None:
        if target != life.history:
            life.undo.append(life.history)
            life.history = target

    def undo_revert(self, name: str) -> None:
        """Take back the last revert; messages that came after it can be had again by a further undo."""
        life = self.existing(name)
        if not life.undo:
            raise Refused("NothingToUndoError")
        target = life.undo.pop()
        if target[: len(life.history)] != life.history:
            life.undo.append(life.history)
        life.history = target

    def put_turn(self, name: str, turn: str, contents: list[tuple[str, str]]) -> None:
        """Keep what an open turn has produced, in place of what was kept of it."""
        self.sessions.setdefault(name, Life()).turns[turn] = contents

    def take_over(self, name: str, turn: str, contents: list[tuple[str, str]], *, as_seen: bool) -> None:
        """As ``put_turn``, for a turn that is open and, with ``as_seen``, as the caller has seen it."""
        if not as_seen or turn not in self.turns_of(name):
            raise Refused("ConflictError")
        self.put_turn(name, turn, contents)

    def drop_turn(self, name: str, turn: str) -> None:
        """Forget an open turn, if there is one."""
        self.turns_of(name).pop(turn, None)

    def land(self, name: str, turn: str, contents: list[tuple[str, str]]) -> None:
        """Append, which ends the turn unless it is refused. A turn that has produced nothing brings no session to life."""
        if contents:
            self.append(name, contents)
        self.drop_turn(name, turn)

    def turns_of(self, name: str) -> dict[str, list[tuple[str, str]]]:
        """The open turns of a session that need not be there."""
        return self.sessions[name].turns if name in self.sessions else {}

    def parent_of(self, name: str) -> str | None:
        """The session it was forked from, if that still lives."""
        parent = self.sessions[name].parent if name in self.sessions else None
        return parent[0] if parent and self.sessions.get(parent[0]) is parent[1] else None

    def children_of(self, name: str) -> list[str]:
        """The living sessions forked from this one, sorted."""
        return sorted(child for child in self.sessions if self.parent_of(child) == name)

    def common(self, one: str, other: str) -> set[int]:
        """Messages that two sessions share from the start.

        Two numbers where a message was sent again, with its id, after a clear: stores whose forks are copies cannot tell it from the first.
        """
        pairs = list(zip(self.existing(one).history, self.existing(other).history, strict=False))
        differ = [[a is not b, (a.identity, a.content) != (b.identity, b.content)] for a, b in pairs]
        return {next((index for index, ways in enumerate(differ) if ways[way]), len(pairs)) for way in (0, 1)}
