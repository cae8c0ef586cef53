"""Promise 3.9: clear and delete erase; nothing of what they erased can be reached again, except through a fork that still shows it."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from turnlog.errors import NothingToUndoError, SessionError, SessionNotFoundError, SnapshotNotFoundError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

SECRET = "xylophone-quartz"


def _full_session(store: Any, name: str) -> list[str]:
    """A session with the secret in everything that a session can hold; gives its snapshots."""
    store.add_messages(name, [{"role": "user", "content": f"{SECRET} {i}", "metadata": {"m": SECRET}} for i in range(4)])
    snapshots = [store.create_snapshot(name, SECRET, {"k": SECRET})]
    store.revert_to_message(name, 1)
    store.add_message(name, "user", f"{SECRET} later")
    snapshots.append(store.create_snapshot(name))
    store.revert_to_message(name, 0)
    store.append_compaction_checkpoint(name, f"{SECRET} summary")
    store.upsert_partial_assistant_message(name, f"{SECRET} draft")
    store.put_open_turn(name, "turn", [{"role": "user", "content": f"{SECRET} under way"}], info={"k": SECRET})
    return snapshots


def _check_unreachable(store: Any, name: str, what: str) -> None:
    reads: dict[str, Any] = {
        "get_chat_history": store.get_chat_history(name),
        "get_working_history": store.get_working_history(name),
        "get_messages": [message.to_dict() for message in store.get_messages(name)],
        "get_session": store.get_session(name).to_dict(),
        "get_extended_session": store.get_extended_session(name).to_dict(),
        "search": [hit.as_dict() for hit in store.search(SECRET)],
        "window": store.window(name),
        "recent": [one.as_dict() for one in store.recent()],
        "list_sessions": store.list_sessions(),
        "export_session": store.export_session(name),
        "export_all": store.export_all(),
        "get_snapshots": [one.to_dict() for one in store.get_snapshots(name)],
        "get_open_turns": [one.to_dict() for one in store.get_open_turns(name)],
    }
    for verb, answer in reads.items():
        holds(SECRET not in json.dumps(answer), f"nothing of what was erased by {what} in {verb}", json.dumps(answer)[:200])


@case("3.9.1", "What was cleared cannot be reached through any verb: history, search, export, undo, snapshots, drafts")
def cleared(trial: Trial) -> None:
    store = trial.store
    snapshots = _full_session(store, "s")
    store.set_title("s", "title")
    store.set_agent_info("s", "agent", "user")
    store.update_session_metadata("s", key=1)
    store.clear_session("s")
    _check_unreachable(store, "s", "clear_session")
    raises(NothingToUndoError, partial(store.undo_revert, "s"), "undo_revert after clear_session")
    for snapshot in snapshots:
        raises(SnapshotNotFoundError, partial(store.revert_to_snapshot, "s", snapshot), "revert_to_snapshot after clear_session")
    found = store.get_session("s")
    kept = (found.title, found.agent_name, found.user_id, found.metadata.get("key"))
    same(kept, ("title", "agent", "user", 1), "title, agent, user and metadata, which clear_session keeps")
    store.add_message("s", "user", "new")
    raises(NothingToUndoError, partial(store.undo_revert, "s"), "undo_revert after clear_session and a message")
    same(texts(store.get_chat_history("s")), ["new"], "the texts")


@case("3.9.2", "What was deleted cannot be reached, also when a session of the same id comes to be")
def deleted(trial: Trial) -> None:
    store = trial.store
    snapshots = _full_session(store, "s")
    store.set_title("s", SECRET)
    store.set_agent_info("s", f"{SECRET} agent", f"{SECRET} user")
    store.update_session_metadata("s", key=SECRET)
    store.set_runtime_state("s", "runtime", "turn", {"x": SECRET})
    store.share_session("s")
    store.delete_session("s")
    _check_unreachable(store, "s", "delete_session")
    same((store.list_sessions(), list(store.iter_sessions())), ([], []), "the listings after delete_session")
    same(store.list_sessions_by_agent(f"{SECRET} agent"), [], "the agent's sessions after delete_session")
    store.add_message("s", "user", "new")
    _check_unreachable(store, "s", "delete_session, after a session of the same id came to be")
    same((store.is_shared("s"), store.get_runtime_state("s", "runtime")), (False, {}), "is_shared and runtime state of the new session")
    raises(NothingToUndoError, partial(store.undo_revert, "s"), "undo_revert of the new session")
    for snapshot in snapshots:
        raises(SnapshotNotFoundError, partial(store.revert_to_snapshot, "s", snapshot), "revert_to_snapshot of the new session")


@case("3.9.3", "set_chat_history erases what was there, as clear_session does")
def replaced(trial: Trial) -> None:
    _full_session(trial.store, "s")
    trial.store.set_chat_history("s", turn("w", 0))
    _check_unreachable(trial.store, "s", "set_chat_history")
    raises(NothingToUndoError, partial(trial.store.undo_revert, "s"), "undo_revert after set_chat_history")


@case("3.9.4", "A fork still shows what it took over after its parent is cleared or deleted, and no more than that")
def forks_stay(trial: Trial) -> None:
    store = trial.store
    for end in (store.clear_session, store.delete_session):
        store.set_chat_history("s", [*turn("w", 0), {"role": "user", "content": f"{SECRET} after the fork"}])
        store.add_message("s", "user", f"{SECRET} more")
        child = store.fork_session("s", 2)
        grandchild = store.fork_session(child)
        end("s")
        for name in (child, grandchild):
            same(texts(store.get_chat_history(name)), texts(turn("w", 0)), "the texts of a fork whose parent is gone")
            holds(SECRET not in json.dumps(store.export_session(name, include_lineage=False)), "only what the fork took over", "more")
            raises(NothingToUndoError, partial(store.undo_revert, name), "undo_revert of a fork")
        same(store.search(SECRET), [], "what search finds of the messages after the fork")
        store.sweep(compact=True)
        store.add_message(child, "user", "on")
        same(texts(store.get_chat_history(child)), [*texts(turn("w", 0)), "on"], "the texts of the fork after a sweep")
        same(texts(store.get_chat_history(grandchild)), texts(turn("w", 0)), "the texts of the fork's fork after a sweep")
        for name in (child, grandchild, "s"):
            store.delete_session(name)


@case("3.9.5", "Deleting a fork leaves its parent and its own forks whole")
def parent_stays(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    child = store.fork_session("s")
    store.add_message(child, "user", "in the child")
    grandchild = store.fork_session(child)
    store.delete_session(child)
    store.sweep()
    same(texts(store.get_chat_history("s")), texts(turn("w", 0)), "the parent's texts")
    same(texts(store.get_chat_history(grandchild)), [*texts(turn("w", 0)), "in the child"], "the texts of the fork's fork")
    same(store.get_chat_history(child), [], "the history of the deleted fork")
    same(store.get_children("s"), [], "the parent's children")


@case("3.9.6", "Reverted messages are out of the history, of search and of exports' messages")
def reverted(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", [*turn("w", 0), {"role": "user", "content": SECRET}])
    same([hit.session_id for hit in store.search(SECRET)], ["s"], "what search finds before the revert")
    store.revert_to_message("s", 2)
    same(store.search(SECRET), [], "what search finds after the revert")
    same(len(store.export_session("s")["sessions"][0]["messages"]), 3, "the number of messages in the export")


@case("3.9.7", "Threads that append and delete: the session ends as one or the other, and a deleted message never comes back", seconds=30)
def append_against_delete(trial: Trial) -> None:
    store = trial.store
    for number in range(trial.many(40, 600)):
        name = f"s{number}"
        store.add_messages(name, turn("old", 0))
        trial.race(partial(store.add_messages, name, turn("new", 0)), partial(store.delete_session, name))
        seen = texts(store.get_chat_history(name))
        holds(seen in ([], texts(turn("new", 0))), "no message, or the whole new turn", seen)
        same(store.session_exists(name), bool(seen), "session_exists")
        store.add_message(name, "user", "on")
        same(texts(store.get_chat_history(name)), [*seen, "on"], "the texts after going on")


@case(
    "3.9.8", "Threads that append and clear: what was acknowledged after the clear is there, what was before is gone", five=True, seconds=30
)
def append_against_clear(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "w -1")

    def clear() -> None:
        for _ in range(trial.many(20, 200)):
            store.clear_session("s")

    count = trial.race(clear, meanwhile=lambda number: store.add_message("s", "user", f"w {number}"))[-1]
    seen = [int(text.split()[1]) for text in texts(store.get_chat_history("s"))]
    same(seen, list(range(count - len(seen), count)), "the newest messages, with no gap")
    same(store.session_exists("s"), True, "session_exists")
    store.clear_session("s")
    same(store.get_chat_history("s"), [], "the history after a last clear")


@case("3.9.9", "Threads that fork and delete: a fork is whole or was refused, and nothing dangles", seconds=40)
def fork_against_delete(trial: Trial) -> None:
    store = trial.store

    def fork(name: str) -> str | None:
        try:
            return str(store.fork_session(name))
        except SessionNotFoundError:
            return None

    for number in range(trial.many(25, 300)):
        name = f"s{number}"
        store.add_messages(name, turn("w", 0))
        one, other, _ = trial.race(partial(fork, name), partial(fork, name), partial(store.delete_session, name))
        for child in (one, other):
            if child is not None:
                same(texts(store.get_chat_history(child)), texts(turn("w", 0)), "the texts of a fork that was made")
                same(store.get_parent(child), None, "the parent of a fork whose parent is deleted")
        same(store.session_exists(name), False, "session_exists of the deleted session")
    store.sweep(compact=True)
    for info in store.iter_sessions():
        same(texts(store.get_chat_history(info.session_id)), texts(turn("w", 0)), "the texts of a fork after a sweep")


@case("3.9.10", "Threads that sweep, fork, snapshot and delete never hurt each other", seconds=40)
def sweep_against_all(trial: Trial) -> None:
    store, rounds = trial.store, trial.many(10, 100)
    store.add_messages("root", turn("w", 0))

    def branch() -> None:
        for _ in range(rounds):
            child = store.fork_session("root", 1)
            same(len(store.get_chat_history(child)), 2, "the number of messages of a fork")
            store.add_message(child, "user", "on")
            snapshot = store.create_snapshot(child)
            store.revert_to_message(child, 0)
            store.revert_to_snapshot(child, snapshot)
            same(len(store.get_chat_history(child)), 3, "the number of messages after going back to the snapshot")
            store.delete_session(child)

    trial.race(branch, branch, meanwhile=lambda _: store.sweep())
    same(texts(store.get_chat_history("root")), texts(turn("w", 0)), "the parent's texts")
    same(store.get_children("root"), [], "the parent's children")


@case("3.9.11", "Another instance sees a clear and a delete at once", needs=["place"])
def other_instance(trial: Trial) -> None:
    store, other = trial.store, trial.open_again()
    for number in range(trial.many(4, 20)):
        store.add_messages("s", turn("w", number))
        same(len(other.get_chat_history("s")), 3, "the number of messages that the other instance sees")
        store.clear_session("s")
        same(other.get_chat_history("s"), [], "what the other instance sees after a clear")
        other.add_message("s", "user", "x")
        same(texts(store.get_chat_history("s")), ["x"], "what the first instance sees after the other wrote")
        other.delete_session("s")
        same((store.session_exists("s"), store.get_chat_history("s")), (False, []), "what the first instance sees after a delete")


@case("3.9.12", "After sweep(compact=True) nothing that was erased is left in the files", needs=["place"])
def compacted(trial: Trial) -> None:
    store = trial.store
    _full_session(store, "cleared")
    _full_session(store, "deleted")
    _full_session(store, "replaced")
    store.add_messages("kept", turn("w", 0))
    written = any(SECRET.encode() in path.read_bytes() for path in trial.files())
    holds(written, "the files hold the texts before they are erased", "no file does")
    store.clear_session("cleared")
    store.delete_session("deleted")
    store.set_chat_history("replaced", turn("w", 0))
    store.sweep(compact=True)
    left = [path.name for path in trial.files() if SECRET.encode() in path.read_bytes()]
    same(left, [], "the files that still hold what was erased")
    same(len(store.get_chat_history("kept")), 3, "the number of messages of the session that was kept")


@case("3.9.13", "A message, a fork and a snapshot of a session that is being replaced are of the old history or of the new one", seconds=30)
def readers_against_replace(trial: Trial) -> None:
    store, count = trial.store, trial.many(20, 200)
    histories = [texts(turn("a", 0)), texts(turn("b", 0))]
    store.set_chat_history("s", turn("a", 0))

    def read() -> None:
        for _ in range(count):
            holds(texts(store.get_chat_history("s")) in histories, "one of the two histories, whole", store.get_chat_history("s"))
            holds([m.content for m in store.get_session("s").messages] in histories, "one of the two histories, whole", "a mixture")
            try:
                child = store.fork_session("s")
            except SessionError:
                continue
            holds(texts(store.get_chat_history(child)) in histories, "a fork of one of the two histories", store.get_chat_history(child))
            store.delete_session(child)

    trial.race(read, meanwhile=lambda number: store.set_chat_history("s", turn("ab"[number % 2], 0)))
