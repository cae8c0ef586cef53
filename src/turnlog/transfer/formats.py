"""Which format a path holds, and opening it as a run of sessions with a count of how far it was read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, get_args

from turnlog.errors import FormatVersionError, InvalidMessageError, StorageError
from turnlog.transfer import praisonai
from turnlog.transfer.carried import Carried
from turnlog.transfer.chatgpt import read_chatgpt
from turnlog.transfer.jsonl import JsonLines
from turnlog.transfer.own import read_own
from turnlog.transfer.report import BrokenImportError, Skip, Unit, UnknownFormatError
from turnlog.transfer.stream import JsonStream

Format = Literal["turnlog", "praisonai", "jsonl", "chatgpt"]
SQLITE = b"SQLite format 3\0"

Items = Iterator[Carried | Skip]


def detect_format(path: str | os.PathLike[str]) -> str:
    """The format of a file or directory: "turnlog", "praisonai", "jsonl" or "chatgpt". Reads no more than it needs to tell.

    Raises UnknownFormatError, BrokenImportError, StorageError.
    """
    path = os.fspath(path)
    with _storage_errors(path):
        if os.path.isdir(path):
            return "praisonai"
        with open(path, "rb") as file:
            if file.read(len(SQLITE)) == SQLITE:
                return _of_database(path)
            file.seek(0)
            stream = JsonStream(file, path)
            first = stream.peek()
            found = {"[": _of_array, "{": _of_object}[first](stream) if first in ("[", "{") else None
    if found is None:
        raise UnknownFormatError(
            f"{path} holds none of the formats {', '.join(get_args(Format))}: check the path, or say the format", path=path
        )
    return found


def _of_database(path: str) -> str:
    try:
        if praisonai.is_transcripts(path):
            return "praisonai"
    except InvalidMessageError as error:
        raise BrokenImportError(str(error), path=path) from error
    text = f"{path} is a database without praisonaiagents' transcripts; a store of turnlog's is copied, not imported: copy sqlite://{path}"
    raise UnknownFormatError(text, path=path)


def _of_array(stream: JsonStream) -> str | None:
    """An array of conversations. Looks at the keys of its first element only."""
    stream.take("[")
    if stream.peek() == "]":
        return "chatgpt"
    if stream.peek() != "{":
        return None
    for key in stream.members():
        if key == "mapping":
            return "chatgpt"
        stream.value()
    return None


def _of_object(stream: JsonStream) -> str | None:
    """A document, a conversation, a session, or the first of many lines."""
    keys = set()
    for key in stream.members():
        keys.add(key)
        if key == "sessions":
            return "turnlog"
        if key == "mapping":
            return "chatgpt"
        if "session_id" in keys and "messages" in keys:
            break
        stream.value()
    if "session_id" in keys:
        return "turnlog" if "version" in keys else "praisonai"
    return "jsonl" if keys & {"messages", "role", "type"} else None


@contextmanager
def opened(path: str, format_name: str, name: str | None) -> Iterator[tuple[Items, Callable[[], int], int | None, Unit]]:
    """The sessions of a path; how far it was read, of how much, counted in what. ``name``: of the one session of JSON lines."""
    with _storage_errors(path):
        if format_name not in get_args(Format):
            text = f"there is no format {format_name!r:.40}: use {', '.join(get_args(Format))}"
            raise UnknownFormatError(text, path=path)
        if format_name == "praisonai":
            total = len([name for name in os.listdir(path) if name.endswith(praisonai.SUFFIX)]) if os.path.isdir(path) else None
            yield _praisonai(path), lambda: 0, total, "sessions"
            return
        size, when = os.path.getsize(path), os.stat(path).st_mtime
        with open(path, "rb") as file:
            if format_name == "jsonl":
                lines = JsonLines(file, path, name, when)
                yield lines.sessions(), lambda: lines.bytes_read, size, "bytes"
                return
            stream = JsonStream(file, path)
            read = read_chatgpt if format_name == "chatgpt" else read_own
            yield read(stream, when), lambda: stream.bytes_read, size, "bytes"


def _praisonai(path: str) -> Items:
    if os.path.isdir(path):
        return praisonai.read_directory(path)
    with open(path, "rb") as file:
        is_database = file.read(len(SQLITE)) == SQLITE
    return praisonai.read_transcripts(path) if is_database else praisonai.read_file(path)


@contextmanager
def _storage_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if isinstance(error, StorageError | FormatVersionError):
            raise
        raise StorageError(f"{error.filename or path}: {error.strerror or type(error).__name__}", path=path) from error
