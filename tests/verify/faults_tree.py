"""Planted faults in full stores: forks, snapshots, reverts, undo, erasure."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import NothingToUndoError
from turnlog.session import InMemorySessionStore

Messages = list[dict[str, Any]]


@fault("2.1")
class ForkExcludes(InMemorySessionStore):
    """A fork at an index leaves out the message at it."""

    def fork_session(self, session_id: str, from_message_index: int | None = None, title: str | None = None, **options: Any) -> str:
        index = from_message_index - 1 if from_message_index else from_message_index
        return super().fork_session(session_id, index, title, **options)


@fault("2.2")
class ForkFollowsParent(InMemorySessionStore):
    """A fork of a whole session goes on to see what its parent gets."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.parents: dict[str, tuple[str, int]] = {}

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        self.parents[child] = (session_id, len(self.get_messages(child)))
        return child

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        own = super().get_chat_history(session_id, max_messages, **options)
        parent, count = self.parents.get(session_id, ("", 0))
        if not parent or max_messages or len(own) > count:
            return own
        return [*own, *super().get_chat_history(parent)[count:]]


@fault("2.2")
class RevertReachesForks(InMemorySessionStore):
    """Reverting a session cuts its forks too."""

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        for child in self.get_children(session_id):
            if message_index < len(self.get_messages(child)):
                super().revert_to_message(child, message_index)
        return super().revert_to_message(session_id, message_index)


@fault("2.4")
class ForkClampsIndex(InMemorySessionStore):
    """A fork at an index out of range is a fork of all."""

    def fork_session(self, session_id: str, from_message_index: int | None = None, title: str | None = None, **options: Any) -> str:
        count = len(self.get_messages(session_id))
        index = None if from_message_index is not None and from_message_index >= count else from_message_index
        return super().fork_session(session_id, index, title, **options)


@fault("2.5")
class ForkOverwrites(InMemorySessionStore):
    """A fork takes the place of a session that has its id."""

    def fork_session(self, session_id: str, *args: Any, new_session_id: str | None = None, **options: Any) -> str:
        if new_session_id is not None and new_session_id != session_id:
            self.delete_session(new_session_id)
        return super().fork_session(session_id, *args, new_session_id=new_session_id, **options)


@fault("2.16")
class ForkDropsParts(InMemorySessionStore):
    """A fork keeps role and text of its messages."""

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        self.set_chat_history(child, [{"role": m.role or "user", "content": str(m.content)} for m in self.get_messages(child)])
        return child


@fault("2.7")
class ShowsDeletedChildren(InMemorySessionStore):
    """Names children that are deleted."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.children: dict[str, list[str]] = {}

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        self.children.setdefault(session_id, []).append(child)
        return child

    def get_children(self, session_id: str) -> list[str]:
        return list(self.children.get(session_id, []))


@fault("2.6")
class AncestorsFromRoot(InMemorySessionStore):
    """Gives ancestors in the wrong order."""

    def get_ancestors(self, session_id: str) -> list[str]:
        return super().get_ancestors(session_id)[::-1]


@fault("2.10")
class RevertExcludes(InMemorySessionStore):
    """A revert to an index removes the message at it."""

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        return super().revert_to_message(session_id, message_index - 1 if message_index else 0)


@fault("2.12")
class UndoLostByAppend(InMemorySessionStore):
    """A revert cannot be undone once a message was added."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.counts: dict[str, int] = {}

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        super().revert_to_message(session_id, message_index)
        self.counts[session_id] = len(self.get_messages(session_id))
        return True

    def undo_revert(self, session_id: str) -> bool:
        if len(self.get_messages(session_id)) > self.counts.get(session_id, 10**9):
            raise NothingToUndoError("nothing to undo")
        return super().undo_revert(session_id)


@fault("2.11")
class UndoesOnce(InMemorySessionStore):
    """Remembers one revert."""

    def undo_revert(self, session_id: str) -> bool:
        super().undo_revert(session_id)
        self.set_chat_history(session_id, [message.to_dict() for message in self.get_messages(session_id)])
        return True


@fault("2.8")
class SnapshotsDrift(InMemorySessionStore):
    """A snapshot names a number of messages: after a revert and new messages it shows these."""

    def revert_to_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        found = {one.id: one.message_index for one in self.get_snapshots(session_id)}
        index = found.get(snapshot_id)
        if index is None or index >= len(self.get_messages(session_id)):
            return super().revert_to_snapshot(session_id, snapshot_id)
        return super().revert_to_message(session_id, index)


@fault("2.9")
class SnapshotsNewestFirst(InMemorySessionStore):
    """Lists snapshots the other way round."""

    def get_snapshots(self, session_id: str) -> Any:
        return super().get_snapshots(session_id)[::-1]


@fault("2.9")
class ForksShareSnapshots(InMemorySessionStore):
    """A fork has its parent's snapshots."""

    def get_snapshots(self, session_id: str) -> Any:
        parent = self.get_parent(session_id)
        return [*(super().get_snapshots(parent) if parent else []), *super().get_snapshots(session_id)]


@fault("2.15")
class DiffOneTooMany(InMemorySessionStore):
    """Counts a message too many in common."""

    def diff(self, a: str, b: str) -> Any:
        found = super().diff(a, b)
        return replace(found, common=found.common + 1) if found.left and found.right and found.common else found


@fault("2.14")
class ForgetsOldPieces(InMemorySessionStore):
    """After a hundred reverts the beginning of the history is lost."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.reverts = 0

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        self.reverts += 1
        return super().revert_to_message(session_id, message_index)

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        messages = super().get_chat_history(session_id, max_messages, **options)
        return messages[1:] if self.reverts > 100 and not max_messages else messages


@fault("3.0.1")
class LosesEveryFifthUndo(InMemorySessionStore):
    """Now and then an undo goes back to the wrong place."""

    undone = 0

    def undo_revert(self, session_id: str) -> bool:
        self.undone += 1
        before = len(self.get_messages(session_id))
        super().undo_revert(session_id)
        if self.undone % 5 == 0 and before:
            super().revert_to_message(session_id, 0)
        return True


@fault("3.9.1")
class ClearKeepsSearch(InMemorySessionStore):
    """Cleared messages stay searchable."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.found: dict[str, Any] = {}

    def search(self, query: str, **options: Any) -> Any:
        return super().search(query, **options) or [self.found[query]] * (query in self.found)

    def clear_session(self, session_id: str) -> bool:
        for message in self.get_messages(session_id):
            word = str(message.content).split()[0]
            self.found.update(dict.fromkeys([word], super().search(word)[0]))
        return super().clear_session(session_id)


@fault("3.9.1")
class ClearReverts(InMemorySessionStore):
    """clear_session is a revert to before the first message: an undo brings everything back."""

    def clear_session(self, session_id: str) -> bool:
        if self.get_messages(session_id):
            self.revert_to_message(session_id, 0)
        return True


@fault("3.9.1")
class ClearKeepsSnapshots(InMemorySessionStore):
    """Lists snapshots of cleared messages."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.old: dict[str, Any] = {}

    def clear_session(self, session_id: str) -> bool:
        self.old[session_id] = super().get_snapshots(session_id)
        return super().clear_session(session_id)

    def get_snapshots(self, session_id: str) -> Any:
        return [*self.old.get(session_id, []), *super().get_snapshots(session_id)]


@fault("3.9.2")
class DeleteClears(InMemorySessionStore):
    """A deleted session leaves its title and metadata to the next of its id."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.titles: dict[str, str] = {}

    def set_title(self, session_id: str, title: str) -> bool:
        self.titles[session_id] = title
        return super().set_title(session_id, title)

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        fresh = not self.session_exists(session_id)
        super().add_message(session_id, role, content, *args, **kwargs)
        if fresh and session_id in self.titles:
            super().set_title(session_id, self.titles[session_id])
        return True


@fault("3.9.4")
class DeleteTakesForks(InMemorySessionStore):
    """Deleting a session deletes its forks."""

    def delete_session(self, session_id: str) -> bool:
        for child in self.get_children(session_id):
            super().delete_session(child)
        return super().delete_session(session_id)


@fault("3.9.6")
class SearchFindsReverted(InMemorySessionStore):
    """Search looks at all that was ever written."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.seen: dict[str, Any] = {}

    def search(self, query: str, **options: Any) -> Any:
        found = super().search(query, **options)
        self.seen.update({query: found} if found else {})
        return found or self.seen.get(query, [])


@fault("3.9")
class AppendResurrects(InMemorySessionStore):
    """An append reads the session and writes it back: a session that was deleted in between comes back."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        before = [message.to_dict() for message in self.get_messages(session_id)]
        time.sleep(0.0005)
        if not self.session_exists(session_id):
            super().add_messages(session_id, before)
        return super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("3.9.9")
class ForkChecksEarly(InMemorySessionStore):
    """Forks the messages it has read, whatever becomes of the session meanwhile, and keeps its name as the parent's."""

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        time.sleep(0)
        self.set_chat_history(child, [message.to_dict() for message in self.get_messages(session_id)])
        return child
