"""Two workers in processes of their own share users over one store, and are killed again and again: each turn is stored once, in order."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from queue import Empty, Queue
from threading import Thread

import pytest

from tests.servers import redis
from turnlog.session import SessionStore, open_store

ROOT = Path(__file__).parents[2]


class Worker:
    """One process; ``stored`` gets the ids that it acknowledged."""

    def __init__(self, url: str, answers: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bots.worker", url, str(answers)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.stored: Queue[str] = Queue()
        Thread(target=self._read, daemon=True).start()
        assert self.stored.get(timeout=60) == "ready"

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.stored.put(line.strip())

    def deliver(self, update: dict[str, str]) -> bool:
        """Hand an update over; False where it was not acknowledged."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(update) + "\n")
            self.process.stdin.flush()
            while self.process.poll() is None:
                try:
                    return self.stored.get(timeout=0.2) == update["id"]
                except Empty:
                    continue
        except (BrokenPipeError, ValueError):
            return False
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def storm(url: str, answers: Path, *, users: int, messages: int, kills: int) -> Counter[str]:
    """The number of times that each update was answered, by its id."""
    chance = random.Random(5)
    workers = [Worker(url, answers) for _ in range(2)]
    left = {f"user{number}": 0 for number in range(users)}
    total, done, killed = users * messages, 0, 0
    try:
        while left:
            user = chance.choice(list(left))
            number = left[user]
            update = {"id": f"{user}-{number}", "user": user, "text": f"m{number}"}
            while not workers[chance.randrange(2)].deliver(update):
                time.sleep(0.01)
            left[user] += 1
            done += 1
            if left[user] == messages:
                del left[user]
            if done * (kills + 1) >= total * (killed + 1) and killed < kills:
                killed += 1
                which = chance.randrange(2)
                workers[which].kill()
                workers[which] = Worker(url, answers)
        _wait_until_all_is_answered(answers, total)
    finally:
        for worker in workers:
            worker.kill()
    return _answered(answers)


def _answered(answers: Path) -> Counter[str]:
    return Counter(json.loads(line)["id"] for line in answers.read_text().splitlines()) if answers.exists() else Counter()


def _wait_until_all_is_answered(answers: Path, total: int) -> None:
    until = time.monotonic() + 60
    while len(_answered(answers)) < total:
        assert time.monotonic() < until, f"{len(_answered(answers))} of {total} answered"
        time.sleep(0.05)


def check(store: SessionStore, answered: Counter[str], *, users: int, messages: int, kills: int) -> None:
    """Every turn is stored once and in order, every answer was delivered, and twice only where a kill fell into a send."""
    for number in range(users):
        stored = store.get_messages(f"bot_pipe_user{number}")
        assert [message.content for message in stored if message.role == "user"] == [f"m{n}" for n in range(messages)]
        assert [message.role for message in stored] == ["user", "assistant"] * messages
        assert len({message.id for message in stored}) == 2 * messages
    assert set(answered) == {f"user{user}-{number}" for user in range(users) for number in range(messages)}
    # A kill may hit every desk that is at work just then, in the instant between the send and its note.
    assert sum(answered.values()) - len(answered) <= kills


@pytest.mark.parametrize("kind", ["sqlite"])
def test_killed_workers_lose_nothing_and_store_nothing_twice(kind: str, tmp_path: Path) -> None:
    size = {"users": 4, "messages": 8, "kills": 3}
    url = f"sqlite://{tmp_path}/s.sqlite"
    answered = storm(url, tmp_path / "answers", **size)
    with open_store(url) as store:
        check(store, answered, **size)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["sqlite", "json", "redis"])
def test_a_long_storm_of_kills(kind: str, tmp_path: Path) -> None:
    size = {"users": 20, "messages": 20, "kills": 25}
    url = {
        "sqlite": f"sqlite://{tmp_path}/s.sqlite",
        "json": f"json://{tmp_path}/j",
        "redis": f"{redis.shared_url()}?prefix={redis.new_prefix()}" if kind == "redis" else "",
    }[kind]
    answered = storm(url, tmp_path / "answers", **size)
    with open_store(url) as store:
        check(store, answered, **size)
