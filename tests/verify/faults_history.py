"""Planted faults in full stores: order, lost updates, retries, errors, validity, retention."""

from __future__ import annotations

import time
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import ConflictError, MessageIndexError, SessionError, SnapshotNotFoundError
from turnlog.session import InMemorySessionStore

Messages = list[dict[str, Any]]


@fault("3.1")
class SplitsTurns(InMemorySessionStore):
    """Appends a turn message by message: others come in between, and a refused turn is half there."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None or not messages:
            return super().add_messages(session_id, messages, expect_revision=expect_revision)
        return all(super(SplitsTurns, self).add_messages(session_id, [message]) for message in messages)


@fault("3.1.6")
class SplitsTurnsUnderRace(InMemorySessionStore):
    """Checks a turn first, then appends it message by message."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None or not messages:
            return super().add_messages(session_id, messages, expect_revision=expect_revision)
        for message in messages:
            time.sleep(0)
            super().add_messages(session_id, [message])
        return True


@fault("3.1.5")
class ReversesTurns(InMemorySessionStore):
    """Stores a turn of more than two messages with its last two swapped."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        changed = [*messages[:-2], messages[-1], messages[-2]] if isinstance(messages, list) and len(messages) > 2 else messages
        return super().add_messages(session_id, changed, expect_revision=expect_revision)


@fault("3.1.3")
class SortsByTimestamp(InMemorySessionStore):
    """Shows messages in the order of their timestamps."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        if max_messages or options:
            return super().get_chat_history(session_id, max_messages, **options)
        return [dict(message.record) for message in sorted(self.get_messages(session_id), key=lambda one: one.timestamp)]


@fault("3.2")
class IgnoresExpect(InMemorySessionStore):
    """Takes expect_revision and does not look at it."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        return super().add_messages(session_id, messages)


@fault("3.2.8")
class ComparesThenSets(InMemorySessionStore):
    """Compares the revision, and appends a moment later."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None and self.get_revision(session_id) != expect_revision:
            raise ConflictError("changed", expected=expect_revision, actual=self.get_revision(session_id))
        time.sleep(0)
        return super().add_messages(session_id, messages)


class _OwnRevisions(InMemorySessionStore):
    """Gives revisions of its own making."""

    def revision(self, session_id: str) -> str:
        raise NotImplementedError

    def get_revision(self, session_id: str) -> str:
        return self.revision(session_id) if self.session_exists(session_id) else ""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None and self.get_revision(session_id) != expect_revision:
            raise ConflictError("changed", expected=expect_revision, actual=self.get_revision(session_id))
        return super().add_messages(session_id, messages)


@fault("3.2.11")
class CountsAsRevision(_OwnRevisions):
    """The revision is the number of messages: it repeats after a clear."""

    def revision(self, session_id: str) -> str:
        return str(len(self.get_messages(session_id)))


@fault("3.2.10")
class RevertKeepsRevision(_OwnRevisions):
    """The revision counts appends: a revert does not change it."""

    def revision(self, session_id: str) -> str:
        return super(_OwnRevisions, self).get_revision(session_id).split(".")[0] + str(self.appends.get(session_id, 0))

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.appends: dict[str, int] = {}

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        super().add_messages(session_id, messages, expect_revision=expect_revision)
        self.appends[session_id] = self.appends.get(session_id, 0) + 1
        return True

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        self.appends[session_id] = self.appends.get(session_id, 0) + 1
        return super().add_message(session_id, role, content, *args, **kwargs)


@fault("3.2.13")
class TitleRewritesAll(InMemorySessionStore):
    """Reads the session, and writes all of it back with its new title: what came in between is lost."""

    def set_title(self, session_id: str, title: str) -> bool:
        messages = [message.to_dict() for message in self.get_messages(session_id)]
        time.sleep(0)
        self.set_chat_history(session_id, messages)
        return super().set_title(session_id, title)


@fault("3.3.1")
class IgnoresIds(InMemorySessionStore):
    """Stores a retry a second time."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, message_id: str | None = None, **kwargs: Any) -> bool:
        return super().add_message(session_id, role, content, *args, **kwargs)


@fault("3.3.4")
class AnyContentForId(InMemorySessionStore):
    """Takes a known id for a retry, whatever its content."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        known = {message.id for message in self.get_messages(session_id)}
        if any(isinstance(message, dict) and message.get("id") in known for message in messages):
            return True
        return super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("3.3.5")
class AppendsTheUnknown(InMemorySessionStore):
    """Of a turn that is known in part, stores the rest."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        known = {message.id for message in self.get_messages(session_id)}
        new = [m for m in messages if not isinstance(m, dict) or m.get("id") not in known]
        part = len(new) < len(messages) and new
        return super().add_messages(session_id, new if part else messages, expect_revision=expect_revision)


@fault("3.3.3")
class RevisionBeforeIds(InMemorySessionStore):
    """Looks at expect_revision before it looks at the ids."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None and self.get_revision(session_id) != expect_revision:
            raise ConflictError("changed", expected=expect_revision, actual=self.get_revision(session_id))
        return super().add_messages(session_id, messages)


def _without_ids(messages: Any) -> Any:
    return [{key: value for key, value in message.items() if key != "id"} for message in messages]


@fault("3.3.6")
class ForgetsRevertedIds(InMemorySessionStore):
    """Knows only the ids of the present history: a late retry brings back what was reverted."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        known = {message.id for message in self.get_messages(session_id)}
        try:
            before = len(known)
            super().add_messages(session_id, messages, expect_revision=expect_revision)
        except ConflictError:
            return super().add_messages(session_id, _without_ids(messages))
        if messages and len(self.get_messages(session_id)) == before and messages[0].get("id") not in known:
            return super().add_messages(session_id, _without_ids(messages))
        return True


@fault("3.3.10")
class RemembersHundredIds(InMemorySessionStore):
    """Knows the ids of the last hundred messages."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        old = {message.id for message in self.get_messages(session_id)[:-100]}
        if any(isinstance(message, dict) and message.get("id") in old for message in messages):
            messages = _without_ids(messages)
        return super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("3.3.8")
class GlobalIds(InMemorySessionStore):
    """A message id that another session knows counts as known."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, message_id: str | None = None, **kwargs: Any) -> bool:
        others = (info.session_id for info in self.iter_sessions() if info.session_id != session_id)
        if message_id is not None and any(message_id == m.id for name in others for m in self.get_messages(name)):
            return True
        return super().add_message(session_id, role, content, *args, message_id=message_id, **kwargs)


@fault("3.5.1")
class IndexErrorIsFalse(InMemorySessionStore):
    """Answers False where an index is out of range."""

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        try:
            return super().revert_to_message(session_id, message_index)
        except MessageIndexError:
            return False


@fault("3.5.1")
class NegativeIndexes(InMemorySessionStore):
    """Counts a negative index from the end."""

    def revert_to_message(self, session_id: str, message_index: int) -> bool:
        count = len(self.get_messages(session_id))
        return super().revert_to_message(session_id, message_index + count if -count <= message_index < 0 else message_index)


@fault("3.5.3")
class SnapshotErrorIsFalse(InMemorySessionStore):
    """Answers False where a snapshot is missing."""

    def revert_to_snapshot(self, session_id: str, snapshot_id: str) -> bool:
        try:
            return super().revert_to_snapshot(session_id, snapshot_id)
        except SnapshotNotFoundError:
            return False


@fault("3.5.2")
class ForksNothing(InMemorySessionStore):
    """Makes an empty session where the one to fork is missing."""

    def fork_session(self, session_id: str, *args: Any, **kwargs: Any) -> str:
        if not self.session_exists(session_id):
            return self.create_session()
        return super().fork_session(session_id, *args, **kwargs)


@fault("3.5")
class SwallowsErrors(InMemorySessionStore):
    """Answers False where it could not store."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        try:
            return super().add_messages(session_id, messages, expect_revision=expect_revision)
        except SessionError:
            return False


@fault("3.5.4")
class AnyIdGoes(InMemorySessionStore):
    """Makes a str of whatever is given as an id."""

    def add_message(self, session_id: Any, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        return super().add_message(str(session_id)[:1024] or "default", role, content, *args, **kwargs)


@fault("3.5.7")
class WorksWhenClosed(InMemorySessionStore):
    """Goes on after close."""

    def close(self) -> None:
        return None


@fault("3.6")
class PlainSlice(InMemorySessionStore):
    """Gives the last messages, wherever the cut falls."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        messages = [dict(message.record) for message in self.get_messages(session_id)]
        return messages[-max_messages:] if max_messages else messages


@fault("3.6")
class HidesOnlyOrphans(InMemorySessionStore):
    """Leaves out results without their call, and not calls without their results."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        messages = [dict(message.record) for message in self.get_messages(session_id)]
        kept = messages[-max_messages:] if max_messages else messages
        while kept and kept[0].get("role") == "tool":
            kept = kept[1:]
        return kept


@fault("3.6")
class LosesParallelResults(InMemorySessionStore):
    """Gives the first result of parallel calls only."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        messages = super().get_chat_history(session_id, max_messages, **options)
        return [m for i, m in enumerate(messages) if i == 0 or not (m.get("role") == "tool" and messages[i - 1].get("role") == "tool")]


@fault("3.6")
class BeginsAtUser(InMemorySessionStore):
    """Gives fewer messages than it must: its windows begin at a user message."""

    def get_chat_history(self, session_id: str, max_messages: int | None = None, **options: Any) -> Messages:
        messages = super().get_chat_history(session_id, max_messages, **options)
        first = next((i for i, message in enumerate(messages) if message.get("role") == "user"), 0)
        return messages[first:] if max_messages else messages


@fault("3.6.4")
class HidesFromEveryone(InMemorySessionStore):
    """Leaves the unfinished turn out of get_messages too."""

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> Any:
        shown = [dict(one) for one in self.get_chat_history(session_id)]
        return [message for message in super().get_messages(session_id, start, stop) if message.record in shown]


@fault("3.6.8")
class BudgetOverrun(InMemorySessionStore):
    """Lets the first message that does not fit into the token budget in."""

    def get_chat_history(
        self, session_id: str, max_messages: int | None = None, *, max_tokens: Any = None, count_tokens: Any = None
    ) -> Any:
        if max_tokens is None:
            return super().get_chat_history(session_id, max_messages)
        return super().get_chat_history(session_id, max_messages, max_tokens=max_tokens + 10, count_tokens=count_tokens)


@fault("3.13")
class ShedsMidTurn(InMemorySessionStore):
    """Retention cuts at any message."""

    limit: int | None = None

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__()
        self.limit = max_messages

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        return self.add_messages(session_id, [{"role": role, "content": content}])

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        super().add_messages(session_id, messages, expect_revision=expect_revision)
        if self.limit and len(self.get_messages(session_id)) > self.limit:
            self.set_chat_history(session_id, [message.to_dict() for message in self.get_messages(session_id, -self.limit)])
        return True


@fault("3.13.1")
class NeverSheds(InMemorySessionStore):
    """Takes max_messages and keeps everything."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__()


@fault("3.13.7")
class AlwaysSheds(InMemorySessionStore):
    """Keeps a thousand messages where no limit was given."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages or 1000)
