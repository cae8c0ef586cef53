"""More races: open turns beside everything else, and deletes and reverts that compare with what was read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.store.explorer import Op
from tests.store.plain import Plain
from tests.store.races import FULL, P, append, clear, delete, fork, race, replace, revert, sweep, texts, undo


def delete_unchanged(session: str, revision: str, changes: int) -> Op:
    """A delete by who has read the session at ``revision``, which the model knows by the number of its changes."""

    def model(plain: Plain) -> bool:
        plain.unchanged(session, changes)
        return plain.delete(session)

    return Op(f"delete {session} at {revision}", lambda store: store.delete_session(session, expect_revision=revision), (model,))


def revert_unchanged(session: str, index: int, revision: str, changes: int) -> Op:
    """A revert by who has read the session at ``revision``."""

    def model(plain: Plain) -> bool:
        plain.need(session)
        plain.unchanged(session, changes)
        return plain.revert(session, index)

    text = f"revert {session} to {index} at {revision}"
    return Op(text, lambda store: store.revert_to_message(session, index, expect_revision=revision), (model,))


def produced(*names: str) -> list[dict[str, str]]:
    """Messages of a turn, which has its ids from the beginning."""
    return [{**message, "id": f"id-{message['content']}"} for message in texts(*names)]


def put(session: str, turn: str, *names: str) -> Op:
    return Op(
        f"put {turn} of {session}",
        lambda store: store.put_open_turn(session, turn, produced(*names)),
        # The session comes to be first.
        (lambda plain: bool(plain.create(session)), lambda plain: plain.put_turn(session, turn, *names)),
    )


def land(session: str, turn: str, *names: str, limit: int | None = None) -> Op:
    parts: list[Callable[[Plain], Any]] = [lambda plain: plain.land(session, turn, *names)]
    if limit is not None:
        parts.append(lambda plain: plain.retain(session, limit))
    return Op(f"land {turn} of {session}", lambda store: store.add_messages(session, produced(*names), turn_id=turn), tuple(parts))


def drop(session: str, turn: str) -> Op:
    return Op(
        f"drop {turn} of {session}",
        lambda store: store.drop_open_turn(session, turn),
        (lambda plain: plain.drop_turn(session, turn),),
    )


PT = (*P, put("P", "t1", "u4"))
"""A session with a turn under way."""
READ = ("setup.4.0", 1)
"""The revision of P, and the number of changes that made it."""

TURN_RACES = [
    race("land, land, open", PT, (put("P", "t1", "u4", "a4"), land("P", "t1", "u4", "a4")), (put("P", "t2", "u5"), land("P", "t2", "u5"))),
    race("open and land in a new session twice", (), (put("N", "t1", "u1"), land("N", "t1", "u1")), put("N", "t2", "u2"), crashes=2),
    race("land, clear", PT, land("P", "t1", "u4"), clear("P"), crashes=2),
    race("land, delete, open another", PT, land("P", "t1", "u4"), delete("P"), put("P", "t2", "u5")),
    race("open, replace, drop", PT, put("P", "t2", "u5"), replace("P", "u7"), drop("P", "t1")),
    race("land, fork, delete the parent", PT, land("P", "t1", "u4"), fork("P", "C"), delete("P")),
    race("land, revert, undo", PT, land("P", "t1", "u4"), (revert("P", 0), undo("P"))),
    race("land, drop, append", PT, land("P", "t1", "u4"), drop("P", "t1"), append("P", "u5"), crashes=2),
    race(
        "land, retention, open another",
        (*FULL, put("P", "t1", "u4")),
        land("P", "t1", "u4", limit=4),
        (append("P", "u5", "a5", "u6", "a6", limit=4), put("P", "t2", "u7")),
        limit=4,
    ),
    race("open, delete, sweep", PT, put("P", "t2", "u5"), delete("P"), sweep()),
    race("revert what was read, append", P, revert_unchanged("P", 0, *READ), append("P", "u4"), crashes=2),
    race("revert what was read twice", P, revert_unchanged("P", 0, *READ), revert_unchanged("P", 1, *READ), append("P", "u4")),
    race("revert what was read, clear, append", P, revert_unchanged("P", 0, *READ), clear("P"), append("P", "u4")),
    *(
        race(name, before, *actors, blocking=False)
        for name, before, actors in (
            ("delete what was read, append", P, (delete_unchanged("P", *READ), append("P", "u4"))),
            ("delete what was read, append twice", P, (delete_unchanged("P", *READ), append("P", "u4"), append("P", "u5"))),
            ("delete what was read twice", P, (delete_unchanged("P", *READ), delete_unchanged("P", *READ), append("P", "u4"))),
            ("delete what was read, revert it", P, (delete_unchanged("P", *READ), revert_unchanged("P", 0, *READ))),
            ("delete what was read, delete, append", P, (delete_unchanged("P", *READ), delete("P"), append("P", "u4"))),
            ("delete what was read, fork", P, (delete_unchanged("P", *READ), fork("P", "C"), append("P", "u4"))),
            ("delete what was read, land", PT, (delete_unchanged("P", *READ), land("P", "t1", "u4"))),
            ("delete what was read, clear, append", P, (delete_unchanged("P", *READ), clear("P"), append("P", "u4"))),
        )
    ),
]
