"""Writers that are processes of their own, and what must hold of what they stored. Runs as a program, so that it may fork freely.

``python -m tests.crash.writers kill STORE FOLDER ROUNDS SEED``: writers that are killed, round after round.
``python -m tests.crash.writers race STORE FOLDER``: many writers at once, nobody killed, readers beside them.
STORE is "json" or "sqlite". Prints one JSON object of figures; a promise that does not hold ends it with an AssertionError.
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

from turnlog.session import DefaultSessionStore, SessionMessage, SessionStore, SqliteSessionStore

WRITERS = 4
ROUNDS_A_SESSION = 4
LARGEST = 100_000
"""Characters of the longest message."""


def opened(kind: str, folder: Path) -> SessionStore:
    """A store of that kind in the folder."""
    if kind == "json":
        return DefaultSessionStore(folder, durability="process", lock_timeout=60)
    return SqliteSessionStore(folder / "sessions.sqlite", durability="process", timeout=60)


def start(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process and give its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def turn(writer: str, number: int, sizes: list[int]) -> list[dict[str, str]]:
    """The messages of a turn: each says whose it is, which part of how many, and then fills up."""
    return [
        {"role": "user" if part == 0 else "assistant", "content": f"{writer} {number} {part} {len(sizes)} {'ü' * size}"}
        for part, size in enumerate(sizes)
    ]


def check(messages: list[SessionMessage], acknowledged: set[tuple[str, int]]) -> None:
    """Nothing acknowledged is lost, nothing is stored twice, no turn is split, the order of each writer is kept."""
    seen: set[tuple[str, int]] = set()
    latest: dict[str, int] = {}
    at = 0
    while at < len(messages):
        writer, number, part, size, _ = messages[at].content.split(" ", 4)
        assert part == "0", f"a turn of {writer} begins with part {part}"
        for each, message in enumerate(messages[at : at + int(size)]):
            assert message.content.split(" ", 4)[:4] == [writer, number, str(each), size], f"turn {number} of {writer} is split"
        assert at + int(size) <= len(messages), f"turn {number} of {writer} is not whole"
        assert int(number) > latest.get(writer, -1), f"the turns of {writer} are out of order"
        latest[writer] = int(number)
        seen.add((writer, int(number)))
        at += int(size)
    assert acknowledged <= seen, f"lost: {sorted(acknowledged - seen)[:5]}"


def read_document(path: Path) -> int:
    """Take the lock as any program does, parse the document, and give the number of its messages."""
    with open(f"{path}.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = json.loads(path.read_bytes())
    assert found["message_count"] == len(found["messages"])
    return len(found["messages"])


# Killed ---------------------------------------------------------------------------------------------------------------


def write_until_killed(kind: str, folder: Path, session_id: str, writer: str, seed: str, receipts: int) -> None:
    """Store turns without end; a receipt for each goes to the pipe. One writer also changes the head again and again."""
    luck = random.Random(seed)
    store = opened(kind, folder)
    for number in count():
        size = 3 if luck.random() < 0.4 else 1
        sizes = [int(LARGEST * luck.random() ** 5) for _ in range(size)]
        assert store.add_messages(session_id, turn(writer, number, sizes)) is True
        os.write(receipts, f"{writer} {number}\n".encode())
        if writer.startswith("w0.") and number % 3 == 2:
            store.set_title(session_id, f"title {writer} {number}")
            if number % 2:
                store.delete_snapshot(session_id, store.create_snapshot(session_id))


def listen(receipts: int, until: float) -> bytes:
    """What comes through the pipe until then; until it ends for ``until`` infinity."""
    heard = b""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([receipts], [], [], None if left == float("inf") else left)
        if ready:
            piece = os.read(receipts, 65536)
            if not piece:
                break
            heard += piece
    return heard


def one_round(kind: str, folder: Path, session_id: str, number: int, luck: random.Random) -> set[tuple[str, int]]:
    """Start writers, kill them all at some moment, and give the receipts."""
    reading, writing = os.pipe()
    names = [f"w{place}.{number}" for place in range(WRITERS)]
    pids = []
    for name in names:
        seed = f"{luck.random()}"
        pids.append(start(lambda name=name, seed=seed: write_until_killed(kind, folder, session_id, name, seed, writing)))  # type: ignore[misc]
    os.close(writing)
    heard = listen(reading, time.monotonic() + luck.uniform(0.005, 0.09))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status), "a writer ended by itself"
    heard += listen(reading, float("inf"))
    os.close(reading)
    lines = heard.decode().split("\n")
    assert lines.pop() == ""
    return {(writer, int(turn_number)) for writer, turn_number in (line.split() for line in lines)}


def kill(kind: str, folder: Path, rounds: int, seed: int) -> dict[str, int]:
    """``rounds`` rounds; after each, everything stored so far is judged and the store goes on."""
    luck = random.Random(seed)
    acknowledged: set[tuple[str, int]] = set()
    figures = {"rounds": rounds, "acknowledged": 0, "stored": 0, "set_aside": 0}
    for number in range(rounds):
        session_id = f"s{number // ROUNDS_A_SESSION}"
        if number % ROUNDS_A_SESSION == 0:
            acknowledged = set()
        receipts = one_round(kind, folder, session_id, number, luck)
        acknowledged |= receipts
        figures["acknowledged"] += len(receipts)
        with opened(kind, folder) as store:
            if store.session_exists(session_id) or acknowledged:
                assert store.add_messages(session_id, turn(f"after.{number}", 0, [0])) is True
                acknowledged.add((f"after.{number}", 0))
            messages = store.get_messages(session_id)
            check(messages, acknowledged)
            if kind == "json" and messages:
                assert read_document(folder / f"{session_id}.json") == len(messages)
                assert not list(folder.glob("*.tmp")), "a temporary file stays"
            if number % ROUNDS_A_SESSION == ROUNDS_A_SESSION - 1:
                figures["stored"] += len(messages)
                figures["set_aside"] += len(list(folder.glob("*.torn-*")))
                store.delete_session(session_id)
                assert {each.suffix for each in folder.glob("*.json*")} <= {".lock"}
    return figures


# Racing ---------------------------------------------------------------------------------------------------------------


def race(kind: str, folder: Path) -> dict[str, int]:
    """8 processes x 500 appends to one session, 4 processes x 100 turns of three to another, readers all the while."""
    session_ids = ["singles", "turns"]
    with opened(kind, folder) as store:
        for session_id in session_ids:
            store.create_session(session_id)

    def write(session_id: str, writer: str, number_of_turns: int, size: int) -> None:
        store = opened(kind, folder)
        for number in range(number_of_turns):
            assert store.add_messages(session_id, turn(writer, number, [20] * size)) is True

    reading, writing = os.pipe()

    def read() -> None:
        os.close(writing)
        seen = dict.fromkeys(session_ids, 0)
        store = opened(kind, folder)
        while not select.select([reading], [], [], 0.002)[0]:
            for session_id in session_ids:
                if kind == "json":
                    stored = read_document(folder / f"{session_id}.json")
                else:
                    messages = store.get_messages(session_id)
                    check(messages, set())
                    stored = len(messages)
                assert stored >= seen[session_id], "the history grew shorter"
                seen[session_id] = stored

    readers = [start(read) for _ in range(2)]
    begun = time.monotonic()
    writers = [start(lambda name=f"s{number}": write("singles", name, 500, 1)) for number in range(8)]  # type: ignore[misc]
    for pid in writers:
        assert os.waitpid(pid, 0)[1] == 0, "a writer failed"
    took = time.monotonic() - begun
    writers = [start(lambda name=f"t{number}": write("turns", name, 100, 3)) for number in range(4)]  # type: ignore[misc]
    for pid in writers:
        assert os.waitpid(pid, 0)[1] == 0, "a writer failed"
    os.close(writing)
    for pid in readers:
        assert os.waitpid(pid, 0)[1] == 0, "a reader saw an invalid document"
    with opened(kind, folder) as store:
        singles, turns = (store.get_messages(session_id) for session_id in session_ids)
    assert (len(singles), len(turns)) == (8 * 500, 4 * 100 * 3)
    check(singles, {(f"s{writer}", number) for writer in range(8) for number in range(500)})
    check(turns, {(f"t{writer}", number) for writer in range(4) for number in range(100)})
    return {"milliseconds": int(took * 1000)}


if __name__ == "__main__":
    task, store_kind, place, *numbers = sys.argv[1:]
    print(json.dumps(kill(store_kind, Path(place), *map(int, numbers)) if task == "kill" else race(store_kind, Path(place))))
