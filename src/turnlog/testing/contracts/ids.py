"""Promise 3.8: any id of 1 to 1,024 characters names a session of its own, on every file system; nothing leaves the root."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from turnlog.testing.checks import NotRun, holds, same, show
from turnlog.testing.registry import case
from turnlog.testing.samples import HOSTILE_IDS, ORDINARY_IDS, similar_ids
from turnlog.testing.trial import Trial


def _label(number: int) -> str:
    return f"this is number {number}"


def _check_distinct(store: Any, written: Iterable[tuple[int, str]]) -> None:
    for number, name in written:
        seen = store.get_chat_history(name)
        same(seen, [{"role": "user", "content": _label(number)}], f"the history of the id {show(name, 80)}")


@case("3.8.1", "Ids of every day each name a session of their own", five=True)
def ordinary(trial: Trial) -> None:
    for number, name in enumerate(ORDINARY_IDS):
        same(trial.store.add_message(name, "user", _label(number)), True, f"add_message to {name!r}")
    _check_distinct(trial.store, enumerate(ORDINARY_IDS))


@case("3.8.2", "No two hostile ids share a session; an id may be refused with an error, but never mixed up", five=True)
def hostile(trial: Trial) -> None:
    written = []
    for number, name in enumerate(HOSTILE_IDS):
        try:
            answer = trial.store.add_message(name, "user", _label(number))
        except Exception as error:
            if not trial.subject.five:
                raise
            holds(isinstance(error, Exception), "an error", error)
            continue
        same(answer, True, f"add_message to {show(name, 80)}")
        written.append((number, name))
    holds(len(written) * 4 > len(HOSTILE_IDS), "at least a quarter of the hostile ids is taken", f"{len(written)} of {len(HOSTILE_IDS)}")
    _check_distinct(trial.store, written)


@case(
    "3.8.3",
    "Hundreds of ids that folding, sanitising, normalising or cutting would make alike each name a session of their own",
    seconds=40,
)
def similar(trial: Trial) -> None:
    names = similar_ids(trial.random, trial.many(260, 1500))
    for number, name in enumerate(names):
        trial.store.add_message(name, "user", _label(number))
    _check_distinct(trial.store, enumerate(names))


@case("3.8.4", "Clearing and deleting one hostile id leaves all others", five=True)
def neighbours(trial: Trial) -> None:
    names = ["a/b", "a_b", "a b", "A_B", "a", "A", "a.", "é", "e\u0301", "x", "x" * 200, "x" * 199, "..", "%", "_", "*"]
    written = []
    for number, name in enumerate(names):
        try:
            trial.store.add_message(name, "user", _label(number))
        except Exception:
            if not trial.subject.five:
                raise
            continue
        written.append((number, name))
    for position, (_, name) in enumerate(written):
        (trial.store.delete_session if position % 2 else trial.store.clear_session)(name)
        same(trial.store.get_chat_history(name), [], f"the history of {name!r} after its end")
        same(trial.store.session_exists(name), position % 2 == 0, f"session_exists of {name!r} after its end")
        _check_distinct(trial.store, written[position + 1 :])


@case("3.8.5", "Listings and exports give back every id exactly")
def listed(trial: Trial) -> None:
    names = HOSTILE_IDS[: trial.many(80, len(HOSTILE_IDS))]
    for name in names:
        trial.store.add_message(name, "user", "x")
    same(sorted(info.session_id for info in trial.store.iter_sessions()), sorted(names), "the ids of iter_sessions")
    same(sorted(one["session_id"] for one in trial.store.list_sessions(limit=1000)), sorted(names), "the ids of list_sessions")
    same(sorted(one["session_id"] for one in trial.store.export_all()["sessions"]), sorted(names), "the ids of export_all")


@case("3.8.6", "Forks, snapshots, reverts and titles work under hostile ids")
def verbs(trial: Trial) -> None:
    store = trial.store
    for name in HOSTILE_IDS[:: trial.many(7, 1)]:
        store.add_messages(name, [{"role": "user", "content": f"{i}"} for i in range(3)])
        child = store.fork_session(name, 1)
        snapshot = store.create_snapshot(name)
        store.revert_to_message(name, 0)
        store.revert_to_snapshot(name, snapshot)
        store.set_title(name, "t")
        same(len(store.get_chat_history(name)), 3, f"the number of messages of {show(name, 80)}")
        same(len(store.get_chat_history(child)), 2, f"the number of messages of a fork of {show(name, 80)}")
        same((store.get_parent(child), store.get_children(name)), (name, [child]), "parent and children")
        store.delete_session(name)
        store.delete_session(child)
    same(store.list_sessions(), [], "the sessions at the end")


@case("3.8.7", "Ids of 1 to 1,024 characters are valid, whatever the characters")
def lengths(trial: Trial) -> None:
    for length in (1, 100, 119, 120, 121, 200, 254, 255, 256, 1023, 1024):
        for character in ("x", "X", "😀", "%", "\0", "é"):
            name = character * length
            same(trial.store.add_message(name, "user", f"{length}"), True, f"add_message to an id of {length} times {character!r}")
    for length in (1, 120, 121, 1024):
        for character in ("x", "X", "😀"):
            seen = trial.store.get_chat_history(character * length)
            same(seen, [{"role": "user", "content": f"{length}"}], f"the history of {length} times {character!r}")


@case("3.8.8", "The prefix of a listing is taken as it is: no character in it is a wildcard")
def prefixes(trial: Trial) -> None:
    names = [
        "a_b",
        "axb",
        "a%b",
        "a*b",
        "ab",
        "A_b",
        "a[x]b",
        "a\\b",
        "é1",
        "e\u03011",
        "_",
        "%",
        "*",
        "\U0010ffff",
        "\U0010ffffa",
        "a\0b",
        "a\ud800",
    ]
    for name in names:
        trial.store.add_message(name, "user", "x")
    for prefix in ["a", "a_", "a%", "a*", "a[", "a\\", "A", "é", "e", "_", "%", "*", "a_b", "\U0010ffff", "a\0", "a\ud800", "zzz", ""]:
        wanted = sorted(name for name in names if name.startswith(prefix))
        same(
            sorted(info.session_id for info in trial.store.iter_sessions(prefix=prefix)), wanted, f"the ids with the prefix {show(prefix)}"
        )


@case("3.8.9", "Nothing is written outside of the place, whatever the id", five=True, needs=["place"])
def inside(trial: Trial) -> None:
    trial.store.add_message("s", "user", "x")
    outside = trial.root / "outside"
    names = ["../x", "../../x", "./../x", "..\\..\\x", "x/../../x", str(outside), str(outside / "x"), f"{outside}\0x"]
    before = _tree(trial.root)
    for name in [*names, *HOSTILE_IDS[:: trial.many(3, 1)]]:
        try:
            trial.store.add_message(name, "user", "x")
            trial.store.clear_session(name)
            trial.store.add_message(name, "user", "x")
        except Exception:
            if not trial.subject.five:
                raise
    strange = [path for path in sorted(_tree(trial.root) - before) if not path.is_relative_to(trial.place)]
    holds(not strange, f"new files only under {trial.place}", strange)


def _tree(root: Path) -> set[Path]:
    return set(root.rglob("*"))


@case("3.8.10", "File names stay distinct when the file system folds case and normal forms", needs=["place"])
def folded(trial: Trial) -> None:
    for name in similar_ids(trial.random, trial.many(180, 1500)):
        trial.store.add_message(name, "user", "x")
    found: dict[str, Path] = {}
    for path in trial.files():
        parts = path.relative_to(trial.place).parts
        for normal_form in ("NFC", "NFD", "NFKC"):
            name = unicodedata.normalize(normal_form, "/".join(parts)).casefold()
            other = found.setdefault(name, path)
            holds(other == path, "names of files that stay distinct when folded", f"{other.name!r} and {path.name!r}")
        bad = [part for part in parts if len(part.encode()) > 255 or part.endswith((".", " ")) or set(part) & set('<>:"|?*\\')]
        holds(not bad, "names that every file system takes", bad)


@case("3.8.11", "An id that looks like one of the store's own file names is an id like any other", needs=["place"])
def own_names(trial: Trial) -> None:
    store = trial.store
    written: dict[str, int] = {}
    for number, name in enumerate(["a/b", "A", "é", "plain", "x" * 300, "CON"]):
        store.add_message(name, "user", _label(number))
        written[name] = number
    trial.files()
    for path in trial.files():
        relative = path.relative_to(trial.place)
        for name in (path.name, path.stem, path.name.split(".")[0], relative.as_posix(), str(path), path.name.upper()):
            if name and name not in written:
                store.add_message(name, "user", _label(len(written)))
                written[name] = len(written)
    _check_distinct(store, [(number, name) for name, number in written.items()])


@case("3.8.12", "A link in the place that leads out of it is not followed", needs=["place"])
def links(trial: Trial) -> None:
    store = trial.store
    store.add_message("first", "user", "x")
    common = set(trial.files())
    store.add_message("second", "user", "x")
    own = [path for path in trial.files() if path not in common]
    if not own:
        raise NotRun("the store keeps no files of single sessions")
    store.close()
    outside = trial.root / "outside"
    outside.mkdir()
    targets = []
    for path in own:
        target = outside / path.name
        path.rename(target)
        path.symlink_to(target)
        targets.append((target, target.read_bytes()))
    again = trial.open_again()
    steps = (
        partial(again.add_message, "second", "user", "y"),
        partial(again.set_title, "second", "t"),
        partial(again.delete_session, "second"),
    )
    for step in steps:
        with suppress(OSError):
            step()
    for target, before in targets:
        same(target.read_bytes() if target.exists() else None, before, f"the file outside that {target.name} leads to")


@case("3.8.13", "Ids of the characters that stores write others with each name a session of their own, and are listed as they are")
def escapes(trial: Trial) -> None:
    store = trial.store
    # What escaping is written with, and what it is written for; each must itself be escaped.
    marks = ["\0", "\x01", "\x02", "\x1a", "\x1b", "\ue000", "\ufffd", "\ud800", "\\", "%", "_", "~", "0", "1"]
    names = [*marks, *(one + other for one in marks for other in marks)]
    names += [f"a{name}b" for name in trial.random.sample(names, trial.many(40, len(names)))]
    for number, name in enumerate(names):
        store.add_message(name, "user", _label(number))
    _check_distinct(store, enumerate(names))
    same(sorted(info.session_id for info in store.iter_sessions(page_size=200)), sorted(names), "the ids of iter_sessions")
