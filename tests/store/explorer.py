"""Every interleaving of the steps of several verbs, with crashes: a call of the port is a step, and coroutines are run by hand.

Two schedules that lead to the same place (same sessions behind the port, same answers seen by every actor) have the same future, so
each place is visited once, and the schedules through it are counted rather than walked. Nothing is left out by that.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace, coroutine
from typing import Any, NamedTuple
from unittest import mock

from turnlog.backends.forking import put_fork_in_steps
from turnlog.backends.memory import MemoryBackend, _Run, _Session
from turnlog.backends.port import Backend, Forked, SharedRuns
from turnlog.errors import SessionError
from turnlog.heads import Head, Reference
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import drive

READS = {"get_head", "read", "get_rows", "list_heads", "references", "marked_runs", "referenced_runs"}
CLOCKS = ("core", "changing", "writing", "branching", "reverting", "turns", "labels", "portability")


class Call(NamedTuple):
    """One step that an actor is about to take."""

    verb: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def on(self, backend: MemoryBackend) -> Any:
        """Its answer; an error of the port is an answer too."""
        try:
            return drive(getattr(backend, self.verb)(*self.args, **self.kwargs))
        except SessionError as error:
            return error

    def __str__(self) -> str:
        return f"{self.verb}({', '.join([*map(short, self.args), *(f'{name}={short(value)}' for name, value in self.kwargs.items())])})"


def short(value: Any) -> str:
    """A value as a schedule shows it."""
    run = getattr(value, "run", None)
    return f"{value.session_id}@{run}" if run and hasattr(value, "born") else f"{value!r:.60}"


@coroutine
def asked(call: Call) -> Generator[Call, Any, Any]:
    """Hand a step to whoever runs the actor, and wait for the answer."""
    return (yield call)


def _step(verb: str) -> Callable[..., Coroutine[Any, Any, Any]]:
    async def call(self: Port, *args: Any, **kwargs: Any) -> Any:
        return await asked(Call(verb, args, kwargs))

    return call


class Port:
    """A backend whose every verb waits for its turn. ``together`` promises nothing, as on an engine without transactions."""

    copies = False

    def __init__(self, *, blocking: bool = True) -> None:
        self.blocking = blocking

    def together(self, session_id: str) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def put_fork(self, child: Head, claim: Reference, *, shed: int, expect: Head | None = None) -> Forked:
        return await put_fork_in_steps(self, child, claim, shed=shed, expect=expect)


for _protocol in (Backend, SharedRuns):
    for _verb in vars(_protocol):
        if not _verb.startswith("_") and _verb not in vars(Port):
            setattr(Port, _verb, _step(_verb))


def cloned(backend: MemoryBackend) -> MemoryBackend:
    """The same sessions behind another port."""
    other = MemoryBackend()
    for name, session in backend._sessions.items():
        twin = other._sessions[name] = object.__new__(_Session)
        for slot in _Session.__slots__:
            setattr(twin, slot, getattr(session, slot))
    for name, run in backend._runs.items():
        copy = other._runs[name] = _Run()
        copy.records, copy.places = list(run.records), dict(run.places)
    for parent, children in backend._children.items():
        other._children[parent] = set(children)
    other._rows = {run: {kind: dict(rows) for kind, rows in kinds.items()} for run, kinds in backend._rows.items()}
    other._claims = {run: dict(claims) for run, claims in backend._claims.items()}
    other._marks = dict(backend._marks)
    return other


def content(backend: MemoryBackend) -> str:
    """All that is behind the port, as text that is equal where it is."""
    sessions = sorted((name, s.run, s.counter, s.length, s.rest) for name, s in backend._sessions.items())
    runs = sorted((name, [record and record.id for record in run.records]) for name, run in backend._runs.items())
    rows = sorted((run, kind, sorted(rows.items())) for run, kinds in backend._rows.items() for kind, rows in kinds.items())
    claims = sorted(claim for claims in backend._claims.values() for claim in claims.values())
    return repr((sessions, runs, rows, claims, sorted(backend._marks.values(), key=lambda mark: mark.run)))


@dataclass(frozen=True)
class Op:
    """A verb that an actor runs. ``parts``: what it does in the model, in one or several steps; the first gives the result."""

    text: str
    run: Callable[[AsyncSessionStore], Coroutine[Any, Any, Any]]
    parts: tuple[Callable[[Any], Any], ...] = ()


class Done(NamedTuple):
    """A verb that has begun. ``after``: the verbs that had ended before. ``result`` None with ``crashed``: it never ended."""

    name: str
    op: Op
    after: frozenset[str]
    result: Any
    crashed: bool = False


class Actor(NamedTuple):
    """One line of verbs, where it stands, and what its present verb has been answered."""

    name: str
    ops: tuple[Op, ...]
    at: int = 0
    answers: tuple[Any, ...] = ()
    trace: int = 0
    after: frozenset[str] = frozenset()
    crashed: bool = False

    @property
    def runs(self) -> bool:
        return not self.crashed and self.at < len(self.ops)

    @property
    def begun(self) -> bool:
        return self.runs and bool(self.answers)


class Place(NamedTuple):
    """A point that schedules lead to."""

    backend: MemoryBackend
    actors: tuple[Actor, ...]
    history: tuple[Done, ...]


class Found(AssertionError):
    """A schedule that goes wrong."""


class Tokens:
    """Names made by who asks, so that the same verb with the same answers makes the same names."""

    def __init__(self) -> None:
        self.begin("setup")

    def begin(self, owner: str) -> None:
        self.owner, self.number = owner, 0

    def __call__(self) -> str:
        self.number += 1
        return f"{self.owner}.{self.number}"


@contextmanager
def fixed_names() -> Iterator[Tokens]:
    """Random names and clocks replaced for the time being."""
    tokens, still = Tokens(), SimpleNamespace(time=lambda: 1.0)
    with mock.patch.multiple("turnlog.messages", new_token=tokens, new_message_id=tokens, time=still):
        stack = [mock.patch(f"turnlog.store.{name}.time", still) for name in CLOCKS]
        stack += [mock.patch(f"turnlog.store.{name}.new_token", tokens) for name in ("core", "branching", "reverting", "portability")]
        stack += [mock.patch("turnlog.store.writing.new_message_id", tokens)]
        for patch in stack:
            patch.start()
        try:
            yield tokens
        finally:
            for patch in stack:
                patch.stop()


class Explorer:
    """Walks all schedules of ``actors`` from ``backend`` on, each with at most ``crashes`` crashes. ``open_store`` gives one over a Port.

    ``look`` is called at every place with what is behind the port, ``judge`` at every end with that and the verbs that ran. What they
    raise leaves as Found, with the schedule. ``places`` and ``schedules`` count what was covered.
    """

    def __init__(
        self,
        backend: MemoryBackend,
        actors: dict[str, tuple[Op, ...]],
        *,
        open_store: Callable[[], AsyncSessionStore],
        look: Callable[[MemoryBackend], None],
        judge: Callable[[MemoryBackend, tuple[Done, ...]], None],
        tokens: Tokens,
        crashes: int = 1,
    ) -> None:
        self.start = Place(backend, tuple(Actor(name, ops) for name, ops in actors.items()), ())
        self.open_store, self.look, self.judge, self.tokens, self.crashes = open_store, look, judge, tokens, crashes
        self._schedules: dict[Any, int] = {}
        self._numbers: dict[Any, int] = {}
        self._contents: dict[int, int] = {}
        self._kept: list[MemoryBackend] = []
        self._path: list[str] = []

    @property
    def places(self) -> int:
        return len(self._schedules)

    def run(self) -> int:
        """How many schedules there are; all were covered."""
        try:
            return self._from(self.start)
        except Exception as error:
            raise Found("\n".join([f"{type(error).__name__}: {error}", *(f"  {line}" for line in self._path)])) from error

    def _number(self, value: Any) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def _content(self, backend: MemoryBackend) -> int:
        if id(backend) not in self._contents:
            # Kept alive, so that no other backend gets its id.
            self._kept.append(backend)
            text = content(backend)
            known = text in self._numbers
            self._contents[id(backend)] = self._number(text)
            if not known:
                self.look(cloned(backend))
        return self._contents[id(backend)]

    def _from(self, place: Place) -> int:
        actors = tuple((actor.at, actor.trace, actor.after, actor.crashed) for actor in place.actors)
        # What a verb gave matters for the verdict, the order in which the verbs ended does not.
        history = frozenset((done.name, repr(done.result), done.after, done.crashed) for done in place.history)
        key = (self._content(place.backend), actors, history)
        if key not in self._schedules:
            ways = 0
            for number, actor in enumerate(place.actors):
                if actor.runs:
                    ways += self._try(self._stepped(place, number))
                if actor.begun and sum(other.crashed for other in place.actors) < self.crashes:
                    ways += self._try(self._crashed(place, number))
            if not any(actor.runs for actor in place.actors):
                self.tokens.begin("end")
                self.judge(cloned(place.backend), place.history)
                ways = 1
            self._schedules[key] = ways
        return self._schedules[key]

    def _try(self, step: tuple[str, Place]) -> int:
        self._path.append(step[0])
        ways = self._from(step[1])
        self._path.pop()
        return ways

    def _crashed(self, place: Place, number: int) -> tuple[str, Place]:
        actor = place.actors[number]
        done = Done(f"{actor.name}{actor.at}", actor.ops[actor.at], actor.after, None, crashed=True)
        gone = Actor(actor.name, actor.ops, actor.at, crashed=True)
        return f"{actor.name}: crash", place._replace(actors=replaced(place.actors, number, gone), history=(*place.history, done))

    def _stepped(self, place: Place, number: int) -> tuple[str, Place]:
        actor = place.actors[number]
        op, name = actor.ops[actor.at], f"{actor.name}{actor.at}"
        backend, history, answers = place.backend, place.history, actor.answers
        after = actor.after if answers else frozenset(done.name for done in history if not done.crashed)
        # A coroutine cannot be copied, so the verb is run anew, by a store that remembers what it is given, and told what it was told.
        self.tokens.begin(name)
        running = op.run(self.open_store())
        ended, wanted = advance(running, (None, *answers))
        line = f"{actor.name}: ends" if ended else f"{actor.name}: {wanted}"
        if not ended:
            if wanted.verb not in READS:
                backend = cloned(backend)
            answer = wanted.on(backend)
            answers = (*answers, answer)
            ended, wanted = advance(running, (answer,))
        running.close()
        if ended:
            history = (*history, Done(name, op, after, wanted))
            actor = Actor(actor.name, actor.ops, actor.at + 1)
            line += f" => {short(wanted)}"
        else:
            trace = self._number((actor.trace, repr(answers[-1])))
            actor = Actor(actor.name, actor.ops, actor.at, answers, trace, after)
        return line, Place(backend, replaced(place.actors, number, actor), history)


def advance(running: Coroutine[Any, Any, Any], answers: tuple[Any, ...]) -> tuple[bool, Any]:
    """Give a verb its next answers. (False, the step it wants to take), or (True, its result)."""
    wanted: Any = None
    try:
        for answer in answers:
            wanted = running.throw(answer) if isinstance(answer, SessionError) else running.send(answer)
    except StopIteration as finished:
        return True, finished.value
    except SessionError as error:
        return True, type(error).__name__
    return False, wanted


def replaced(actors: tuple[Actor, ...], number: int, actor: Actor) -> tuple[Actor, ...]:
    return (*actors[:number], actor, *actors[number + 1 :])
