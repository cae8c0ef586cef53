"""Promise 3.5, damage: a message that is lost or spoilt behind the store's back is reported, never skipped silently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from turnlog.errors import CorruptSessionError, StorageError
from turnlog.heads import Stretch
from turnlog.testing.checks import Mismatch, NotRun, holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

SINGLE, BATCH = 9, 3
COUNT = SINGLE + BATCH


def _text(number: int) -> str:
    return f"message number {number:03} é"


def _fill(store: Any) -> None:
    """Single messages, then a turn, so that both ways to write are there, and both at an end."""
    for number in range(SINGLE):
        store.add_message("s", "user", _text(number))
    store.add_messages("s", [{"role": "user", "content": _text(SINGLE + i), "metadata": {"k": i}} for i in range(BATCH)])


def _read(trial: Trial, place: Path) -> int | Exception:
    """How many messages the session of a damaged place gives, or the error."""
    store = None
    try:
        store = trial.open_again(place)
        return len(store.get_chat_history("s"))
    except Exception as error:  # noqa: BLE001  # whatever it is: the case tells which it may be
        return error
    finally:
        if callable(close := getattr(store, "close", None)):
            close()


def _check_whole(trial: Trial, place: Path, what: str) -> None:
    found = _read(trial, place)
    if isinstance(found, int):
        holds(found == COUNT, f"an error, or {COUNT} messages, after {what}", f"{found} messages, and no error")


def _flips(trial: Trial, data: bytes, places: Iterable[int]) -> Iterator[tuple[str, bytes]]:
    """The data with one byte changed, at each of these places in turn, and how it was changed."""
    for number, at in enumerate(places):
        if 0 <= at < len(data):
            byte = (0xFF, data[at] ^ 1, 0x00, data[at] ^ 0x20)[number % 4]
            yield f"byte {at} was made {byte:#04x}", data[:at] + bytes([byte]) + data[at + 1 :]


def _anywhere(trial: Trial, size: int, count: int) -> list[int]:
    """Places all over a file, one in each of ``count`` stretches; some more at its end, where stores keep what they count."""
    if not size:
        return []
    spread = [min(size - 1, int((i + trial.random.random()) * size / count)) for i in range(count)]
    return [*spread, *(size - 1 - trial.random.randrange(120) for _ in range(count // 4))]


@case("3.5.10", "Records that are gone from under a history make every verb that needs them raise CorruptSessionError; none gives less")
def missing(trial: Trial) -> None:
    store: Any = trial.store
    backend: Any = getattr(trial.raw, "backend", None)
    if not callable(getattr(backend, "drop_records", None)):
        raise NotRun("the store has no attribute backend, a port behind its back through which a record could be lost")
    store.add_messages("s", [one for number in range(3) for one in turn("w", number)])
    child = store.fork_session("s")
    head = trial.loop.run(lambda: backend.get_head("s"))
    trial.loop.run(lambda: backend.drop_records("s", head.run, 3, 5))
    if len(trial.loop.run(lambda: backend.read("s", [Stretch(head.run, 0, head.length)]))) == head.length:
        raise NotRun("the backend drops no record that a history shows")
    verbs: dict[str, Callable[[], Any]] = {
        "get_chat_history": partial(store.get_chat_history, "s"),
        "get_chat_history of the last 6": partial(store.get_chat_history, "s", 6),
        "get_working_history": partial(store.get_working_history, "s"),
        "get_messages": partial(store.get_messages, "s"),
        "get_messages 2 to 4": partial(store.get_messages, "s", 2, 4),
        "get_session": partial(store.get_session, "s"),
        "export_session": partial(store.export_session, "s"),
        "window": partial(store.window, "s", 4),
        "get_chat_history of a fork": partial(store.get_chat_history, child),
    }
    for what, verb in verbs.items():
        raises(CorruptSessionError, verb, f"{what}, where two of 9 messages are gone,")
    same(texts(store.get_chat_history("s", 2)), texts(turn("w", 2)[1:]), "the last two messages, which are still there")
    same(len(store.get_messages("s", 0, 3)), 3, "the number of the first three messages, which are still there")


@case("3.5.11", "A message cut out of the data, so that what is left looks whole, is missed, never skipped silently", needs=["place"])
def cut_out(trial: Trial) -> None:
    _fill(trial.store)
    trial.store.close()
    before = {path: path.read_bytes() for path in trial.files()}
    cuts = 0
    for number in range(COUNT - 1):
        marks = _text(number).encode(), _text(number + 1).encode()
        for path, data in before.items():
            start = data.find(marks[0])
            stop = data.find(marks[1], start)
            if min(start, stop) < 0:
                continue
            cuts += 1
            place = trial.copied({**before, path: data[:start] + data[stop:]})
            _check_whole(trial, place, f"message {number} was cut out of {path.name}")
    if not cuts:
        raise NotRun("no file in the place holds the texts of messages one after the other")


@case("3.5.12", "Single bytes changed anywhere in the data never make a history shorter without an error", needs=["place"], seconds=60)
def flipped(trial: Trial) -> None:
    _fill(trial.store)
    trial.store.close()
    before = {path: path.read_bytes() for path in trial.files()}
    for path, data in before.items():
        marks = [at for number in range(COUNT) if (at := data.find(_text(number).encode())) >= 0]
        # Around each message, and the end of the record that holds it; then all over the file.
        near = [at + trial.random.randrange(-80, 120) for at in marks for _ in range(trial.many(4, 40))]
        for what, changed in _flips(trial, data, [*near, *_anywhere(trial, len(data), trial.many(60, 1500))]):
            _check_whole(trial, trial.copied({**before, path: changed}), f"{what} in {path.name}")


@case("3.5.13", "Whatever byte of the data is damaged, the error that says so is a StorageError", needs=["place"], seconds=60)
def typed(trial: Trial) -> None:
    _fill(trial.store)
    trial.store.close()
    before = {path: path.read_bytes() for path in trial.files()}
    for path, data in before.items():
        for what, changed in _flips(trial, data, _anywhere(trial, len(data), trial.many(80, 2000))):
            found = _read(trial, trial.copied({**before, path: changed}))
            if isinstance(found, Exception) and not isinstance(found, StorageError):
                seen = f"{type(found).__name__}: {found}"
                raise Mismatch(f"a StorageError, or the messages, after {what} in {path.name}", seen) from found
