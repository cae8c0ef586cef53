"""Finding sessions: by the beginning of an id, their line in a listing, their heads, and their completion in a shell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from itertools import islice

import typer

from turnlog.backends.port import Query
from turnlog.bots.keys import is_desk
from turnlog.cli import safe
from turnlog.cli.stores import Store, open_any
from turnlog.errors import SessionError, SessionNotFoundError
from turnlog.heads import Head
from turnlog.session import SessionInfo, SessionStore
from turnlog.store.core import alive
from turnlog.store.drive import drive

SHOWN = 10
"""How many candidates an ambiguous beginning lists."""
LOOKED_AT = 1000
"""How many of the sessions last changed are looked at for a similar name."""
PAGE = 500


class AmbiguousSessionError(SessionError, LookupError):
    """Several sessions begin with what was given. Attribute: ``candidates`` (ids)."""


def find(store: Store, text: str) -> str:
    """The id that ``text`` names: exactly, else as its beginning.

    Raises AmbiguousSessionError with the candidates, SessionNotFoundError with similar names.
    """
    if store.session_exists(text):
        return text
    if not isinstance(store, SessionStore):
        raise SessionNotFoundError(f"there is no session {text!r}; this store cannot list what it has: give a whole id", session_id=text)
    every = list(islice(store.iter_sessions(prefix=text, page_size=SHOWN + 1), 2 * SHOWN + 1))
    begins = list(conversations(every)) or every
    if len(begins) == 1:
        return begins[0].session_id
    if begins:
        names = ", ".join(named(info) for info in begins[:SHOWN]) + (" and more" if len(begins) > SHOWN else "")
        raise AmbiguousSessionError(
            f"several sessions begin with {text!r}: {names}; give more of the id",
            session_id=text,
            candidates=[info.session_id for info in begins],
        )
    raise not_found(store, text)


def not_found(store: SessionStore, text: str) -> SessionNotFoundError:
    """The error for a name that no session has, with similar ones."""
    infos = list(islice(conversations(store.iter_sessions(page_size=PAGE)), LOOKED_AT))
    folded = text.casefold()
    holding = [info for info in infos if folded in info.session_id.casefold() or folded in (info.title or "").casefold()]
    by_id = {info.session_id: info for info in infos}
    alike = [by_id[name] for name in difflib.get_close_matches(text, by_id, n=3, cutoff=0.5) if by_id[name] not in holding]
    near = ", ".join(named(info) for info in [*holding[:3], *alike][:4])
    if not infos:
        advice = "this store has none; --store names another"
    else:
        advice = f"did you mean {near}?" if near else "turnlog list shows those there are"
    return SessionNotFoundError(f"there is no session {text!r}; {advice}", session_id=text)


def named(info: SessionInfo) -> str:
    """A session's id, and its title where it has one."""
    title = f' "{safe.short(info.title, 40)}"' if info.title else ""
    return f"{safe.line(info.session_id)}{title}"


def info_of(store: SessionStore, session_id: str) -> SessionInfo:
    """The listing line of one session. Raises SessionNotFoundError."""
    for info in store.iter_sessions(prefix=session_id):
        if info.session_id == session_id:
            return info
    raise not_found(store, session_id)


def count_of(store: Store, session_id: str) -> int:
    """How many messages a session has."""
    return info_of(store, session_id).message_count if isinstance(store, SessionStore) else len(store.get_messages(session_id))


def conversations(infos: Iterable[SessionInfo]) -> Iterator[SessionInfo]:
    """The sessions without those that bots keep for themselves."""
    return (info for info in infos if not is_desk(info.session_id))


def heads(store: SessionStore) -> Iterator[Head]:
    """The head of every session, last changed first; a head tells where its session was forked, which a listing does not."""
    cursor: str | None = None
    while True:
        page = drive(store.backend.list_heads(Query(), cursor=cursor, limit=PAGE))
        yield from filter(alive, page.heads)
        cursor = page.cursor
        if cursor is None:
            return


def complete_session(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """For the shell: the sessions whose id begins with what was typed, with their titles. Nothing where the store cannot be read."""
    try:
        with open_any(ctx.params.get("store") or ctx.find_root().params.get("store")) as store:
            infos = islice(conversations(store.iter_sessions(prefix=incomplete)), 50) if isinstance(store, SessionStore) else ()
            return [(info.session_id, info.title or "") for info in infos if info.session_id.isprintable() and " " not in info.session_id]
    except (SessionError, OSError, typer.BadParameter):
        return []
