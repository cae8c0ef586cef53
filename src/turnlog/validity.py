"""Which messages belong together, and what is wrong with a history's tool calls, by the rules of both vendors' APIs.

A history is valid when every tool call is followed directly by all its results, every result answers such a call, and every
reasoning item is followed by what it belongs to. Three forms are read, also mixed in one history: chat messages (``tool_calls``
and role ``tool``; the older ``function_call`` and role ``function``), Anthropic messages (``tool_use`` and ``tool_result`` parts),
and items of the responses API (``function_call`` and ``function_call_output``, and ``reasoning``).

Nothing else is judged: a message that has no part in a tool call is always kept.

Decisions are made from the newest message to the oldest. So what is decided about a message never depends on anything older
than the call it belongs to, and the end of a long history can be judged without reading its beginning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from turnlog.toolcalls import RESPONSES_CALLS, Kind, Message, Trace, is_plain, read

M = TypeVar("M", bound=Message)

HIDDEN, FREE, BOUND = 0, 1, 2

PROBLEM_TEXTS = {
    "not-an-object": "is not a JSON object: make it a dict with role and content",
    "empty-calls": "has an empty tool_calls list: leave the key out",
    "malformed-call": "has a tool call without a name, a known type or arguments of the right type: complete it as the API sent it",
    "missing-call-id": "has a tool call without an id: give every call the id that the API gave it",
    "duplicate-call-id": "has two tool calls with one id: give every call its own",
    "repeated-call-id": "has a tool call whose id is used again further on: give every call its own",
    "misplaced-call": "has a tool call in a role that cannot call: move it to an assistant message",
    "misplaced-result": "has a tool result in a role that cannot answer: move it to a user message",
    "mixed-forms": "has tool calls or results in two forms at once: use one vendor's form in a message",
    "call-without-result": "has a tool call with no result: add a result for each of its calls directly after it",
    "results-apart": "has a tool call whose results are not all directly after it: move them there, in one message where its form says so",
    "nested-call": "has a tool call that was still open when another was made: put its results before the next call",
    "result-without-call": "has a tool result that no call directly before it asked for: put it after its call, or leave it out",
    "result-of-incomplete-call": "has a result of a tool call that lacks other results: complete them, or leave it out",
    "duplicate-result": "has a second result for one tool call: keep one",
    "missing-result-id": "has a tool result that names no call: set the id of its call",
    "malformed-result": "has a tool result without content, or without the name of its function: set it, an empty string will do",
    "results-not-first": "has a part before its tool results: put the results first",
    "reasoning-without-item": "is reasoning without the item it belongs to: put that item directly after it, or leave it out",
}


@dataclass(frozen=True, slots=True)
class HistoryProblem:
    """One message that no API would take where it stands. ``code`` is one of a fixed set of words; ``text`` tells the place and the fix."""

    index: int
    code: str
    text: str


def validate_history(messages: Sequence[Message]) -> list[HistoryProblem]:
    """What is wrong with the tool calls of a history, in order; an empty list when an API takes it.

    The messages named are exactly those that ``repair_history`` leaves out. No text holds anything of a message.
    """
    if is_plain(messages):
        return []
    wrong = Scan(messages).wrong
    return [HistoryProblem(index, code, f"message {index} {PROBLEM_TEXTS[code]}") for index, code in sorted(wrong.items())]


def repair_history(messages: Sequence[M]) -> list[M]:
    """The history without the messages that make it invalid; none is changed, copied or made up, and their order is kept.

    Left out are: a tool call whose results are not all directly after it (what is left out itself does not count as
    between), with the results it has; parallel calls all together; results with no call, or before it; every result after the first for one
    call; the outer of two nested calls; a reasoning item whose item is left out; messages that are malformed. An
    Anthropic user message is kept or left out as a whole: where its results are not exactly those of the call before it, its
    text goes with them. Where two calls of the Anthropic or responses form share an id, the newer stays.
    Repairing twice is repairing once; a valid history comes back equal.
    """
    if is_plain(messages):
        return list(messages)
    states = Scan(messages).states
    return [message for message, state in zip(messages, states, strict=True) if state]


class Scan:
    """One reading of a history, newest message first.

    ``states[i]`` is HIDDEN, FREE (kept, and a history may begin there) or BOUND (kept, and only together with the kept message
    before it). ``wrong`` gives the code for each hidden index. Where ``messages`` is only the end of a longer history (``whole``
    False), all that is said holds from index ``edge`` on; what is before depends on messages not seen.
    """

    __slots__ = ("_called", "_carriers", "_lost", "_open", "_run", "_since", "edge", "states", "wrong")

    def __init__(self, messages: Sequence[Message], *, whole: bool = True) -> None:
        count = len(messages)
        self.states = bytearray(count)
        self.wrong: dict[int, str] = {}
        self.edge = count
        # Results whose call has not been met yet, by form and id; Anthropic carriers by index, since they answer as a whole.
        self._open: dict[tuple[str, str], int] = {}
        self._carriers: dict[int, Trace] = {}
        # Responses items and assistant texts of one answer of the model, newest first; its parallel calls are judged together.
        self._run: list[tuple[int, Trace]] = []
        self._called: set[tuple[str, str]] = set()
        self._lost: set[tuple[str, str]] = set()
        self._since: Kind | None = None
        for index in range(count - 1, -1, -1):
            self._step(index, read(messages[index]))
        if whole:
            self._close_run(0)
            self._settle(0)

    def _step(self, index: int, trace: Trace) -> None:
        kind = trace.kind
        if kind is Kind.OUTPUT or kind is Kind.REASONING or (kind is Kind.CALL and trace.form in RESPONSES_CALLS):
            self._run.append((index, trace))
            if kind is Kind.OUTPUT:
                self._speak(index)
            return
        self._close_run(index + 1)
        if kind is Kind.BROKEN:
            self.wrong[index] = trace.code
        elif kind is Kind.RESULT:
            self._hold(index, trace)
        elif kind is Kind.INPUT:
            self._settle(index)
            self.states[index] = FREE
            self._since = kind
        elif trace.form == "anthropic":
            self._match_carrier(index, trace)
        else:
            self._match_results(index, trace)

    def _speak(self, index: int) -> None:
        """An assistant text stands between a call and its results in every form but the responses items of one answer."""
        self.states[index] = FREE
        self._drop([key for key in self._open if key[0] in ("chat", "function")])
        self._drop_carriers()
        self._since = Kind.OUTPUT

    def _hold(self, index: int, trace: Trace) -> None:
        if trace.form == "anthropic":
            self._carriers[index] = trace
            return
        key = (trace.form, trace.ids[0])
        if key in self._open:
            self.wrong[self._open[key]] = "duplicate-result"
        self._open[key] = index

    def _settle(self, edge: int) -> None:
        """All from ``edge`` on is decided: no older call can reach past it."""
        self._drop(list(self._open))
        self._drop_carriers()
        self.edge = edge

    def _drop(self, keys: list[tuple[str, str]]) -> None:
        for key in keys:
            self.wrong[self._open.pop(key)] = "result-without-call"
        self._lost.update(keys)

    def _drop_carriers(self) -> None:
        for index, trace in self._carriers.items():
            self.wrong[index] = "result-without-call"
            self._lost.update(("anthropic", call_id) for call_id in trace.ids)
        self._carriers.clear()

    def _refuse(self, index: int, keys: list[tuple[str, str]], *, repeated: bool = False) -> None:
        """Hide a call and the results it has."""
        given = [self._open.pop(key) for key in keys if key in self._open]
        wanted = {call_id for form, call_id in keys if form == "anthropic"}
        given += [place for place, trace in self._carriers.items() if not wanted.isdisjoint(trace.ids)]
        for place in given:
            self._carriers.pop(place, None)
            self.wrong[place] = "result-of-incomplete-call"
        apart = bool(given) or any(key in self._lost for key in keys)
        code = "repeated-call-id" if repeated else "call-without-result" if not apart else "results-apart"
        self.wrong[index] = "nested-call" if code == "results-apart" and self._since is Kind.CALL else code

    def _keep(self, call: int, results: list[int]) -> None:
        self.states[call] = FREE
        for place in results:
            self.states[place] = BOUND
        self._settle(call)
        self._since = Kind.CALL

    def _match_results(self, index: int, trace: Trace) -> None:
        keys = [(trace.form, call_id) for call_id in trace.ids]
        if all(key in self._open for key in keys):
            self._keep(index, [self._open.pop(key) for key in keys])
        else:
            self._refuse(index, keys)

    def _match_carrier(self, index: int, trace: Trace) -> None:
        keys = [("anthropic", call_id) for call_id in trace.ids]
        repeated = not self._called.isdisjoint(keys)
        fitting = [place for place, carrier in self._carriers.items() if set(carrier.ids) == set(trace.ids)]
        if repeated or not fitting:
            self._refuse(index, keys, repeated=repeated)
            return
        del self._carriers[min(fitting)]
        self._called.update(keys)
        self._keep(index, [min(fitting)])

    def _close_run(self, start: int) -> None:
        """Judge the run that begins at ``start``: its parallel calls, then its reasoning, then what must stay together."""
        run, self._run = self._run, []
        if not run:
            return
        last_result = -1
        for block in _parallel_blocks(run):
            keys = [(trace.form, trace.ids[0]) for _, trace in block]
            repeated = not self._called.isdisjoint(keys) or len(set(keys)) < len(keys)
            if repeated or not all(key in self._open for key in keys):
                for index, trace in block:
                    self._refuse(index, [(trace.form, trace.ids[0])], repeated=repeated)
                continue
            results = [self._open.pop(key) for key in keys]
            self._called.update(keys)
            for index, _ in block:
                self.states[index] = FREE
            for place in results:
                self.states[place] = BOUND
            last_result = max(last_result, *results)
        self._bind(run, answered=last_result >= 0)
        if any(self.states[index] for index, _ in run):
            self._settle(start)
            self._since = Kind.CALL if last_result >= 0 else Kind.OUTPUT

    def _bind(self, run: list[tuple[int, Trace]], *, answered: bool) -> None:
        follower = HIDDEN
        for index, trace in run:
            if trace.kind is Kind.REASONING:
                self.states[index] = FREE if follower else HIDDEN
                if not follower:
                    self.wrong[index] = "reasoning-without-item"
            follower = self.states[index]
        # Reasoning goes with the item after it; where calls were answered, it goes with all of that answer.
        tied = False
        for index, trace in reversed(run):
            if tied and self.states[index]:
                self.states[index] = BOUND
            ties = trace.kind is Kind.REASONING or (trace.kind is Kind.CALL and answered)
            tied = (tied and answered) or (ties and self.states[index] != HIDDEN)


def _parallel_blocks(run: list[tuple[int, Trace]]) -> list[list[tuple[int, Trace]]]:
    """The calls of a run, newest first, in the sets that were made at once: with no text of the model between them."""
    blocks: list[list[tuple[int, Trace]]] = [[]]
    for index, trace in run:
        if trace.kind is Kind.CALL:
            blocks[-1].append((index, trace))
        elif trace.kind is Kind.OUTPUT:
            blocks.append([])
    return [block for block in blocks if block]
