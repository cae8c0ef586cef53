"""Documents of ours that praisonaiagents found torn and renamed to ``<file>.corrupt-<time>``: found again and brought back."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import replace
from typing import Any

from turnlog.backends.json_file.files import open_regular, put_in_place, remove
from turnlog.backends.json_file.foreign import incarnation
from turnlog.backends.json_file.rewrite import write_document
from turnlog.backends.json_file.session_file import SessionFile
from turnlog.backends.json_file.views import View, front_at, front_of_view, head_of, load_view, view_records
from turnlog.errors import SessionError
from turnlog.messages import Record

MARK = ".corrupt-"

log = logging.getLogger("turnlog")


def quarantined(path: str, session_id: str) -> list[str]:
    """The documents of this session that were renamed, oldest first."""
    folder, name = os.path.split(path)
    found = []
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    for each in sorted(names):
        if each.startswith(name + MARK) and ".torn-" not in each:
            with suppress(SessionError, OSError):
                front = front_at(os.path.join(folder, each))
                if front is not None and front.head.session_id == session_id:
                    found.append(os.path.join(folder, each))
    return found


def bring_back(path: str, kept: list[str], since: View | None, *, sync: bool) -> View:
    """The session again: what the renamed documents hold, then what ``since``, the document begun in their place, holds.

    Needs the exclusive lock; closes ``since``. A message that several of them hold counts once.
    """
    log.warning("%s had been set aside as %s; its messages are back", path, ", ".join(kept))
    if since is None and len(kept) == 1:
        fd = open_regular(kept[0])
        try:
            put_in_place(fd, kept[0], path, sync=sync)
        finally:
            os.close(fd)
        back = load_view(path, sync=sync, exclusive=True)
        assert back is not None
        return back
    views = [view for view in (load_view(each, sync=sync, exclusive=True) for each in kept) if view is not None]
    written = _joined(path, [*views, since] if since is not None else views, sync=sync)
    for each in kept:
        remove(each)
    return written


def _joined(path: str, views: list[View], *, sync: bool) -> SessionFile:
    try:
        front = front_of_view(views[0])
        records = list(view_records(views[0]))
        fields: dict[str, Any] = dict(front.head.fields)
        ids = {record.id for record in (*records, *front.aside)}
        number = front.head.length
        for view in views[1:]:
            fresh: list[Record] = [record for record in view_records(view) if record.id not in ids]
            ids.update(record.id for record in fresh)
            records += [record._replace(seq=seq) for seq, record in enumerate(fresh, number)]
            number += len(fresh)
            later = front_of_view(view).head.fields
            metadata = {**(fields.get("metadata") or {}), **(later.get("metadata") or {})}
            fields |= {**later, "metadata": metadata} if metadata else later
        name = hashlib.sha256("\n".join(record.id for record in records).encode("utf-8", "surrogatepass")).hexdigest()
        # Its time runs from the last change of any of them.
        updated_at = max(head_of(view).updated_at for view in views)
        front.head = replace(incarnation(front, records, name, fields), updated_at=updated_at)
        return write_document(path, front, records, sync=sync)
    finally:
        for view in views:
            view.close()
