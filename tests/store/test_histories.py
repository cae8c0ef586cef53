"""Random lives of many sessions, step by step beside the model of plain lists, with stretches, paths and pages made small."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.store.plain import Plain, Refused, outcome
from turnlog import tree
from turnlog.errors import SessionError
from turnlog.session import DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore

LIMIT = 12
SESSIONS = 8


def opened(kind: str, place: Path, limit: int | None) -> SessionStore:
    if kind == "memory":
        return InMemorySessionStore(limit)
    if kind == "sqlite":
        return SqliteSessionStore(place / "s.sqlite", limit, durability="process")
    return DefaultSessionStore(place, limit, durability="process")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that spill after a few reverts, and paths that have pages after a few more."""
    monkeypatch.setattr(tree, "MAX_PAST", 6)
    monkeypatch.setattr(tree, "KEEP_PAST", 2)
    monkeypatch.setattr(tree, "PAGE", 3)


class Pair:
    """A store and the model, side by side."""

    def __init__(self, store: SessionStore, limit: int | None, seed: int) -> None:
        self.store, self.limit, self.plain, self.random = store, limit, Plain(), random.Random(seed)
        self.numbers = iter(range(10**9))
        self.carried: dict[str, str] = {}

    def step(self) -> None:
        verbs: list[tuple[int, Callable[[str], None]]] = [
            (300, self.append),
            (280, self.revert),
            (40, self.undo),
            (25, self.fork),
            (50, self.snapshot),
            (10, self.revert_to_snapshot),
            (10, self.drop_snapshot),
            (1, self.clear),
            (1, self.delete),
            (1, self.replace),
            (3, self.create),
            (3, self.carry),
        ]
        (verb,) = self.random.choices([verb for _, verb in verbs], [weight for weight, _ in verbs])
        name = self.any_name()
        verb(name)
        self.glance(name)

    def any_name(self) -> str:
        if len(self.plain.sessions) < SESSIONS and self.random.random() < 0.1:
            return f"s{next(self.numbers)}"
        return self.random.choice(list(self.plain.sessions) or ["s"])

    def both(self, real: Callable[[], Any], model: Callable[[], Any]) -> Any:
        """The same verb on both sides gives the same result, or the same error."""
        expected = outcome(model)
        try:
            result = real()
        except SessionError as error:
            result = Refused(type(error).__name__)
        assert result == expected
        return None if isinstance(expected, Refused) else result

    # The verbs

    def texts(self) -> list[str]:
        size = self.random.choice([1, 2, 2, 2, 3, 5])
        return [f"{'u' if place == 0 or self.random.random() < 0.2 else 'a'}{next(self.numbers)}" for place in range(size)]

    def append(self, name: str) -> None:
        texts = self.texts()
        self.both(lambda: self.store.add_messages(name, messages(texts)), lambda: self.plain.append(name, *texts))
        self.cut(name)

    def replace(self, name: str) -> None:
        texts = [text for _ in range(self.random.randrange(6)) for text in self.texts()]
        self.both(lambda: self.store.set_chat_history(name, messages(texts)), lambda: self.plain.replace(name, *texts))
        self.cut(name)

    def cut(self, name: str) -> None:
        if self.limit is not None:
            self.plain.retain(name, self.limit)

    def revert(self, name: str) -> None:
        kept = self.plain.sessions[name].kept if name in self.plain.sessions else []
        last = len(kept) - self.random.choice([*[2] * 40, 1, 3, 5, 9, len(kept) // 2, len(kept), len(kept) + 1])
        self.both(lambda: self.store.revert_to_message(name, last), lambda: self.plain.revert(name, last))

    def undo(self, name: str) -> None:
        for _ in range(self.random.choice([1, 1, 2, 4])):
            self.both(lambda: self.store.undo_revert(name), lambda: self.plain.undo(name))

    def fork(self, name: str) -> None:
        child = f"s{next(self.numbers)}" if self.random.random() < 0.95 else self.any_name()
        if len(self.plain.sessions) >= SESSIONS:
            self.delete(self.random.choice(list(self.plain.sessions)))
        size = len(self.plain.sessions[name].kept) if name in self.plain.sessions else 0
        index = self.random.choice([None, size - 1, *self.random.choices(range(size + 1), k=4)])
        made = self.both(lambda: self.store.fork_session(name, index, new_session_id=child), lambda: self.plain.fork(name, index, child))
        if made is not None and name in self.carried:
            self.carried[child] = self.carried[name]

    def snapshot(self, name: str) -> None:
        if name in self.plain.sessions:
            self.plain.snapshot(name, self.store.create_snapshot(name))

    def any_snapshot(self, name: str) -> str:
        keys = list(self.plain.sessions[name].snapshots) if name in self.plain.sessions else []
        return self.random.choice([*keys, *keys, *keys, "none"])

    def revert_to_snapshot(self, name: str) -> None:
        key = self.any_snapshot(name)
        self.both(lambda: self.store.revert_to_snapshot(name, key), lambda: self.plain.revert_to_snapshot(name, key))

    def drop_snapshot(self, name: str) -> None:
        key = self.any_snapshot(name)
        self.both(lambda: self.store.delete_snapshot(name, key), lambda: self.plain.drop_snapshot(name, key))

    def clear(self, name: str) -> None:
        self.both(lambda: self.store.clear_session(name), lambda: self.plain.clear(name))

    def delete(self, name: str) -> None:
        self.both(lambda: self.store.delete_session(name), lambda: self.plain.delete(name))

    def create(self, name: str) -> None:
        fresh = f"s{next(self.numbers)}"
        self.both(lambda: self.store.create_session(fresh, parent_id=name), lambda: self.plain.create(fresh, name))

    def carry(self, name: str) -> None:
        """Export and import again: the copy has the whole history and all snapshots."""
        if name not in self.plain.sessions:
            return
        copy, original = f"s{next(self.numbers)}", self.plain.sessions[name]
        self.store.import_session(self.store.export_session(name, include_lineage=False), copy)
        self.carried[copy] = copy
        made = self.plain.make(copy)
        made.texts = original.kept
        made.snapshots = {key: texts[original.shed :] for key, texts in original.snapshots.items()}

    # The looks

    def glance(self, name: str) -> None:
        """What any step may have broken in the session it touched."""
        kept = self.plain.sessions[name].kept if name in self.plain.sessions else []
        last = self.random.choice([1, 2, 5, 50])
        assert [message["content"] for message in self.store.get_chat_history(name, last)] == kept[-last:]
        start, stop = sorted(self.random.choices(range(len(kept) + 2), k=2))
        assert [message.content for message in self.store.get_messages(name, start, stop)] == kept[start:stop]

    def look(self) -> None:
        """Everything."""
        assert sorted(line["session_id"] for line in self.store.list_sessions(0)) == sorted(self.plain.sessions)
        for name, session in self.plain.sessions.items():
            assert [message.content for message in self.store.get_messages(name)] == session.kept
            snapshots = [(snapshot.id, snapshot.message_index + 1) for snapshot in self.store.get_snapshots(name)]
            assert snapshots == [(key, len(texts) - session.shed) for key, texts in session.snapshots.items()]
            assert self.store.get_parent(name) == self.plain.parent(name)
            assert self.store.get_children(name) == self.plain.children(name)
        if len(self.plain.sessions) > 1:
            self.compare(*self.random.sample(list(self.plain.sessions), 2))

    def compare(self, one: str, other: str) -> None:
        left, right = self.plain.sessions[one], self.plain.sessions[other]
        if self.carried.get(one) != self.carried.get(other) or (self.store.backend.copies and left.shed != right.shed):
            # The same words by import, not by a fork; or a fork by copy, where what was cut on one side is not known on the other.
            return
        pairs = zip(left.texts, right.texts, strict=False)
        common = next((place for place, (a, b) in enumerate(pairs) if a != b), min(len(left.texts), len(right.texts)))
        found = self.store.diff(one, other)
        assert [message.content for message in found.left] == left.texts[max(common, left.shed) :]
        assert [message.content for message in found.right] == right.texts[max(common, right.shed) :]
        assert found.common == max(0, common - max(left.shed, right.shed))


def messages(texts: list[str]) -> list[dict[str, Any]]:
    return [{"role": "user" if text.startswith("u") else "assistant", "content": text} for text in texts]


@pytest.mark.parametrize("limit", [None, LIMIT], ids=["whole", "cut"])
@pytest.mark.parametrize(("kind", "steps"), [("memory", 4000), ("sqlite", 1200), ("json", 600)])
def test_random_lives(kind: str, steps: int, limit: int | None, tmp_path: Path, small: None) -> None:
    with opened(kind, tmp_path, limit) as store:
        pair = Pair(store, limit, seed=steps)
        for number in range(steps):
            pair.step()
            if number % 25 == 0:
                pair.look()
        pair.look()
        for name in list(pair.plain.sessions):
            store.delete_session(name)
        assert store.sweep().references_dropped == 0
