"""One pydantic-ai message as drafts of turnlog records: the chat form, and beside it what the chat form cannot say."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    CachePoint,
    CompactionPart,
    FileUrl,
    ImageUrl,
    InstructionDeltaPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    MultiModalContent,
    RetryFeedbackPart,
    SpeechPart,
    SystemPromptPart,
    TextContent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UploadedFile,
    UserContent,
    UserPromptPart,
    VideoUrl,
    is_multi_modal_content,
)
from pydantic_ai.usage import RequestUsage

from turnlog.integrations.pydantic_ai.folding import LONG, JsonText, checksum, fold

Json = dict[str, Any]

SOUNDS = {"audio/wav": "wav", "audio/mpeg": "mp3"}
"""The media types of audio that the chat form has a part for."""


@dataclass(slots=True)
class Draft:
    """A record to be: the chat message, what goes under metadata["pydantic_ai"], and seconds since the epoch."""

    record: Json
    meta: Json = field(default_factory=dict)
    time: float = field(default_factory=time.time)


def drafts(message: ModelMessage, dump: Json) -> list[Draft]:
    """The records of one message in the order to store them; ``dump`` is the message as ModelMessagesTypeAdapter writes it."""
    return [_response(message, dump)] if isinstance(message, ModelResponse) else _request(message, dump)


def plain_draft(message: ModelMessage) -> Draft | None:
    """The record of one text prompt or one text answer with nothing beside it that needs pydantic to be written; None for any other.

    Most messages are these, and this costs a third of ``drafts``.
    """
    if len(message.parts) != 1:
        return None
    part = message.parts[0]
    kind: type[UserPromptPart | TextPart] = TextPart
    if isinstance(message, ModelRequest):
        role, kind, stamp = "user", UserPromptPart, getattr(part, "timestamp", None)
    else:
        role, stamp = "assistant", message.timestamp
    if type(part) is not kind or type(stamp) is not datetime or type(part.content) is not str or not part.content:
        return None
    moment, exact = moment_of(stamp)
    fields = _plain_fields(message)
    if fields is None or not exact or _plain_fields(part) != {"content": part.content}:
        return None
    record: Json = {"role": role, "content": part.content}
    return Draft(record, {"request": fields} if role == "user" else {"response": fields, "sum": checksum(record)}, moment)


def _plain_fields(value: Any) -> Json | None:
    """What ``_said`` gives for an object whose fields are all defaults, text, flat dicts and usage in whole numbers; None for any other."""
    fields: Json = {}
    unsaid = _unsaid(type(value))
    for key, held in vars(value).items():
        if key in _APART or (key in unsaid and held == unsaid[key]):
            continue
        if type(held) is str:
            fields[key] = held
        elif type(held) is datetime and key == "timestamp" and not isinstance(value, ModelRequest):
            continue
        else:
            usage = counted(vars(held)) if type(held) is RequestUsage else None
            if usage is not None and all(type(count) is int for count in usage.values()):
                plain: Json | None = {key: usage} if usage else {}
            else:
                plain = _flat({key: held if usage is None else usage})
            if plain is None:
                return None
            fields.update(plain)
    return fields


def counted(usage: Mapping[str, Any]) -> Json:
    """The fields of a usage, or of its dump, that are not nought; a cost of nought is not the same as none."""
    return {name: count for name, count in usage.items() if count or (name == "cost" and count is not None)}


def _flat(values: Json, deeper: int = 2) -> Json | None:
    """``values`` as pydantic writes them, where they are text, whole numbers, times in UTC, or dicts of these; None for any other."""
    flat: Json = {}
    for key, value in values.items():
        if type(value) is dict and deeper:
            value = _flat(value, deeper - 1)
            if value is None:
                return None
        elif type(value) is datetime and value.utcoffset() == timedelta(0):
            value = value.isoformat().replace("+00:00", "Z")
        elif value is not None and type(value) not in (str, int, bool):
            return None
        if type(key) is not str:
            return None
        flat[key] = value
    return flat


_APART = frozenset({"parts", "kind", "part_kind"})


def _response(message: ModelResponse, dump: Json) -> Draft:
    texts, pieces = _texts(message)
    record: Json = {"role": "assistant", "content": texts}
    parts: list[Json] = dump["parts"]
    calls = []
    for part, part_dump in zip(message.parts, parts, strict=True):
        if isinstance(part, ToolCallPart):
            arguments, part_dump["args"] = _arguments(part_dump["args"])
            calls.append({"id": part.tool_call_id, "type": "function", "function": {"name": part.tool_name, "arguments": arguments}})
    if calls:
        record["content"] = texts or None
        record["tool_calls"] = calls
    moment, exact = moment_of(message.timestamp)
    fields = _said(dump, ModelResponse, without={"parts", "kind", "usage", "timestamp"} if exact else {"parts", "kind", "usage"})
    if usage := counted(dump["usage"]):
        fields["usage"] = usage
    meta: Json = {"response": fields, "sum": checksum(record)}
    said = [_said(part_dump, type(part)) for part, part_dump in zip(message.parts, parts, strict=True)]
    if not (texts and len(said) == 1 and said[0].keys() == {"content", "part_kind"} and isinstance(message.parts[0], TextPart)):
        meta["parts"] = fold(said, [record], pieces)
    return Draft(record, meta, moment)


def _texts(message: ModelResponse) -> tuple[str, list[tuple[int, int]]]:
    """What the model said, and where in it each part's text is: neighbours are one text, others are apart by an empty line."""
    text, pieces, adjacent = "", [], True
    for part in message.parts:
        said = part.content if isinstance(part, TextPart) else part.transcript if isinstance(part, SpeechPart) else None
        if said:
            text += said if adjacent or not text else f"\n\n{said}"
            pieces.append((len(text) - len(said), len(text)))
        adjacent = said is not None
    return text, pieces


def _arguments(args: str | Json | None) -> tuple[str, Any]:
    """The arguments of a call as JSON text, and what stands for them in the part."""
    if isinstance(args, str):
        return args or "{}", args
    if args is None:
        return "{}", args
    text = _json_text(args)
    return text, JsonText(text)


def _request(message: ModelRequest, dump: Json) -> list[Draft]:
    fields = _said(dump, ModelRequest, without={"parts", "kind"})
    shown: list[tuple[int, list[Draft]]] = []
    hidden: list[list[Any]] = []
    for at, (part, part_dump) in enumerate(zip(message.parts, dump["parts"], strict=True)):
        make = _SHOWN.get(part.part_kind)
        if made := make(part, part_dump) if make is not None else []:
            shown.append((at, made))
        else:
            hidden.append([at, fold(_said(part_dump, type(part)), [])])
    results = [(at, made) for at, made in shown if made[0].record["role"] == "tool"]
    others = [(at, made) for at, made in shown if made[0].record["role"] != "tool"]
    files = [(at, made[1:]) for at, made in results if len(made) > 1]
    placed = [*((at, made[0]) for at, made in results), *((at, each) for at, made in (*files, *others) for each in made)]
    ordered = [draft for _, draft in placed]
    for _, made in results:
        if len(made) > 1:
            made[0].meta["files"] = next(n for n, draft in enumerate(ordered) if draft is made[1])
            made[1].meta["of"] = next(n for n, draft in enumerate(ordered) if draft is made[0])
    if any(at != number for number, (at, _) in enumerate(placed)):
        for at, draft in placed:
            draft.meta["at"] = at
    if not ordered:
        ordered.append(_nothing_shown(message, fields))
    if hidden:
        ordered[-1].meta["hidden"] = hidden
    ordered[-1].meta["request"] = fields
    return ordered


def _nothing_shown(message: ModelRequest, fields: Json) -> Draft:
    if message.instructions:
        draft = Draft({"role": "system", "content": fields.pop("instructions")}, {"holds": "instructions"})
    else:
        draft = Draft({"role": "user", "content": ""}, {"holds": "nothing"})
    draft.meta["sum"] = checksum(draft.record)
    return draft


def _prompt(part: UserPromptPart | SystemPromptPart, dump: Json) -> list[Draft]:
    role = "user" if isinstance(part, UserPromptPart) else "system"
    content = part.content if isinstance(part.content, str) else chat_content(part.content)
    said, moment = _timed(part, dump)
    draft = Draft({"role": role, "content": content}, {}, moment)
    if said.keys() != {"content", "part_kind"} or not isinstance(part.content, str):
        _keep(draft, said)
    return [draft]


def _result(part: ToolReturnPart, dump: Json) -> list[Draft]:
    """The result as a tool record; where it returned files, also the user record that shows them, since a tool record may not."""
    said, moment = _timed(part, dump)
    content, files = dump["content"], part.files
    if files and isinstance(part.content, list):
        items = zip(part.content, content, strict=True)
        text = _json_text([_file_name(item) if is_multi_modal_content(item) else _result_text(dumped) for item, dumped in items])
    elif files:
        text = _file_name(files[0])
    else:
        text = _result_text(content)
        if not isinstance(content, str) and len(text) >= LONG:
            said["content"] = JsonText(text)
    draft = Draft({"role": "tool", "tool_call_id": part.tool_call_id, "content": text}, {}, moment)
    if not files:
        _keep(draft, said)
        return [draft]
    named = [each for file in files for each in (f"{file.identifier}, a file that the tool {part.tool_name} returned:", file)]
    shown = Draft({"role": "user", "content": chat_content(named)}, {}, moment)
    _keep(draft, said, shown.record)
    shown.meta["sum"] = checksum(shown.record)
    return [draft, shown]


def _file_name(file: MultiModalContent) -> str:
    return f"See file {file.identifier}."


def _result_text(content: Any) -> str:
    """What a tool returned, from pydantic-ai's JSON of it, as text that gives that JSON again."""
    return content if isinstance(content, str) else "" if content is None else _json_text(content)


def _json_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _feedback(part: RetryFeedbackPart, dump: Json) -> list[Draft]:
    said, moment = _timed(part, dump)
    text = part.model_response() if isinstance(part.content, str) else _json_text(dump["content"])
    draft = Draft({"role": "user", "content": text}, {}, moment)
    _keep(draft, said)
    return [draft]


def _speech(part: SpeechPart, dump: Json) -> list[Draft]:
    content: str | list[Json] = part.transcript or ""
    if part.audio is not None:
        content = [*([{"type": "text", "text": content}] if content else []), *chat_content([part.audio])]
    draft = Draft({"role": "user", "content": content})
    _keep(draft, _said(dump, type(part)))
    return [draft]


def _told(part: CompactionPart | InstructionDeltaPart, dump: Json) -> list[Draft]:
    """A summary of what was before speaks to the model as a user does; a changed instruction as the system."""
    if isinstance(part, CompactionPart):
        role, content = "user", part.content
    else:
        role, content = "system", part.render()
    if not content:
        return []
    draft = Draft({"role": role, "content": content})
    _keep(draft, _said(dump, type(part)))
    return [draft]


_SHOWN: Mapping[str, Callable[[Any, Json], list[Draft]]] = {
    "user-prompt": _prompt,
    "system-prompt": _prompt,
    "tool-return": _result,
    "retry-feedback": _feedback,
    "speech": _speech,
    "compaction": _told,
    "instruction-delta": _told,
}


def _keep(draft: Draft, said: Json, *further: Json) -> None:
    draft.meta["part"] = fold(said, [draft.record, *further])
    draft.meta["sum"] = checksum(draft.record)


def chat_content(items: Sequence[UserContent]) -> list[Json]:
    """The parts of a chat message for what a user or a tool gives: text, images, audio, files. What has no such form is named in text."""
    return [part for item in items if (part := _chat_part(item)) is not None]


def _chat_part(item: UserContent) -> Json | None:
    if isinstance(item, str):
        return {"type": "text", "text": item}
    if isinstance(item, TextContent):
        return {"type": "text", "text": item.content}
    if isinstance(item, CachePoint):
        return None
    if isinstance(item, ImageUrl):
        return {"type": "image_url", "image_url": {"url": item.url}}
    if isinstance(item, BinaryContent):
        return _chat_file(item)
    if isinstance(item, UploadedFile):
        return {"type": "file", "file": {"file_id": item.file_id}}
    return {"type": "text", "text": f"{_NAMES.get(type(item), 'file')}: {item.url}"}


_NAMES: Mapping[type[FileUrl], str] = {AudioUrl: "audio", VideoUrl: "video"}


def _chat_file(item: BinaryContent) -> Json:
    if item.is_image:
        return {"type": "image_url", "image_url": {"url": item.data_uri}}
    if sound := SOUNDS.get(item.media_type):
        return {"type": "input_audio", "input_audio": {"data": item.base64, "format": sound}}
    return {"type": "file", "file": {"filename": item.identifier, "file_data": item.data_uri}}


def _timed(part: Any, dump: Json) -> tuple[Json, float]:
    """The part's fields and its time; the time is left out of the fields where seconds since the epoch say it exactly."""
    moment, exact = moment_of(part.timestamp)
    return _said(dump, type(part), without={"timestamp"} if exact else frozenset()), moment


def moment_of(timestamp: datetime) -> tuple[float, bool]:
    """Seconds since the epoch, and whether ``time_of`` makes the same timestamp of them."""
    try:
        moment = timestamp.timestamp()
        if timestamp.tzinfo is UTC and 0 <= moment < 2**32:
            # There a float is exact to half a microsecond.
            return moment, True
        return moment, timestamp.utcoffset() == timedelta(0) and time_of(moment) == timestamp
    except (OverflowError, ValueError, OSError):
        return time.time(), False


def time_of(moment: float) -> datetime:
    """The time, in UTC, of seconds since the epoch."""
    return datetime.fromtimestamp(moment, UTC)


def _said(dump: Json, kind: type, *, without: set[str] | frozenset[str] = frozenset()) -> Json:
    """``dump`` without the keys of ``without`` and without defaults."""
    unsaid = _unsaid(kind)
    return {
        key: value
        for key, value in dump.items()
        if key not in without and (key not in unsaid or value != unsaid[key] or type(value) is not type(unsaid[key]))
    }


_SAFE_DEFAULTS: tuple[Any, ...] = (None, "complete", "success", "conversation", 0, {})
_defaults: dict[type, Json] = {}


def _unsaid(kind: type) -> Json:
    """The fields of a pydantic-ai class that need not be written when they have their default."""
    if kind not in _defaults:
        found = {}
        for each in dataclasses.fields(kind):
            default = each.default_factory() if each.default_factory is dict else each.default
            if default is None or (type(default) in (str, int, float, dict) and default in _SAFE_DEFAULTS):
                found[each.name] = default
        _defaults[kind] = found
    return _defaults[kind]
