"""Eight writer processes, one session, and a kill -9 every 50 ms. What was acknowledged is counted in a pipe, outside of any store."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from turnlog.session import SessionStore

WRITERS = 8
KILL_EVERY = 0.05
"""Seconds."""
PATIENCE = 20.0
"""Seconds to go on for where a machine is too busy to store even one turn sooner."""
SESSION = "storm"
TURN = 4
"""Messages in a turn: the user's, a tool call, its result, the answer."""

OpenStore = Callable[[], SessionStore]


@dataclass
class Account:
    """What the pipe told of the writers."""

    acknowledged: list[str] = field(default_factory=list)
    """Keys of the turns whose ``add_messages`` returned True."""
    open_turns: dict[str, str] = field(default_factory=dict)
    """Writer to the turn it has begun and not had acknowledged."""
    kills: int = 0
    hits: int = 0
    """Kills that met their writer in the middle of an append."""
    refusals: list[str] = field(default_factory=list)
    """Types of the errors that writers were given."""
    seconds: float = 0.0


def turn_messages(key: str, size: int) -> list[dict[str, Any]]:
    """A tool turn whose every message names the turn; the tool's result is ``size`` characters longer."""
    call = {"id": key, "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    return [
        {"role": "user", "content": key},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": key, "content": "." * size},
        {"role": "assistant", "content": key},
    ]


def store_turn(store: SessionStore, key: str, size: int) -> bool:
    """What a writer does again and again; True is its receipt."""
    return store.add_messages(SESSION, turn_messages(key, size))


def storm(open_store: OpenStore, seconds: float, watch: Callable[[Account, int | None, float], None]) -> Account:
    """Let the writers write for ``seconds``, killing one after another at random and starting another in its place; then kill all.

    ``watch(account, killed, elapsed)`` is called after every kill with the place of the writer killed, 0 to 7.
    """
    read_end, write_end = os.pipe()
    account = Account()
    heard = _Ear(read_end, account)
    names = [f"w{place}" for place in range(WRITERS)]
    processes = [_start(name, open_store, write_end, read_end) for name in names]
    started, luck = time.monotonic(), random.Random()
    try:
        while (elapsed := time.monotonic() - started) < seconds or (not account.acknowledged and elapsed < PATIENCE):
            next_kill = started + (account.kills + 1) * KILL_EVERY
            heard.listen(next_kill)
            if time.monotonic() < next_kill:
                continue
            place = luck.randrange(WRITERS)
            _kill(processes[place])
            heard.catch_up()
            account.kills += 1
            account.hits += names[place] in account.open_turns
            watch(account, place, elapsed)
            names[place] = f"w{WRITERS + account.kills - 1}"
            processes[place] = _start(names[place], open_store, write_end, read_end)
        account.seconds = time.monotonic() - started
    finally:
        for process in processes:
            os.kill(process, signal.SIGKILL)
        for process in processes:
            os.waitpid(process, 0)
        os.close(write_end)
    account.kills += WRITERS
    heard.listen_to_end()
    account.hits += sum(name in account.open_turns for name in names)
    os.close(read_end)
    return account


def _start(name: str, open_store: OpenStore, write_end: int, read_end: int) -> int:
    """Start a writer in a process of its own and return the process id."""
    process = os.fork()
    if process == 0:
        try:
            os.close(read_end)
            _write(name, open_store, write_end)
        finally:
            os._exit(1)
    return process


def _write(name: str, open_store: OpenStore, pipe: int) -> None:
    """Store turn after turn until killed. Lines this short go into a pipe whole, and stay there when their writer dies."""
    luck = random.Random(name)
    try:
        store = open_store()
        for count in range(1 << 30):
            key = f"{name}.{count}"
            os.write(pipe, f"begin {key}\n".encode())
            if store_turn(store, key, luck.choice((20, 20, 20, 200, 4000))) is True:
                os.write(pipe, f"done {key}\n".encode())
    except Exception as error:  # noqa: BLE001  # whatever a writer was given instead of a receipt, the audience is told
        os.write(pipe, f"error {type(error).__name__}\n".encode())


def _kill(process: int) -> None:
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


class _Ear:
    """Reads the pipe into an account."""

    def __init__(self, pipe: int, account: Account) -> None:
        self._pipe = pipe
        self._account = account
        self._rest = b""

    def listen(self, until: float) -> None:
        """Take what comes until the clock shows ``until``."""
        while (wait := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._pipe], [], [], wait)
            if ready:
                self._read()

    def catch_up(self) -> None:
        """Take what is in the pipe now."""
        if select.select([self._pipe], [], [], 0)[0]:
            self._read()

    def listen_to_end(self) -> None:
        """Take what is left, once nobody writes any more."""
        while self._read():
            pass

    def _read(self) -> bool:
        chunk = os.read(self._pipe, 1 << 20)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(*line.decode().split(" "))
        return chunk != b""

    def _take(self, what: str, value: str) -> None:
        name = value.partition(".")[0]
        if what == "begin":
            self._account.open_turns[name] = value
        elif what == "done":
            self._account.acknowledged.append(value)
            self._account.open_turns.pop(name, None)
        else:
            self._account.refusals.append(value)
