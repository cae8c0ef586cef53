"""The file of open turns: what unfinished turns have produced, beside the document. Not synced, as nothing of it is acknowledged."""

from __future__ import annotations

import json
import logging
import os

from turnlog.backends.json_file.document import dump
from turnlog.backends.json_file.files import TEMPORARY, TURNS, create_new, open_regular, put_in_place, remove, set_aside, write_all
from turnlog.errors import FormatVersionError

FORMAT = 1

log = logging.getLogger("turnlog")


def read_turns(path: str, run: str) -> dict[str, str]:
    """The open turns of a run, oldest first: row by key. Power loss may have left a file that cannot be read: then none."""
    data = _content(path)
    try:
        return _turns(path, data, run) if data is not None else {}
    except (ValueError, RecursionError):
        return {}


def put_turn(path: str, run: str, key: str, body: str) -> None:
    """Store or replace one. Needs the session's lock."""
    data = _content(path)
    try:
        turns = _turns(path, data, run) if data is not None else {}
    except (ValueError, RecursionError):
        if data:
            log.warning("%s could not be read; it is set aside in %s", path + TURNS, set_aside(path, data, sync=False))
        turns = {}
    _write(path, run, {**turns, key: body})


def drop_turns(path: str, run: str, keys: list[str] | None) -> None:
    """Forget those of ``keys``; None for all. Needs the session's lock."""
    if not os.path.lexists(path + TURNS):
        return
    turns = read_turns(path, run)
    kept = {} if keys is None else {key: body for key, body in turns.items() if key not in keys}
    if not kept:
        remove(path + TURNS)
    elif len(kept) < len(turns):
        _write(path, run, kept)


def _content(path: str) -> bytes | None:
    try:
        with open(open_regular(path + TURNS, os.O_RDONLY), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _turns(path: str, data: bytes, run: str) -> dict[str, str]:
    value = json.loads(data.decode())
    found = value.get("format") if isinstance(value, dict) else None
    if isinstance(found, int) and found > FORMAT:
        text = f"{path + TURNS} has format {found}, this turnlog reads up to {FORMAT}: install a newer turnlog"
        raise FormatVersionError(text, path=path + TURNS, found=found, supported=FORMAT)
    turns = value.get("turns") if found == FORMAT else None
    if not isinstance(turns, dict) or not all(isinstance(body, str) for body in turns.values()):
        raise ValueError("no file of open turns")
    # Those of another run ended when the session was cleared.
    return turns if value.get("run") == run else {}


def _write(path: str, run: str, turns: dict[str, str]) -> None:
    temporary = path + TURNS + TEMPORARY
    fd = create_new(temporary)
    try:
        write_all(fd, dump({"format": FORMAT, "run": run, "turns": turns}).encode(), 0)
        put_in_place(fd, temporary, path + TURNS, sync=False)
    except BaseException:
        remove(temporary)
        raise
    finally:
        os.close(fd)
