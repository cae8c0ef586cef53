"""export_sessions: sessions of a store as one document or as JSON lines, written session by session."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from turnlog.messages import SessionMessage
from turnlog.session import SessionStore
from turnlog.transfer.own import json_text, only_session, write_own
from turnlog.transfer.report import OnProgress, Progress, Skip, Tally, TransferReport, UnknownFormatError, tell_nobody


def export_sessions(
    store: SessionStore,
    out: TextIO,
    session_ids: Iterable[str] | None = None,
    *,
    format: str = "turnlog",  # noqa: A002  # the word of the command line
    progress: OnProgress | None = None,
) -> TransferReport:
    """Write sessions (None: all) to ``out``, which must take UTF-8; memory holds one session.

    "turnlog": the document of ``export_all``, with everything. "jsonl": one ``{"messages": [...]}`` a line for each session, as tools for
    fine-tuning read it: the messages as a model takes them, without ids, times, fields and snapshots. A session that is not there, or has
    no messages to be written as a line, is a Skip. Raises UnknownFormatError, StorageError.
    """
    if format not in ("turnlog", "jsonl"):
        raise UnknownFormatError(f"there is no format {format!r:.40} to export to: use turnlog or jsonl")
    tally = Tally()
    tell = progress or tell_nobody
    names = list(dict.fromkeys(session_ids)) if session_ids is not None else None
    total = len(names) if names is not None else None
    wanted = names if names is not None else _all_names(store)

    def sessions() -> Iterator[Mapping[str, Any]]:
        for number, name in enumerate(wanted, 1):
            session = only_session(store.export_session(name, include_lineage=False)) if store.session_exists(name) else None
            if session is None:
                tally.skipped.append(Skip(name, "there is no such session"))
            elif format == "jsonl" and not session["messages"]:
                tally.skipped.append(Skip(name, "the session has no messages"))
            else:
                yield session
                tally.sessions += 1
                tally.messages += len(session["messages"])
            tell(Progress(number, total, "sessions", name))

    if format == "turnlog":
        write_own(out, sessions())
    else:
        for session in sessions():
            messages = [SessionMessage.from_dict(message).to_llm_message() for message in session["messages"]]
            out.write(json_text({"messages": messages}) + "\n")
    return tally.report()


def _all_names(store: SessionStore) -> Iterator[str]:
    """Every session once; one that changes while its neighbours are written may be listed twice."""
    seen = set()
    for info in store.iter_sessions(page_size=200):
        if info.session_id not in seen:
            seen.add(info.session_id)
            yield info.session_id
