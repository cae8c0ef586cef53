"""Cases 2.30 to 2.49: the other verbs of a full store: creating, labelling, reading in detail, drafts, export and import, search."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from turnlog.errors import ClosedStoreError, SessionError
from turnlog.testing.checks import holds, raises, same
from turnlog.testing.registry import case
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts, turn

VERBS = """
add_message get_chat_history clear_session delete_session session_exists add_messages get_revision get_messages add_user_message
add_assistant_message set_chat_history set_agent_info update_session_metadata rename_session set_title get_session
get_extended_session get_working_history list_sessions list_sessions_by_agent iter_sessions search window recent export_session
export_all import_sessions append_compaction_checkpoint upsert_partial_assistant_message discard_partial_assistant_message
set_runtime_state get_runtime_state clear_runtime_state invalidate_cache create_session fork_session get_children get_parent
get_ancestors get_session_tree create_snapshot get_snapshots delete_snapshot revert_to_snapshot revert_to_message undo_revert diff
share_session unshare_session is_shared import_session sweep close put_open_turn get_open_turns drop_open_turn get_snapshot_messages
set_session_ttl delete_where edit_session_metadata get_session_info
"""


@case("2.30", "Every verb of a full store is there")
def verbs(trial: Trial) -> None:
    missing = [name for name in VERBS.split() if not callable(getattr(trial.raw, name, None))]
    holds(not missing, "all verbs of SessionStore", f"missing: {missing}")


@case("2.31", "create_session gives an id; on an existing session it keeps the history and sets only what is given")
def creates(trial: Trial) -> None:
    store = trial.store
    ids = {store.create_session() for _ in range(10)}
    holds(len(ids) == 10 and all(isinstance(name, str) and name for name in ids), "ten different ids", ids)
    same(store.create_session("s", title="t", agent_name="a", metadata={"k": 1}), "s", "the id")
    same((store.session_exists("s"), store.get_chat_history("s")), (True, []), "the new session")
    store.add_messages("s", turn("w", 0))
    same(store.create_session("s", agent_name="b"), "s", "the id of an existing session")
    found = store.get_session("s")
    same((found.title, found.agent_name, found.metadata["k"], len(found.messages)), ("t", "b", 1, 3), "title, agent, metadata and history")


@case("2.32", "Setting a title, an agent or metadata creates the session, keeps what is not given, and changes no message")
def labels(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    for name in ("s", "new"):
        same(store.set_title(name, "one"), True, "set_title")
        same(store.rename_session(name, "two"), True, "rename_session")
        same(store.set_agent_info(name, agent_name="agent"), True, "set_agent_info")
        same(store.set_agent_info(name, user_id="user"), True, "set_agent_info")
        same(store.update_session_metadata(name, a=1, b=[2]), True, "update_session_metadata")
        same(store.update_session_metadata(name, a=3), True, "update_session_metadata")
        found = store.get_session(name)
        same((found.title, found.agent_name, found.user_id), ("two", "agent", "user"), "title, agent and user")
        same({key: found.metadata.get(key) for key in "ab"}, {"a": 3, "b": [2]}, "the metadata")
    same(texts(store.get_chat_history("s")), texts(turn("w", 0)), "the history")
    store.add_message("s", "user", "more")
    same(store.get_session("s").title, "two", "the title after a further message")
    same(store.get_chat_history("new"), [], "the history of the session that a title created")


@case("2.33", "get_messages slices like a list, negative indexes and all")
def slices(trial: Trial) -> None:
    store = trial.store
    contents = [f"{i}" for i in range(8)]
    store.add_messages("s", [{"role": "user", "content": content} for content in contents])
    bounds = [None, 0, 1, 3, 7, 8, 9, 100, -1, -3, -8, -9, -100]
    for start in bounds[1:]:
        for stop in bounds:
            seen = [message.content for message in store.get_messages("s", start, stop)]
            same(seen, contents[start:stop], f"get_messages('s', {start}, {stop})")
    same(store.get_messages("nobody"), [], "the messages of an unknown session")


@case("2.34", "get_session gives the whole session as a value, and an empty one for an unknown id")
def whole(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "x", {"k": 1})
    found = store.get_session("s")
    message = found.messages[0]
    same((found.session_id, message.role, message.content, message.metadata), ("s", "user", "x", {"k": 1}), "id and message")
    same((message.tool_calls, message.tool_call_id), (None, None), "tool_calls and tool_call_id of a text")
    holds(isinstance(message.timestamp, float) and message.timestamp > 1e9, "a time in seconds since the epoch", message.timestamp)
    holds(bool(found.created_at) and bool(found.updated_at), "created_at and updated_at", (found.created_at, found.updated_at))
    same(found.get_chat_history(), [{"role": "user", "content": "x"}], "its own get_chat_history")
    unknown = store.get_session("nobody")
    same((unknown.session_id, unknown.messages), ("nobody", []), "the unknown session")
    same(store.session_exists("nobody"), False, "session_exists of the unknown session")


@case("2.35", "set_chat_history replaces the history")
def replaces(trial: Trial) -> None:
    store = trial.store
    for messages in (turn("a", 0), turn("b", 0)[:1], [], turn("c", 0)):
        same(store.set_chat_history("s", messages), True, "set_chat_history")
        same(texts(store.get_chat_history("s")), texts(messages), "the texts")
        same(store.session_exists("s"), True, "session_exists")
    store.add_message("s", "user", "on")
    same(texts(store.get_chat_history("s")), [*texts(turn("c", 0)), "on"], "the texts after going on")


@case("2.36", "An answer that is streamed is one message: replaced as it grows, kept once it is final, gone when discarded")
def drafts(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "question")
    for length in (2, 4, 6):
        same(store.upsert_partial_assistant_message("s", "answer"[:length]), True, "upsert_partial_assistant_message")
    same(store.get_chat_history("s")[-1], {"role": "assistant", "content": "answer"}, "the newest message while streaming")
    same(len(store.get_chat_history("s")), 2, "the number of messages while streaming")
    store.upsert_partial_assistant_message("s", "answer!", finalize=True)
    store.add_message("s", "user", "more")
    same(texts(store.get_chat_history("s")), ["question", "answer!", "more"], "the texts")
    store.upsert_partial_assistant_message("s", "half an ans")
    same(store.discard_partial_assistant_message("s"), True, "discard_partial_assistant_message")
    same(texts(store.get_chat_history("s")), ["question", "answer!", "more"], "the texts after discarding")
    same(store.discard_partial_assistant_message("nobody"), True, "discarding where there is nothing")


@case("2.37", "Runtime states are kept for each runtime and turn, and cleared for one or for all")
def runtime_states(trial: Trial) -> None:
    store = trial.store
    same(store.get_runtime_state("s", "r"), {}, "the state of an unknown session")
    for runtime in ("r", "q"):
        for number in ("1", "2"):
            store.set_runtime_state("s", runtime, number, {"n": f"{runtime}{number}"})
    same(store.get_runtime_state("s", "r"), {"1": {"n": "r1"}, "2": {"n": "r2"}}, "the states of a runtime")
    same(store.get_runtime_state("s", "r", "2"), {"n": "r2"}, "the state of one turn")
    store.clear_runtime_state("s", "r")
    same((store.get_runtime_state("s", "r"), store.get_runtime_state("s", "q", "1")), ({}, {"n": "q1"}), "after clearing one runtime")
    store.clear_runtime_state("s")
    same(store.get_runtime_state("s", "q"), {}, "after clearing all")
    same(store.get_chat_history("s"), [], "the history")


@case("2.38", "A compaction checkpoint puts a summary in the place of what was before it, in the working history only")
def checkpoints(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", turn("w", 0))
    same(texts(store.get_working_history("s")), texts(turn("w", 0)), "the working history without a checkpoint")
    store.append_compaction_checkpoint("s", "in short", tokens_before=100, tokens_after=10)
    store.add_message("s", "user", "next")
    wanted = [{"role": "system", "content": "in short"}, {"role": "user", "content": "next"}]
    same(store.get_working_history("s"), wanted, "the working history")
    same(texts(store.get_chat_history("s")), [*texts(turn("w", 0)), "next"], "the history")


@case("2.39", "Export and import carry everything: messages with ids and metadata, title, agent, user, metadata, snapshots")
def carries(trial: Trial) -> None:
    store = trial.store
    for name in ("a", "b/ü"):
        store.add_messages(name, [{**message, "metadata": {"k": [1]}} for message in turn(name[0], 0)])
        store.set_title(name, "title")
        store.set_agent_info(name, "agent", "user")
        store.update_session_metadata(name, key=[1])
        store.create_snapshot(name, "label")
        store.add_message(name, "user", "later")
    payload = json.loads(json.dumps(store.export_all()))
    same(payload["version"], 1, "the version of the export")
    other = trial.another()
    report = other.import_sessions(payload)
    same((report.imported, list(report.skipped)), (2, []), "imported and skipped")
    for name in ("a", "b/ü"):
        mine, theirs = store.get_session(name), other.get_session(name)
        same([m.to_dict() for m in theirs.messages], [m.to_dict() for m in mine.messages], "the messages")
        labels = [(found.title, found.agent_name, found.user_id, found.metadata) for found in (theirs, mine)]
        same(labels[0], labels[1], "title, agent, user and metadata")
        snapshot = other.get_snapshots(name)[0]
        same(snapshot.label, "label", "the label of the snapshot")
        other.revert_to_snapshot(name, snapshot.id)
        same(len(other.get_chat_history(name)), 3, "the number of messages at the snapshot")


@case("2.40", "An import leaves existing sessions alone unless it may overwrite, and reports what it skipped")
def imports(trial: Trial) -> None:
    store = trial.store
    store.add_messages("a", turn("old", 0))
    store.add_messages("b", turn("b", 0))
    payload = store.export_all()
    store.set_chat_history("a", turn("new", 0))
    report = store.import_sessions(payload)
    same((report.imported, sorted(one["session_id"] for one in report.skipped)), (0, ["a", "b"]), "imported and skipped")
    same(texts(store.get_chat_history("a")), texts(turn("new", 0)), "the history that was there")
    same(store.import_sessions(payload, overwrite=True).imported, 2, "imported with overwrite=True")
    same(texts(store.get_chat_history("a")), texts(turn("old", 0)), "the history that was imported")
    other = trial.another()
    same(other.import_sessions(payload, max_sessions=1).imported, 1, "imported with max_sessions=1")
    same(store.import_session(store.export_session("a"), "copy"), "copy", "the id of import_session")
    same(texts(store.get_chat_history("copy")), texts(turn("old", 0)), "the copy")
    unreadable: list[Any] = [{"version": 99, "sessions": []}, {"sessions": "x"}, [], {"version": 1}, "text", None]
    for bad in unreadable:
        raises(SessionError, partial(store.import_sessions, bad), f"import_sessions of {bad!r}")


@case("2.41", "search finds whole words in kept messages, whatever their case, and tells where")
def searches(trial: Trial) -> None:
    store = trial.store
    store.add_messages("a", [{"role": "user", "content": f"filler {i}"} for i in range(20)])
    store.add_message("a", "user", "The Quick brown fox")
    store.add_messages("b", [{"role": "user", "content": [{"type": "text", "text": "a quick note"}]}])
    store.add_message("c", "user", "nothing of it")
    hits = store.search("quick")
    same(sorted(hit.session_id for hit in hits), ["a", "b"], "the sessions found")
    hit = next(hit for hit in hits if hit.session_id == "a")
    same(hit.anchor_index, 20, "the index of the message found")
    holds("Quick" in hit.snippet, "a snippet with the word", hit.snippet)
    same(store.search("zebra"), [], "what is found of a word that is nowhere")
    same(len(store.search("quick", limit=1)), 1, "the number found with limit=1")
    for strange in ("%", "_", "*", '"', "'", "a AND", "(", "quick OR", "\\", "NEAR(", ""):
        holds(isinstance(store.search(strange), list), f"a list for the query {strange!r}")
    same([hit.session_id for hit in store.search("100%")], [], "what is found of '100%': no character is a wildcard")


@case("2.42", "window gives the messages around one, by index and by id")
def windows(trial: Trial) -> None:
    store = trial.store
    store.add_messages("s", [{"role": "user", "content": f"{i}", "id": f"m{i}"} for i in range(12)])
    for anchor in (6, "6", "m6"):
        found = store.window("s", anchor, window=2)
        same([(one["index"], one["content"]) for one in found], [(i, f"{i}") for i in range(4, 9)], f"the window around {anchor!r}")
    same([one["index"] for one in store.window("s", window=2)], [9, 10, 11], "the window at the end")
    same([one["index"] for one in store.window("s", 0, window=2)], [0, 1, 2], "the window at the beginning")
    same(store.window("nobody"), [], "the window of an unknown session")


@case("2.43", "A store is a context manager that closes itself, and invalidate_cache never changes an answer")
def contexts(trial: Trial) -> None:
    raw: Any = trial.raw
    names = ("__aenter__", "__aexit__") if trial.subject.asynchronous else ("__enter__", "__exit__")
    holds(all(hasattr(raw, name) for name in names), f"the methods {' and '.join(names)}", sorted(set(dir(raw)) & {*names}))
    store = trial.store
    store.add_message("s", "user", "x")
    store.invalidate_cache("s")
    store.invalidate_cache()
    same(texts(store.get_chat_history("s")), ["x"], "the texts after invalidate_cache")

    async def enter() -> bool:
        async with raw as inside:
            return inside is raw

    if trial.subject.asynchronous:
        same(trial.loop.run(enter), True, "async with gives the store")
    else:
        with raw as inside:
            same(inside is raw, True, "with gives the store")
    raises(ClosedStoreError, partial(store.add_message, "s", "user", "y"), "add_message after the with block")


@case("2.44", "Clearing an unknown session creates nothing; reading never does")
def creates_nothing(trial: Trial) -> None:
    store = trial.store
    store.clear_session("nobody")
    store.delete_session("nobody")
    store.get_session("nobody")
    store.get_messages("nobody")
    store.get_snapshots("nobody")
    store.get_children("nobody")
    store.get_ancestors("nobody")
    store.window("nobody")
    store.export_session("nobody")
    store.clear_runtime_state("nobody")
    store.is_shared("nobody")
    same((store.session_exists("nobody"), store.list_sessions()), (False, []), "session_exists and the listing")
