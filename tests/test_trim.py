"""Windows: at every cut of random histories the judge takes them, they are as long as they may be, and planted faults are caught."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.histories import SAID, THOUGHT, USER, History, Message, chat, item, output, random_history, result, soups, tool, use
from tests.strict_api import broken_rules
from turnlog import toolcalls, trim, validity
from turnlog.errors import MessageIndexError
from turnlog.trim import Window, first_kept, turns, window, within_tokens


def cost(message: Any) -> int:
    """Tokens of a message for these tests: some, and not the same for all."""
    return 1 + len(str(message)) % 5


def findings(history: History, rng: random.Random) -> Iterator[str]:
    """What is wrong with the windows of one history, over every cut."""
    messages = history.messages
    if validity.repair_history(messages) != history.kept():
        yield "the repaired history is not what it should be"
    for limit in range(len(messages) + 2):
        got = window(messages, limit)
        if broken := broken_rules(got):
            yield f"limit {limit}: an API refuses it: {broken}"
        if got != history.window(limit):
            yield f"limit {limit}: not the newest groups that fit"
        spoken = window(messages, limit, from_user=True)
        if broken_rules(spoken) or (spoken and (spoken[0].get("role") != "user" or "tool_result" in str(spoken[0]))):
            yield f"limit {limit}: does not begin where a user speaks"
    for budget in range(0, sum(map(cost, messages)) + 2, 3):
        got = within_tokens(messages, budget, cost)
        if broken_rules(got) or got != history.window(None, budget, cost):
            yield f"budget {budget}: not the newest groups that fit"
    for start in range(len(messages) + 1):
        limit = rng.randrange(1, 12)
        got_here = Window(limit).of_suffix(messages[start:], whole=start == 0)
        if got_here is not None and got_here != history.window(limit):
            yield f"limit {limit} from {start} on: not what the whole history gives"


def campaign(histories: range) -> list[str]:
    """All findings over these seeds."""
    return [f"history {seed}: {found}" for seed in histories for found in findings(random_history(seed), random.Random(seed))]


def test_every_cut_of_1000_histories() -> None:
    assert campaign(range(1000)) == []


def test_the_campaign_meets_what_it_claims_to_meet() -> None:
    refused = cuts = 0
    codes: set[str] = set()
    for seed in range(1000):
        messages = random_history(seed).messages
        codes |= {problem.code for problem in validity.validate_history(messages)}
        for limit in range(1, len(messages) + 1):
            cuts += 1
            refused += bool(broken_rules(messages[-limit:]))
    assert cuts > 10_000
    assert refused > cuts / 3, "a plain slice must fail often, or this proves nothing"
    assert {
        "call-without-result",
        "results-apart",
        "nested-call",
        "result-without-call",
        "duplicate-result",
        "reasoning-without-item",
    } <= codes


def keeping(*codes: str) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault: messages with these problems are kept."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        sound = validity.Scan.__init__

        def faulty(self: Any, messages: Any, *, whole: bool = True) -> None:
            sound(self, messages, whole=whole)
            for index, code in self.wrong.items():
                if code in codes:
                    self.states[index] = validity.FREE

        patch.setattr(validity.Scan, "__init__", faulty)

    return plant


def replacing(owner: Any, name: str, make: Callable[[Any], Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """A fault: a function does something else, given what it was."""
    return lambda patch: patch.setattr(owner, name, make(getattr(owner, name)))


def cut_anywhere(sound: Any) -> Any:
    return lambda self, kept, bound: sound(self, kept, bytes(len(kept)))


def one_too_many(sound: Any) -> Any:
    return lambda self, kept, bound: (max(sound(self, kept, bound)[0] - 1, 0), sound(self, kept, bound)[1])


def one_too_few(sound: Any) -> Any:
    return lambda self, kept, bound: (min(sound(self, kept, bound)[0] + 1, len(kept)), True)


def forget_what_is_decided(sound: Any) -> Any:
    return lambda self, messages, *, whole=True: sound(self, messages, whole=True)


def one_call_at_a_time(sound: Any) -> Any:
    return lambda run: [[pair] for block in sound(run) for pair in block]


def hide_spoken_words(sound: Any) -> Any:
    def faulty(self: Any, index: int) -> None:
        sound(self, index)
        if self._open:
            self.states[index] = validity.HIDDEN

    return faulty


def loose_results(sound: Any) -> Any:
    def faulty(self: Any, call: int, results: list[int]) -> None:
        sound(self, call, results)
        for place in results:
            self.states[place] = validity.FREE

    return faulty


def last_answer_wins(sound: Any) -> Any:
    def faulty(self: Any, index: int, trace: Any) -> None:
        if trace.form != "anthropic" and (trace.form, trace.ids[0]) in self._open:
            self.wrong[index] = "duplicate-result"
        else:
            sound(self, index, trace)

    return faulty


FAULTS = {
    "cuts inside a group": replacing(Window, "_start", cut_anywhere),
    "gives one message too many": replacing(Window, "_start", one_too_many),
    "gives one message too few": replacing(Window, "_start", one_too_few),
    "leaves out the call and keeps its results": keeping("result-of-incomplete-call"),
    "keeps results that have no call": keeping("result-without-call"),
    "keeps calls that have no result": keeping("call-without-result"),
    "keeps calls whose results are elsewhere": keeping("results-apart"),
    "keeps the outer of two nested calls": keeping("nested-call"),
    "keeps second results": keeping("duplicate-result"),
    "keeps the second result in place of the first": replacing(validity.Scan, "_hold", last_answer_wins),
    "keeps reasoning that leads nowhere": keeping("reasoning-without-item"),
    "judges parallel items one by one": replacing(validity, "_parallel_blocks", one_call_at_a_time),
    "takes the end of a history for the whole": replacing(trim, "Scan", lambda scan: lambda messages, *, whole: scan(messages, whole=True)),
    "lets a window begin at a result": replacing(validity.Scan, "_keep", loose_results),
    "leaves out what the model said": replacing(validity.Scan, "_speak", hide_spoken_words),
    "looks at no message": replacing(trim, "is_plain", lambda sound: lambda messages: True),
    "repairs nothing": replacing(validity, "is_plain", lambda sound: lambda messages: True),
    "takes anybody for a user": replacing(trim, "is_user", lambda sound: lambda message: True),
    "does not tie reasoning to its answer": replacing(toolcalls, "REASONING", lambda sound: toolcalls.OUTPUT),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_the_campaign_catches_a_fault(fault: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = range(120)
    fault(monkeypatch)
    assert campaign(seeds) != []


@settings(max_examples=400, deadline=None, derandomize=True)
@given(soups(), st.integers(0, 13), st.none() | st.integers(0, 20), st.booleans())
def test_the_end_of_a_history_gives_what_the_whole_gives(messages: list[Any], limit: int, budget: int | None, from_user: bool) -> None:
    wanted = Window(limit, budget, cost, from_user)
    full = wanted.of(messages)
    assert broken_rules(full) == []
    assert wanted.of_suffix(messages, whole=True) == full
    decided = [wanted.of_suffix(messages[start:], whole=False) for start in range(len(messages) + 1)]
    assert all(found == full for found in decided if found is not None)
    last = max((start for start, found in enumerate(decided) if found is not None), default=-1)
    assert all(found is not None for found in decided[: last + 1]), "reading further back must not undo a decision"


def test_a_little_more_than_the_limit_decides() -> None:
    """A store that reads the limit and some slack must not be sent back for more without need."""
    group = [USER, chat("a", "b"), tool("a"), tool("b"), SAID]
    items = [USER, THOUGHT, item("a"), item("b"), output("a"), output("b"), SAID]
    for turn in ([USER, SAID], group, items, [USER, use("a"), result("a"), SAID]):
        turns_made = [[rename(message, number) for message in turn] for number in range(30)]
        messages = [message for made in turns_made for message in made]
        for limit in range(1, 40):
            found = Window(limit).of_suffix(messages[-limit - len(turn) :], whole=False)
            assert found == window(messages, limit)


def rename(message: Message, number: int) -> Message:
    """The message with call ids of its own."""
    text = json.dumps(message).replace('"a"', f'"a{number}"').replace('"b"', f'"b{number}"')
    return dict(json.loads(text))


def test_what_the_model_reasoned_is_not_cut_from_its_answer() -> None:
    messages = [USER, THOUGHT, SAID]
    assert window(messages, 1) == []
    assert window(messages, 2) == [THOUGHT, SAID]
    assert Window(1).of_suffix([SAID], whole=False) is None
    assert Window(1).of_suffix([THOUGHT, SAID], whole=False) is None
    assert Window(1).of_suffix(messages, whole=False) == []


def test_plain_text_is_read_no_further_than_needed() -> None:
    unreadable: list[Any] = [object()] * 1000
    messages = [*unreadable, *([USER, SAID] * 30)]
    for from_user in (False, True):
        assert Window(50, from_user=from_user).of_suffix(messages, whole=True) == [USER, SAID] * 25
    assert window([USER, SAID] * 30, 49) == ([USER, SAID] * 25)[1:]
    assert window([USER, SAID] * 30, 49, from_user=True) == [USER, SAID] * 24


def test_no_limit_is_everything() -> None:
    messages = [USER, chat("a"), tool("a"), SAID]
    assert window(messages, None) == window(messages, 0) == Window().of(messages) == messages
    assert window(messages, None) is not messages
    assert window([], 5) == []
    assert Window(5).of_suffix([], whole=False) is None
    assert Window().of_suffix(messages, whole=False) is None


def test_a_window_that_no_group_fits_is_empty() -> None:
    messages = [USER, chat("a", "b"), tool("a"), tool("b")]
    assert window(messages, 2) == []
    assert window(messages, 3) == messages[1:]
    assert window(messages, 3, from_user=True) == []
    assert window(messages, 4, from_user=True) == messages


def test_each_message_is_counted_once_from_the_end() -> None:
    counted: list[Any] = []

    def count(message: Any) -> int:
        counted.append(message)
        return 10

    numbered = [{"role": "user", "content": str(number)} for number in range(9)]
    assert within_tokens(numbered, 35, count) == numbered[-3:]
    assert counted == numbered[:-5:-1]
    assert within_tokens(numbered, 0, count) == []
    assert Window(2, 1000, count).of(numbered) == numbered[-2:]
    assert Window(5, 20, count).of(numbered) == numbered[-2:]


def test_wrong_limits_are_refused() -> None:
    with pytest.raises(MessageIndexError, match="-1"):
        window([], -1)
    with pytest.raises(ValueError, match="count"):
        Window(budget=5)


def test_turns_begin_where_a_user_speaks() -> None:
    system = {"role": "system", "content": "be brief"}
    messages = [system, USER, use("a"), result("a"), SAID, USER, chat("b"), tool("b"), USER, SAID]
    assert turns(messages) == [(0, 5), (5, 8), (8, 10)]
    assert turns([]) == []
    assert turns([system, SAID]) == [(0, 2)]
    assert turns([USER]) == [(0, 1)]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(0, 25))
def test_whole_turns_remain(seed: int, limit: int) -> None:
    messages = random_history(seed).messages
    start = first_kept(messages, limit)
    starts = [begin for begin, _ in turns(messages)]
    assert start in {0, *starts}
    if limit == 0 or len(messages) <= limit:
        assert start == 0
    elif len(messages) - start > limit:
        assert start == starts[-1], "only the newest turn may be longer than the limit"
    else:
        assert all(len(messages) - earlier > limit for earlier in starts if earlier < start)
    assert first_kept(messages, None) == 0
