"""What a request asks: reads the body of a chat completion, or of one message, into a prompt, a history and a session."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from pydantic_ai.messages import ModelRequest, UserContent, UserPromptPart

from turnlog.integrations.pydantic_ai.messages import from_stored
from turnlog.messages import SessionMessage, encode_message
from turnlog.server.refusals import invalid
from turnlog.validity import validate_history

Json = dict[str, Any]
Prompt = str | Sequence[UserContent]

SYSTEM = ("system", "developer")
ROLES = (*SYSTEM, "user", "assistant", "tool", "function")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for."""

    prompt: Prompt
    session_id: str | None
    """The session it names, as its sender calls it; None: the request stands alone."""
    user_id: str | None
    instructions: str | None = None
    """What the system messages at the beginning say; for this request only."""
    history: tuple[Json, ...] = ()
    """The messages before the prompt, where no session is named."""
    stream: bool = False
    include_usage: bool = False
    turn_id: str | None = None
    """The id of its turn, the same for a request that is sent again; None: one of its own."""


def read_json(data: bytes) -> Json:
    """The object that a body is. Raises Refused."""
    try:
        body = json.loads(data.decode("utf-8"), parse_constant=_no_constant)
        if b"\\ud" in data.lower():
            json.dumps(body, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise invalid("the body is nested too deeply", code="invalid_json") from None
    except UnicodeDecodeError:
        raise invalid("the body is not UTF-8 text", code="invalid_json") from None
    except UnicodeEncodeError:
        raise invalid("the body has half of a surrogate pair, which is no text that a model could be sent", code="invalid_json") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise invalid(f"the body is not JSON: {error.msg} ({place})", code="invalid_json") from None
    except ValueError:
        raise invalid("the body is not JSON: a number in it is none that JSON has, or too long", code="invalid_json") from None
    if not isinstance(body, dict):
        raise invalid("the body must be a JSON object", code="invalid_json")
    return body


def read_completion(body: Json, header: str | None) -> Asked:
    """What a body of ``POST /v1/chat/completions`` asks; ``header``: the session that the header names. Raises Refused."""
    _check_supported(body)
    instructions, before, said = _split(_messages(body))
    session_id = _session(body, header)
    if session_id is None and (problems := validate_history(before)):
        raise invalid(f"the messages before the last: message {problems[0].index} {problems[0].text}", "messages")
    options = body.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise invalid("stream_options must be an object", "stream_options")
    return Asked(
        prompt=_prompt(said),
        session_id=session_id,
        user_id=_text(body, "user"),
        instructions=instructions,
        history=() if session_id is not None else tuple(before),
        stream=_flag(body, "stream"),
        include_usage=_flag(options or {}, "include_usage"),
    )


def read_one_message(body: Json, header: str | None) -> Asked:
    """What a body ``{"message" or "query", "session_id", "user_id"}`` asks. Raises Refused."""
    prompt = _text(body, "message") or _text(body, "query")
    if not (prompt and prompt.strip()):
        raise invalid("message is missing: send the text to answer", "message", "missing_field")
    return Asked(prompt=prompt, session_id=_session(body, header), user_id=_text(body, "user_id"))


def model_of(body: Json) -> str | None:
    """The model that a request names."""
    return _text(body, "model")


def _check_supported(body: Json) -> None:
    """Refuse what would be asked for in vain. Sampling and limits are the agent's, and pass unheeded."""
    for name in ("tools", "functions"):
        if body.get(name):
            _refuse(name, "the agent has tools of its own and runs them itself: leave the field out")
    if body.get("n") not in (None, 1):
        _refuse("n", "a request is one turn with one answer: leave the field out")
    form = body.get("response_format")
    if form is not None and not (isinstance(form, dict) and form.get("type") == "text"):
        _refuse("response_format", "the form of the answer is the agent's: leave the field out")
    if body.get("logprobs"):
        _refuse("logprobs", "the agent gives none: leave the field out")
    if body.get("modalities") not in (None, ["text"]) or body.get("audio"):
        _refuse("modalities", "the agent answers in text: leave the field out")


def _refuse(name: str, why: str) -> NoReturn:
    raise invalid(f"{name} is not supported: {why}", name, "unsupported_parameter")


def _messages(body: Json) -> list[Json]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid(
            "messages must be a list of at least one message", "messages", "missing_field" if messages is None else "invalid_value"
        )
    for index, message in enumerate(messages):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise invalid(f"message {index} must be an object with a role of {', '.join(ROLES)}", f"messages[{index}]")
        content = message.get("content")
        if not isinstance(content, str | list) and not (content is None and message["role"] == "assistant"):
            raise invalid(f"message {index} has no content: make it text or a list of parts", f"messages[{index}].content")
    return messages


def _split(messages: list[Json]) -> tuple[str | None, list[Json], list[Json]]:
    """What the system says at the beginning, the messages between, and the user's at the end."""
    begin = next((index for index, message in enumerate(messages) if message["role"] not in SYSTEM), len(messages))
    end = len(messages)
    while end > begin and messages[end - 1]["role"] == "user":
        end -= 1
    if end == len(messages):
        raise invalid("the last message must be the user's: it is what the agent answers", f"messages[{end - 1}].role")
    told = [text for message in messages[:begin] if (text := _plain(message["content"]))]
    return "\n\n".join(told) or None, messages[begin:end], messages[end:]


def _plain(content: str | list[Any]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def _prompt(said: list[Json]) -> Prompt:
    """The user's last messages as one prompt."""
    if all(isinstance(message["content"], str) for message in said):
        text = "\n\n".join(message["content"] for message in said if message["content"])
        if not text.strip():
            raise invalid("the last message is empty: send the text to answer", "messages", "empty_prompt")
        return text
    content: list[UserContent] = []
    for message in said:
        content += _content(message["content"])
    if all(isinstance(each, str) and not each.strip() for each in content):
        raise invalid("the last message is empty: send the text to answer", "messages", "empty_prompt")
    return content


def _content(given: str | list[Any]) -> list[UserContent]:
    parts = [{"type": "text", "text": given}] if isinstance(given, str) else given
    read: list[UserContent] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in ("text", "image_url", "input_audio", "file"):
            raise invalid("a part of the last message has no type of text, image_url, input_audio or file", "messages", "unsupported_part")
        if kind == "text" and part.get("text") == "":
            continue
        [message] = from_stored([SessionMessage.from_record(encode_message({"role": "user", "content": [part]}))])
        found = [each.content for each in message.parts if isinstance(each, UserPromptPart)] if isinstance(message, ModelRequest) else []
        if not found or not found[0]:
            raise invalid(f"a part of the type {kind} in the last message cannot be read", "messages", "unsupported_part")
        read += [found[0]] if isinstance(found[0], str) else found[0]
    return read


def _session(body: Json, header: str | None) -> str | None:
    metadata = body.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise invalid("metadata must be an object", "metadata")
    named = {name for name in (header, _text(body, "session_id"), _text(metadata or {}, "session_id")) if name is not None}
    if len(named) > 1:
        raise invalid("the header, session_id and metadata name different sessions: name one", "session_id")
    name = next(iter(named), None)
    if name == "":
        raise invalid("session_id is empty: pass a non-empty string, or leave it out", "session_id")
    return name


def _text(body: Mapping[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name} must be a string", name)
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{name} must be true or false", name)
    return bool(value)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)
