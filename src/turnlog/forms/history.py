"""A history read for writing it in another form: its messages, what they say, which form they are in, and the ids of their calls."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from turnlog.forms.pieces import Call, Message, Result
from turnlog.forms.reading import read_message
from turnlog.toolcalls import RESPONSES_CALLS, Kind, Trace, read

CHAT_PARTS = frozenset({"image_url", "file"})
RESPONSES_PARTS = frozenset({"input_text", "output_text", "input_image", "input_file", "summary_text", "reasoning_text"})
ANTHROPIC_PARTS = frozenset(
    {"image", "document", "search_result", "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use"}
    | {"web_search_tool_result", "web_fetch_tool_result", "code_execution_tool_result", "container_upload"}
    | {"bash_code_execution_tool_result", "text_editor_code_execution_tool_result", "tool_search_tool_result"}
)
"""Kinds of content parts that one form alone has. A kind that is in no table passes through: its caller knows what it is."""

CHAT_KEYS = frozenset(
    {"tool_calls", "function_call", "tool_call_id", "refusal", "reasoning_content", "reasoning", "audio", "annotations", "name"}
)
RESPONSES_KEYS = frozenset({"type", "status", "phase"})
"""Keys of a message with a role that one form alone has."""


class Entry(NamedTuple):
    """One stored message."""

    raw: Mapping[str, Any]
    message: Message
    trace: Trace

    @property
    def calls(self) -> list[Call]:
        """The tool calls that it makes."""
        return [piece for piece in self.message.pieces if isinstance(piece, Call)]


def entries(messages: Iterable[object]) -> list[Entry]:
    """The messages as they were read; what is not an object is left out."""
    return [Entry(message, read_message(message), read(message)) for message in messages if isinstance(message, Mapping)]


def spans(history: Iterable[Entry]) -> Iterator[tuple[str, list[Entry]]]:
    """The history in stretches that belong together.

    ``answer``: what the model said in a row, with the responses items among it; ``results``: the results in a row, of one form;
    ``message``: any other, each by itself.
    """
    for (name, _), run in itertools.groupby(history, key=_span):
        if name == "message":
            yield from ((name, [entry]) for entry in run)
        else:
            yield name, list(run)


def _span(entry: Entry) -> tuple[str, str]:
    kind, form = entry.trace.kind, entry.trace.form
    if kind in (Kind.OUTPUT, Kind.REASONING) or (kind is Kind.CALL and form in RESPONSES_CALLS):
        return "answer", ""
    if kind is Kind.RESULT:
        return "results", "responses" if form in RESPONSES_CALLS else form
    return "message", ""


def has_part(message: Mapping[str, Any], kinds: frozenset[str]) -> bool:
    """Whether the content has a part of one of the kinds, or one that is no object."""
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return isinstance(content, Mapping)
    return any(not isinstance(part, Mapping) or (isinstance(kind := part.get("type"), str) and kind in kinds) for part in content)


class CallIds:
    """The ids that calls get in the form that is written.

    A call that is in this form already (``own``, as Trace.form) keeps its id. Another keeps it if it is ``fitting``, at most
    ``limit`` characters long, and not yet taken; or else gets one made from it. Results are told by the newest call of their form and id.
    """

    def __init__(self, history: Iterable[Entry], own: Iterable[str], fitting: re.Pattern[str], limit: int) -> None:
        self._own = frozenset(own)
        self._fitting = fitting
        self._limit = limit
        self._taken = {call_id for entry in history if entry.trace.form in self._own for call_id in entry.trace.ids}
        self._numbers: dict[str, int] = {}
        self._given: dict[tuple[str, str], Call] = {}

    def of_call(self, entry: Entry, call: Call) -> Call:
        """The call with the id that it is written with."""
        if entry.trace.form in self._own:
            return call
        written = replace(call, id=self._fresh(call.id))
        self._given[entry.trace.form, call.id] = written
        return written

    def of_result(self, entry: Entry, result: Result) -> Call:
        """The call that the result answers, as it was written; with the id that the result names where it kept its own."""
        return self._given.get((entry.trace.form, result.call_id)) or Call(result.call_id, result.name or "", "")

    def _fresh(self, call_id: str) -> str:
        stem = call_id
        if not self._fitting.fullmatch(call_id) or len(call_id) > self._limit:
            mark = hashlib.sha256(call_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            stem = f"{re.sub('[^a-zA-Z0-9_-]', '_', call_id)[: self._limit - 9]}_{mark}"
        chosen = stem
        while chosen in self._taken:
            # Some models call every first call call_0: counting on keeps a long history from being counted through for each.
            self._numbers[stem] = number = self._numbers.get(stem, 1) + 1
            end = f"_{number}"
            chosen = stem[: self._limit - len(end)] + end
        self._taken.add(chosen)
        return chosen
