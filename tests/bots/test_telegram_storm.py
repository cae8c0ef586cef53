"""A storm of messages on two workers of one Redis, through the webhook, while one worker after the other is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.bots.telegram_api import TelegramApi
from tests.servers import redis
from turnlog.session import RedisSessionStore

ROOT = Path(__file__).parents[2]
FIRST_USER = 1_000


class Worker:
    """A process that is started, killed and started again on one port."""

    def __init__(self, api: TelegramApi, store: tuple[str, str], seconds: float, folder: Path, name: str) -> None:
        self.port = redis.free_port()
        self.lives = 0
        self._folder, self._name = folder, name
        self._arguments = [api.url, *store, str(self.port), str(seconds)]
        self.start()

    def start(self) -> None:
        """Begin a life; ``wait`` says when it works."""
        self.lives += 1
        command = [sys.executable, "-m", "tests.bots.telegram_worker", *self._arguments, str(self._journal(self.lives))]
        with open(self._folder / f"{self._name}.log", "ab") as log:
            self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)

    def wait(self) -> None:
        """Wait until it works."""
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n", (self._folder / f"{self._name}.log").read_text()

    def kill(self) -> int:
        """kill -9; gives how many messages it was sending, their delivery not yet noted."""
        self._process.kill()
        self._end()
        journal = self._journal(self.lives)
        last: dict[bytes, bytes] = {}
        for line in journal.read_bytes().split(b"\n") if journal.exists() else ():
            if line:
                what, chat = line.split()
                last[chat] = what
        return sum(what == b"begin" for what in last.values())

    def stop(self) -> None:
        """Let it finish."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._end()

    def _end(self) -> None:
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    def _journal(self, life: int) -> Path:
        return self._folder / f"{self._name}-{life}"


@dataclass
class Outcome:
    """What a storm did."""

    turns: int
    seconds: float
    kills: int
    kills_inside: int
    """Kills that fell inside one send or more."""
    sends_inside: int
    """Sends that a kill fell into."""
    duplicates: int
    redelivered: int
    """Updates that came more than once."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """For journals and logs."""
    yield tmp_path
    for path in tmp_path.iterdir():
        path.unlink()


def storm(folder: Path, *, users: int, messages: int, kill_every: float, kills: int, model: float) -> Outcome:
    """Let it storm; gives what was counted after everything was checked."""
    store = (redis.shared_url(), redis.new_prefix())
    counts: Counter[str] = Counter()
    with TelegramApi(at_once=100) as api, ExitStack() as scope:
        workers = [Worker(api, store, model, folder, name) for name in ("one", "two")]
        for worker in workers:
            scope.callback(worker.stop)
            worker.wait()
        api.targets = [f"http://127.0.0.1:{worker.port}/hook" for worker in workers]
        # A while in which an answer is there and its sender does not know: what a kill finds most easily.
        api.delay = 0.005
        begun = time.monotonic()
        chats = range(FIRST_USER, FIRST_USER + users)
        for number in range(messages):
            for user in chats:
                api.say(f"m{number}", user)

        wanted = [f"{number + 1}: m{number}" for number in range(messages)]

        def all_delivered() -> bool:
            return all(len(api.shown[user]) >= messages and set(api.texts(user)) == set(wanted) for user in chats)

        while not all_delivered():
            others = next((text for user in chats for text in api.texts(user) if text not in wanted), None)
            assert others is None, f"a user was told: {others}"
            assert time.monotonic() - begun < 900, f"{sum(len(api.shown[user]) for user in chats)} answers, {counts}"
            if counts["kills"] < kills:
                time.sleep(kill_every)
                worker = workers[counts["kills"] % 2]
                inside = worker.kill()
                counts.update({"kills": 1, "kills inside": inside > 0, "sends inside": inside})
                worker.start()
                worker.wait()
            else:
                time.sleep(0.05)
        seconds = time.monotonic() - begun
        scope.close()
        for user in chats:
            shown = api.texts(user)
            # In order, a repeated one aside.
            assert [text for place, text in enumerate(shown) if text not in shown[:place]] == wanted
            counts["duplicates"] += len(shown) - messages
        counts["redelivered"] = sum(times > 1 for times in api.deliveries.values())
        assert not api._pending
    with RedisSessionStore(store[0], prefix=store[1]) as kept:
        turns = [each for text in (f"m{number}" for number in range(messages)) for each in (text, f"{int(text[1:]) + 1}: {text}")]
        for user in chats:
            assert [message["content"] for message in kept.get_chat_history(f"bot_telegram_{user}")] == turns
            kept.delete_session(f"bot_telegram_{user}")
    total = users * messages
    return Outcome(total, seconds, *(counts[name] for name in ("kills", "kills inside", "sends inside", "duplicates", "redelivered")))


def test_a_small_storm(folder: Path) -> None:
    outcome = storm(folder, users=20, messages=6, kill_every=0.4, kills=2, model=0.05)
    print(outcome)
    assert outcome.kills >= 1
    assert outcome.duplicates <= outcome.sends_inside


@pytest.mark.soak
@pytest.mark.timeout(1000)
def test_a_storm(folder: Path) -> None:
    outcome = storm(folder, users=200, messages=20, kill_every=3.0, kills=1_000, model=0.02)
    print(outcome)
    assert outcome.kills >= 5
    assert outcome.sends_inside > 0, "no kill fell inside a send: nothing was tried"
    assert outcome.duplicates <= outcome.sends_inside


@pytest.mark.soak
def test_200_users_at_once(folder: Path) -> None:
    """A model that takes 300 ms: all have their answers within 3 s."""
    store = (redis.shared_url(), redis.new_prefix())
    with TelegramApi(at_once=100) as api, ExitStack() as scope:
        worker = Worker(api, store, 0.3, folder, "one")
        scope.callback(worker.stop)
        worker.wait()
        api.targets = [f"http://127.0.0.1:{worker.port}/hook"]
        # The first answer of a process loads what the others use.
        api.say("warm", 1)
        api.wait(lambda: api.shown[1])
        taken = []
        for round_ in range(3):
            chats = range(1_000 * (round_ + 1), 1_000 * (round_ + 1) + 200)
            begun = time.monotonic()
            for user in chats:
                api.say("hello", user)
            api.wait(lambda chats=chats: all(api.shown[user] for user in chats))  # type: ignore[misc]
            taken.append(time.monotonic() - begun)
        scope.close()
    print([f"{seconds:.2f} s" for seconds in taken])
    assert min(taken) < 3.0
