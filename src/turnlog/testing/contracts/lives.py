"""Cases 2.80 to 2.89: sessions that expire, and their sweep; erasing all sessions of a user, of an agent, of a time."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from turnlog.errors import ConflictError, NothingToUndoError, SessionError, SessionNotFoundError
from turnlog.testing.ageing import age, is_stored
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

HOUR = 3600.0
WORD = "quartzite"
"""A word that only the session that expires holds."""


def _dying(trial: Trial, session_id: str = "gone") -> str:
    """A session with everything a session may have, which lives for an hour; its revision."""
    store = trial.store
    store.add_messages(session_id, [*turn("old", 0), {"role": "user", "content": f"a {WORD} indeed", "id": "the-id"}])
    store.create_snapshot(session_id, "old")
    store.revert_to_message(session_id, 1)
    store.undo_revert(session_id)
    store.revert_to_message(session_id, 3)
    store.set_title(session_id, "old title")
    store.set_agent_info(session_id, "old-agent", "old-user")
    store.update_session_metadata(session_id, key="old")
    store.set_runtime_state(session_id, "r", "t", {"n": 1})
    store.put_open_turn(session_id, "open", [{"role": "user", "content": "old open turn"}])
    store.set_session_ttl(session_id, HOUR)
    revision: str = store.get_revision(session_id)
    return revision


@case("2.80", "An expired session is as if it were not there: for every read, in listings, in search, in exports, in the tree")
def not_there(trial: Trial) -> None:
    store = trial.store
    store.add_messages("above", turn("above", 0))
    store.add_messages("stays", turn("stays", 0))
    store.set_session_ttl("stays", HOUR)
    _dying(trial)
    below = store.fork_session("gone", new_session_id="below")
    store.set_session_ttl(below, None)
    store.fork_session("above", new_session_id="child")
    store.set_session_ttl("child", 60)
    age(trial, "gone", HOUR)
    # It has changed later than one that lives, so that a listing meets it first.
    age(trial, "child", 60)
    age(trial, "stays", HOUR - 60)
    nothing: dict[str, Callable[[], Any]] = {
        "session_exists": lambda: store.session_exists("gone"),
        "get_chat_history": lambda: store.get_chat_history("gone"),
        "get_working_history": lambda: store.get_working_history("gone"),
        "get_messages": lambda: store.get_messages("gone"),
        "the messages of get_session": lambda: store.get_session("gone").messages,
        "the title of get_session": lambda: store.get_session("gone").title,
        "get_session_info": lambda: store.get_session_info("gone"),
        "get_revision": lambda: store.get_revision("gone"),
        "window": lambda: store.window("gone"),
        "get_runtime_state": lambda: store.get_runtime_state("gone", "r"),
        "get_snapshots": lambda: store.get_snapshots("gone"),
        "get_open_turns": lambda: store.get_open_turns("gone"),
        "get_extended_session": lambda: store.get_extended_session("gone").messages,
        "export_session": lambda: store.export_session("gone")["sessions"],
        "list_sessions_by_agent": lambda: [name for name in store.list_sessions_by_agent("old-agent") if name != below],
        "get_children": lambda: store.get_children("above"),
        "get_parent of a fork": lambda: store.get_parent(below),
        "get_ancestors of a fork": lambda: store.get_ancestors(below),
        "the children in the tree": lambda: store.get_session_tree("above")["children"],
    }
    for what, read in nothing.items():
        holds(not read(), f"nothing from {what} of an expired session", read())
    there = ["above", "below", "stays"]
    same(sorted(line["session_id"] for line in store.list_sessions()), there, "list_sessions")
    for size in (1, 2, 50):
        same(sorted(line.session_id for line in store.iter_sessions(page_size=size)), there, f"iter_sessions with pages of {size}")
    same(sorted(line.session_id for line in store.recent()), there, "recent")
    for limit in (1, 2, 3, 4):
        same(len(store.list_sessions(limit=limit)), min(limit, 3), f"the number of lines with limit={limit}")
    same(sorted(one["session_id"] for one in store.export_all()["sessions"]), there, "export_all")
    same([hit.session_id for hit in store.search(WORD)], [below], "what search finds: the fork alone")
    verbs: dict[str, Callable[[], Any]] = {
        "fork_session": partial(store.fork_session, "gone"),
        "revert_to_message": partial(store.revert_to_message, "gone", 0),
        "create_snapshot": partial(store.create_snapshot, "gone"),
        "set_session_ttl": partial(store.set_session_ttl, "gone", 10.0),
        "get_session_tree": partial(store.get_session_tree, "gone"),
    }
    for what, verb in verbs.items():
        raises(SessionNotFoundError, verb, f"{what} of an expired session")
    same(texts(store.get_chat_history("stays")), texts(turn("stays", 0)), "a session that has a minute left")
    same(len(store.get_messages(below)), 4, "the number of messages of the fork")


@case("2.81", "Whatever is written to an expired session begins a new life, which has nothing of the old one")
def new_life(trial: Trial) -> None:
    store = trial.store
    store.add_messages("other", turn("other", 0))
    payload = {"version": 1, "sessions": [{"session_id": "gone", "messages": [{"role": "user", "content": "new"}]}]}
    new = {"role": "user", "content": "new", "id": "the-id"}
    verbs: dict[str, tuple[Callable[[], Any], list[str]]] = {
        "add_message": (lambda: store.add_message("gone", "user", "new", message_id="the-id"), ["new"]),
        "add_messages": (lambda: store.add_messages("gone", [new, {"role": "assistant", "content": "a"}]), ["new", "a"]),
        "add_messages where none must be": (lambda: store.add_messages("gone", [new], expect_revision=""), ["new"]),
        "set_chat_history": (lambda: store.set_chat_history("gone", [new]), ["new"]),
        "create_session": (lambda: store.create_session("gone"), []),
        "set_agent_info": (lambda: store.set_agent_info("gone", "new-agent"), []),
        "put_open_turn": (lambda: store.put_open_turn("gone", "t", [new]), []),
        "upsert_partial_assistant_message": (lambda: store.upsert_partial_assistant_message("gone", "new"), ["new"]),
        "import_sessions": (lambda: store.import_sessions(payload), ["new"]),
        "fork_session into it": (
            lambda: store.fork_session("other", title="t", new_session_id="gone"),
            texts(turn("other", 0)),
        ),
    }
    for what, (write, wanted) in verbs.items():
        old = _dying(trial)
        age(trial, "gone", HOUR)
        raises(ConflictError, partial(store.add_messages, "gone", [new], expect_revision=old), "an append at the old revision")
        write()
        same(texts(store.get_chat_history("gone")), wanted, f"the texts after {what}")
        found = store.get_session("gone")
        holds("old" not in str(found.to_dict()), f"nothing old after {what}", found.to_dict())
        same(store.get_snapshots("gone"), [], f"the snapshots after {what}")
        holds("open" not in [one.id for one in store.get_open_turns("gone")], f"no old open turn after {what}")
        holds(store.get_revision("gone") not in ("", old), f"a new revision after {what}", store.get_revision("gone"))
        raises(NothingToUndoError, partial(store.undo_revert, "gone"), f"undo_revert after {what}")
        same(store.search(WORD), [], f"what search finds of the old life after {what}")
        store.delete_session("gone")
    for what, verb in (("clear_session", store.clear_session), ("delete_session", store.delete_session)):
        _dying(trial)
        age(trial, "gone", HOUR)
        same(verb("gone"), True, f"{what} of an expired session")
        same(is_stored(trial, "gone"), False, f"whether anything is stored after {what} of an expired session")


@case("2.82", "Every change moves the expiry on; set_session_ttl sets it, changes it and takes it away, and refuses what is no ttl")
def moves_on(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "x")
    same((store.get_session_info("s").ttl, store.get_session_info("s").expires_at), (None, None), "ttl and expires_at without a ttl")
    same(store.set_session_ttl("s", HOUR), True, "set_session_ttl")
    changes: list[Callable[[int], Any]] = [
        lambda number: store.add_message("s", "user", f"y{number}"),
        lambda number: store.add_messages("s", turn("w", number)),
        lambda number: store.set_title("s", f"t{number}"),
        lambda number: store.revert_to_message("s", 3 - number),
        lambda number: store.clear_session("s"),
        lambda number: store.set_chat_history("s", turn("w", number)),
    ]
    for change in changes:
        for number in range(3):
            # Each time half of what is left goes by: it lives on only because of the change.
            age(trial, "s", HOUR * 0.6)
            change(number)
            same(store.session_exists("s"), True, "session_exists after a change")
        info = store.get_session_info("s")
        span = datetime.fromisoformat(info.expires_at) - datetime.fromisoformat(info.updated_at)
        same((info.ttl, round(span.total_seconds())), (HOUR, 3600), "the ttl, and the time from the last change to the expiry")
        left = datetime.fromisoformat(info.expires_at) - datetime.now(UTC)
        holds(3500 < left.total_seconds() <= 3601, "an expiry in an hour", left)
    bad: list[Any] = [0, -1, -0.5, float("nan"), float("inf"), True, "3600", [], 1e300]
    before = store.get_session_info("s")
    for ttl in bad:
        error = raises(SessionError, partial(store.set_session_ttl, "s", ttl), f"set_session_ttl to {ttl!r}")
        holds(isinstance(error, ValueError), "a ValueError too", type(error).__name__)
    same(store.get_session_info("s"), before, "the session after refusals")
    child = store.fork_session("s")
    same(store.get_session_info(child).ttl, HOUR, "the ttl of a fork")
    store.set_session_ttl("s", 7200)
    age(trial, "s", HOUR * 1.5)
    same(store.session_exists("s"), True, "session_exists after half an hour less than the new ttl")
    store.set_session_ttl("s", None)
    age(trial, "s", HOUR * 1000)
    same(store.session_exists("s"), True, "session_exists of a session whose ttl was taken away")
    raises(SessionNotFoundError, partial(store.set_session_ttl, "nobody", 1.0), "set_session_ttl of an unknown session")


@case("2.83", "The sweep erases expired sessions and no others, and forks keep what they share with one")
def sweeps(trial: Trial) -> None:
    store = trial.store
    for name in ("a", "b", "lives", "forever"):
        store.add_messages(name, turn(name, 0))
        store.add_messages(name, turn(name, 1))
        if name != "forever":
            store.set_session_ttl(name, HOUR)
    forks = [store.fork_session("a", 2, new_session_id="fork"), store.fork_session("fork", 1, new_session_id="fork of fork")]
    for name in forks:
        store.set_session_ttl(name, None)
    wanted = {name: texts(store.get_chat_history(name)) for name in ("lives", "forever", *forks)}
    for name in ("a", "b"):
        age(trial, name, HOUR)
    store.set_session_ttl("fork", HOUR)
    same(store.sweep().sessions_expired, 2, "sessions_expired")
    for name in ("a", "b"):
        same(is_stored(trial, name), False, f"whether anything is stored of {name!r}")
    same({name: texts(store.get_chat_history(name)) for name in wanted}, wanted, "the other histories")
    store.add_message("a", "user", "again")
    same(texts(store.get_chat_history("a")), ["again"], "the new life of a session that was swept")
    age(trial, "fork", HOUR)
    same(store.sweep().sessions_expired, 1, "sessions_expired of a fork with forks")
    same(texts(store.get_chat_history("fork of fork")), wanted["fork of fork"], "the fork of a fork that was swept")
    report = store.sweep()
    same((report.sessions_expired, report.runs_collected, report.references_dropped), (0, 0, 0), "what is left to sweep")


@case("2.84", "Threads that append to an expired session: one new life, and every acknowledged message is in it, once")
def races(trial: Trial) -> None:
    store = trial.store
    for _ in range(trial.many(6, 40)):
        store.add_messages("s", turn("old", 0))
        store.set_session_ttl("s", HOUR)
        age(trial, "s", HOUR)
        actions: list[Callable[[], Any]] = [partial(store.add_message, "s", "user", f"new {number}") for number in range(4)]
        trial.race(*actions, store.sweep)
        same(sorted(texts(store.get_chat_history("s"))), [f"new {number}" for number in range(4)], "the texts")
        store.delete_session("s")


def _population(store: Any) -> None:
    for user in ("u", "v"):
        for agent in ("A", "B"):
            for number in (1, 2):
                store.add_message(f"{user}{agent}{number}", "user", "x")
                store.set_agent_info(f"{user}{agent}{number}", agent, user)
    store.add_message("plain", "user", "x")


@case("2.85", "delete_where erases the sessions that meet every condition, no others, says how many, and refuses no condition at all")
def deletes(trial: Trial) -> None:
    store = trial.store
    everyone = sorted([*(f"{user}{agent}{number}" for user in "uv" for agent in "AB" for number in (1, 2)), "plain"])

    def left() -> list[str]:
        return sorted(line.session_id for line in store.iter_sessions())

    conditions: list[tuple[dict[str, Any], Callable[[str], bool]]] = [
        ({"user_id": "u"}, lambda name: name[0] == "u"),
        ({"agent": "A"}, lambda name: name[1] == "A"),
        ({"user_id": "u", "agent": "B"}, lambda name: name[:2] == "uB"),
        ({"user_id": "nobody"}, lambda name: False),
        ({"user_id": "A"}, lambda name: False),
    ]
    for given, chosen in conditions:
        _population(store)
        wanted = [name for name in everyone if chosen(name)]
        same(store.delete_where(**given), len(wanted), f"what delete_where gives for {given}")
        same(left(), [name for name in everyone if name not in wanted], f"what is left after delete_where {given}")
    _population(store)
    old = [name for name in everyone if name.endswith("1")]
    for name in old:
        age(trial, name, HOUR)
    same(store.delete_where(user_id="u", older_than=1800), 2, "what is older than half an hour of one user")
    same(left(), [name for name in everyone if name not in ("uA1", "uB1")], "what is left of that user")
    same(store.delete_where(older_than=timedelta(hours=2)), 0, "what is older than two hours")
    same(store.delete_where(older_than=datetime.now(UTC) - timedelta(minutes=30)), 2, "what was last changed before a moment")
    same(left(), [name for name in everyone if name not in old], "what is left")
    bad: list[dict[str, Any]] = [
        {}, {"user_id": None}, {"user_id": ""}, {"agent": ""}, {"agent": 7}, {"older_than": -1}, {"older_than": "90d"},
        {"older_than": float("nan")}, {"older_than": True}, {"older_than": timedelta(-1)}, {"older_than": datetime(2020, 1, 1)},
    ]  # fmt: skip
    for given in bad:
        error = raises(SessionError, partial(store.delete_where, **given), f"delete_where of {given}")
        holds(isinstance(error, ValueError), "a ValueError too", type(error).__name__)
    same(left(), [name for name in everyone if name not in old], "what is left after refusals")
    child = store.fork_session("uA2", new_session_id="child")
    wanted_texts = texts(store.get_chat_history("uA2"))
    store.set_agent_info(child, "C", "w")
    same(store.delete_where(user_id="u"), 2, "the sessions of a user")
    same(texts(store.get_chat_history(child)), wanted_texts, "a fork of what was erased")
    many = trial.many(120, 1100)
    for number in range(many):
        store.create_session(f"many {number}", agent_name="M")
    same(store.delete_where(agent="M"), many, "the number of many that were erased")


@case("2.86", "delete_where by age leaves a session that is changed meanwhile: no acknowledged message goes with it")
def spares(trial: Trial) -> None:
    store = trial.store
    count = 12
    for number in range(trial.many(8, 40)):
        names = [f"s{number}-{each}" for each in range(count)]
        for name in names:
            store.add_message(name, "user", "old")
            age(trial, name, HOUR)

        def write(names: list[str] = names) -> None:
            for name in names[::-1]:
                store.add_message(name, "user", "new")

        erased = trial.race(lambda: store.delete_where(older_than=HOUR / 2), write)[0]
        found = [texts(store.get_chat_history(name)) for name in names]
        holds(all(history in (["old", "new"], ["new"]) for history in found), "every acknowledged message", found)
        same(erased, sum(history == ["new"] for history in found), "how many were erased")
