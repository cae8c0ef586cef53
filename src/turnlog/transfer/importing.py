"""import_path: sessions out of a file or a directory into a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

from turnlog.errors import InvalidSessionIdError
from turnlog.messages import check_session_id
from turnlog.session import SessionStore
from turnlog.transfer.arriving import Arrivals
from turnlog.transfer.carried import Carried
from turnlog.transfer.formats import Items, detect_format, opened
from turnlog.transfer.report import BrokenImportError, OnProgress, Progress, TransferReport, tell_nobody


def import_path(
    store: SessionStore,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,  # noqa: A002  # the word of the command line
    session_id: str | None = None,
    overwrite: bool = False,
    progress: OnProgress | None = None,
) -> TransferReport:
    """Store the sessions that a path holds: each whole or not at all, parents before their forks, in memory for one session.

    ``format`` None: looked at (``detect_format``). ``session_id``: the id for a path that holds one session; for a file of JSON lines with
    many, what their ids begin with. Ids that a source lacks are made from its content, so importing twice doubles nothing: a session
    that is there is counted as such, one that has grown gets the rest. One that cannot be stored is a Skip, with its reason;
    a session of that id with other messages is one too, unless ``overwrite``.

    Raises UnknownFormatError, BrokenImportError (what came before is stored), FormatVersionError, InvalidSessionIdError, StorageError.
    """
    place = os.fspath(path)
    if session_id is not None:
        check_session_id(session_id)
    found = format or detect_format(place)
    tell = progress or tell_nobody
    with opened(place, found, session_id) as (items, done, total, unit), Arrivals(store, overwrite=overwrite) as arrivals:
        if session_id is not None and found != "jsonl":
            items = _renamed(items, session_id, place)
        try:
            for number, item in enumerate(items, 1):
                arrivals.add(item)
                label = item.session_id if isinstance(item, Carried) else item.name
                tell(Progress(done() if unit == "bytes" else number, total, unit, label))
        except BrokenImportError:
            # Forks whose parents were to follow are worth more without them than not at all.
            arrivals.finish()
            raise
        arrivals.finish()
        return arrivals.tally.report()


def _renamed(items: Items, session_id: str, path: str) -> Items:
    """The one session that there is, under another id. Looks for a second before it gives the first."""
    first: Carried | None = None
    for item in items:
        if not isinstance(item, Carried):
            yield item
        elif first is not None:
            text = f"{path} holds more than one session, and they cannot all have the id {session_id!r}: leave session_id out"
            raise InvalidSessionIdError(text, session_id=session_id)
        else:
            first = item
    yield from _one(first, session_id)


def _one(session: Carried | None, session_id: str) -> Iterator[Carried]:
    if session is not None:
        yield replace(session, session_id=session_id)
