"""Cases 2.63 to 2.69: every write of an async store, cancelled at any moment, takes place whole or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from turnlog.errors import NothingToUndoError, SessionNotFoundError
from turnlog.testing.checks import holds, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

Write = Callable[[Any, str], Coroutine[Any, Any, Any]]
"""A verb of an async store, on a session."""

REPLY = {"role": "assistant", "content": "reply"}


def _landing() -> list[dict[str, Any]]:
    return [{**one, "id": f"landing {i}"} for i, one in enumerate(turn("landing", 0))]


def _payload(name: str) -> dict[str, Any]:
    """A session to import, without snapshots: an engine without transactions writes those after the history."""
    session = {"session_id": name, "messages": turn("imported", 0), "title": "imported", "metadata": {"k": 2}}
    return {"version": 1, "sessions": [session]}


def _edit(given: dict[str, Any]) -> dict[str, Any]:
    return {**given, "k": 2, "more": [1]}


async def _prepare(store: Any, name: str) -> None:
    """A session with everything that the writes need."""
    await store.add_messages(name, turn("w", 0, length=6))
    await store.create_snapshot(name, "first")
    await store.add_messages(name, turn("w", 1))
    await store.revert_to_message(name, 4)
    await store.set_title(name, "title")
    await store.update_session_metadata(name, k=1)
    await store.set_runtime_state(name, "r", "t", {"n": 1})
    await store.put_open_turn(name, "t", _landing()[:2])


WRITES: dict[str, Write] = {
    "add_message": lambda store, name: store.add_message(name, "user", "more"),
    "add_messages": lambda store, name: store.add_messages(name, turn("w", 2)),
    "add_messages with turn_id": lambda store, name: store.add_messages(name, _landing(), turn_id="t"),
    "set_chat_history": lambda store, name: store.set_chat_history(name, turn("w", 3)),
    "clear_session": lambda store, name: store.clear_session(name),
    "delete_session": lambda store, name: store.delete_session(name),
    "edit_session_metadata": lambda store, name: store.edit_session_metadata(name, _edit),
    "update_session_metadata": lambda store, name: store.update_session_metadata(name, k=2, more=[1]),
    "set_agent_info": lambda store, name: store.set_agent_info(name, "agent", "user"),
    "rename_session": lambda store, name: store.rename_session(name, "another"),
    "create_session": lambda store, name: store.create_session(name, title="other", agent_name="a", metadata={"k": 2}),
    "fork_session": lambda store, name: store.fork_session(name, 2, new_session_id=f"{name} fork"),
    "create_snapshot": lambda store, name: store.create_snapshot(name, "second"),
    "delete_snapshot": lambda store, name: _with_snapshot(store.delete_snapshot, store, name),
    "revert_to_snapshot": lambda store, name: _with_snapshot(store.revert_to_snapshot, store, name),
    "revert_to_message": lambda store, name: store.revert_to_message(name, 1),
    "undo_revert": lambda store, name: store.undo_revert(name),
    "put_open_turn": lambda store, name: store.put_open_turn(name, "t", _landing(), info={"n": 2}),
    "drop_open_turn": lambda store, name: store.drop_open_turn(name, "t"),
    "upsert_partial_assistant_message": lambda store, name: store.upsert_partial_assistant_message(name, "half an ans"),
    "append_compaction_checkpoint": lambda store, name: store.append_compaction_checkpoint(name, "the summary"),
    "set_runtime_state": lambda store, name: store.set_runtime_state(name, "r", "t", {"n": 2}),
    "clear_runtime_state": lambda store, name: store.clear_runtime_state(name),
    "share_session": lambda store, name: store.share_session(name),
    "set_session_ttl": lambda store, name: store.set_session_ttl(name, 3600.0),
    "import_sessions": lambda store, name: store.import_sessions(_payload(name), overwrite=True),
}
"""Writes to a session that ``_prepare`` has made."""

DRAFTED: dict[str, Write] = {
    "finalize": lambda store, name: store.upsert_partial_assistant_message(name, "the answer", finalize=True),
    "discard_partial_assistant_message": lambda store, name: store.discard_partial_assistant_message(name),
}
"""Writes to a session with a draft."""

BIRTHS: dict[str, Write] = {
    "add_messages": WRITES["add_messages"],
    "set_chat_history": WRITES["set_chat_history"],
    "edit_session_metadata": WRITES["edit_session_metadata"],
    "create_session": WRITES["create_session"],
    "import_sessions": WRITES["import_sessions"],
    "fork_session into it": lambda store, name: store.fork_session("origin", 1, title="a fork", new_session_id=name),
}
"""Writes that bring a session to life. An open turn is none of them: it may leave an empty one, which says nothing that is not so."""


async def _with_snapshot(verb: Callable[[str, str], Any], store: Any, name: str) -> Any:
    (snapshot,) = await store.get_snapshots(name)
    return await verb(name, snapshot.id)


def _told(store: Any, name: str) -> dict[str, Any]:
    """Everything of a session, without what is drawn at random, the times and its own name. Takes back a revert to see what lies behind."""
    found = store.get_session(name)
    fork = f"{name} fork"
    story = {
        "exists": store.session_exists(name),
        "history": texts(store.get_chat_history(name)),
        "all messages": [(one.role, one.content) for one in found.messages],
        "working history": texts(store.get_working_history(name)),
        "labels": (found.title, found.agent_name, found.user_id, found.metadata, found.runtime_state, found.is_shared, found.ttl),
        "snapshots": [(one.label, one.message_index) for one in store.get_snapshots(name)],
        "open turns": [(one.id, [message.id for message in one.messages], one.info) for one in store.get_open_turns(name)],
        "parent": store.get_parent(name) if store.session_exists(name) else None,
        "children": [child.replace(name, "") for child in store.get_children(name)],
        "fork": (texts(store.get_chat_history(fork)), store.get_parent(fork) == name) if store.session_exists(fork) else None,
    }
    try:
        store.undo_revert(name)
    except (NothingToUndoError, SessionNotFoundError) as error:
        return {**story, "undone": type(error).__name__}
    return {**story, "undone": texts(store.get_chat_history(name))}


async def _cut(write: Coroutine[Any, Any, Any], ticks: int, seconds: float = 0.0) -> bool:
    """Begin a write and cancel it after that many turns of the loop and seconds; whether it was acknowledged before that."""
    task = asyncio.ensure_future(write)
    for _ in range(ticks):
        await asyncio.sleep(0)
    if seconds:
        await asyncio.wait([task], timeout=seconds)
    task.cancel()
    answer = (await asyncio.gather(task, return_exceptions=True))[0]
    if isinstance(answer, Exception):
        raise answer
    return not isinstance(answer, asyncio.CancelledError)


def _settled(trial: Trial, run: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What ``run`` gives, once the threads that cancelled calls have left behind have come to their end."""
    threads = ThreadPoolExecutor(4)

    async def begin() -> Any:
        asyncio.get_running_loop().set_default_executor(threads)
        return await run()

    async def replace_threads() -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))

    try:
        return trial.loop.run(begin)
    finally:
        threads.shutdown(wait=True)
        trial.loop.run(replace_threads)


def _check(trial: Trial, writes: dict[str, Write], prepare: Callable[[Any, str], Coroutine[Any, Any, Any]] | None, ticks: int) -> None:
    """Cut each write after up to ``ticks`` turns of the loop, and compare with sessions to which it was done whole or not at all."""
    raw, store = trial.raw, trial.store
    # A write in a thread takes no turns of the loop: it is cut after ever more time, and less often, as most cuts come too late to matter.
    pause = 0.0004 if getattr(getattr(raw, "backend", None), "blocking", False) else 0.0
    ticks = ticks // 2 if pause else ticks
    acknowledged: dict[tuple[str, int], bool] = {}

    async def run() -> None:
        for what, write in writes.items():
            for number in (*range(ticks), -1):
                name = f"{what} {number}"
                if prepare is not None:
                    await prepare(raw, name)
                if number < 0:
                    await write(raw, name)
                else:
                    acknowledged[what, number] = await _cut(write(raw, name), number, pause * number)
        if prepare is not None:
            await prepare(raw, "before")

    _settled(trial, run)
    store.sweep()
    before = _told(store, "before")
    for what in writes:
        after = _told(store, f"{what} -1")
        for number in range(ticks):
            story = _told(store, f"{what} {number}")
            known = {name for name in story if story[name] in (before[name], after[name])}
            wanted = f"{what}, cancelled after {number} turns of the loop, takes place whole or not at all"
            holds(known == set(story), wanted, {name: story[name] for name in story if name not in known})
            holds(story in (before, after), wanted, {name: story[name] for name in story if before[name] != after[name]})
            if acknowledged[what, number]:
                same(story, after, f"the session after an acknowledged {what}")
    same((store.sweep().references_dropped, store.sweep().runs_collected), (0, 0), "what the first sweep left")


async def _draft(store: Any, name: str) -> None:
    await store.add_messages(name, turn("w", 0))
    await store.upsert_partial_assistant_message(name, "the ans")


@case("2.63", "Every write to a session, cancelled at any moment, takes place whole or not at all", needs=["async"], seconds=60)
def cancelled_writes(trial: Trial) -> None:
    _check(trial, WRITES, _prepare, trial.many(8, 60))


@case("2.64", "A draft that is made final or discarded by a cancelled call is whole, or gone, and never both", needs=["async"], seconds=40)
def cancelled_drafts(trial: Trial) -> None:
    _check(trial, DRAFTED, _draft, trial.many(20, 60))


@case("2.65", "A cancelled write that brings a session to life leaves it whole or leaves none", needs=["async"], seconds=40)
def cancelled_births(trial: Trial) -> None:
    trial.store.add_messages("origin", turn("origin", 0))
    _check(trial, BIRTHS, None, trial.many(20, 60))
    same(texts(trial.store.get_chat_history("origin")), texts(turn("origin", 0)), "the session that was forked")


@case(
    "2.66",
    "Writes of tasks of which some are cancelled: the acknowledged take place once, the others at most once",
    needs=["async"],
    seconds=40,
)
def cancelled_among_others(trial: Trial) -> None:
    raw, rounds, tasks = trial.raw, trial.many(10, 80), 6

    def marking(mark: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda given: {**given, "marks": [*given.get("marks", []), mark]}

    async def run() -> set[str]:
        acknowledged: set[str] = set()
        for number in range(rounds):
            marks = [f"{number} {each}" for each in range(tasks)]
            writes = [raw.edit_session_metadata("s", marking(mark)) for mark in marks]
            # Some are cancelled at once, some while they wait for a thread or for each other, some hardly ever.
            cuts = (_cut(write, number * each % 9, 0.001 * each**3 * (each % 2)) for each, write in enumerate(writes))
            answers = await asyncio.gather(*cuts)
            acknowledged |= {mark for mark, answer in zip(marks, answers, strict=True) if answer}
            await raw.edit_session_metadata("s", marking(f"{number} last"))
            acknowledged.add(f"{number} last")
        return acknowledged

    acknowledged = _settled(trial, run)
    marks = trial.store.get_session("s").metadata["marks"]
    same(len(marks), len(set(marks)), "the number of marks, each counted once")
    holds(acknowledged <= set(marks), "every acknowledged edit", sorted(acknowledged - set(marks)))
