"""Steps of a random walk: each is plain data, is done to a store and to the model, and then the two are compared."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

from turnlog.testing.checks import Mismatch, holds, same
from turnlog.testing.model import Model, Refused


class Step(NamedTuple):
    """``verb`` on ``session`` (a number); ``number`` chooses an index, a snapshot or a text. Any sequence of steps can be played."""

    verb: str
    session: int
    number: int = 0

    def __str__(self) -> str:
        return f"{self.verb}({self.session}, {self.number})"


VERBS = {
    "add": 8,
    "turn": 8,
    "retry": 2,
    "conflict": 1,
    "expect": 2,
    "expect_stale": 1,
    "clear": 1,
    "delete": 1,
    "replace": 1,
    "fork": 4,
    "fork_all": 2,
    "snapshot": 3,
    "drop_snapshot": 1,
    "revert": 4,
    "go_to": 3,
    "undo": 6,
    "title": 1,
    "metadata": 1,
    "edit": 1,
    "open_turn": 5,
    "take_over": 1,
    "drop_turn": 1,
    "land": 5,
    "land_again": 1,
    "land_stale": 1,
    "sweep": 1,
    "reopen": 1,
}
"""Every verb of a step, with how often it is drawn."""

SESSIONS = 6


class Pair:
    """A store and the model of what must be in it."""

    def __init__(self, store: Any, reopen: Callable[[], Any] | None = None) -> None:
        self.store = store
        self.model = Model()
        self._open_again = reopen
        self._numbers = 0
        self._snapshot_ids: dict[str, str] = {}
        self._last: dict[str, list[tuple[str, str]]] = {}
        self._landed: dict[str, tuple[str, list[tuple[str, str]]]] = {}
        self._old_revisions: dict[str, str] = {}

    def do(self, step: Step) -> None:
        """Do the step to both and compare the session; Mismatch where they differ."""
        name = f"s{step.session % SESSIONS}"
        before = self.store.get_revision(name)
        getattr(self, f"_{step.verb}")(name, step.number)
        self.check(name)
        after = self.store.get_revision(name)
        if before and before != after:
            self._old_revisions[name] = before

    def _both(self, on_model: Callable[[], None], on_store: Callable[[], Any]) -> Any:
        """Do it to both; the store must raise what the model refuses, and nothing else."""
        try:
            on_model()
        except Refused as refused:
            wanted = str(refused)
            try:
                answer = on_store()
            except Exception as error:
                if wanted not in [kind.__name__ for kind in type(error).__mro__]:
                    raise Mismatch(f"a {wanted}", f"{type(error).__name__}: {error}") from error
                return None
            raise Mismatch(f"a {wanted}", f"it returned {answer!r:.80}") from None
        return on_store()

    def _contents(self, count: int) -> list[tuple[str, str]]:
        self._numbers += count
        return [(f"text {n}", f"id {n}") for n in range(self._numbers - count, self._numbers)]

    def _append(self, name: str, contents: list[tuple[str, str]], **options: Any) -> None:
        self._both(lambda: self.model.append(name, contents), lambda: self.store.add_messages(name, _messages(contents), **options))

    def _add(self, name: str, number: int) -> None:
        ((content, identity),) = self._contents(1)
        add = lambda: self.store.add_message(name, "user", content, message_id=identity)  # noqa: E731
        self._both(lambda: self.model.append(name, [(content, identity)]), add)

    def _turn(self, name: str, number: int) -> None:
        self._last[name] = self._contents(1 + number % 4)
        self._append(name, self._last[name])

    def _retry(self, name: str, number: int) -> None:
        # In a fork the ids of the parent may be known or not: only what was appended under this name is sent again.
        if name in self._last:
            self._append(name, self._last[name])

    def _conflict(self, name: str, number: int) -> None:
        if name in self._last:
            (content, identity), *rest = self._last[name]
            self._append(name, [(f"other than {content}", identity), *rest])

    def _expect(self, name: str, number: int) -> None:
        self._append(name, self._contents(2), expect_revision=self.store.get_revision(name))

    def _expect_stale(self, name: str, number: int) -> None:
        self._refuse_stale(name, self._contents(1))

    def _refuse_stale(self, name: str, contents: list[tuple[str, str]], turn: str | None = None) -> None:
        stale = self._old_revisions.get(name, "never there")

        def refuse() -> None:
            raise Refused("ConflictError")

        self._both(refuse, lambda: self.store.add_messages(name, _messages(contents), expect_revision=stale, turn_id=turn))

    def _clear(self, name: str, number: int) -> None:
        self._both(lambda: self.model.clear(name), lambda: self.store.clear_session(name))

    def _delete(self, name: str, number: int) -> None:
        self._both(lambda: self.model.delete(name), lambda: self.store.delete_session(name))

    def _replace(self, name: str, number: int) -> None:
        contents = self._contents(number % 5)
        self._both(lambda: self.model.replace(name, contents), lambda: self.store.set_chat_history(name, _messages(contents)))

    def _fork(self, name: str, number: int) -> None:
        count = len(self.model.sessions[name].history) if name in self.model.sessions else 0
        self._fork_at(name, number % (count + 1), number)

    def _fork_all(self, name: str, number: int) -> None:
        self._fork_at(name, None, number)

    def _fork_at(self, name: str, index: int | None, number: int) -> None:
        child = f"s{(number // 7) % SESSIONS}"
        self._both(lambda: self.model.fork(name, index, child), lambda: self.store.fork_session(name, index, new_session_id=child))
        self._last.pop(child, None)
        self._landed.pop(child, None)
        self.check(child)

    def _snapshot(self, name: str, number: int) -> None:
        label = f"label {len(self._snapshot_ids)}"
        made = self._both(lambda: self.model.snapshot(name, label), lambda: self.store.create_snapshot(name, label))
        if made is not None:
            self._snapshot_ids[label] = made

    def _chosen(self, number: int) -> tuple[str, str]:
        """Label and id of a snapshot ever made in any session; most belong to another session or are gone."""
        known = list(self._snapshot_ids.items())
        return known[-1 - number % len(known)] if known else ("none", "none")

    def _own(self, name: str, number: int) -> tuple[str, str]:
        """Label and id of a snapshot, mostly one of this session."""
        labels = list(self.model.sessions[name].snapshots) if name in self.model.sessions else []
        if not labels or number % 5 == 0:
            return self._chosen(number)
        label = labels[number % len(labels)]
        return label, self._snapshot_ids[label]

    def _drop_snapshot(self, name: str, number: int) -> None:
        label, made = self._own(name, number)
        self._both(lambda: self.model.drop_snapshot(name, label), lambda: self.store.delete_snapshot(name, made))

    def _go_to(self, name: str, number: int) -> None:
        label, made = self._own(name, number)
        self._both(lambda: self.model.go_to(name, label), lambda: self.store.revert_to_snapshot(name, made))

    def _revert(self, name: str, number: int) -> None:
        count = len(self.model.sessions[name].history) if name in self.model.sessions else 0
        index = number % (count + 1)
        self._both(lambda: self.model.revert(name, index), lambda: self.store.revert_to_message(name, index))

    def _undo(self, name: str, number: int) -> None:
        self._both(lambda: self.model.undo_revert(name), lambda: self.store.undo_revert(name))

    def _title(self, name: str, number: int) -> None:
        self.store.set_title(name, f"title {number}")
        self._life(name).title = f"title {number}"

    def _metadata(self, name: str, number: int) -> None:
        self.store.update_session_metadata(name, **{f"key {number % 3}": number})
        self._life(name).metadata[f"key {number % 3}"] = number

    def _edit(self, name: str, number: int) -> None:
        key = f"key {number % 3}"
        self.store.edit_session_metadata(name, lambda given: {**given, key: [number]})
        self._life(name).metadata[key] = [number]

    # Open turns: few ids, so that they meet; what is put goes on from what was kept, or begins anew.

    def _produced(self, name: str, number: int, turn: str | None = None) -> tuple[str, list[tuple[str, str]]]:
        turn = turn or f"t{number % 2}"
        kept = self.model.turns_of(name).get(turn, []) if number // 2 % 4 else []
        return turn, kept + self._contents(number // 8 % 3)

    def _open_turn(self, name: str, number: int) -> None:
        turn, contents = self._produced(name, number)
        put = lambda: self.store.put_open_turn(name, turn, _messages(contents), info={"n": number})  # noqa: E731
        self._both(lambda: self.model.put_turn(name, turn, contents), put)

    def _take_over(self, name: str, number: int) -> None:
        turn, contents = self._produced(name, number)
        as_seen = number % 5 > 0
        times = {one.id: one.updated_at for one in self.store.get_open_turns(name)}
        expected = times.get(turn, 1.0) - (not as_seen)
        put = lambda: self.store.put_open_turn(name, turn, _messages(contents), expect_updated_at=expected)  # noqa: E731
        self._both(lambda: self.model.take_over(name, turn, contents, as_seen=as_seen), put)

    def _drop_turn(self, name: str, number: int) -> None:
        turn = f"t{number % 2}"
        self._both(lambda: self.model.drop_turn(name, turn), lambda: self.store.drop_open_turn(name, turn))

    def _land(self, name: str, number: int) -> None:
        opened = list(self.model.turns_of(name)) if number % 5 else []
        turn, contents = self._produced(name, number, opened[number % len(opened)] if opened else None)
        self._landed[name] = (turn, contents)
        if contents:
            self._last[name] = contents
        self._land_as(name, turn, contents)

    def _land_again(self, name: str, number: int) -> None:
        if name in self._landed:
            self._land_as(name, *self._landed[name])

    def _land_as(self, name: str, turn: str, contents: list[tuple[str, str]]) -> None:
        land = lambda: self.store.add_messages(name, _messages(contents), turn_id=turn)  # noqa: E731
        self._both(lambda: self.model.land(name, turn, contents), land)

    def _land_stale(self, name: str, number: int) -> None:
        turn, contents = self._produced(name, number)
        self._refuse_stale(name, contents + self._contents(1), turn)

    def _life(self, name: str) -> Any:
        self.model.append(name, [])
        return self.model.sessions[name]

    def _sweep(self, name: str, number: int) -> None:
        self.store.sweep(compact=number % 3 == 0)

    def _reopen(self, name: str, number: int) -> None:
        if self._open_again is not None:
            self.store = self._open_again()

    def check(self, name: str) -> None:
        """Compare one session."""
        life = self.model.sessions.get(name)
        wanted = [said.content for said in life.history] if life else []
        same([message["content"] for message in self.store.get_chat_history(name)], wanted, f"the history of {name}")
        same(self.store.session_exists(name), life is not None, f"session_exists of {name}")
        turns = {one.id: [(message.content, message.id) for message in one.messages] for one in self.store.get_open_turns(name)}
        same(turns, self.model.turns_of(name), f"the open turns of {name}")
        if life is None:
            return
        same([message.content for message in self.store.get_messages(name)], wanted, f"get_messages of {name}")
        labels = [(one.label, one.message_index) for one in self.store.get_snapshots(name)]
        same(labels, [(label, len(history) - 1) for label, history in life.snapshots.items()], f"the snapshots of {name}")

    def check_all(self) -> None:
        """Compare everything that can be read."""
        names = sorted(self.model.sessions)
        same(sorted(info.session_id for info in self.store.iter_sessions(page_size=3)), names, "the ids of all sessions")
        for name in names:
            self.check(name)
            life = self.model.sessions[name]
            for count in (1, 3, len(life.history)):
                wanted = [said.content for said in life.history[-count:]] if count else [said.content for said in life.history]
                same([m["content"] for m in self.store.get_chat_history(name, count)], wanted, f"the last {count} of {name}")
            same(self.store.get_session_info(name).message_count, len(life.history), f"message_count of {name}")
            found = self.store.get_session(name)
            holds(life.title is None or found.title == life.title, f"the title of {name} is {life.title!r}", found.title)
            same({key: found.metadata.get(key) for key in life.metadata}, life.metadata, f"the metadata of {name}")
            same(self.store.get_parent(name), self.model.parent_of(name), f"the parent of {name}")
            same(sorted(self.store.get_children(name)), self.model.children_of(name), f"the children of {name}")
        for one, other in pairwise(names):
            common, seen = self.model.common(one, other), self.store.diff(one, other).common
            holds(seen in common, f"what {one} and {other} have in common: {common}", seen)


def _messages(contents: list[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, "id": identity} for content, identity in contents]
