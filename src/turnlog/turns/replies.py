"""What a vendor's SDK returns, as the messages to store: whole responses, messages, items and blocks, as objects or as dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlog.errors import InvalidMessageError
from turnlog.messages import SessionMessage, encode_message

CHAT_KEYS = ("name", "refusal", "tool_calls", "function_call", "reasoning_content", "reasoning")
"""Keys of a chat message beside role and content that are kept where the vendor set them."""
BLOCKS = ("text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "tool_result", "image", "document")
"""Types of the blocks that Anthropic's messages are made of; the results of its own tools, ``…_tool_result``, are blocks too."""


def messages_of(reply: Any) -> list[SessionMessage]:
    """The messages in ``reply``, each as it will be stored. Raises InvalidMessageError.

    ``reply``: a message as the store takes it (a dict or a SessionMessage); an SDK's whole response, message or item; a list of such; or
    the list of blocks that is the content of an Anthropic message. What comes back is apart from what was given.
    """
    if isinstance(reply, SessionMessage):
        return [_stored(reply)]
    if isinstance(reply, list | tuple):
        if reply and all(_is_block(each) and not isinstance(each, Mapping) for each in reply):
            return [_kept({"role": "assistant", "content": _pieces(reply)})]
        return [message for each in reply for message in messages_of(each)]
    if isinstance(reply, Mapping) and "role" in reply and "type" not in reply and "choices" not in reply:
        # The store's own form: id, metadata and timestamp are its envelope.
        return [_stored(_plain(reply))]
    return [_kept(record) for record in _records(reply)]


def usage_of(reply: Any) -> dict[str, Any]:
    """``model``, ``input_tokens`` and ``output_tokens`` of a whole response; {} for anything that does not tell."""
    model, usage = _part(reply, "model"), _part(reply, "usage")
    if not isinstance(model, str) or usage is None:
        return {}
    counts = {
        "input_tokens": _first(usage, "input_tokens", "prompt_tokens"),
        "output_tokens": _first(usage, "output_tokens", "completion_tokens"),
    }
    return {"model": model, **{name: count for name, count in counts.items() if isinstance(count, int)}}


def _records(reply: Any) -> list[dict[str, Any]]:
    if isinstance(choices := _part(reply, "choices"), list | tuple) and choices:
        return [_said(choices[0])]
    if _part(reply, "finish_reason") is not None and _part(reply, "role") is None:
        return [_said(reply)]
    if _part(reply, "object") == "response" and isinstance(items := _part(reply, "output"), list | tuple):
        return [_without_nothing(_plain(item)) for item in items]
    if _part(reply, "type") == "message" and isinstance(blocks := _part(reply, "content"), list | tuple) and _is_anthropic(reply):
        return [{"role": _part(reply, "role"), "content": _pieces(blocks)}]
    data = _plain(reply)
    if _is_block(data):
        kind = data["type"]
        raise InvalidMessageError(f'a block of the type {kind!r:.40} is no message: put it in one, {{"role": …, "content": [block, …]}}')
    if isinstance(reply, Mapping):
        return [data]
    return [_chat_message(data) if data.get("role") == "assistant" and "type" not in data else _without_nothing(data)]


def _said(choice: Any) -> dict[str, Any]:
    """The message of one choice of a chat completion."""
    message = _part(choice, "message")
    if message is None:
        raise InvalidMessageError("a piece of a stream is no message: put the pieces together, and add the whole message")
    return _chat_message(_plain(message))


def _kept(record: Mapping[str, Any]) -> SessionMessage:
    """The message whose record is all that was given, with an id of the store's own."""
    return _stored(SessionMessage(record=dict(record)))


def _stored(message: SessionMessage | Mapping[str, Any]) -> SessionMessage:
    return SessionMessage.from_record(encode_message(message))


def _part(reply: Any, name: str) -> Any:
    return reply.get(name) if isinstance(reply, Mapping) else getattr(reply, name, None)


def _first(usage: Any, *names: str) -> Any:
    return next((count for name in names if (count := _part(usage, name)) is not None), None)


def _is_anthropic(reply: Any) -> bool:
    """Whether a message is Anthropic's whole response; an item of the responses API has the type "message" too."""
    return "stop_reason" in reply if isinstance(reply, Mapping) else hasattr(reply, "stop_reason")


def _is_block(piece: Any) -> bool:
    kind = _part(piece, "type")
    return isinstance(kind, str) and (kind in BLOCKS or kind.endswith("_tool_result")) and _part(piece, "role") is None


def _plain(reply: Any) -> dict[str, Any]:
    """The object, or the dict with the objects in its lists, as a dict."""
    if isinstance(reply, Mapping):
        return {key: _pieces(value) if isinstance(value, list | tuple) else value for key, value in reply.items()}
    dump = getattr(reply, "model_dump", None)
    if dump is None:
        kind = type(reply).__name__
        raise InvalidMessageError(f"a {kind} is no message: add dicts, or what the OpenAI or Anthropic SDK returned")
    # What an SDK has read out of the text is not the model's, and no API takes it back.
    data: dict[str, Any] = dump(mode="json", exclude_unset=True, exclude=getattr(reply, "__api_exclude__", None), warnings=False)
    return data


def _pieces(content: Any) -> list[Any]:
    return [_without_nothing(_plain(piece)) if hasattr(piece, "model_dump") else piece for piece in content]


def _chat_message(data: Mapping[str, Any]) -> dict[str, Any]:
    message = {"role": data["role"], "content": data.get("content")}
    kept = {key: data[key] for key in CHAT_KEYS if data.get(key)}
    if calls := kept.get("tool_calls"):
        kept["tool_calls"] = [_unparsed(call) for call in calls]
    return {**message, **kept}


def _unparsed(call: Any) -> Any:
    if not isinstance(call, Mapping) or not isinstance(call.get("function"), Mapping):
        return call
    return {**call, "function": {key: value for key, value in call["function"].items() if key != "parsed_arguments"}}


def _without_nothing(item: Mapping[str, Any]) -> dict[str, Any]:
    """The item without the keys in which an API says that there is nothing; it does not take them back everywhere."""
    return {key: value for key, value in item.items() if value is not None}
