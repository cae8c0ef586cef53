"""Reads a stored message of any vendor's form: OpenAI chat, also the older functions; Anthropic messages; items of the responses API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from turnlog.forms.media import plain_text, read_media
from turnlog.forms.pieces import Call, Media, Message, Other, Piece, Result, Text, Thinking, joined_text, json_text

Stored = Mapping[str, Any]

_ROLES = {
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
_RESULT_ITEMS = ("function_call_output", "custom_tool_call_output")


def read_messages(messages: Iterable[object]) -> list[Message]:
    """One value for each stored message, in order."""
    return [read_message(message) for message in messages]


def read_message(message: object) -> Message:
    """What one stored message says, a dict of any form. Never raises for JSON, however malformed: what is not understood comes as Other."""
    if not isinstance(message, Mapping):
        return Message("user", ())
    if is_item(message):
        return _read_item(message)
    given = message.get("role")
    role = _ROLES.get(given, "user") if isinstance(given, str) else "user"
    if role == "tool":
        key = "tool_call_id" if given == "tool" else "name"
        return Message(role, (_read_result(message, message.get(key), message.get("content")),))
    return Message(role, (*_read_thoughts(message), *read_content(message.get("content")), *_read_extras(message)))


def is_item(message: Stored) -> bool:
    """Whether it is an item of the responses API other than a message, such as a call, its output or reasoning."""
    kind = message.get("type")
    return isinstance(kind, str) and kind != "message" and ("role" not in message or kind == "additional_tools")


def read_content(content: Any) -> tuple[Piece, ...]:
    """The pieces of a message's or a result's content: text, a list of parts of any form, or nothing."""
    if isinstance(content, str):
        return (Text(content),)
    if isinstance(content, Mapping):
        return tuple(_read_part(content))
    if not isinstance(content, list | tuple):
        return ()
    pieces: list[Piece] = []
    cited = False
    for part in content:
        found = [Text(part)] if isinstance(part, str) else list(_read_part(part)) if isinstance(part, Mapping) else []
        # Citations cut a sentence into blocks; only together do they say what the model said.
        was_cited, cited = cited, isinstance(part, Mapping) and bool(part.get("citations")) and part.get("type") == "text"
        last = pieces[-1] if pieces else None
        if (cited or was_cited) and found and isinstance(found[0], Text) and isinstance(last, Text):
            pieces[-1] = Text(last.text + found[0].text)
        else:
            pieces += found
    return tuple(pieces)


def _read_part(part: Stored) -> Iterable[Piece]:
    kind = part.get("type")
    if kind in ("text", "input_text", "output_text", "summary_text") and isinstance(part.get("text"), str):
        return (Text(part["text"]),)
    if kind == "refusal" and isinstance(part.get("refusal"), str):
        return (Text(part["refusal"]),)
    if kind == "thinking":
        return (Thinking(_text(part.get("thinking")), part),)
    if kind == "redacted_thinking":
        return (Thinking("", part),)
    if kind == "reasoning_text":
        return (Thinking(_text(part.get("text")), part),)
    if kind == "tool_use":
        return (Call(_text(part.get("id")), _text(part.get("name")), json_text(part.get("input", {}))),)
    if kind == "tool_result":
        return (_read_result(part, part.get("tool_use_id"), part.get("content")),)
    return (read_media(part) or _read_quoted(part) or Other(part),)


def _read_quoted(part: Stored) -> Text | None:
    """Text that a part brings along from elsewhere: a search result, or a document made of blocks."""
    if part.get("type") == "search_result":
        lines = (part.get("title"), part.get("source"), joined_text(read_content(part.get("content")), "\n"))
        return Text("\n".join(line for line in lines if isinstance(line, str) and line))
    source = part.get("source")
    if part.get("type") == "document" and isinstance(source, Mapping) and source.get("type") == "content":
        return Text(joined_text(read_content(source.get("content")), "\n"))
    return None


def _read_thoughts(message: Stored) -> Iterable[Piece]:
    for key in ("reasoning_content", "reasoning"):
        if isinstance(message.get(key), str) and message[key]:
            return (Thinking(message[key], None),)
    return ()


def _read_extras(message: Stored) -> Iterable[Piece]:
    """What a chat message says beside its content: a refusal, speech, tool calls."""
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        yield Text(message["refusal"])
    audio = message.get("audio")
    if isinstance(audio, Mapping):
        spoken = audio.get("transcript")
        yield Text(spoken) if isinstance(spoken, str) and not message.get("content") else Other({"audio": audio})
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list | tuple) else ():
        if isinstance(call, Mapping):
            yield _read_chat_call(call)
    old = message.get("function_call")
    if isinstance(old, Mapping):
        yield Call(_text(old.get("name")), _text(old.get("name")), _text(old.get("arguments")))


def _read_chat_call(call: Stored) -> Piece:
    function, custom = call.get("function"), call.get("custom")
    if isinstance(function, Mapping):
        return Call(_text(call.get("id")), _text(function.get("name")), _text(function.get("arguments")))
    if isinstance(custom, Mapping):
        return Call(_text(call.get("id")), _text(custom.get("name")), json_text({"input": _text(custom.get("input"))}), True)
    return Other(call)


def _read_item(item: Stored) -> Message:
    kind = item["type"]
    call_id, name = _text(item.get("call_id")), _text(item.get("name"))
    if kind == "reasoning":
        said = (*read_content(item.get("summary")), *read_content(item.get("content")))
        lines = [piece.text for piece in said if isinstance(piece, Text | Thinking) and piece.text]
        return Message("assistant", (Thinking("\n".join(lines), item),))
    if kind == "function_call":
        return Message("assistant", (Call(call_id, name, _text(item.get("arguments"))),))
    if kind == "custom_tool_call":
        return Message("assistant", (Call(call_id, name, json_text({"input": _text(item.get("input"))}), True),))
    if kind in _RESULT_ITEMS:
        return Message("tool", (_read_result(item, call_id, item.get("output")),))
    if item.get("role") in ("system", "developer"):
        return Message("system", (Other(item),))
    return Message("tool" if kind.endswith("_output") else "assistant", (Other(item),))


def _read_result(message: Stored, call_id: Any, content: Any) -> Result:
    pieces = tuple(_as_text(piece) for piece in read_content(content))
    name = message.get("name")
    return Result(
        call_id=_text(call_id),
        content=joined_text(pieces, "\n"),
        name=name if isinstance(name, str) and name else None,
        is_error=message.get("is_error") is True,
        pieces=pieces if any(not isinstance(piece, Text) for piece in pieces) else (),
    )


def _as_text(piece: Piece) -> Piece:
    """A plain text file in a result is what the tool said."""
    said = plain_text(piece) if isinstance(piece, Media) else None
    return piece if said is None else Text(said)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json_text(value)
