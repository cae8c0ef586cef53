"""Sessions of praisonaiagents: its directory of session files, one such file, and its SQLite transcript files. Nothing is changed there."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import replace
from stat import S_ISREG
from typing import Any
from urllib.parse import quote

from turnlog.errors import InvalidMessageError, SessionError
from turnlog.messages import json_copy
from turnlog.store.portability import KEPT_FIELDS
from turnlog.transfer.carried import Carried
from turnlog.transfer.own import carried_or_skip
from turnlog.transfer.report import BrokenImportError, Skip

SUFFIX = ".json"
MIRRORED = ("model", "llm", "total_tokens", "token_count", "cost", "source", "reasoning_effort")
"""Keys of the metadata that a file also shows beside it."""
_LISTS = ("archived_messages", "messages")
_READ = frozenset((*KEPT_FIELDS, *_LISTS, *MIRRORED)) | {
    *("session_id", "version", "created_at", "updated_at", "metadata"),
    *("parent_id", "forked_from_message_id", "children_ids", "snapshots", "snapshot_storage"),
}
"""Keys of a file whose meaning is known; all others are kept as they are."""


def read_directory(directory: str) -> Iterator[Carried | Skip]:
    """The sessions of the session files in a directory, by file name, and what else lies there."""
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if not S_ISREG(os.lstat(path).st_mode):
            if name.endswith(SUFFIX):
                yield Skip(name, "this is no regular file")
        elif name.endswith(SUFFIX):
            yield from read_file(path)
        elif name.endswith((".db", ".sqlite")):
            yield Skip(name, "a transcript database is imported by its own path")


def read_file(path: str) -> Iterator[Carried | Skip]:
    """The session of one file."""
    name = os.path.basename(path)
    try:
        with open(path, "rb") as file:
            data = json.loads(file.read())
            modified = os.fstat(file.fileno()).st_mtime
    except (ValueError, RecursionError):
        yield Skip(name, "the file is no JSON: it may be torn; look for a backup, or mend it by hand")
        return
    yield from read_session(data, name, modified)


def read_transcripts(path: str) -> Iterator[Carried | Skip]:
    """The sessions of a SQLite transcript file. Raises BrokenImportError."""
    modified = os.stat(path).st_mtime
    try:
        db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)
        try:
            for key, text in db.execute("SELECT session_id, data FROM sessions ORDER BY rowid"):
                yield from _read_row(key, text, modified)
        finally:
            db.close()
    except sqlite3.Error as error:
        text = f"{path} cannot be read as a transcript file of praisonaiagents ({error}): get the file anew"
        raise BrokenImportError(text, path=path) from error


def _read_row(key: object, text: object, modified: float) -> Iterator[Carried | Skip]:
    name = key if isinstance(key, str) and key else "a row without an id"
    try:
        data = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        yield Skip(name, "its row holds no JSON object")
    elif data.get("session_id") != key:
        yield Skip(name, "its row holds the session of another id")
    else:
        yield from read_session(data, name, modified)


def read_session(data: object, name: str, modified: float) -> Iterator[Carried | Skip]:
    """A session as praisonaiagents writes it, and what of it could not be read. ``modified``: the time of what names none."""
    if not isinstance(data, dict) or not isinstance(data.get("session_id"), str) or not isinstance(data.get("messages", []), list):
        yield Skip(name, "this is no session: it needs a session_id and a list of messages")
        return
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and "turnlog" in metadata:
        yield Skip(data["session_id"], "this file is kept by turnlog: copy the store json://… it lies in instead of importing it")
        return
    session = {key: value for key, value in data.items() if key in _READ}
    for key in _LISTS:
        if isinstance(entries := data.get(key), list):
            session[key] = [_with_defaults(entry) for entry in entries if isinstance(entry, dict)]
            odd = [place for place, entry in enumerate(entries) if not isinstance(entry, dict)]
            for place in odd:
                yield Skip(f"{data['session_id']}: {key}[{place}]", "this entry is no object")
    if metadata is None or isinstance(metadata, dict):
        shown = {key: data[key] for key in MIRRORED if data.get(key) is not None}
        session["metadata"] = {**shown, **(metadata or {})}
    try:
        if data.get("snapshots"):
            session["snapshots"] = [_unpooled(snapshot, data) for snapshot in data["snapshots"]]
    except (KeyError, TypeError, AttributeError):
        session["snapshots"] = []
        yield Skip(f"{data['session_id']}: snapshots", "they refer to messages that the file does not hold")
    found = carried_or_skip(session, modified, name)
    try:
        if isinstance(found, Carried) and (further := {key: value for key, value in data.items() if key not in _READ}):
            found = replace(found, fields={**found.fields, **json_copy(further, "session")})
    except SessionError as refusal:
        found = Skip(found.session_id if isinstance(found, Carried) else name, str(refusal))
    yield found


def _with_defaults(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message with what praisonaiagents takes a missing role and content for."""
    return {"role": "user", "content": "", **message}


def _unpooled(snapshot: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """A snapshot with its transcript whole; the file keeps the messages of all snapshots in one pool."""
    refs = snapshot.get("transcript_refs")
    if refs is None:
        return dict(snapshot)
    pool = data["snapshot_storage"]["records"]
    transcript: dict[str, Any] = {}
    for name, ref in refs.items():
        transcript[name] = [_with_defaults(pool[key]) for key in ref["items"]] if "items" in ref else pool[ref["value"]]
    left = ("transcript_refs", "invalidated", "transcript_invalidated")
    whole = {key: value for key, value in snapshot.items() if key not in left}
    if snapshot.get("transcript_invalidated"):
        whole["invalidated"] = True
    return {**whole, "transcript": transcript}


def is_transcripts(path: str) -> bool:
    """Whether a SQLite file holds praisonaiagents' transcripts. Raises InvalidMessageError for a file that cannot be read."""
    try:
        db = sqlite3.connect(f"file:{quote(os.path.abspath(path))}?mode=ro", uri=True)
        try:
            columns = {row[1] for row in db.execute("PRAGMA table_info(sessions)")}
        finally:
            db.close()
    except sqlite3.Error as error:
        raise InvalidMessageError(f"{path} is a damaged SQLite file ({error}): get the file anew") from error
    return {"session_id", "data"} <= columns
