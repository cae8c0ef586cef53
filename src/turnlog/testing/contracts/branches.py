"""Cases 2.1 to 2.20: fork, snapshot, revert, undo, diff and the tree of sessions, against plain lists."""

from __future__ import annotations

from functools import partial
from typing import Any

from turnlog.errors import ConflictError, NothingToUndoError, SessionNotFoundError, SnapshotNotFoundError
from turnlog.testing.checks import raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts


def _write(store: Any, name: str, *contents: str) -> list[str]:
    store.add_messages(name, [{"role": "user", "content": content} for content in contents])
    return list(contents)


def _check(store: Any, name: str, wanted: list[str], what: str) -> None:
    """The session's history is ``wanted`` through every verb that reads it."""
    same(texts(store.get_chat_history(name)), wanted, what)
    same([message.content for message in store.get_messages(name)], wanted, f"{what}, by get_messages")
    for count in {1, 2, len(wanted)} - {0}:
        same(texts(store.get_chat_history(name, count)), wanted[-count:], f"{what}, the last {count}")


@case("2.1", "A fork at an index has the messages up to and with it, for every index; without an index, all")
def fork(trial: Trial) -> None:
    store = trial.store
    wanted = _write(store, "s", *(f"{i}" for i in range(7)))
    for index in range(7):
        _check(store, store.fork_session("s", index), wanted[: index + 1], f"the fork at {index}")
    _check(store, store.fork_session("s", from_message_index=5, title="t"), wanted[:6], "the fork at from_message_index=5")
    _check(store, store.fork_session("s"), wanted, "the fork without an index")
    _check(store, "s", wanted, "the parent")


@case("2.2", "A fork and its parent go their own ways")
def independent(trial: Trial) -> None:
    store = trial.store
    _write(store, "s", "a", "b", "c")
    child, whole = store.fork_session("s", 1), store.fork_session("s")
    _write(store, "s", "d")
    _check(store, child, ["a", "b"], "the fork after its parent went on")
    _check(store, whole, ["a", "b", "c"], "the fork of all after its parent went on")
    _write(store, child, "x")
    _check(store, "s", ["a", "b", "c", "d"], "the parent")
    _check(store, child, ["a", "b", "x"], "the fork")
    store.revert_to_message("s", 0)
    _write(store, "s", "e")
    _check(store, child, ["a", "b", "x"], "the fork after its parent was reverted")
    store.revert_to_message(child, 0)
    _check(store, "s", ["a", "e"], "the parent after the fork was reverted")
    store.undo_revert(child)
    _check(store, child, ["a", "b", "x"], "the fork after undo")
    store.clear_session("s")
    _check(store, child, ["a", "b", "x"], "the fork after its parent was cleared")


@case("2.3", "Forks of forks, at every index, also within what was taken over")
def forks_of_forks(trial: Trial) -> None:
    store, name = trial.store, "s"
    history = _write(store, "s", "0", "1", "2")
    for depth in range(trial.many(70, 300)):
        index = trial.random.randrange(max(0, len(history) - 4), len(history))
        name = store.fork_session(name, index)
        history = [*history[: index + 1], *_write(store, name, f"d{depth}", f"e{depth}")]
        if depth % 8 == 0:
            _check(store, name, history, f"the fork at depth {depth}")
    _check(store, name, history, "the deepest fork")
    same(len(store.get_ancestors(name)), trial.many(70, 300), "the number of ancestors")


@case("2.4", "An index out of range is an error, and no session comes of it")
def fork_out_of_range(trial: Trial) -> None:
    store = trial.store
    _write(store, "s", "a", "b")
    for index in (2, 3, -1, 10**6):
        raises((ValueError,), partial(store.fork_session, "s", index), f"fork_session at {index} of 2 messages")
    store.create_session("empty")
    raises((ValueError,), partial(store.fork_session, "empty", 0), "fork_session at 0 of no message")
    same(sorted(one["session_id"] for one in store.list_sessions()), ["empty", "s"], "the sessions")


@case("2.5", "new_session_id names the fork; an id that is taken is refused and left as it is")
def fork_id(trial: Trial) -> None:
    store = trial.store
    _write(store, "s", "a", "b")
    _write(store, "taken", "x")
    same(store.fork_session("s", 0, new_session_id="chosen"), "chosen", "the id of the fork")
    _check(store, "chosen", ["a"], "the fork")
    for name in ("taken", "s", "chosen"):
        raises(ConflictError, partial(store.fork_session, "s", new_session_id=name), f"a fork named {name!r}, which exists")
    _check(store, "taken", ["x"], "the session whose id was taken")
    same(store.get_children("s"), ["chosen"], "the children")
    ids = {store.fork_session("s") for _ in range(20)}
    same(len(ids), 20, "the number of different ids of 20 forks")


@case("2.6", "The family of a session: parent, children, ancestors, and the tree with titles and counts")
def family(trial: Trial) -> None:
    store = trial.store
    root = store.create_session(title="Root")
    _write(store, root, "a", "b")
    one, two = store.fork_session(root, 0, title="One"), store.fork_session(root, title="Two")
    below = store.fork_session(one, title="Below")
    same(store.get_parent(root), None, "the parent of the root")
    same([store.get_parent(name) for name in (one, two, below)], [root, root, one], "the parents")
    same(
        (store.get_children(root), store.get_children(one), store.get_children(below)),
        ([one, two], [below], []),
        "the children, oldest first",
    )
    same(store.get_ancestors(below), [one, root], "the ancestors, nearest first")
    tree = store.get_session_tree(root)
    same((tree["session_id"], tree["title"], tree["message_count"]), (root, "Root", 2), "the root of the tree")
    found = [(node["session_id"], node["title"], node["message_count"]) for node in tree["children"]]
    same(found, [(one, "One", 1), (two, "Two", 2)], "its children")
    same([node["session_id"] for node in tree["children"][0]["children"]], [below], "their children")
    same(store.get_children("nobody"), [], "the children of an unknown session")


@case("2.7", "The tree names only sessions that exist, also after deletes and when an id is used again")
def no_dangling(trial: Trial) -> None:
    store = trial.store
    _write(store, "root", "a")
    for name in ("x", "y", "z"):
        store.fork_session("root", new_session_id=name)
    store.fork_session("x", new_session_id="below x")
    store.delete_session("x")
    same(store.get_children("root"), ["y", "z"], "the children after one was deleted")
    same((store.get_parent("below x"), store.get_ancestors("below x")), (None, []), "the parent and ancestors of its own child")
    same([node["session_id"] for node in store.get_session_tree("root")["children"]], ["y", "z"], "the tree's children")
    _write(store, "x", "another life")
    same(store.get_children("root"), ["y", "z"], "the children when a session of the deleted id came to be")
    same(store.get_children("x"), [], "the children of the session of the deleted id")
    same(store.get_parent("below x"), None, "the parent of a fork whose parent's id has another life")
    store.delete_session("root")
    _write(store, "root", "another life")
    same((store.get_children("root"), store.get_parent("y")), ([], None), "children and parent when the root has another life")
    _check(store, "y", ["a"], "a fork of the old life")


@case("2.8", "A snapshot does not move: going back to it gives what was there when it was taken")
def snapshot(trial: Trial) -> None:
    store = trial.store
    wanted: dict[str, list[str]] = {}
    history: list[str] = []
    for number in range(6):
        history += _write(store, "s", f"a{number}", f"b{number}")
        wanted[store.create_snapshot("s", f"label {number}")] = list(history)
        if number == 3:
            history = history[:3]
            store.revert_to_message("s", 2)
    _write(store, "s", "after the last snapshot")
    order = list(wanted)
    trial.random.shuffle(order)
    for snapshot_id in order:
        same(store.revert_to_snapshot("s", snapshot_id), True, "revert_to_snapshot")
        _check(store, "s", wanted[snapshot_id], "the history after revert_to_snapshot")
        _write(store, "s", "more")


@case("2.9", "Snapshots are listed oldest first, with label, metadata, index and session")
def snapshot_list(trial: Trial) -> None:
    store = trial.store
    same(store.get_snapshots("s"), [], "the snapshots of an unknown session")
    _write(store, "s", "a", "b")
    ids = [store.create_snapshot("s", "one", {"k": [1]}), store.create_snapshot("s")]
    _write(store, "s", "c")
    ids.append(store.create_snapshot("s", label="three"))
    found = store.get_snapshots("s")
    same([one.id for one in found], ids, "the ids")
    same([one.label for one in found], ["one", None, "three"], "the labels")
    same([one.metadata for one in found], [{"k": [1]}, {}, {}], "the metadata")
    same([one.message_index for one in found], [1, 1, 2], "the index of each one's last message")
    same({one.session_id for one in found}, {"s"}, "the session")
    same(store.delete_snapshot("s", ids[1]), True, "delete_snapshot")
    same([one.id for one in store.get_snapshots("s")], [ids[0], ids[2]], "the ids after delete_snapshot")
    raises(SnapshotNotFoundError, partial(store.revert_to_snapshot, "s", ids[1]), "revert_to_snapshot of a deleted snapshot")
    child = store.fork_session("s")
    same(store.get_snapshots(child), [], "the snapshots of a fork")


@case("2.10", "A revert to an index keeps the messages up to and with it, for every index")
def revert(trial: Trial) -> None:
    store = trial.store
    for index in range(5):
        name = f"s{index}"
        wanted = _write(store, name, *"abcde")
        same(store.revert_to_message(name, index), True, "revert_to_message")
        _check(store, name, wanted[: index + 1], f"the history after revert_to_message {index}")
        same(len(store.get_session(name).messages), index + 1, "the messages of get_session")
        _write(store, name, "x", "y")
        _check(store, name, [*wanted[: index + 1], "x", "y"], "the history after going on")


@case("2.11", "undo_revert takes back the last revert, then the one before, and then says that there is none")
def undo(trial: Trial) -> None:
    store = trial.store
    wanted = _write(store, "s", *"abcdef")
    for index in (4, 2, 0):
        store.revert_to_message("s", index)
    for left in (3, 5, 6):
        same(store.undo_revert("s"), True, "undo_revert")
        _check(store, "s", wanted[:left], "the history after undo_revert")
    raises(NothingToUndoError, partial(store.undo_revert, "s"), "undo_revert after the last")
    _check(store, "s", wanted, "the history")


@case("2.12", "Undoing a revert after further messages brings back what was there, and a further undo the messages")
def undo_after_more(trial: Trial) -> None:
    store = trial.store
    wanted = _write(store, "s", *"abcd")
    store.revert_to_message("s", 1)
    _write(store, "s", "x", "y")
    store.undo_revert("s")
    _check(store, "s", wanted, "the history after undo")
    store.undo_revert("s")
    _check(store, "s", ["a", "b", "x", "y"], "the history after a further undo")
    _write(store, "s", "z")
    _check(store, "s", ["a", "b", "x", "y", "z"], "the history after going on")


@case("2.13", "Going back to a snapshot can be undone, and a snapshot can lie ahead")
def undo_snapshot(trial: Trial) -> None:
    store = trial.store
    _write(store, "s", "a", "b", "c")
    ahead = store.create_snapshot("s")
    store.revert_to_message("s", 0)
    _write(store, "s", "x")
    store.revert_to_snapshot("s", ahead)
    _check(store, "s", ["a", "b", "c"], "the history at a snapshot that lay ahead")
    store.undo_revert("s")
    _check(store, "s", ["a", "x"], "the history after undoing that")
    store.undo_revert("s")
    _check(store, "s", ["a", "b", "c"], "the history after undoing the first revert")


@case("2.14", "Many reverts, each followed by messages, keep the history right")
def many_reverts(trial: Trial) -> None:
    store, history = trial.store, _write(trial.store, "s", "0", "1", "2")
    rounds = trial.many(110, 1500)
    for number in range(rounds):
        index = trial.random.randrange(max(0, len(history) - 3), len(history))
        store.revert_to_message("s", index)
        history = [*history[: index + 1], *_write(store, "s", f"a{number}", f"b{number}")]
        if number % 25 == 0:
            _check(store, "s", history, f"the history after {number + 1} reverts")
    _check(store, "s", history, f"the history after {rounds} reverts")
    for count in trial.random.sample(range(1, len(history)), 10):
        same(texts(store.get_chat_history("s", count)), history[-count:], f"the last {count}")
    for index in sorted(trial.random.sample(range(len(history)), 10)):
        same([m.content for m in store.get_messages("s", index, index + 2)], history[index : index + 2], f"messages {index} to {index + 2}")
        _check(store, store.fork_session("s", index), history[: index + 1], f"a fork at {index}")


@case("2.15", "diff: the nearest common ancestor, how much is shared, and what each side has of its own")
def diff(trial: Trial) -> None:
    store = trial.store
    _write(store, "root", *"abcd")
    one, two = store.fork_session("root", 2), store.fork_session("root", 1)
    _write(store, one, "x")
    _write(store, two, "y", "z")
    _write(store, "stranger", "a")

    def check(left: str, right: str, ancestor: str | None, common: int, ours: list[str], theirs: list[str]) -> None:
        found = store.diff(left, right)
        seen = (found.ancestor, found.common, [m.content for m in found.left], [m.content for m in found.right])
        same(seen, (ancestor, common, ours, theirs), f"diff of {left} and {right}")

    check(one, two, "root", 2, ["c", "x"], ["y", "z"])
    check(two, one, "root", 2, ["y", "z"], ["c", "x"])
    check("root", one, "root", 3, ["d"], ["x"])
    check("root", "root", "root", 4, [], [])
    check(one, "stranger", None, 0, ["a", "b", "c", "x"], ["a"])
    below = store.fork_session(one)
    check(below, two, "root", 2, ["c", "x"], ["y", "z"])
    check(below, one, one, 4, [], [])


@case("2.16", "A fork takes over whole messages: parts, tool calls, ids and metadata")
def fork_keeps(trial: Trial) -> None:
    store = trial.store
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "x"}], "extra": 1, "id": "m1", "metadata": {"k": 1}, "timestamp": 5.5},
        {"role": "assistant", "content": None, "reasoning": "y", "id": "m2"},
    ]
    store.add_messages("s", messages)
    store.update_session_metadata("s", kept=[1])
    child = store.fork_session("s")
    same([m.to_dict() for m in store.get_messages(child)], [m.to_dict() for m in store.get_messages("s")], "the messages of the fork")
    store.update_session_metadata(child, kept=[2])
    same(store.get_session("s").metadata["kept"], [1], "the parent's metadata after the fork's was changed")


@case("2.17", "Sharing is a mark of one session")
def sharing(trial: Trial) -> None:
    store = trial.store
    _write(store, "s", "a")
    same(store.is_shared("s"), False, "is_shared before")
    same(store.share_session("s"), True, "share_session")
    same((store.is_shared("s"), store.is_shared("other")), (True, False), "is_shared")
    same(store.is_shared(store.fork_session("s")), False, "is_shared of a fork")
    same(store.unshare_session("s"), True, "unshare_session")
    same(store.is_shared("s"), False, "is_shared after unshare_session")


@case("2.18", "A snapshot, revert, undo or fork by one instance is seen by another at once", needs=["place"])
def instances(trial: Trial) -> None:
    store, other = trial.store, trial.open_again()
    _write(store, "s", *"abcd")
    snapshot_id = store.create_snapshot("s", "label")
    other.revert_to_message("s", 1)
    _check(store, "s", ["a", "b"], "the history after another instance reverted it")
    other.undo_revert("s")
    _check(store, "s", [*"abcd"], "the history after another instance undid that")
    _write(store, "s", "e")
    same([one.label for one in other.get_snapshots("s")], ["label"], "the snapshots that the other instance sees")
    other.revert_to_snapshot("s", snapshot_id)
    _check(store, "s", [*"abcd"], "the history after another instance went back to a snapshot")
    child = other.fork_session("s", 1)
    _check(store, child, ["a", "b"], "the fork that another instance made")
    same(store.get_children("s"), [child], "the children")


@case("2.19", "Reverts and forks of threads that also append give histories without holes", seconds=30)
def races(trial: Trial) -> None:
    store, rounds = trial.store, trial.many(20, 200)
    _write(store, "s", "w 0")

    def fork_all() -> None:
        for _ in range(rounds):
            child = texts(store.get_chat_history(store.fork_session("s")))
            same(child, [f"w {i}" for i in range(len(child))], "the texts of a fork made during appends")

    def snapshot_all() -> None:
        for _ in range(rounds):
            store.create_snapshot("s")

    added = trial.race(fork_all, snapshot_all, meanwhile=lambda number: store.add_message("s", "user", f"w {number + 1}"))[-1]
    _check(store, "s", [f"w {i}" for i in range(added + 1)], "the history")
    for one in store.get_snapshots("s")[:: max(1, rounds // 8)]:
        store.revert_to_snapshot("s", one.id)
        _check(store, "s", [f"w {i}" for i in range(one.message_index + 1)], "the history at a snapshot taken during appends")


@case("2.20", "get_snapshot_messages gives the history as it was at the snapshot, whatever came after it, and changes nothing")
def at_snapshot(trial: Trial) -> None:
    store = trial.store
    snapshots: list[tuple[str, list[str]]] = []
    for number in range(6):
        _write(store, "s", f"{number} a", f"{number} b")
        if number % 2:
            store.revert_to_message("s", number)
        now = [message.content for message in store.get_messages("s")]
        snapshots.append((store.create_snapshot("s"), now))
    child = store.fork_session("s")
    store.revert_to_message("s", 0)
    revision = store.get_revision("s")
    for snapshot, then in snapshots:
        for start, stop in ((0, None), (1, 3), (-2, None), (2, 1), (0, 100)):
            seen = [message.content for message in store.get_snapshot_messages("s", snapshot, start, stop)]
            same(seen, then[start:stop], f"messages {start} to {stop} of a snapshot of {len(then)}")
    same(store.get_revision("s"), revision, "the revision after reading snapshots")
    _check(store, "s", ["0 a"], "the history after reading snapshots")
    for unknown in ("none", ""):
        raises(SnapshotNotFoundError, partial(store.get_snapshot_messages, "s", unknown), f"the snapshot {unknown!r}")
    raises(SnapshotNotFoundError, partial(store.get_snapshot_messages, child, snapshots[0][0]), "a snapshot of another session")
    store.clear_session("s")
    raises(SnapshotNotFoundError, partial(store.get_snapshot_messages, "s", snapshots[0][0]), "a snapshot of what was cleared")
    raises(SessionNotFoundError, partial(store.get_snapshot_messages, "none", snapshots[0][0]), "a session that is not there")
