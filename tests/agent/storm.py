"""Random turns of several agents' processes on one session, with failures, cancels, kills, resumes and drops; and what must hold after."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.agent.processes import AgentProcess
from tests.strict_api import broken_rules

PLAIN = ["my name is Ada", "what is my name?", "tell 30", "slow 0.03", "👋 ünïcödé"]
TOOLS = ["add 2 and 3", "add 2 and 3, add 4 and 5, add 6 and 7", "use nap with abc", "add 1 and 1, use nap with abcdef, use boom"]
ACTIONS = {"chat": 30, "tools": 20, "stream": 15, "fail": 5, "impatient": 8, "kill": 14, "resume": 6, "drop": 2}
WORKERS = 2


@dataclass
class Storm:
    """So many turns from a seed. ``acknowledged`` holds the numbers of the turns whose answer was received."""

    start: Callable[[], AgentProcess]
    turns: int
    seed: int
    acknowledged: set[int] = field(default_factory=set)
    resumed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    _number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> None:
        """All turns, by workers side by side."""
        failures: list[BaseException] = []

        def work(worker: int) -> None:
            try:
                _Worker(self, random.Random(self.seed * WORKERS + worker)).run()
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]

    def next(self) -> int | None:
        """The number of the next turn; None when there are enough."""
        with self._lock:
            if self._number == self.turns:
                return None
            self._number += 1
            return self._number

    def check(self, history: list[dict[str, Any]]) -> None:
        """No acknowledged turn is missing, doubled or split, no other is there in part, and an API takes it all."""
        assert broken_rules(history) == []
        numbers: list[int] = []
        for turn in split(history):
            found = re.match(r"turn (\d+): ", str(turn[0].get("content")))
            assert found is not None, "a turn begins amid another"
            numbers.append(int(found[1]))
            last = turn[-1]
            assert last["role"] == "assistant" and last.get("content") and not last.get("tool_calls"), f"turn {found[1]} is cut off"
            assert [message["role"] for message in turn].count("user") == 1
        doubled = [number for number, times in Counter(numbers).items() if times > 1]
        assert not doubled, f"turns stored twice: {doubled}"
        assert self.acknowledged <= set(numbers), f"turns lost: {sorted(self.acknowledged - set(numbers))}"
        assert len(numbers) >= len(self.acknowledged) + self.resumed

    def took(self, action: str, number: int, answer: dict[str, Any]) -> None:
        """Note what came of an action."""
        with self._lock:
            self.counts[action] += 1
            if "answer" not in answer:
                self.errors[answer.get("error", "killed")] += 1
            elif action == "resume":
                self.resumed += 1
            elif action != "drop":
                self.acknowledged.add(number)


class _Worker:
    """One agent's process after another."""

    def __init__(self, storm: Storm, chance: random.Random) -> None:
        self.storm = storm
        self.chance = chance
        self.process = storm.start()

    def run(self) -> None:
        names, weights = list(ACTIONS), list(ACTIONS.values())
        while (number := self.storm.next()) is not None:
            action = self.chance.choices(names, weights)[0]
            self.send(action, number)
            if action == "kill":
                time.sleep(self.chance.uniform(0, 0.25))
                self.process.kill()
            self.storm.took(action, number, self.process.answer())
            if action == "kill":
                self.process.close()
                self.process = self.storm.start()

    def send(self, action: str, number: int) -> None:
        text = f"turn {number}: {self.chance.choice(PLAIN if action in ('chat', 'stream') else PLAIN + TOOLS)}"
        if action == "tools":
            text = f"turn {number}: {self.chance.choice(TOOLS)}"
        elif action == "fail":
            text = f"turn {number}: {self.chance.choice(TOOLS)}, fail storm{self.storm.seed}x{number}"
        if action in ("resume", "drop"):
            self.process.send(action)
        elif action == "impatient":
            self.process.send(action, text=text, seconds=self.chance.uniform(0.005, 0.2))
        else:
            self.process.send("stream" if action == "stream" or self.chance.random() < 0.2 else "chat", text=text)


def split(history: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The history by turns: each begins where a user speaks."""
    turns: list[list[dict[str, Any]]] = []
    for message in history:
        if message["role"] == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return turns
