"""Planted faults in full stores: sessions that expire, or should; erasing by conditions; replaces and forks that race."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.backends.memory import MemoryBackend
from turnlog.backends.port import Appended, Forked, Query
from turnlog.backends.sqlite import SqliteBackend
from turnlog.errors import SessionError
from turnlog.heads import Head, Reference
from turnlog.messages import Record
from turnlog.session import InMemorySessionStore, SessionStore, SqliteSessionStore, SweepReport
from turnlog.store.drive import drive


def heads(store: SessionStore, query: Query) -> list[Head]:
    """The heads of a query, up to a thousand."""
    return drive(store.backend.list_heads(query, cursor=None, limit=1000)).heads


@fault("2.80")
class ReadsExpired(InMemorySessionStore):
    """Looks at no time when it reads."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self._core._head = self._core._stored  # type: ignore[method-assign]


@fault("2.80")
class ListsExpired(InMemorySessionStore):
    """Lists what is expired until the sweep."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        there = super().list_sessions(limit)
        return [*there, *({"session_id": head.session_id} for head in heads(self, Query(expired_at=time.time())))]


@fault("2.80")
class ShortPages(InMemorySessionStore):
    """Leaves expired sessions out of a listing after it was cut to its limit."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        living = {line["session_id"]: line for line in super().list_sessions(1000)}
        return [living[head.session_id] for head in heads(self, Query())[:limit] if head.session_id in living]


@fault("2.80")
class SearchFindsExpired(InMemorySessionStore):
    """Search finds what an expired session held."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.seen: dict[str, Any] = {}

    def set_session_ttl(self, session_id: str, ttl: float | None) -> bool:
        for message in self.get_messages(session_id):
            for word in str(message.content).split():
                self.seen[word] = super().search(word)
        return super().set_session_ttl(session_id, ttl)

    def search(self, query: str, **options: Any) -> Any:
        found = super().search(query, **options)
        names = {hit.session_id for hit in found}
        return [*found, *(hit for hit in self.seen.get(query, []) if hit.session_id not in names)]


@fault("2.80")
class NamesExpiredParents(InMemorySessionStore):
    """A fork names its parent as long as anything of it is stored."""

    def get_parent(self, session_id: str) -> str | None:
        head = drive(self.backend.get_head(session_id))
        return super().get_parent(session_id) or (head.parent.session_id if head and head.parent else None)


class Reviving(MemoryBackend):
    """An append to an expired session lets it live again."""

    async def append(self, session_id: str, records: Sequence[Record], *, now: float, expect: str | None) -> Appended | None:
        with self._lock:
            session = self._sessions.get(session_id)
            if session is not None and session.is_expired(now):
                session.updated_at = now
        return await super().append(session_id, records, now=now, expect=expect)


@fault("2.81")
class AppendRevives(InMemorySessionStore):
    """An append to an expired session brings its history back."""

    def __init__(self, max_messages: int | None = None) -> None:
        SessionStore.__init__(self, Reviving(), max_messages)


@fault("2.81")
class NewLifeKeepsLabels(InMemorySessionStore):
    """A new life has the title of the one before."""

    def add_message(self, session_id: str, *args: Any, **options: Any) -> bool:
        head = drive(self.backend.get_head(session_id))
        fresh = head is not None and not self.session_exists(session_id)
        super().add_message(session_id, *args, **options)
        if fresh and head is not None and "title" in head.fields:
            self.set_title(session_id, head.fields["title"])
        return True


@fault("2.81")
class DeleteSkipsExpired(InMemorySessionStore):
    """Deleting an expired session does nothing: it is not there."""

    def delete_session(self, session_id: str, **options: Any) -> bool:
        return super().delete_session(session_id, **options) if self.session_exists(session_id) else True


@fault("2.82")
class ExpiresFromItsBeginning(InMemorySessionStore):
    """A session expires so long after it was created, whatever comes in."""

    def session_exists(self, session_id: str) -> bool:
        head = drive(self.backend.get_head(session_id))
        young = head is not None and (head.ttl is None or head.created_at + head.ttl > time.time())
        return young and super().session_exists(session_id)


@fault("2.82")
class TakesAnyTtl(InMemorySessionStore):
    """Takes whatever it is given as a ttl, and does what it can with it."""

    def set_session_ttl(self, session_id: str, ttl: float | None) -> bool:
        try:
            return super().set_session_ttl(session_id, ttl)
        except ValueError:
            return True


@fault("2.82")
class ClearForgetsTtl(InMemorySessionStore):
    """A cleared session lives forever."""

    def clear_session(self, session_id: str) -> bool:
        super().clear_session(session_id)
        if self.session_exists(session_id):
            self.set_session_ttl(session_id, None)
        return True


@fault("2.82")
class ForksLiveForever(InMemorySessionStore):
    """A fork has no ttl."""

    def fork_session(self, session_id: str, *args: Any, **options: Any) -> str:
        child = super().fork_session(session_id, *args, **options)
        self.set_session_ttl(child, None)
        return child


@fault("2.83")
class SweepTakesForks(InMemorySessionStore):
    """The sweep erases all records of an expired session, whoever shares them."""

    def sweep(self, *, compact: bool = False) -> Any:
        for head in heads(self, Query(expired_at=time.time())):
            drive(self.backend.drop_records(head.session_id, head.run, 0, None))
        return super().sweep(compact=compact)


@fault("2.83")
class SweepErasesLiving(InMemorySessionStore):
    """The sweep erases whatever has a ttl."""

    def sweep(self, *, compact: bool = False) -> Any:
        for head in heads(self, Query(expired_at=1e12)):
            self.delete_session(head.session_id)
        return super().sweep(compact=compact)


@fault("2.83")
class SweepLeavesExpired(InMemorySessionStore):
    """The sweep says how many have expired, and leaves them."""

    def sweep(self, *, compact: bool = False) -> Any:
        return SweepReport(0, 0, len(heads(self, Query(expired_at=time.time()))))


@fault("2.84")
class NewLifeInSteps(InMemorySessionStore):
    """Whoever finds a session expired deletes it, and then appends: another's new life may go with it."""

    def add_message(self, session_id: str, *args: Any, **options: Any) -> bool:
        if not self.session_exists(session_id):
            time.sleep(0.0005)
            self.delete_session(session_id)
        return super().add_message(session_id, *args, **options)


@fault("2.85")
class DeleteIgnoresAgent(InMemorySessionStore):
    """delete_where looks at the user only, where one is given."""

    def delete_where(self, *, user_id: Any = None, agent: Any = None, older_than: Any = None) -> int:
        return super().delete_where(user_id=user_id, agent=agent if user_id is None else None, older_than=older_than)


@fault("2.85")
class DeleteIgnoresAge(InMemorySessionStore):
    """delete_where looks at the age only where nothing else is given."""

    def delete_where(self, *, user_id: Any = None, agent: Any = None, older_than: Any = None) -> int:
        return super().delete_where(user_id=user_id, agent=agent, older_than=older_than if user_id is None and agent is None else None)


@fault("2.85")
class DeleteWhereAny(InMemorySessionStore):
    """delete_where erases what meets any of the conditions."""

    def delete_where(self, *, user_id: Any = None, agent: Any = None, older_than: Any = None) -> int:
        given = [(name, value) for name, value in (("user_id", user_id), ("agent", agent), ("older_than", older_than)) if value is not None]
        return sum(super(DeleteWhereAny, self).delete_where(**{name: value}) for name, value in given) if given else super().delete_where()


@fault("2.85")
class DeleteWhereAll(InMemorySessionStore):
    """delete_where without a condition erases everything."""

    def delete_where(self, **conditions: Any) -> int:
        try:
            return super().delete_where(**conditions)
        except SessionError:
            if any(value is not None for value in conditions.values()):
                raise
            return super().delete_where(older_than=0)


@fault("2.85")
class DeleteOnePage(InMemorySessionStore):
    """delete_where erases what is on the first page."""

    def delete_where(self, **conditions: Any) -> int:
        if conditions.get("agent") != "M":
            return super().delete_where(**conditions)
        first = heads(self, Query(agent_name="M"))[:100]
        return sum(self.delete_session(head.session_id) for head in first)


@fault("2.86")
class DeletesWhatWasListed(InMemorySessionStore):
    """delete_where lists what is old, and then erases that, whatever was added meanwhile."""

    def delete_where(self, **conditions: Any) -> int:
        if set(conditions) != {"older_than"}:
            return super().delete_where(**conditions)
        found = heads(self, Query(until=time.time() - conditions["older_than"]))
        time.sleep(0.003)
        return sum(self.delete_session(head.session_id) for head in found)


@fault("3.2.22")
class ReplaceIgnoresRevision(InMemorySessionStore):
    """set_chat_history takes a revision and does not look at it."""

    def set_chat_history(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        return super().set_chat_history(session_id, messages)


@fault("3.2.22")
class ReplaceChecksFirst(InMemorySessionStore):
    """set_chat_history looks at the revision, and then replaces."""

    def set_chat_history(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if expect_revision is not None and expect_revision != self.get_revision(session_id):
            return super().set_chat_history(session_id, messages, expect_revision=expect_revision)
        time.sleep(0.0005)
        return super().set_chat_history(session_id, messages)


@fault("2.21")
class LosersLeaveClaims(InMemorySessionStore):
    """A fork that came second leaves its claim on its parent."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)

        async def release(head: Head, child_run: str) -> None:
            return None

        self._core._release = release  # type: ignore[method-assign]


class Overwriting(SqliteBackend):
    """A fork is put in place of whatever has its id."""

    async def put_fork(self, child: Head, claim: Reference, *, shed: int) -> Forked:
        there = await self.get_head(child.session_id)
        if there is None:
            return await super().put_fork(child, claim, shed=shed)
        await self.add_reference(claim)
        return "stored" if await self.put_head(child, expect=there.revision) else "taken"


@fault("2.21")
class ForkTakesTheName(SqliteSessionStore):
    """Of two forks into one id the second wins too."""

    def __init__(self, path: Path, max_messages: int | None = None, **options: Any) -> None:
        SessionStore.__init__(self, Overwriting(path, **options), max_messages)


class Unlooking(MemoryBackend):
    """A fork does not look whether its parent is still what it was."""

    async def put_fork(self, child: Head, claim: Reference, *, shed: int) -> Forked:
        with self._lock:
            self._claims.setdefault(claim.run, {})[claim.child_run] = claim
        return "stored" if await self.put_head(child, expect=None) else "taken"


@fault("2.22")
class ForksWhatWasThere(InMemorySessionStore):
    """A fork comes to be whatever became of its parent since it was read."""

    def __init__(self, max_messages: int | None = None) -> None:
        SessionStore.__init__(self, Unlooking(), max_messages)
        fork = self._core._fork_sharing

        async def slowly(head: Head, child: Head) -> bool:
            time.sleep(0.0003)  # noqa: ASYNC251  # driven in plain Python
            return await fork(head, child)

        self._core._fork_sharing = slowly  # type: ignore[method-assign]
