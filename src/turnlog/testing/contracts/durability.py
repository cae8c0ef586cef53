"""Promise 3.4: what was acknowledged is there when the store is opened again: after closing, without closing, after kill -9."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from turnlog.errors import StorageError
from turnlog.testing.checks import Mismatch, NotRun, holds, same
from turnlog.testing.registry import case
from turnlog.testing.syncs import Syncs, identity
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_all_there, check_whole_turns, texts, turn


@case("3.4.1", "What was stored is there when the store is closed and opened again", five=True, needs=["place"])
def closed(trial: Trial) -> None:
    wanted = [f"text {i} é😀" for i in range(20)]
    for text in wanted:
        trial.store.add_message("s", "user", text)
    trial.store.add_message("gone", "user", "x")
    trial.store.delete_session("gone")
    trial.store.add_message("emptied", "user", "x")
    trial.store.clear_session("emptied")
    if callable(close := getattr(trial.store, "close", None)):
        close()
    again = trial.open_again()
    same(texts(again.get_chat_history("s")), wanted, "the texts after opening again")
    same(again.session_exists("gone"), False, "session_exists of a deleted session after opening again")
    same(again.session_exists("emptied"), True, "session_exists of a cleared session after opening again")
    same(again.get_chat_history("emptied"), [], "the history of a cleared session after opening again")
    again.add_message("s", "user", "next")
    same(texts(again.get_chat_history("s")), [*wanted, "next"], "the texts after going on")


@case("3.4.2", "What was stored is there for another instance while the first is still open", five=True, needs=["place"])
def while_open(trial: Trial) -> None:
    for number in range(12):
        trial.store.add_message("s", "user", f"{number}")
        same(texts(trial.open_again().get_chat_history("s")), [f"{i}" for i in range(number + 1)], "the texts that a new instance reads")


@case("3.4.3", "What a process stored is there after it left without closing", five=True, needs=["process"], seconds=30)
def left(trial: Trial) -> None:
    acknowledged = trial.writer("append", session_id="s", writer="p", count=25).wait()
    same(len(acknowledged), 25, "the number of acknowledged messages")
    check_all_there(trial.open_again().get_chat_history("s"), acknowledged)


@case("3.4.4", "kill -9 of a writer at any moment loses no acknowledged turn and splits none", needs=["process"], seconds=90)
def killed(trial: Trial) -> None:
    rounds, at_once = trial.many(6, 60), 2
    acknowledged: list[str] = []
    for start in range(0, rounds, at_once):
        size = trial.random.choice((0, 0, 300, 9000, 100_000))
        each = [{"session_id": "s", "writer": f"k{start + i}", "count": 10**6, "size": size} for i in range(at_once)]
        writers = trial.writers("append_turns", each)
        for writer in writers:
            writer.hear(trial.random.randrange(1, 12))
        for writer in writers:
            acknowledged += writer.kill(after=writer.pace() * trial.random.random())
    again = trial.open_again()
    # One turn of each writer may have been stored and not yet acknowledged.
    seen = check_whole_turns(again.get_chat_history("s"))
    lost = set(acknowledged) - set(seen)
    holds(not lost, f"all {len(acknowledged)} acknowledged turns are there", f"{len(lost)} are lost, such as {sorted(lost)[:5]}")
    extra = len(seen) - len(acknowledged)
    holds(extra <= rounds, "at most one turn of each killed writer that was not acknowledged", f"{extra} such turns")
    again.add_messages("s", turn("after", 0))
    same(check_whole_turns(trial.open_again().get_chat_history("s"))[-1], "after 0", "the turn added after the kills")


@case("3.4.5", "kill -9 while sessions are created: each is there whole or not at all", five=True, needs=["process"], seconds=60)
def killed_creating(trial: Trial) -> None:
    for start in range(trial.many(1, 16)):
        names = [f"s{start} {i}" for i in range(4)]
        writers = trial.writers("append", [{"session_id": name, "writer": "p", "count": 10**6} for name in names])
        killed = []
        for number, writer in enumerate(writers):
            writer.hear(2 + number)
            killed.append(writer.kill(after=writer.pace() * trial.random.random()))
        for name, acknowledged in zip(names, killed, strict=True):
            attempted = [*acknowledged, f"p {len(acknowledged)}"]
            history = trial.open_again().get_chat_history(name)
            check_all_there(history, acknowledged, attempted=attempted)
            same(texts(history), attempted[: len(history)], "the order of the messages")


@case("3.4.6", "Titles, forks, snapshots and undo points are as durable as messages", needs=["process"], seconds=30)
def labels(trial: Trial) -> None:
    same(trial.writer("lay_out").wait(), ["done"], "what the process said")
    store = trial.open_again()
    same(store.get_session("main").title, "kept", "the title")
    same(texts(store.get_chat_history("fork")), texts(turn("w", 0)[:2]), "the fork")
    same(store.get_children("main"), ["fork"], "the children")
    same([snapshot.label for snapshot in store.get_snapshots("main")], ["label"], "the labels of the snapshots")
    same(len(store.get_chat_history("main")), 1, "the messages after the revert")
    store.undo_revert("main")
    same(len(store.get_chat_history("main")), 3, "the messages after undoing it")
    same((store.session_exists("deleted"), store.get_chat_history("deleted")), (False, []), "a session that was deleted before")
    same((store.session_exists("cleared"), store.get_chat_history("cleared")), (True, []), "a session that was cleared before")


@case("3.4.7", "Killed writers leave no files behind that a sweep does not remove", needs=["process"], seconds=60)
def no_leftovers(trial: Trial) -> None:
    names: list[set[str]] = []
    for start in range(2):
        for again in range(trial.many(1, 5)):
            each = [{"session_id": "s", "writer": f"k{start} {again} {i}", "count": 10**6, "size": 30_000} for i in range(3)]
            for writer in trial.writers("append_turns", each):
                writer.hear(3)
                writer.kill(after=writer.pace() * trial.random.random())
        store = trial.open_again()
        store.set_title("s", "t")
        store.create_snapshot("s")
        store.revert_to_message("s", 5)
        store.sweep()
        store.close()
        names.append({path.relative_to(trial.place).as_posix() for path in trial.files()})
    # What is set aside for a person to look at is meant to stay.
    left = [name for name in sorted(names[1] - names[0]) if "torn" not in name and "corrupt" not in name]
    same(left, [], "the files that appeared with the second round of kills")


@case(
    "3.4.8", "When no space is left a turn is refused with an error, nothing acknowledged is lost, and the store goes on", needs=["process"]
)
def no_space(trial: Trial) -> None:
    trial.store.add_message("elsewhere", "user", "x")
    lines = trial.writer("run_out_of_space", session_id="s", writer="d", size=20_000).wait()
    if "never refused" in lines:
        return
    answered = [line for line in lines if line.startswith("answered")]
    if answered:
        raise Mismatch("add_messages returns True or raises", answered[0])
    refusal = next(line for line in lines if line.startswith("refused"))
    kinds = refusal.split()[2:]
    holds("SessionError" in kinds and "OSError" in kinds, "a SessionError that is also an OSError", refusal.split()[1])
    seen = check_whole_turns(trial.open_again().get_chat_history("s"))
    acknowledged = [line for line in lines if not line.startswith("refused")]
    lost = set(acknowledged) - set(seen)
    holds(not lost, "every acknowledged turn is there", f"lost: {sorted(lost)[:5]}")
    same(seen[-1], "after 0", "the newest turn, added once there was space again")


@case("3.4.9", "kill -9 amid titles, snapshots and forks loses no acknowledged turn", needs=["process"], seconds=90)
def killed_branching(trial: Trial) -> None:
    for start in range(trial.many(1, 15)):
        writers = trial.writers("branch", [{"session_id": f"s{start} {i}", "writer": "b"} for i in range(4)])
        killed = []
        for number, writer in enumerate(writers):
            writer.hear(2 + 3 * number)
            killed.append(writer.kill(after=writer.pace() * trial.random.random()))
            # While the others go on.
            trial.open_again().sweep()
        # Only now: a writer that goes on while another's forks are read makes more of them than a slow store can read.
        for number, acknowledged in enumerate(killed):
            store, name = trial.open_again(), f"s{start} {number}"
            seen = check_whole_turns(store.get_chat_history(name))
            same(seen[: len(acknowledged)], acknowledged, "the acknowledged turns")
            holds(len(seen) <= len(acknowledged) + 1, "at most one turn that was not acknowledged", seen[len(acknowledged) :])
            children = store.get_children(name)
            # The newest, which the kill met, and some of the others: a quick store makes more of them than can be read in minutes.
            for child in [*children[-10:], *trial.random.sample(children, min(30, len(children)))]:
                check_whole_turns(store.get_chat_history(child))
            store.add_messages(name, turn("after", 0))
            same(check_whole_turns(store.get_chat_history(name)), [*seen, "after 0"], "the turns after going on")


@case(
    "3.4.10",
    "Where the end of a file is cut off, at most the newest turn is missing, whole, or an error says so",
    needs=["place"],
    seconds=40,
)
def torn(trial: Trial) -> None:
    store = trial.store
    for number in range(4):
        store.add_messages("s", turn("w", number))
    store.close()
    before = {path: path.read_bytes() for path in trial.files()}
    holder = max(before, key=lambda path: len(before[path]))
    cuts = range(1, 200) if trial.level == "full" else sorted(trial.random.sample(range(1, 200), 14))
    for cut in cuts:
        place = trial.copied({**before, holder: before[holder][:-cut]})
        try:
            again = trial.open_again(place)
            seen = check_whole_turns(again.get_chat_history("s"))
        except StorageError:
            continue
        wanted = [f"w {i}" for i in range(4)]
        holds(seen in (wanted, wanted[:3]), f"all turns, or all but the newest, with {cut} bytes cut off", seen)
        again.add_messages("s", turn("after", 0))
        same(check_whole_turns(trial.open_again(place).get_chat_history("s")), [*seen, "after 0"], "the turns after going on")


@case("3.4.11", "kill -9 amid a turn leaves what was put of it open, and never also in the history", needs=["process"], seconds=60)
def killed_amid_turns(trial: Trial) -> None:
    amid = 0
    for start in range(trial.many(10, 30)):
        if amid >= trial.many(1, 15):
            break
        writers = trial.writers("run_turns", [{"session_id": f"s{start} {i}", "writer": "t"} for i in range(2)])
        for number, writer in enumerate(writers):
            writer.hear(4 + 7 * number)
            said = writer.kill(after=writer.pace() * trial.random.random())
            # A kill just after a turn has landed says nothing of what is put of one.
            amid += said[-1].startswith("put")
            _check_turns(trial.open_again(), f"s{start} {number}", said)


def _check_turns(store: Any, name: str, said: list[str]) -> None:
    """A killed writer's session: ``landed t <turn>`` and ``put t <turn> <messages>`` are what it said."""
    landed = [line.split(" ", 1)[1] for line in said if line.startswith("landed")]
    seen = check_whole_turns(store.get_chat_history(name))
    same(seen[: len(landed)], landed, "the acknowledged turns")
    holds(len(seen) <= len(landed) + 1, "at most one turn that was not acknowledged", seen[len(landed) :])
    still_open = {one.id: len(one.messages) for one in store.get_open_turns(name)}
    holds(not still_open.keys() & set(seen), "no open turn that is also in the history", sorted(still_open))
    if said[-1].startswith("put"):
        _, writer, number, count = said[-1].split()
        last = f"{writer} {number}"
        holds(last in seen or still_open.get(last, 0) >= int(count), f"{count} messages or more of {last}", still_open)
    holds(len(still_open) <= 1, "at most the one turn that was under way is open", sorted(still_open))


@case("3.4.12", "A store that syncs what it appends syncs every file before it gives it a name, and the directory after", needs=["place"])
def named_and_synced(trial: Trial) -> None:
    store, watch = trial.store, Syncs()
    with watch.watching():
        store.add_message("s", "user", "first")
        heard = len(watch.events)
        store.add_message("s", "user", "second")
        if not watch.synced(heard):
            raise NotRun("the store syncs nothing by os.fsync: it says that it survives kill -9 only, or its engine syncs for it")
        _check_synced(watch, "add_message")
        for size in (10, 30_000):
            for what, verb in _verbs_that_write(store, f"s{size}", size).items():
                before = {path: path.stat().st_ino for path in trial.files() if path.stat().st_size}
                verb()
                new = {path for path in trial.files() if path.stat().st_size and before.get(path) != path.stat().st_ino}
                _check_synced(watch, what, new)


def _verbs_that_write(store: Any, name: str, size: int) -> dict[str, Callable[[], Any]]:
    """Verbs whose effect must survive power loss, in the order in which they are done."""
    return {
        "create_session": partial(store.create_session, name),
        "add_messages": partial(store.add_messages, name, [one for number in range(4) for one in turn("w", number, size)]),
        "set_title": partial(store.set_title, name, "title"),
        "create_snapshot": partial(store.create_snapshot, name),
        "fork_session": partial(store.fork_session, name, 1, new_session_id=f"fork of {name}"),
        "revert_to_message": partial(store.revert_to_message, name, 4),
        "undo_revert": partial(store.undo_revert, name),
        "a checkpoint": partial(store.append_compaction_checkpoint, name, "summary"),
        "a finished draft": partial(store.upsert_partial_assistant_message, name, "answer", finalize=True),
        "add_message": partial(store.add_message, name, "user", "x"),
        "set_chat_history": partial(store.set_chat_history, name, turn("w", 9, size)),
        "clear_session": partial(store.clear_session, name),
    }


def _check_synced(watch: Syncs, what: str, new: Iterable[Path] = ()) -> None:
    """All that was heard since the last check is safe; so is the name of each ``new`` file."""
    at_risk = watch.at_risk()
    at_risk += [f"{path.name} is new, and its directory was not synced" for path in new if identity(path.parent) not in watch.synced()]
    holds(not at_risk, f"files and names that survive power loss once {what} has returned", "; ".join(at_risk[:3]))
    watch.events.clear()
