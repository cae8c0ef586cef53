"""Promise 3.7: content comes back as it went in, or is refused before anything is written; what is read is the caller's own copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from turnlog.errors import InvalidMessageError, MessageTooLargeError
from turnlog.testing.checks import Mismatch, holds, raises, same
from turnlog.testing.histories import call
from turnlog.testing.registry import case
from turnlog.testing.samples import CONTENTS, NUL_TEXTS, SURROGATE_TEXTS, TEXTS, deep, refused
from turnlog.testing.trial import Trial
from turnlog.testing.turns import texts

MEBIBYTE = 1024 * 1024
LIMIT = 12 * MEBIBYTE


def _texts_return(trial: Trial, samples: dict[str, str]) -> None:
    for what, content in samples.items():
        trial.store.add_message(f"alone: {what}", "user", content)
        same(trial.store.get_chat_history(f"alone: {what}"), [{"role": "user", "content": content}], f"a text with {what}")
        trial.store.add_message("together", "user", content)
    same(texts(trial.store.get_chat_history("together")), list(samples.values()), "all these texts in one session")


@case("3.7.1", "Any text comes back as it went in", five=True)
def ordinary_texts(trial: Trial) -> None:
    _texts_return(trial, TEXTS)


@case("3.7.2", "Text with NUL comes back as it went in", five=True)
def nul(trial: Trial) -> None:
    _texts_return(trial, NUL_TEXTS)


@case("3.7.3", "Text with lone surrogates comes back as it went in", five=True)
def surrogates(trial: Trial) -> None:
    _texts_return(trial, SURROGATE_TEXTS)


@case("3.7.4", "Text of a megabyte comes back as it went in", five=True)
def megabyte(trial: Trial) -> None:
    for unit in ("x", "é😀\n"):
        content = unit * (MEBIBYTE // len(unit.encode()))
        trial.store.add_message("s", "user", content)
        same(trial.store.get_chat_history("s", 1), [{"role": "user", "content": content}], "a text of 1 MiB")
    trial.store.add_message("s", "user", "after")
    same(len(trial.store.get_chat_history("s")), 3, "the number of messages")


@case("3.7.5", "Every character there is comes back as it went in", five=True)
def every_character(trial: Trial) -> None:
    last = trial.many(0x3000, 0x110000)
    step = 0x400
    chunks = ["".join(map(chr, range(start, min(start + step, last)))) for start in range(0x20, last, step)]
    edges = "".join(map(chr, [0xD7FF, 0xE000, 0xFDD0, 0xFFFD, 0xFFFE, 0xFFFF, 0x10000, 0x1F600, 0x10FFFF]))
    chunks = [chunk for chunk in [*chunks, edges] if not any(0xD800 <= ord(c) <= 0xDFFF for c in chunk)]
    for chunk in chunks:
        trial.store.add_message("s", "user", chunk)
    for seen, chunk in zip(trial.store.get_chat_history("s"), chunks, strict=True):
        same(seen["content"], chunk, f"the characters U+{ord(chunk[0]):04X} to U+{ord(chunk[-1]):04X}")


@case("3.7.6", "Lists of parts, None, numbers and objects come back as they went in, in value, type and order of keys")
def contents(trial: Trial) -> None:
    for what, content in CONTENTS.items():
        trial.store.add_message(what, "user", content)
        same(trial.store.get_chat_history(what), [{"role": "user", "content": content}], f"a content: {what}")
        trial.store.add_messages("together", [{"role": "user", "content": content}])
        same(trial.store.get_messages(what)[0].content, content, f"the content of get_messages: {what}")
    together = [{"role": "user", "content": content} for content in CONTENTS.values()]
    same(trial.store.get_chat_history("together"), together, "all of them in one session")


@case("3.7.7", "Unknown keys, missing content and every further key come back as they went in, in their order")
def unknown_keys(trial: Trial) -> None:
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": "x", "name": "alice", "cache_control": {"type": "ephemeral"}, "x-extra": [1, None]},
        {"role": "assistant", "content": None, "refusal": "no", "audio": {"id": "a", "data": "AAAA"}},
        {"role": "assistant", "reasoning_content": "hm", "content": "z"},
        {"content": "role second", "role": "user"},
        {"role": "user"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}], "status": None},
        {"type": "web_search_call", "status": "completed", "call": {"id": "x"}},
        {"role": "assistant", "content": "", "function_metadata": {}, "annotations": [], "0": 0, "": ""},
    ]
    trial.store.add_messages("s", messages)
    same(trial.store.get_chat_history("s"), messages, "the history")
    same([dict(message.record) for message in trial.store.get_messages("s")], messages, "the records of get_messages")


@case("3.7.8", "Tool calls come back as they went in")
def tool_calls(trial: Trial) -> None:
    arguments = json.dumps({"q": "é😀\u2028", "n": [1, None]}, ensure_ascii=False)
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}, "index": 0, "x": None}, call("b")]
    messages: list[dict[str, Any]] = [
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "x"}], "name": "f"},
        {"role": "tool", "tool_call_id": "b", "content": ""},
    ]
    trial.store.add_messages("s", messages)
    same(trial.store.get_chat_history("s"), messages, "the history")
    found = trial.store.get_messages("s")
    same((found[0].tool_calls, found[1].tool_call_id), (calls, "a"), "tool_calls and tool_call_id of get_messages")


@case("3.7.9", "Nesting of 100 levels comes back; any depth either comes back or is refused")
def nesting(trial: Trial) -> None:
    trial.store.add_message("s", "user", deep(100))
    same(trial.store.get_chat_history("s")[0]["content"], deep(100), "content nested 100 levels deep")
    for levels in (1000, 100_000):
        try:
            trial.store.add_message(f"{levels}", "user", deep(levels))
        except InvalidMessageError:
            same(trial.store.session_exists(f"{levels}"), False, "session_exists after the refusal")
        else:
            holds(trial.store.get_chat_history(f"{levels}")[0]["content"] == deep(levels), f"content of {levels} levels comes back")


@case("3.7.10", "What JSON cannot hold is refused with InvalidMessageError before anything is written")
def refusals(trial: Trial) -> None:
    store = trial.store
    store.add_message("s", "user", "before")
    before = store.get_revision("s")
    for what, content in refused().items():
        ways: dict[str, Callable[[], Any]] = {
            "add_message": partial(store.add_message, "s", "user", content),
            "add_messages": partial(store.add_messages, "s", [{"role": "user", "content": "x"}, {"role": "user", "content": content}]),
            "a further key": partial(store.add_messages, "s", [{"role": "user", "content": "x", "extra": content}]),
            "message metadata": partial(store.add_message, "s", "user", "x", {"m": content}),
            "set_chat_history": partial(store.set_chat_history, "s", [{"role": "user", "content": content}]),
            "a session that is not there": partial(store.add_message, "new", "user", content),
        }
        for name, way in ways.items():
            raises(InvalidMessageError, way, f"{what} by {name}")
    same(texts(store.get_chat_history("s")), ["before"], "the texts after the refusals")
    same(store.get_revision("s"), before, "the revision after the refusals")
    same(store.session_exists("new"), False, "session_exists of a session whose only message was refused")


@case("3.7.11", "A message of over 12 MiB is refused with MessageTooLargeError; nothing is written")
def too_large(trial: Trial) -> None:
    store = trial.store
    # Characters of every width in the encoded message, so that a count of characters is found out.
    for unit, width in {"x": 1, "é": 2, '"': 2, "€": 3, "😀": 4, "\0": 6}.items():
        content = unit * (LIMIT // width + 1)
        error = raises(MessageTooLargeError, partial(store.add_message, "s", "user", content), "a message of over 12 MiB")
        same(getattr(error, "limit", None), LIMIT, "the error's limit")
        holds(getattr(error, "size", 0) > LIMIT, "the error's size is over the limit", vars(error))
        raises(
            MessageTooLargeError, partial(store.add_messages, "s", [{"role": "user", "content": ["a", content]}]), "parts of over 12 MiB"
        )
    same(store.session_exists("s"), False, "session_exists after the refusals")


@case("3.7.12", "Messages of just under 12 MiB come back as they went in", level="full")
def large(trial: Trial) -> None:
    for unit in ("x", "é", "😀", '"', "\0"):
        encoded = {'"': 2, "\0": 6}.get(unit, len(unit.encode()))
        content = unit * ((LIMIT - 200) // encoded)
        trial.store.add_message("s", "user", content)
        same(trial.store.get_chat_history("s", 1), [{"role": "user", "content": content}], "a text of just under 12 MiB")
    same(len(trial.store.get_messages("s")), 5, "the number of messages")


@case("3.7.13", "What is read is a copy: changing it changes nothing stored")
def copies_on_read(trial: Trial) -> None:
    store = trial.store
    content = [{"type": "text", "text": "one", "more": {"deep": [1]}}]
    store.add_messages("s", [{"role": "user", "content": content, "metadata": {"tags": ["a"]}}, {"role": "user", "content": "two"}])
    store.update_session_metadata("s", nested={"list": [1]})
    store.set_runtime_state("s", "r", "t", {"list": [1]})
    snapshot_metadata = {"list": [1]}
    store.create_snapshot("s", "label", snapshot_metadata)

    def everything() -> str:
        parts = [store.get_chat_history("s"), store.export_session("s"), store.get_runtime_state("s", "r"), store.list_sessions()]
        parts += [store.get_session("s").to_dict(), [one.to_dict() for one in store.get_snapshots("s")], store.get_working_history("s")]
        parts += [[message.to_dict() for message in store.get_messages("s")], store.window("s"), store.get_session_tree("s")]
        parts += [[info.metadata for info in store.iter_sessions()], store.get_chat_history("s", 1)]
        written = json.dumps(parts)
        for part in parts:
            _spoil(part)
        for message in store.get_messages("s"):
            _spoil(message.record, message.metadata, message.content)
        for message in store.get_session("s").messages:
            _spoil(message.record, message.metadata, message.content)
        _spoil(store.get_session("s").metadata, *(info.metadata for info in store.iter_sessions()))
        _spoil(*(one.metadata for one in store.get_snapshots("s")))
        return written

    first = everything()
    holds(everything() == first, "the same answers after the caller changed all that it was given", "something stored was changed with it")


@case("3.7.14", "What is written is a copy: changing a message after it was added changes nothing stored")
def copies_on_write(trial: Trial) -> None:
    store = trial.store
    content, metadata, fields = [{"type": "text", "text": "one"}], {"tags": ["a"]}, {"list": [1]}
    batch: list[dict[str, Any]] = [{"role": "user", "content": {"deep": [1]}, "metadata": metadata}]
    store.add_message("s", "user", content, metadata)
    store.add_messages("s", batch)
    store.update_session_metadata("s", nested=fields)
    store.set_runtime_state("s", "r", "t", fields)
    _spoil(content, metadata, fields, batch)
    same([message.content for message in store.get_messages("s")], [[{"type": "text", "text": "one"}], {"deep": [1]}], "the contents")
    same([message.metadata for message in store.get_messages("s")], [{"tags": ["a"]}] * 2, "the messages' metadata")
    same(store.get_session("s").metadata["nested"], {"list": [1]}, "the session's metadata")
    same(store.get_runtime_state("s", "r", "t"), {"list": [1]}, "the runtime state")


def _spoil(*values: Any) -> None:
    """Change a value of JSON types everywhere, in place."""
    for value in values:
        if isinstance(value, dict):
            _spoil(*value.values())
            value["spoilt"] = True
            value.pop(next(iter(value)))
        elif isinstance(value, list):
            _spoil(*value)
            value.append("spoilt")


@case("3.7.15", "A message's metadata, id and timestamp come back as they were given, and never show in the history")
def envelopes(trial: Trial) -> None:
    store = trial.store
    for number, metadata in enumerate(({"a": 1}, {"": None, "z": [CONTENTS["numbers"]], "a": TEXTS}, {"turnlog": {"x": 1}}, {})):
        message = {"role": "user", "content": f"{number}", "id": f"id {number}", "metadata": metadata, "timestamp": 1000.25 + number}
        store.add_messages("s", [message])
        found = store.get_messages("s")[-1]
        same((found.id, found.metadata, found.timestamp), (f"id {number}", metadata, 1000.25 + number), "id, metadata and timestamp")
    wanted = [{"role": "user", "content": f"{number}"} for number in range(4)]
    same(store.get_chat_history("s"), wanted, "the history")


@case("3.7.16", "Every way to write keeps content: add_user_message, set_chat_history, export and import, fork")
def every_way(trial: Trial) -> None:
    store = trial.store
    rich = [{"role": "user", "content": content, "extra": {"k": [1]}} for content in CONTENTS.values()]
    store.set_chat_history("set", rich)
    same(store.get_chat_history("set"), rich, "the history by set_chat_history")
    child = store.fork_session("set")
    same(store.get_chat_history(child), rich, "the history of a fork")
    other = trial.another()
    other.import_sessions(json.loads(json.dumps(store.export_all())))
    same(other.get_chat_history("set"), rich, "the history after export_all, JSON and import_sessions")
    imported = store.import_session(store.export_session("set"), "imported")
    same(store.get_chat_history(imported), rich, "the history after export_session and import_session")
    for content in CONTENTS.values():
        store.add_user_message("user", content)
        store.add_assistant_message("assistant", content)
    for role in ("user", "assistant"):
        wanted = [{"role": role, "content": content} for content in CONTENTS.values()]
        same(store.get_chat_history(role), wanted, f"the history by add_{role}_message")


@case("3.7.17", "Titles, labels, agents, users and session metadata come back as they went in")
def labels(trial: Trial) -> None:
    store = trial.store
    for what, content in {**TEXTS, **NUL_TEXTS, **SURROGATE_TEXTS}.items():
        if not content:
            continue
        store.set_title(what, content)
        store.set_agent_info(what, content, content)
        store.update_session_metadata(what, key=content)
        store.add_message(what, "user", "x")
        store.create_snapshot(what, content, {"k": content})
        found, snapshot = store.get_session(what), store.get_snapshots(what)[0]
        same((found.title, found.agent_name, found.user_id), (content,) * 3, f"title, agent and user with {what}")
        same(found.metadata.get("key"), content, f"metadata with {what}")
        same((snapshot.label, snapshot.metadata), (content, {"k": content}), f"label and metadata of a snapshot with {what}")


@case("3.7.18", "Content comes back through another instance as it went in", needs=["place"])
def through_instance(trial: Trial) -> None:
    wanted = [{"role": "user", "content": content} for content in [*CONTENTS.values(), *TEXTS.values(), *NUL_TEXTS.values()]]
    wanted += [{"role": "user", "content": content} for content in SURROGATE_TEXTS.values()]
    trial.store.add_messages("s", wanted)
    same(trial.open_again().get_chat_history("s"), wanted, "the history that another instance reads")


@case("3.7.19", "A tuple comes back as the list that JSON makes of it, or is refused; it is never taken apart")
def tuples(trial: Trial) -> None:
    parts = ({"type": "text", "text": "a"}, {"type": "text", "text": "b"})
    try:
        trial.store.add_message("s", "user", parts)
    except InvalidMessageError:
        return
    seen = trial.store.get_chat_history("s")
    if seen != [{"role": "user", "content": list(parts)}]:
        raise Mismatch("one message with the two parts as a list", repr(seen))
