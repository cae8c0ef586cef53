"""The check of calls: each kind of anomaly is named, and a history gives one exactly when no order explains it."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnlog.testing.linearizable import Anomaly, Call, Outcome, check

ROOT = Path(__file__).parents[2]
NEVER = float("inf")


def append(ids: str, began: float, ended: float = NEVER, outcome: Outcome | None = None) -> Call:
    """An append of the messages in ``ids``; acknowledged if it ended and nothing else is said."""
    return Call("append", tuple(ids.split()), began, ended, outcome or ("unknown" if ended == NEVER else "acknowledged"), "w")


def read(ids: str, began: float, ended: float) -> Call:
    """A read that saw the messages in ``ids``."""
    return Call("read", tuple(ids.split()), began, ended, "acknowledged", "r")


def kinds(calls: Sequence[Call]) -> list[str]:
    """The kinds of what is wrong with the calls, sorted."""
    return sorted(anomaly.kind for anomaly in check(calls))


A, B = append("a", 0, 1), append("b", 2, 3)
ALL = read("a b", 8, 9)

FINE = {
    "nothing": [],
    "one after the other": [A, read("a", 1.2, 1.5), B, ALL],
    "at the same time, in either order": [append("a", 0, 5), append("b", 1, 4), read("b", 2, 3), read("b a", 6, 7)],
    "a read beside an append sees it or not": [A, append("b", 2, 5), read("a b", 3, 4), read("a b", 3.5, 6), read("a", 3, 4), ALL],
    "unknown, and never there": [A, append("u", 0, 1, "unknown"), B, ALL],
    "unknown, and there long after its end": [A, append("u", 0, 0.1, "unknown"), B, read("a b", 4, 5), read("a b u", 6, 7)],
    "without end, and there": [append("u", 0), A, B, read("a u b", 6, 7)],
    "failed": [A, append("f", 0, 1, "failed"), B, ALL],
    "failed, then tried again": [append("b", 0, 0.5, "failed"), A, B, ALL],
    "tried again, stored by the first try": [
        append("b", 0, 0.5, "unknown"),
        append("a", 1, 2),
        read("b a", 4, 5),
        append("b", 4, 5),
        read("b a", 6, 7),
    ],
    "a turn": [append("a1 a2", 0, 1), append("b", 0, 1), read("a1 a2 b", 2, 3)],
    "a read that begins as another ends": [append("u", 0), read("u", 1, 2), read("", 2, 3)],
    "the end of one is the beginning of the other": [append("a", 0, 1), append("b", 1, 2), read("b a", 3, 4)],
}

WRONG = {
    "acknowledged, then nowhere": (["lost"], [A, B, read("b", 8, 9)]),
    "seen once, then gone": (["lost"], [append("u", 0), read("u", 1, 2), read("", 3, 4)]),
    "a turn, then nowhere": (["lost"], [append("a1 a2", 0, 1), B, read("b", 8, 9)]),
    "twice": (["doubled"], [A, B, read("a b a", 8, 9)]),
    "twice, and all who read later agree": (["doubled"], [A, B, read("a a b", 4, 5), read("a a b", 8, 9)]),
    "unknown, tried again, there twice": (["doubled"], [append("b", 0, 0.5, "unknown"), A, B, read("b a b", 8, 9)]),
    "an old state after the acknowledgement": (["stale read"], [A, B, read("a", 4, 5), ALL]),
    "an old state after another had read": (["stale read"], [A, append("b", 2, 7), read("a b", 3, 4), read("a", 5, 6), ALL]),
    "nothing after the acknowledgement": (["stale read"], [A, B, read("", 4, 5), ALL]),
    "the later one first": (["swapped"], [A, B, read("b a", 8, 9)]),
    "two readers, two orders": (["swapped"], [append("a", 0, 3), append("b", 0, 3), read("a b", 8, 9), read("b a", 8, 9)]),
    "two readers at once, two orders": (["swapped"], [append("a", 0, 3), append("b", 0, 3), read("a b", 2, 9), read("b a", 8, 9)]),
    "swapped beside a longer read with a double": (
        ["doubled", "swapped"],
        [A, read("a a a a", 1, 1.5), B, append("c", 4, 5), read("a c b", 8, 9)],
    ),
    "half a turn": (["split turn"], [append("a1 a2", 0, 1), read("a1", 2, 3), read("a1 a2", 2, 3)]),
    "half a turn for good": (["split turn"], [append("a1 a2", 0, 1), read("a1", 2, 3)]),
    "another in a turn": (["split turn"], [append("a1 a2", 0, 3), append("b", 0, 3), read("a1 b a2", 4, 5)]),
    "a turn the wrong way round": (["split turn"], [append("a1 a2", 0, 3), read("a2 a1", 4, 5)]),
    "written by nobody": (["phantom"], [A, B, read("a x b", 8, 9)]),
    "failed, and there": (["phantom"], [A, append("f", 0, 1, "failed"), read("a f", 8, 9)]),
    "two readers, two histories": (
        ["not a prefix"],
        [append("a", 0, 9), append("b", 0, 9), read("a", 1, 2), read("b", 1, 2), read("b a", 10, 11)],
    ),
    "a gap": (["not a prefix"], [append("a", 0, 9), append("b", 0, 9), read("b", 1, 2), read("a b", 10, 11)]),
    "one more at the front": (
        ["not a prefix"],
        [append("a", 0, 9), append("b c", 0, 9), append("u", 0), read("u a", 1, 12), read("a b c", 10, 11)],
    ),
    "seen before it began": (["future read"], [A, read("a b", 1.2, 1.5), B, ALL]),
}


@pytest.mark.parametrize("calls", FINE.values(), ids=FINE)
def test_what_one_order_explains_is_no_anomaly(calls: list[Call]) -> None:
    assert check(calls) == []
    assert one_order_explains(calls)


@pytest.mark.parametrize(("expected", "calls"), WRONG.values(), ids=WRONG)
def test_each_anomaly_is_named(expected: list[str], calls: list[Call]) -> None:
    assert kinds(calls) == expected
    assert kinds(calls[::-1]) == expected, "the calls may come in any order"
    assert not one_order_explains(calls)


def test_an_anomaly_names_the_calls_and_counts_those_that_are_alike() -> None:
    [anomaly] = check([A, B, read("a", 4, 5), read("a", 5, 6), ALL])
    of_b = "the append of 'b' (w, 2.000000 to 3.000000, acknowledged)"
    text = f"the read of 1 message(s) (r, 4.000000 to 5.000000) lacks, though known since 3.000000, {of_b}"
    assert anomaly == Anomaly("stale read", f"{text} (and 1 more like it)")


def test_an_anomaly_names_the_try_that_may_have_written() -> None:
    failed, unknown = append("b", 0, 1, "failed"), append("b", 2, 3, "unknown")
    [anomaly] = check([failed, unknown, read("b b", 4, 5)])
    assert str(unknown) in anomaly.text
    [anomaly] = check([failed, unknown, append("b", 4, 5), read("", 6, 7)])
    assert str(append("b", 4, 5)) in anomaly.text


def test_calls_that_prove_little_are_refused() -> None:
    with pytest.raises(ValueError, match="read once more"):
        check([A, read("", 0.5, 2)])
    with pytest.raises(ValueError, match="share a message"):
        check([A, append("a b", 2, 3), ALL])
    with pytest.raises(ValueError, match="each once"):
        append("a a", 0, 1)
    with pytest.raises(ValueError, match="at least one"):
        append("", 0, 1)
    with pytest.raises(ValueError, match="never runs back"):
        read("", 1, 0)


def one_order_explains(calls: Sequence[Call]) -> bool:
    """Try every order of the calls on a list: slow, and knows nothing of what ``check`` does."""
    todo = [call for call in calls if call.outcome != "failed"]
    must = frozenset(i for i, call in enumerate(todo) if call.outcome == "acknowledged")
    tried: set[tuple[frozenset[int], tuple[str, ...]]] = set()

    def explains(done: frozenset[int], history: tuple[str, ...]) -> bool:
        if must <= done:
            return True
        if (done, history) in tried:
            return False
        tried.add((done, history))
        first_end = min(todo[i].ended for i in must - done)
        for i, call in enumerate(todo):
            if i in done or call.began > first_end or (call.verb == "read" and call.ids != history):
                continue
            stored = call.verb == "read" or call.ids[0] in history
            if explains(done | {i}, history if stored else history + call.ids):
                return True
        return False

    return explains(frozenset(), ())


def small_calls(source: random.Random) -> list[Call]:
    """A few calls at random times, with reads that are often right and often not."""

    def times() -> tuple[int, int]:
        began = source.randrange(8)
        return began, began + source.choice((0, 1, 1, 2, 3, 6))

    names = [("a",), ("b",), ("c1", "c2"), ("d",)][: source.randint(1, 4)]
    outcomes: list[Outcome] = ["acknowledged", "acknowledged", "acknowledged", "unknown", "failed"]
    appends = [Call("append", ids, *times(), source.choice(outcomes)) for ids in names for _ in range(source.choice((1, 1, 1, 2)))]
    order = sorted(names, key=lambda ids: min(call.began for call in appends if call.ids == ids) + 3 * source.random())
    reads = []
    for at in [times() for _ in range(source.randint(0, 2))] + [(20, 21)]:
        shown = order[: source.randint(0, len(order))] if at[0] < 20 else list(order)
        if source.random() < 0.15:
            source.shuffle(shown)
        elif source.random() < 0.2 and shown:
            shown.pop(source.randrange(len(shown)))
        seen = [message for ids in shown for message in ids]
        if source.random() < 0.05 and seen:
            seen.insert(source.randrange(len(seen)), source.choice(seen))
        reads.append(Call("read", tuple(seen), *at, "acknowledged"))
    return appends + reads


def test_the_check_agrees_with_trying_every_order() -> None:
    verdicts: Counter[bool] = Counter()
    for seed in range(6000):
        calls = small_calls(random.Random(seed))
        verdicts[one_order_explains(calls)] += 1
        assert (check(calls) == []) is one_order_explains(calls), (seed, calls, check(calls))
    assert min(verdicts.values()) > 1000, verdicts


@dataclass
class Simulation:
    """A linearizable store under clients in any interleaving: an append takes effect at a moment of its call, or later if it is unknown."""

    source: random.Random
    now: int = 0
    history: list[tuple[str, ...]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    late: list[tuple[str, ...]] = field(default_factory=list)

    def client(self, name: str, operations: int):  # type: ignore[no-untyped-def]  # yields where another client may run
        """Appends and reads, with a pause before, between and after what each does; may die in the middle."""
        for number in range(operations):
            began, ids, outcome = self.now, self.names(f"{name}.{number}"), "acknowledged"
            if self.source.random() < 0.5:
                outcome = self.source.choice(("acknowledged", "acknowledged", "acknowledged", "unknown", "failed"))
                at = len(self.calls)
                self.calls.append(Call("append", ids, began, by=name))
                yield
                if outcome == "acknowledged":
                    self.store(ids)
                elif outcome == "unknown":
                    self.late.append(ids)
                yield
                if self.source.random() < 0.05:
                    return
                self.calls[at] = replace(self.calls[at], ended=self.now, outcome=outcome)
            else:
                yield
                seen = self.seen()
                yield
                self.calls.append(Call("read", seen, began, self.now, "acknowledged", name))
            yield

    def names(self, name: str) -> tuple[str, ...]:
        """A new turn, or one tried again whose fate is not known or that failed."""
        open_ends = [call.ids for call in self.calls if call.outcome != "acknowledged"]
        if open_ends and self.source.random() < 0.3:
            return self.source.choice(open_ends)
        return tuple(f"{name}.{i}" for i in range(self.source.randint(1, 3)))

    def store(self, ids: tuple[str, ...]) -> None:
        """A known turn is not stored again."""
        if ids not in self.history:
            self.history.append(ids)

    def seen(self) -> tuple[str, ...]:
        """What a read sees at this moment."""
        return tuple(itertools.chain.from_iterable(self.history))

    def run(self) -> list[Call]:
        """Run clients until all have ended; two reads come last."""
        running = [self.client(f"c{i}", self.source.randint(1, 6)) for i in range(self.source.randint(1, 5))]
        while running:
            self.now += self.source.randint(0, 1)
            if self.late and self.source.random() < 0.2:
                self.store(self.late.pop(self.source.randrange(len(self.late))))
            client = self.source.choice(running)
            if next(client, "ended") == "ended":
                running.remove(client)
        for began in (self.now + 1, self.now + 2):
            self.calls.append(Call("read", self.seen(), began, began + 3, "acknowledged", "last"))
        return self.calls


SIMULATED = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)


@SIMULATED
@given(st.randoms(use_true_random=False))
def test_a_linearizable_history_never_gives_an_anomaly(source: random.Random) -> None:
    assert check(Simulation(source).run()) == []


@dataclass
class Story:
    """A linearizable history in the terms that mutations need."""

    calls: list[Call]
    source: random.Random

    def __post_init__(self) -> None:
        tries = [call for call in self.calls if call.verb == "append" and call.outcome != "failed"]
        self.began = {call.ids: min(each.began for each in tries if each.ids == call.ids) for call in tries}
        self.acknowledged = {
            ids: min((c.ended for c in tries if c.ids == ids and c.outcome == "acknowledged"), default=NEVER) for ids in self.began
        }
        self.reads = [call for call in self.calls if call.verb == "read"]
        turns = {message: ids for ids in self.began for message in ids}
        self.shown = {read: list(dict.fromkeys(turns[message] for message in read.ids)) for read in self.reads}
        self.order = self.shown[self.reads[-1]]
        self.known = {ids: min([self.acknowledged[ids], *(r.ended for r in self.reads if ids in self.shown[r])]) for ids in self.began}

    def showing(self, change: Callable[[Call, list[tuple[str, ...]]], Sequence[tuple[str, ...]]]) -> list[Call]:
        """The calls, each read showing what ``change`` makes of the turns that it shows."""
        changed = {r: replace(r, ids=tuple(itertools.chain.from_iterable(change(r, list(self.shown[r]))))) for r in self.reads}
        return [changed.get(call, call) for call in self.calls]

    def one(self, chosen: Call, ids: Sequence[str]) -> list[Call]:
        """The calls, one read showing other messages."""
        at = self.calls.index(chosen)
        return [*self.calls[:at], replace(chosen, ids=tuple(ids)), *self.calls[at + 1 :]]


def flat(turns: Sequence[tuple[str, ...]]) -> list[str]:
    return [message for ids in turns for message in ids]


def stale(story: Story) -> list[list[Call]]:
    cases = [(r, i) for r in story.reads[:-1] for i, ids in enumerate(story.shown[r]) if story.known[ids] < r.began]
    return [story.one(r, flat(story.shown[r][:i])) for r, i in cases]


def lost(story: Story) -> list[list[Call]]:
    def without(gone: tuple[str, ...], since: float) -> list[Call]:
        return story.showing(lambda r, shown: [ids for ids in shown if ids != gone or r.began <= since])

    acknowledged = [ids for ids in story.order if story.acknowledged[ids] < NEVER]
    return [without(ids, since) for ids in acknowledged for since in (-1, story.known[ids])]


def doubled(story: Story) -> list[list[Call]]:
    cases = [(r, i) for r in story.reads for i in range(len(r.ids))]
    return [story.one(r, (*r.ids[:at], r.ids[i], *r.ids[at:])) for r, i in cases for at in {i + 1, len(r.ids)}]


def swapped_everywhere(story: Story) -> list[list[Call]]:
    def swap(one: tuple[str, ...], other: tuple[str, ...]) -> list[Call]:
        there = {one: other, other: one}
        order = [there.get(ids, ids) for ids in story.order]
        return story.showing(lambda _, shown: order[: len(shown)])

    return [swap(x, y) for x, y in itertools.combinations(story.order, 2) if story.acknowledged[x] < story.began[y]]


def swapped_in_one_read(story: Story) -> list[list[Call]]:
    cases = [(r, shown, i) for r, shown in story.shown.items() for i in range(len(shown) - 1)]
    return [story.one(r, flat([*shown[:i], shown[i + 1], shown[i], *shown[i + 2 :]])) for r, shown, i in cases]


def split(story: Story) -> list[list[Call]]:
    cases = []
    for r in story.reads:
        for ids in (ids for ids in story.shown[r] if len(ids) > 1):
            start = r.ids.index(ids[0])
            before, after = r.ids[:start], r.ids[start + len(ids) :]
            cases += [(r, (*before, *ids[:i], *ids[i + 1 :], *after)) for i in range(len(ids))]
            cases += [(r, (*before, *ids[::-1], *after))]
            cases += [(r, (*before, ids[0], after[0], *ids[1:], *after[1:]))] if after else []
    return [story.one(r, ids) for r, ids in cases]


def phantom(story: Story) -> list[list[Call]]:
    failed = [message for call in story.calls if call.verb == "append" and call.ids not in story.began for message in call.ids]
    return [story.one(r, (*r.ids[:i], ghost, *r.ids[i:])) for r in story.reads for i in (0, len(r.ids)) for ghost in ("nobody's", *failed)]


def gap(story: Story) -> list[list[Call]]:
    cases = [(r, shown, i) for r, shown in story.shown.items() for i in range(len(shown) - 1)]
    return [story.one(r, flat([*shown[:i], *shown[i + 1 :]])) for r, shown, i in cases]


def future(story: Story) -> list[list[Call]]:
    cases = [(r, i) for r in story.reads for i, ids in enumerate(story.order) if story.began[ids] > r.ended]
    return [story.one(r, flat(story.order[: i + 1])) for r, i in cases]


MUTATIONS: dict[str, list[Callable[[Story], list[list[Call]]]]] = {
    "lost": [lost],
    "doubled": [doubled],
    "stale read": [stale],
    "swapped": [swapped_everywhere, swapped_in_one_read],
    "split turn": [split],
    "phantom": [phantom],
    "not a prefix": [gap],
    "future read": [future],
}


@pytest.mark.parametrize(("kind", "mutation"), [(kind, each) for kind, several in MUTATIONS.items() for each in several])
def test_every_mutation_of_a_linearizable_history_is_named(kind: str, mutation: Callable[[Story], list[list[Call]]]) -> None:
    seen = 0
    for seed in range(250):
        source = random.Random(seed)
        mutants = mutation(Story(Simulation(source).run(), source))
        for calls in source.sample(mutants, min(6, len(mutants))):
            assert kind in kinds(calls), (seed, check(calls))
            seen += 1
    assert seen > 300
