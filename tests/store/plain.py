"""The store as a child would write it: sessions are plain lists that forks copy. Shares no idea with the tree over runs of records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

SLACK = 1.25
"""How many times the limit a history may hold before it is cut."""


class Refusal(Exception):
    """The model refuses a verb as the store must, with the error of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass
class Session:
    """``texts`` holds every message there was; the first ``shed`` have been cut. A text that begins with "u" is a user's.

    ``turns`` are the open ones, ``changes`` counts what has happened to the history.
    """

    life: int
    texts: list[str] = field(default_factory=list)
    shed: int = 0
    snapshots: dict[str, list[str]] = field(default_factory=dict)
    undo: list[list[str] | None] = field(default_factory=list)
    parent: tuple[str, int] | None = None
    turns: dict[str, list[str]] = field(default_factory=dict)
    changes: int = 0

    @property
    def kept(self) -> list[str]:
        return self.texts[self.shed :]

    def outlives(self, texts: list[str]) -> bool:
        """Whether an older state still makes sense after the cut."""
        return len(texts) > self.shed and texts[: self.shed] == self.texts[: self.shed]


class Plain:
    """Every verb is one step. Verbs raise Refusal; what they return is what the store returns."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self._lives = 0

    def copy(self) -> Plain:
        """The same sessions, apart from now on."""
        other = Plain()
        other._lives = self._lives
        for name, session in self.sessions.items():
            lists = {"texts": list(session.texts), "undo": list(session.undo)}
            other.sessions[name] = replace(session, **lists, snapshots=dict(session.snapshots), turns=dict(session.turns))
        return other

    def visible(self) -> dict[str, tuple[list[str], str | None, dict[str, list[str]]]]:
        """The kept messages, the parent and the open turns of each session."""
        return {name: (session.kept, self.parent(name), session.turns) for name, session in self.sessions.items()}

    def need(self, name: str) -> Session:
        if name not in self.sessions:
            raise Refusal("SessionNotFoundError")
        return self.sessions[name]

    def make(self, name: str) -> Session:
        if name not in self.sessions:
            self._lives += 1
            self.sessions[name] = Session(self._lives)
        return self.sessions[name]

    # Messages

    def append(self, name: str, *texts: str) -> bool:
        session = self.make(name)
        session.texts.extend(texts)
        session.changes += 1
        return True

    def unchanged(self, name: str, changes: int) -> None:
        """Compare, for what is to set: the session must be the first of all, and have seen that many changes."""
        session = self.sessions.get(name)
        if session is None or (session.life, session.changes) != (1, changes):
            raise Refusal("ConflictError")

    def replace(self, name: str, *texts: str) -> bool:
        session = self.make(name)
        session.texts, session.shed, session.snapshots, session.undo, session.turns = list(texts), 0, {}, [], {}
        session.changes += 1
        return True

    def clear(self, name: str) -> bool:
        return self.replace(name) if name in self.sessions else True

    def delete(self, name: str) -> bool:
        self.sessions.pop(name, None)
        return True

    def retain(self, name: str, limit: int) -> None:
        """Cut whole turns from the front until at most ``limit`` messages stay; the newest turn stays whole."""
        session = self.sessions.get(name)
        if session is None or len(session.kept) <= limit * SLACK:
            return
        starts = [index for index, text in enumerate(session.kept) if text.startswith("u")]
        starts = [0, *starts[1:]]
        cut = next((start for start in starts if len(session.kept) - start <= limit), starts[-1])
        if cut == 0:
            return
        session.shed += cut
        session.snapshots = {key: texts for key, texts in session.snapshots.items() if session.outlives(texts)}
        session.undo = [texts if texts is not None and session.outlives(texts) else None for texts in session.undo]
        if session.undo and session.undo[-1] is None:
            session.undo = []

    # Open turns

    def put_turn(self, name: str, turn: str, *texts: str) -> bool:
        self.make(name).turns[turn] = list(texts)
        return True

    def drop_turn(self, name: str, turn: str) -> bool:
        if name in self.sessions:
            self.sessions[name].turns.pop(turn, None)
        return True

    def land(self, name: str, turn: str, *texts: str) -> bool:
        return self.append(name, *texts) and self.drop_turn(name, turn)

    # The tree

    def create(self, name: str, parent: str | None = None) -> str:
        above = (parent, self.need(parent).life) if parent is not None else None
        fresh = name not in self.sessions
        session = self.make(name)
        if fresh:
            session.parent = above
        return name

    def fork(self, name: str, index: int | None, child: str) -> str:
        session = self.need(name)
        kept = session.kept if index is None else session.kept[: self._index(session, index) + 1]
        if child in self.sessions:
            raise Refusal("ConflictError")
        made = self.make(child)
        made.texts, made.shed = session.texts[: session.shed] + kept, session.shed
        made.parent = (name, session.life)
        return child

    def snapshot(self, name: str, key: str) -> str:
        session = self.need(name)
        session.snapshots[key] = list(session.texts)
        return key

    def drop_snapshot(self, name: str, key: str) -> bool:
        self._snapshot(name, key)
        del self.sessions[name].snapshots[key]
        return True

    def revert_to_snapshot(self, name: str, key: str) -> bool:
        return self._revert(self.need(name), self._snapshot(name, key))

    def revert(self, name: str, index: int) -> bool:
        session = self.need(name)
        return self._revert(session, session.texts[: session.shed + self._index(session, index) + 1])

    def undo(self, name: str) -> bool:
        session = self.need(name)
        if not session.undo or session.undo[-1] is None:
            raise Refusal("NothingToUndoError")
        here, session.texts = session.texts, session.undo.pop()
        session.changes += 1
        if session.texts[: len(here)] != here:
            session.undo.append(here)
        return True

    def parent(self, name: str) -> str | None:
        above = self.need(name).parent
        alive = above is not None and above[0] in self.sessions and self.sessions[above[0]].life == above[1]
        return above[0] if above is not None and alive else None

    def children(self, name: str) -> list[str]:
        """In the order of their making."""
        found = [(session.life, other) for other, session in self.sessions.items() if self.parent(other) == name]
        return [other for _, other in sorted(found)]

    def _revert(self, session: Session, texts: list[str]) -> bool:
        if texts != session.texts:
            session.undo.append(session.texts)
            session.texts = list(texts)
            session.changes += 1
        return True

    def _snapshot(self, name: str, key: str) -> list[str]:
        session = self.need(name)
        if key not in session.snapshots:
            raise Refusal("SnapshotNotFoundError")
        return list(session.snapshots[key])

    @staticmethod
    def _index(session: Session, index: int) -> int:
        if not 0 <= index < len(session.kept):
            raise Refusal("MessageIndexError")
        return index


class Refused(str):
    """The name of an error in place of a result."""

    __slots__ = ()


def outcome(verb: Callable[[], object]) -> object:
    """What a verb of the model gives: its result, or the name of the error."""
    try:
        return verb()
    except Refusal as refusal:
        return Refused(refusal.name)
