"""Promise 3.2: no lost update; revisions are opaque tokens that change with the history and are never repeated."""

from __future__ import annotations

from functools import partial
from typing import Any

from turnlog.errors import ConflictError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import check_all_there, texts, turn


def _add(store: Any, session_id: str, writer: str, count: int) -> list[str]:
    acknowledged = []
    for number in range(count):
        if store.add_message(session_id, "user", f"{writer} {number}") is True:
            acknowledged.append(f"{writer} {number}")
    return acknowledged


@case("3.2.1", "Threads add to one session: every acknowledged message is there, once", five=True)
def threads(trial: Trial) -> None:
    count = trial.many(40, 250)
    results = trial.race(*(partial(_add, trial.store, "s", f"w{i}", count) for i in range(8)))
    acknowledged = [text for result in results for text in result]
    same(len(acknowledged), 8 * count, "the number of acknowledged messages")
    check_all_there(trial.store.get_chat_history("s"), acknowledged)


@case("3.2.2", "Threads that create the same sessions at once lose nothing", five=True)
def threads_create(trial: Trial) -> None:
    names = [f"new-{i}" for i in range(trial.many(15, 100))]

    def write(writer: str) -> None:
        for name in names:
            trial.store.add_message(name, "user", f"{writer} 0")

    trial.race(*(partial(write, f"w{i}") for i in range(4)))
    for name in names:
        check_all_there(trial.store.get_chat_history(name), [f"w{i} 0" for i in range(4)])


@case("3.2.3", "Two instances of the store write to one session in turns, and both see everything", needs=["place"])
def instances(trial: Trial) -> None:
    stores = [trial.store, trial.open_again()]
    for number in range(trial.many(20, 100)):
        stores[number % 2].add_message("s", "user", f"w {number}")
        for store in stores:
            same(texts(store.get_chat_history("s", 2)), [f"w {n}" for n in (number - 1, number) if n >= 0], "the last two messages")
    same(stores[0].get_revision("s"), stores[1].get_revision("s"), "the revision that both instances see")
    same(stores[0].add_messages("s", turn("w", 0), expect_revision=stores[1].get_revision("s")), True, "a revision read by the other")


@case("3.2.4", "Threads with an instance each: every acknowledged message is there, once", needs=["place"])
def instance_threads(trial: Trial) -> None:
    count = trial.many(25, 200)
    stores = [trial.store, *(trial.open_again() for _ in range(3))]
    results = trial.race(*(partial(_add, store, "s", f"w{i}", count) for i, store in enumerate(stores)))
    check_all_there(trial.store.get_chat_history("s"), [text for result in results for text in result])


@case("3.2.5", "Processes add to one session: every acknowledged message is there, once", needs=["process"], seconds=60)
def processes(trial: Trial) -> None:
    count = trial.many(60, 500)
    writers = trial.writers("append", [{"session_id": "s", "writer": f"p{i}", "count": count} for i in range(trial.many(3, 8))])
    acknowledged = [line for writer in writers for line in writer.wait()]
    same(len(acknowledged), count * len(writers), "the number of acknowledged messages")
    check_all_there(trial.open_again().get_chat_history("s"), acknowledged)


@case("3.2.6", "Processes that create the same sessions at once lose nothing", needs=["process"], seconds=60)
def processes_create(trial: Trial) -> None:
    count = trial.many(30, 200)
    writers = trial.writers("append_to_many", [{"prefix": "new-", "writer": f"p{i}", "count": count} for i in range(3)])
    for writer in writers:
        writer.wait()
    for number in range(count):
        check_all_there(trial.store.get_chat_history(f"new-{number}"), [f"p{i} {number}" for i in range(3)])


@case("3.2.7", "expect_revision: who read the newest state wins, who did not gets ConflictError and writes nothing")
def compare_and_set(trial: Trial) -> None:
    store = trial.store
    same(store.get_revision("s"), "", "the revision of a session that does not exist")
    same(store.add_messages("s", turn("w", 0), expect_revision=""), True, "creating with expect_revision ''")
    raises(ConflictError, lambda: store.add_messages("s", turn("w", 1), expect_revision=""), "expect_revision '' on an existing session")
    old = store.get_revision("s")
    same(store.add_messages("s", turn("w", 1), expect_revision=old), True, "the newest revision")
    error = raises(ConflictError, lambda: store.add_messages("s", turn("w", 2), expect_revision=old), "an older revision")
    holds(getattr(error, "expected", None) == old, "the error's attribute expected is the revision given", vars(error))
    same(getattr(error, "actual", None), store.get_revision("s"), "the error's attribute actual")
    raises(ConflictError, lambda: store.add_messages("none", turn("w", 0), expect_revision=old), "a revision of an unknown session")
    same(store.session_exists("none"), False, "session_exists after a lost compare-and-set")
    raises(ConflictError, lambda: store.add_messages("s", turn("w", 2), expect_revision="no such revision"), "a made-up revision")
    same(len(store.get_chat_history("s")), 6, "the number of messages")
    store.clear_session("s")
    raises(ConflictError, lambda: store.add_messages("s", turn("w", 3), expect_revision=""), "expect_revision '' on a cleared session")
    store.add_messages("t", turn("w", 0), expect_revision="")
    foreign = store.get_revision("t")
    raises(ConflictError, lambda: store.add_messages("s", turn("w", 3), expect_revision=foreign), "another session's revision")


@case("3.2.8", "Threads that count up by compare-and-set: no number is missing or there twice")
def count_up(trial: Trial) -> None:
    wins = trial.many(12, 60)

    def run() -> None:
        won = 0
        while won < wins:
            revision = trial.store.get_revision("s")
            number = len(trial.store.get_chat_history("s"))
            try:
                trial.store.add_messages("s", [{"role": "user", "content": f"{number}"}], expect_revision=revision)
            except ConflictError:
                continue
            won += 1

    trial.race(run, run, run)
    same(texts(trial.store.get_chat_history("s")), [f"{i}" for i in range(3 * wins)], "the numbers")


@case("3.2.9", "Processes that count up by compare-and-set: no number is missing or there twice", needs=["process"], seconds=60)
def processes_count_up(trial: Trial) -> None:
    wins = trial.many(40, 150)
    writers = trial.writers("count_up", [{"session_id": "s", "writer": f"p{i}", "count": wins} for i in range(2)])
    for writer in writers:
        writer.wait()
    same(texts(trial.store.get_chat_history("s")), [f"{i}" for i in range(2 * wins)], "the numbers")


@case("3.2.10", "Every change of the history changes the revision; reading and snapshots never do")
def revisions_change(trial: Trial) -> None:
    store = trial.store
    seen: list[str] = []

    def changed(what: str) -> None:
        revision = store.get_revision("s")
        holds(isinstance(revision, str) and revision != "", f"a non-empty str as revision after {what}", revision)
        holds(revision not in seen, f"a new revision after {what}", f"{revision!r}, which was there before")
        seen.append(revision)

    store.add_message("s", "user", "a")
    changed("add_message")
    store.add_messages("s", turn("w", 0))
    changed("add_messages")
    snapshot = store.create_snapshot("s")
    store.get_chat_history("s")
    store.get_messages("s")
    store.get_session("s")
    store.list_sessions()
    same(store.get_revision("s"), seen[-1], "the revision after reading and a snapshot")
    store.revert_to_message("s", 1)
    changed("revert_to_message")
    store.revert_to_snapshot("s", snapshot)
    changed("revert_to_snapshot")
    store.undo_revert("s")
    changed("undo_revert")
    store.set_chat_history("s", turn("w", 1))
    changed("set_chat_history")
    store.clear_session("s")
    changed("clear_session")
    store.add_message("s", "user", "a")
    changed("add_message after clear_session")


@case("3.2.11", "A revision is never repeated, also after clear, and after delete and creating the session again")
def revisions_never_repeat(trial: Trial) -> None:
    store, seen = trial.store, set()
    for _ in range(trial.many(12, 200)):
        for step in (partial(store.add_messages, "s", turn("w", 0)), partial(store.clear_session, "s"), partial(store.delete_session, "s")):
            step()
            revision = store.get_revision("s")
            holds(revision == "" or revision not in seen, "a revision that was never there before", revision)
            seen.add(revision)
    same(store.get_revision("s"), "", "the revision after delete_session")


@case("3.2.12", "A revision from before a clear or a delete never matches again, however alike the session looks")
def stale(trial: Trial) -> None:
    store = trial.store
    for name, end in (("clear", store.clear_session), ("delete", store.delete_session)):
        store.set_chat_history("s", turn("w", 0))
        stale_append = partial(store.add_messages, "s", turn("w", 9), expect_revision=store.get_revision("s"))
        end("s")
        for _ in range(3):
            raises(ConflictError, stale_append, f"a revision from before {name}")
            store.add_messages("s", turn("w", 0))
        same(len(store.get_chat_history("s")), 9, "the number of messages")


@case("3.2.13", "Threads that label a session lose neither each other's labels nor a message")
def labels(trial: Trial) -> None:
    store, count = trial.store, trial.many(25, 150)

    def label(name: str) -> None:
        for number in range(count):
            store.update_session_metadata("s", **{f"{name}_{number}": number})

    def retitle() -> None:
        for number in range(count):
            store.set_title("s", f"title {number}")

    add = lambda number: store.add_message("s", "user", f"w {number}")  # noqa: E731
    added = trial.race(partial(label, "a"), partial(label, "b"), retitle, meanwhile=add)[-1]
    found = store.get_session("s")
    wanted = {f"{name}_{number}": number for name in "ab" for number in range(count)}
    holds(wanted.items() <= found.metadata.items(), f"all {len(wanted)} keys of metadata", f"{len(found.metadata)} keys")
    same(found.title, f"title {count - 1}", "the title")
    check_all_there(store.get_chat_history("s"), [f"w {i}" for i in range(added)])


@case("3.2.14", "Threads that revert and append: what was acknowledged after the last revert is there")
def revert_and_append(trial: Trial) -> None:
    store, count = trial.store, trial.many(15, 100)
    store.add_messages("s", turn("base", 0))

    def revert() -> None:
        for _ in range(count):
            store.revert_to_message("s", 2)

    added = trial.race(revert, meanwhile=lambda number: store.add_message("s", "user", f"w {number}"))[-1]
    last = [f"last {i}" for i in range(3)]
    for text in last:
        store.add_message("s", "user", text)
    history = texts(store.get_chat_history("s"))
    same(history[:3], texts(turn("base", 0)), "the messages before the revert")
    same(history[-3:], last, "the messages after the race")
    between = history[3:-3]
    holds(len(between) == len(set(between)) and len(between) <= added, "each message of the race at most once", between)
    same(between, sorted(between, key=lambda text: int(text.split()[1])), "the messages of the race in order")


@case("3.2.15", "Instances that open a new place at the same moment lose nothing and refuse nothing", needs=["place"], seconds=40)
def instances_begin(trial: Trial) -> None:
    for _ in range(trial.many(15, 150)):
        place = trial.new_place()
        stores = [trial.open_again(place) for _ in range(4)]
        results = trial.race(*(partial(_add, store, "s", f"w{i}", 2) for i, store in enumerate(stores)))
        check_all_there(stores[0].get_chat_history("s"), [text for result in results for text in result])
        # Each may hold a connection, and a server takes only so many.
        trial.close_stores()


@case("3.2.16", "Processes that open a new place at the same moment lose nothing and refuse nothing", needs=["process"], seconds=60)
def processes_begin(trial: Trial) -> None:
    for _ in range(trial.many(1, 20)):
        place = trial.new_place()
        writers = trial.writers("append", [{"session_id": "s", "writer": f"p{i}", "count": 3} for i in range(4)], place=place)
        acknowledged = [line for writer in writers for line in writer.wait()]
        check_all_there(trial.open_again(place).get_chat_history("s"), acknowledged)


@case("3.2.17", "Processes that label one session and add to it lose neither labels nor messages", needs=["process"], seconds=60)
def processes_label(trial: Trial) -> None:
    count = trial.many(15, 150)
    writers = trial.writers("label", [{"session_id": "s", "writer": f"p{i}", "count": count} for i in range(2)])
    for writer in writers:
        writer.wait()
    found = trial.store.get_session("s")
    missing = {f"p{i} {n}" for i in range(2) for n in range(count)} - set(found.metadata)
    holds(not missing, f"all {2 * count} keys of metadata", f"missing: {sorted(missing)[:5]}")
    check_all_there(trial.store.get_chat_history("s"), [f"p{i} {n}" for i in range(2) for n in range(count)])
    same(len(trial.store.get_snapshots("s")), 2 * count, "the number of snapshots")
