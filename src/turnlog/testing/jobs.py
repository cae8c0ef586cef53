"""What a writer in another process does: jobs on a store that it opens on the place of a case. One printed line is one fact."""

from __future__ import annotations

import os
import pickle
import resource
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from turnlog.testing.faces import Loop, declared_async
from turnlog.testing.subject import Subject
from turnlog.testing.turns import turn


def main() -> None:
    """Read the job from standard input, say that all is imported, and do it once standard input ends."""
    main_file, factory, place, job, arguments = pickle.load(sys.stdin.buffer)
    if main_file is not None:
        # As multiprocessing does it: the caller's script is loaded under another name, so that its guard keeps it from running.
        sys.modules["__main__"] = sys.modules["__mp_main__"] = type(sys)("__mp_main__")
        sys.modules["__main__"].__dict__.update(runpy.run_path(main_file, run_name="__mp_main__"))
    subject, loop = Subject(pickle.loads(factory), five=False), Loop()
    say("ready")
    sys.stdin.buffer.read()
    raw = subject.open(place, loop)
    subject.asynchronous = any(declared_async(raw))
    JOBS[job](subject.face(raw, loop), place, **arguments)


def say(line: str) -> None:
    """Tell the case; one write, so that a kill cannot cut it in two."""
    os.write(1, f"{line}\n".encode())


def append(store: Any, place: Path, *, session_id: str, writer: str, count: int) -> None:
    """``count`` single messages, then leave without closing the store."""
    for number in range(count):
        store.add_message(session_id, "user", f"{writer} {number}")
        say(f"{writer} {number}")
    os._exit(0)


def append_turns(store: Any, place: Path, *, session_id: str, writer: str, count: int, size: int = 0) -> None:
    """``count`` turns of three messages; the line of a turn is printed once it is acknowledged."""
    for number in range(count):
        store.add_messages(session_id, turn(writer, number, size))
        say(f"{writer} {number}")
    store.close()


def append_to_many(store: Any, place: Path, *, prefix: str, writer: str, count: int) -> None:
    """One message to each of ``count`` sessions that the other writers write to as well."""
    for number in range(count):
        store.add_message(f"{prefix}{number}", "user", f"{writer} {number}")
    store.close()


def count_up(store: Any, place: Path, *, session_id: str, writer: str, count: int) -> None:
    """Compare-and-set ``count`` times, again from the start whenever it lost."""
    from turnlog.errors import ConflictError

    won = 0
    while won < count:
        revision = store.get_revision(session_id)
        number = len(store.get_chat_history(session_id))
        try:
            store.add_messages(session_id, [{"role": "user", "content": f"{number}"}], expect_revision=revision)
        except ConflictError:
            continue
        won += 1
    store.close()


def lay_out(store: Any, place: Path) -> None:
    """A title, a fork and a snapshot, then leave without closing the store."""
    store.add_messages("main", turn("w", 0, 0))
    store.set_title("main", "kept")
    store.fork_session("main", 1, new_session_id="fork")
    store.create_snapshot("main", "label")
    store.revert_to_message("main", 0)
    for name in ("deleted", "cleared"):
        store.add_messages(name, turn("w", 0, 0))
    store.delete_session("deleted")
    store.clear_session("cleared")
    say("done")
    os._exit(0)


def label(store: Any, place: Path, *, session_id: str, writer: str, count: int) -> None:
    """Change the session's head ``count`` times, each time between two messages of others."""
    for number in range(count):
        store.add_message(session_id, "user", f"{writer} {number}")
        store.update_session_metadata(session_id, **{f"{writer} {number}": number})
        store.create_snapshot(session_id, f"{writer} {number}")
        store.set_title(session_id, f"{writer} {number}")
    store.close()


def branch(store: Any, place: Path, *, session_id: str, writer: str) -> None:
    """Turns, each followed by changes of the head, until killed; the line of a turn is printed once it is acknowledged."""
    for number in range(10**6):
        store.add_messages(session_id, turn(writer, number))
        say(f"{writer} {number}")
        store.set_title(session_id, f"title {number}")
        store.create_snapshot(session_id, f"label {number}")
        child = store.fork_session(session_id)
        store.update_session_metadata(session_id, number=number)
        if number % 2:
            store.delete_session(child)


def run_turns(store: Any, place: Path, *, session_id: str, writer: str) -> None:
    """Turns that are kept open while they grow and then land, until killed; each line is printed once it is acknowledged."""
    for number in range(10**6):
        name = f"{writer} {number}"
        messages = [{**one, "id": f"{name} {i}"} for i, one in enumerate(turn(writer, number))]
        for length in range(1, len(messages)):
            store.put_open_turn(session_id, name, messages[:length])
            say(f"put {name} {length}")
        store.add_messages(session_id, messages, turn_id=name)
        say(f"landed {name}")


def run_out_of_space(store: Any, place: Path, *, session_id: str, writer: str, size: int) -> None:
    """Append turns until files may grow no more; print each acknowledged turn, then how the first refusal looked, then go on after it."""
    largest = max((path.stat().st_size for path in place.rglob("*") if path.is_file()), default=0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 20 * size, hard))
    refused = False
    for number in range(2000):
        try:
            answer = store.add_messages(session_id, turn(writer, number, size))
        except Exception as error:  # noqa: BLE001  # whatever it raises is what the case asks about
            say(f"refused {type(error).__module__}.{type(error).__name__} {' '.join(kind.__name__ for kind in type(error).__mro__)}")
            refused = True
            break
        say(f"{writer} {number}" if answer is True else f"answered {answer!r}")
    if not refused:
        say("never refused")
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    store.add_messages(session_id, turn("after", 0, 10))
    say("after 0")
    store.close()


JOBS: dict[str, Callable[..., None]] = {
    job.__name__: job for job in (append, append_turns, append_to_many, branch, count_up, label, lay_out, run_out_of_space, run_turns)
}
