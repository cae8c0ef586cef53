"""The races: what is there before, who does what, and what must hold at every point and at every end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from tests.store.explorer import Done, Explorer, Op, Port, content, fixed_names
from tests.store.plain import Plain, outcome
from turnlog.backends.memory import MemoryBackend
from turnlog.errors import SessionError
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.changing import UNBORN
from turnlog.store.drive import drive

Store = type[AsyncSessionStore]


def texts(*names: str) -> list[dict[str, str]]:
    """Messages of a user, or of the assistant where the text does not begin with "u"."""
    return [{"role": "user" if name.startswith("u") else "assistant", "content": name} for name in names]


# The verbs: what the store does, and what the model does.


def append(session: str, *names: str, limit: int | None = None) -> Op:
    parts: list[Callable[[Plain], Any]] = [lambda plain: plain.append(session, *names)]
    if limit is not None:
        # Retention is a step of its own, behind the append.
        parts.append(lambda plain: plain.retain(session, limit))
    return Op(f"append {session}", lambda store: store.add_messages(session, texts(*names)), tuple(parts))


def fork(session: str, child: str, index: int | None = None) -> Op:
    return Op(
        f"fork {session} to {child}",
        lambda store: store.fork_session(session, index, new_session_id=child),
        (lambda plain: plain.fork(session, index, child),),
    )


def delete(session: str) -> Op:
    return Op(f"delete {session}", lambda store: store.delete_session(session), (lambda plain: plain.delete(session),))


def clear(session: str) -> Op:
    return Op(f"clear {session}", lambda store: store.clear_session(session), (lambda plain: plain.clear(session),))


def replace(session: str, *names: str) -> Op:
    return Op(
        f"replace {session}",
        lambda store: store.set_chat_history(session, texts(*names)),
        (lambda plain: plain.replace(session, *names),),
    )


def revert(session: str, index: int) -> Op:
    return Op(
        f"revert {session} to {index}",
        lambda store: store.revert_to_message(session, index),
        (lambda plain: plain.revert(session, index),),
    )


def undo(session: str) -> Op:
    return Op(f"undo {session}", lambda store: store.undo_revert(session), (lambda plain: plain.undo(session),))


def snapshot(session: str, key: str) -> Op:
    """``key`` must be the name that the store will make for it."""
    return Op(f"snapshot {session}", lambda store: store.create_snapshot(session), (lambda plain: plain.snapshot(session, key),))


def to_snapshot(session: str, key: str) -> Op:
    return Op(
        f"revert {session} to snapshot",
        lambda store: store.revert_to_snapshot(session, key),
        (lambda plain: plain.revert_to_snapshot(session, key),),
    )


def title(session: str) -> Op:
    return Op(
        f"title {session}",
        lambda store: store.set_title(session, "new"),
        (lambda plain: bool(plain.create(session)),),
    )


def look_at(session: str) -> Op:
    """A reader, who must see the session whole."""

    async def run(store: AsyncSessionStore) -> list[str]:
        return [message.content for message in await store.get_messages(session)]

    return Op(f"read {session}", run, (lambda plain: plain.sessions[session].kept if session in plain.sessions else [],))


def sweep() -> Op:
    async def run(store: AsyncSessionStore) -> None:
        await store.sweep()

    return Op("sweep", run, (lambda plain: None,))


@dataclass(frozen=True)
class Race:
    """``before`` runs alone and first, then the actors against each other, ``crashes`` of which may stop for ever anywhere.

    ``blocking`` False: on an engine that never holds a session, so that every write must be safe by itself. ``remembers``: the actors'
    stores have seen every session as it is before the race.
    """

    name: str
    before: tuple[Op, ...]
    actors: dict[str, tuple[Op, ...]]
    limit: int | None = None
    crashes: int = 1
    soak: bool = False
    blocking: bool = True
    remembers: bool = False


Seen = dict[str, tuple[list[str], str | None, dict[str, list[str]]]]
"""The messages, the parent and the open turns of each session."""


class Referee:
    """Judges a race: what the model allows, nothing dangling, nothing left over."""

    def __init__(self, race: Race, store: Store) -> None:
        self.race, self.store = race, store
        self.backend, self.plain = MemoryBackend(), Plain()
        for op in race.before:
            drive(op.run(self.open(self.backend)))
            for part in op.parts:
                part(self.plain)
        self._allowed: dict[Any, list[Any]] = {}

    def open(self, backend: Any) -> AsyncSessionStore:
        return self.store(backend, self.race.limit, hop=False)

    def seen(self, backend: MemoryBackend) -> Seen:
        """Every session that there is, read whole."""
        store = AsyncSessionStore(backend, hop=False)
        found: Seen = {}
        for name, session in backend._sessions.items():
            messages = [message.content for message in drive(store.get_messages(name))]
            turns = drive(store.get_open_turns(name)) if "turn" in backend._rows.get(session.run, {}) else []
            opened = {turn.id: [message.content for message in turn.messages] for turn in turns}
            found[name] = (messages, drive(store.get_parent(name)), opened)
        return found

    def look(self, backend: MemoryBackend) -> None:
        """At every point of every schedule, every session can be read, and nothing is shown as a message and as unfinished."""
        try:
            seen = self.seen(backend)
        except SessionError as error:
            raise AssertionError(f"dangling: {error}") from error
        for messages, _, turns in seen.values():
            for turn, names in turns.items():
                assert not {*names} & {*messages}, f"the open turn {turn} is shown twice: {names} beside {messages}"

    def judge(self, backend: MemoryBackend, history: tuple[Done, ...]) -> None:
        """At the end: some order of the verbs explains all that can be seen, the sweep changes nothing of it, and leaves nothing over."""
        seen = self.seen(backend)
        assert seen in self.allowed(history), f"no order of the verbs explains {seen} with {[(d.op.text, d.result) for d in history]}"
        if not any(done.crashed for done in history):
            check_nothing_left(backend, swept=False)
        store = AsyncSessionStore(backend, hop=False)
        drive(store.sweep())
        assert self.seen(backend) == seen, f"the sweep made {self.seen(backend)} of {seen}"
        check_nothing_left(backend, swept=True)
        swept = content(backend)
        report = drive(store.sweep())
        assert (report.runs_collected, report.references_dropped, content(backend)) == (0, 0, swept), f"a second sweep did {report}"
        self.check_alive(backend, seen)

    def check_alive(self, backend: MemoryBackend, seen: Seen) -> None:
        """Every session can still be used in every way, and when all are deleted nothing remains."""
        store = AsyncSessionStore(backend, hop=False)
        for name, (kept, _, turns) in seen.items():
            assert drive(store.add_message(name, "user", "u-last")), name
            assert drive(store.put_open_turn(name, "last", texts("u-unfinished"))), name
            assert [turn.id for turn in drive(store.get_open_turns(name))] == [*turns, "last"]
            assert drive(store.set_title(name, "last")), name
            child = drive(store.fork_session(name))
            assert [message.content for message in drive(store.get_messages(child))] == [*kept, "u-last"]
            assert drive(store.delete_session(child)), name
        for name in seen:
            assert drive(store.delete_session(name)), name
        assert not backend._sessions
        assert not backend._runs, f"records are left of {list(backend._runs)}"
        assert not backend._rows, f"rows are left of {list(backend._rows)}"
        assert not backend._claims, f"claims are left on {list(backend._claims)}"

    def allowed(self, history: tuple[Done, ...]) -> list[Any]:
        """What can be seen at the end of the orders that fit: of verbs that overlapped any, and of a crashed verb any beginning."""
        key = frozenset((done.name, repr(done.result), done.after, done.crashed) for done in history)
        if key not in self._allowed:
            self._allowed[key] = list(orders(self.plain, {done.name: (done, 0) for done in history}))
        return self._allowed[key]


def orders(plain: Plain, left: dict[str, tuple[Done, int]]) -> list[Any]:
    """All that the model may show after the rest of the verbs."""
    ends = [plain.visible()] if all(done.crashed for done, _ in left.values()) else []
    for name, (done, part) in left.items():
        if any(other in done.after for other in left):
            continue
        after = plain.copy()
        result = outcome(partial(done.op.parts[part], after))
        if part == 0 and not done.crashed and result != done.result:
            continue
        rest = {other: left[other] for other in left if other != name}
        if part + 1 < len(done.op.parts):
            rest = {**rest, name: (done, part + 1)}
        ends += [end for end in orders(after, rest) if end not in ends]
    return ends


def check_nothing_left(backend: MemoryBackend, *, swept: bool) -> None:
    """Behind the port there is only what living sessions need, and the marks of forks that will never be.

    Before the sweep, marks of runs that are gone may be left as well.
    """
    living = {session.run for session in backend._sessions.values()}
    for run, claims in backend._claims.items():
        for child in claims:
            assert child in living or child in backend._claims, f"the claim of {child} on {run} is left over"
    for name, run in backend._runs.items():
        if name not in living:
            stop = max((claim.stop for claim in backend._claims.get(name, {}).values()), default=0)
            last = max(run.places.values(), default=-1)
            assert last < stop, f"records of {name} up to {last} are left over, {stop} are needed"
    for name, kinds in backend._rows.items():
        assert name in living or (name in backend._claims and set(kinds) <= {"path"}), f"rows {set(kinds)} of {name} are left over"
    for mark in backend._marks.values():
        assert not (mark.closed and mark.run in living), f"the run of a living session is closed: {mark}"
        unborn = mark.parent is not None and mark.parent.born == UNBORN
        assert not swept or mark.run in living or mark.run in backend._claims or unborn, f"a mark is left over: {mark}"


@dataclass
class Covered:
    """What exploring a race covered."""

    schedules: int
    places: int


def explore(race: Race, store: Store = AsyncSessionStore) -> Covered:
    """Walk all schedules of a race; raises Found for one that goes wrong."""
    with fixed_names() as tokens:
        referee = Referee(race, store)
        names = referee.backend._sessions if race.remembers else ()
        heads = [head for name in names if (head := drive(referee.backend.get_head(name)))]

        def opened() -> AsyncSessionStore:
            store = referee.open(Port(blocking=race.blocking))
            for head in heads:
                store._seen.note(head)
            return store

        explorer = Explorer(
            referee.backend,
            race.actors,
            open_store=opened,
            look=referee.look,
            judge=referee.judge,
            tokens=tokens,
            crashes=race.crashes,
        )
        schedules = explorer.run()
        return Covered(schedules, explorer.places)


P = (append("P", "u1", "u2", "u3"),)
"""A session with three turns."""
PC = (*P, fork("P", "C", 1))
"""And a fork of it."""
PCD = (*PC, append("C", "u4"), fork("C", "D"))
"""And a fork of the fork, with a message in between."""
FULL = (append("P", "u1", "a1", "u2", "a2", "u3"),)
"""As much as a store that keeps four messages holds before it cuts."""
CUT = append("P", "u4", limit=4)


def race(name: str, before: tuple[Op, ...], *actors: tuple[Op, ...] | Op, **options: Any) -> Race:
    """Actors are named after their first verb; one that does a single verb may be given as that verb."""
    lines = [actor if isinstance(actor, tuple) else (actor,) for actor in actors]
    return Race(name, before, {f"{number}:{line[0].text.split()[0]}": line for number, line in enumerate(lines)}, **options)


RACES = [
    race("fork, delete the parent", P, fork("P", "C", 1), delete("P"), crashes=2),
    race("fork, clear the parent", P, fork("P", "C", 1), clear("P"), crashes=2),
    race("fork, fork, delete the parent", P, fork("P", "C", 0), fork("P", "D"), delete("P")),
    race("fork, fork under one id", P, fork("P", "C", 0), fork("P", "C"), crashes=2),
    race("fork a fork, delete the parent, delete the fork", PC, fork("C", "D", 0), delete("P"), delete("C")),
    race("delete the fork, delete the parent", PC, delete("C"), delete("P"), crashes=2),
    race("clear the fork, delete the parent, delete the fork", PC, clear("C"), delete("P"), delete("C")),
    race("delete all of three generations", PCD, delete("P"), delete("C"), delete("D")),
    race("fork, sweep", P, fork("P", "C", 1), sweep(), crashes=2),
    race("fork, delete the parent, sweep", P, fork("P", "C", 1), delete("P"), sweep()),
    race("fork, clear the parent, sweep", P, fork("P", "C", 1), clear("P"), sweep(), soak=True),
    race("delete the fork, sweep", PC, delete("C"), sweep(), crashes=2),
    race("delete the fork, delete the parent, sweep", PC, delete("C"), delete("P"), sweep()),
    race("clear the fork, fork it, sweep", PC, clear("C"), fork("C", "D"), sweep(), soak=True),
    race("sweep, sweep, fork", P, sweep(), sweep(), fork("P", "C", 1)),
    race("fork of what was seen, delete the parent", P, fork("P", "C", 1), delete("P"), remembers=True, crashes=2),
    race("fork of what was seen, append, sweep", P, fork("P", "C"), append("P", "u4"), sweep(), remembers=True),
    race("fork of what was seen, revert", P, fork("P", "C", 2), revert("P", 0), remembers=True, crashes=2),
    race("fork of what was seen, replace", P, fork("P", "C"), replace("P", "u7", "u8"), remembers=True, crashes=2),
    race("retention, fork of what was seen", FULL, CUT, fork("P", "C", 3), limit=4, remembers=True, crashes=2),
    race("retention, fork", FULL, CUT, fork("P", "C"), limit=4, crashes=2),
    race("retention, fork, delete the parent", FULL, CUT, fork("P", "C", 1), delete("P"), limit=4),
    race("retention twice, fork", FULL, (CUT, append("P", "a4", "u5", limit=4)), fork("P", "C", 3), limit=4, crashes=2),
    race("retention, retention", FULL, CUT, append("P", "u5", limit=4), limit=4, crashes=2),
    race(
        "retention, revert to a snapshot",
        (append("P", "u1"), snapshot("P", "setup.4"), append("P", "a1", "u2", "a2", "u3")),
        CUT,
        to_snapshot("P", "setup.4"),
        limit=4,
        crashes=2,
    ),
    race(
        "retention, undo",
        (append("P", "u1", "u2"), revert("P", 0), append("P", "a1", "u3", "a3", "u4")),
        CUT,
        undo("P"),
        limit=4,
        crashes=2,
    ),
    race("retention, revert, undo", FULL, CUT, (revert("P", 0), undo("P")), limit=4),
    race("append, append to a new session", (), append("N", "u1"), append("N", "u2"), crashes=2),
    race("append, delete and make anew", P, append("P", "u4"), (delete("P"), append("P", "u5")), crashes=2),
    race("append, delete, sweep", P, append("P", "u4"), delete("P"), sweep()),
    race("append, clear, append", P, append("P", "u4"), clear("P"), append("P", "u5")),
    race("replace, fork", P, replace("P", "u7", "u8"), fork("P", "C"), crashes=2),
    race("replace, fork, sweep", P, replace("P", "u7", "u8"), fork("P", "C"), sweep(), soak=True),
    race("replace, replace", P, replace("P", "u7"), replace("P", "u8", "u9"), crashes=2),
    race("replace, delete, append", P, replace("P", "u7"), delete("P"), append("P", "u4")),
    race("clear, delete", P, clear("P"), delete("P"), crashes=2),
    race("title, delete", P, title("P"), delete("P"), crashes=2),
    race("revert, append", P, revert("P", 0), append("P", "u4"), crashes=2),
    race("revert, revert, undo", P, revert("P", 0), revert("P", 1), undo("P")),
    race("revert, fork, append", P, revert("P", 0), fork("P", "C"), append("P", "u4")),
    race("undo, append, fork", (*P, revert("P", 0)), undo("P"), append("P", "u4"), fork("P", "C")),
    race("revert, clear, undo", P, revert("P", 0), clear("P"), undo("P")),
    race("read, append and replace", P, look_at("P"), (append("P", "u4"), replace("P", "u5"))),
    race("read, delete and make anew", P, look_at("P"), (delete("P"), append("P", "u5"))),
    race("read the fork, delete the parent, delete the fork", PC, look_at("C"), delete("P"), delete("C")),
    race("read, retention, fork", FULL, look_at("P"), CUT, fork("P", "C"), limit=4),
]
