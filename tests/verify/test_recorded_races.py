"""Recorders in real races: threads and processes on JSON and SQLite stores, one process killed, and stores that go wrong."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from turnlog.errors import ConflictError
from turnlog.session import DefaultSessionStore, InMemorySessionStore, SessionStore, SqliteSessionStore
from turnlog.testing.linearizable import Recorder, check, load

ROOT = Path(__file__).parents[2]


def opened(kind: str, folder: Path) -> SessionStore:
    """A store of that kind in the folder."""
    if kind == "json":
        return DefaultSessionStore(folder, durability="process", lock_timeout=60)
    return SqliteSessionStore(folder / "sessions.sqlite", durability="process", timeout=60)


def messages(ids: Iterable[str]) -> list[dict[str, str]]:
    """A turn whose texts are its names."""
    return [{"role": "user", "content": each} for each in ids]


def texts(store: SessionStore) -> list[str]:
    """The names of all messages in the session."""
    return [message["content"] for message in store.get_chat_history("s")]


def take_part(store: SessionStore, recorder: Recorder, name: str, turns: int | None) -> None:
    """Append turns of one to three messages and read after each; without end if ``turns`` is None."""
    for number in itertools.count() if turns is None else range(turns):
        ids = [f"{name} {number} {i}" for i in range(1 + number % 3)]
        with recorder.append(ids):
            store.add_messages("s", messages(ids))
        with recorder.read() as seen:
            seen += texts(store)


def be_a_process(kind: str, folder: str, name: str, turns: int | None) -> None:
    """What another process does: say that it is there, wait for the word, take part with a store and a log of its own."""
    recorder = Recorder(Path(folder, f"{name}.jsonl"))
    with opened(kind, Path(folder)) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        take_part(store, recorder, name, turns)
    recorder.close()


def start(*arguments: object) -> subprocess.Popen[bytes]:
    """A process that does ``be_a_process`` and has said that it is ready."""
    program = f"from tests.verify.test_recorded_races import be_a_process; be_a_process{arguments!r}"
    path = os.pathsep.join((str(ROOT / "src"), str(ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


@pytest.mark.parametrize("kind", ["json", "sqlite"])
def test_threads_and_processes_of_which_one_is_killed(kind: str, tmp_path: Path) -> None:
    recorder = Recorder()
    with start(kind, str(tmp_path), "p", 40) as whole, start(kind, str(tmp_path), "k", None) as killed, opened(kind, tmp_path) as store:
        try:
            threads = [threading.Thread(target=take_part, args=(store, recorder, f"t{i}", 40)) for i in range(4)]
            for process in (whole, killed):
                assert process.stdin is not None
                process.stdin.write(b"go\n")
                process.stdin.flush()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert whole.wait(60) == 0
        finally:
            killed.kill()
            killed.wait()
            whole.kill()
        with recorder.read() as seen:
            seen += texts(store)
    logs = [load(tmp_path / f"{name}.jsonl") for name in "pk"]
    calls = [*recorder.calls, *logs[0], *logs[1]]
    assert len(recorder.calls) == 4 * 40 * 2 + 1
    assert len(logs[0]) == 40 * 2
    assert len(logs[1]) > 20, "the killed process took part"
    assert check(calls) == []
    # Without the killed process's log its messages would be nobody's: the others did see them.
    assert {anomaly.kind for anomaly in check([*recorder.calls, *logs[0]])} == {"phantom"}


def test_how_a_call_ends_is_its_outcome() -> None:
    ticks = itertools.count()
    recorder = Recorder(clock=lambda: float(next(ticks)))
    with recorder.append(["a", "b"]):
        assert [(call.outcome, call.ended) for call in recorder.calls] == [("unknown", float("inf"))]
    with pytest.raises(ConflictError), recorder.append(["c"], nothing_written=(ConflictError,)):
        raise ConflictError("another was first")
    with pytest.raises(OSError, match="cut"), recorder.append(["d"], nothing_written=(ConflictError,)):
        raise OSError("the line was cut")
    with pytest.raises(OSError, match="cut"), recorder.read():
        raise OSError("the line was cut")
    with recorder.read() as seen:
        seen += ["a", "b"]
    assert [(call.verb, call.ids, call.began, call.ended, call.outcome) for call in recorder.calls] == [
        ("append", ("a", "b"), 0.0, 1.0, "acknowledged"),
        ("append", ("c",), 2.0, 3.0, "failed"),
        ("append", ("d",), 4.0, 5.0, "unknown"),
        ("read", ("a", "b"), 7.0, 8.0, "acknowledged"),
    ]
    assert all(call.by == f"{os.getpid()} MainThread" for call in recorder.calls)
    assert check(recorder.calls) == []


def test_a_log_has_every_call_at_every_byte_that_a_kill_may_leave(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    recorder = Recorder(log)
    with recorder.append(["a 😀\u2028\ud800"]), recorder.read() as seen:
        seen += ["b"]
    with recorder.append(["b"]):
        assert load(log) == recorder.calls, "an append is in the log before it is made"
    recorder.close()
    assert load(log) == recorder.calls
    whole = log.read_bytes()
    ends = [at + 1 for at, byte in enumerate(whole) if byte == ord("\n")]
    assert len(ends) == 5
    for length in range(len(whole) + 1):
        log.write_bytes(whole[:length])
        said = [json.loads(line) for line in whole[: max((end for end in ends if end <= length), default=0)].splitlines()]
        calls = load(log)
        assert len(calls) == len({fact["number"] for fact in said})
        assert [call.outcome for call in calls].count("acknowledged") == sum("ended" in fact for fact in said)
    with pytest.raises(FileExistsError):
        Recorder(log)


def test_a_log_with_a_spoilt_line_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"number": 0, "verb": "app\n{}\n')
    with pytest.raises(ValueError, match="Unterminated string"):
        load(log)


def found(recorder: Recorder, store: SessionStore) -> list[str]:
    """The kinds of anomalies, after a last read."""
    with recorder.read() as seen:
        seen += texts(store)
    return [anomaly.kind for anomaly in check(recorder.calls)]


def test_a_reader_with_a_cache_is_seen() -> None:
    with InMemorySessionStore() as store:
        recorder = Recorder()
        with recorder.append(["a"]):
            store.add_messages("s", messages(["a"]))
        cached = texts(store)
        with recorder.append(["b"]):
            store.add_messages("s", messages(["b"]))
        with recorder.read() as seen:
            seen += cached
        assert found(recorder, store) == ["stale read"]


def in_step(*steps: object) -> None:
    """Run functions in threads at once and wait for all."""
    threads = [threading.Thread(target=step) for step in steps]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_writers_that_rewrite_the_whole_history_are_seen() -> None:
    with InMemorySessionStore() as store:
        recorder, both_have_read = Recorder(), threading.Barrier(2)

        def write(name: str) -> None:
            with recorder.append([name]):
                history = texts(store)
                both_have_read.wait(10)
                store.set_chat_history("s", messages([*history, name]))

        in_step(lambda: write("a"), lambda: write("b"))
        assert found(recorder, store) == ["lost"]


def test_turns_written_message_by_message_are_seen() -> None:
    with InMemorySessionStore() as store:
        recorder, half = Recorder(), threading.Barrier(2)

        def write(name: str) -> None:
            with recorder.append([f"{name} 0", f"{name} 1"]):
                store.add_message("s", "user", f"{name} 0")
                half.wait(10)
                store.add_message("s", "user", f"{name} 1")

        in_step(lambda: write("a"), lambda: write("b"))
        assert set(found(recorder, store)) == {"split turn"}


def test_a_retry_under_a_new_id_is_seen_and_one_under_its_own_is_not() -> None:
    for ids, expected in ((["1", "2"], ["doubled"]), (["1", "1"], [])):
        with InMemorySessionStore() as store:
            recorder = Recorder()
            for message_id in ids:
                with recorder.append(["a"]):
                    store.add_message("s", "user", "a", message_id=message_id)
            assert found(recorder, store) == expected
