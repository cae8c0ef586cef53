"""What one message says about tool calls, in each vendor's form: a call, a result, reasoning, or nothing of the kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, NamedTuple, TypeGuard

Message = Mapping[str, Any]


class Kind(Enum):
    """The part a message plays."""

    INPUT = "input"
    """Text from outside the model: user, system, developer, or a shape without a role."""
    OUTPUT = "output"
    """What the model said or did by itself: no call that waits for a result."""
    CALL = "call"
    RESULT = "result"
    REASONING = "reasoning"
    """A responses item that must be followed by what it reasoned towards."""
    BROKEN = "broken"
    """No API takes it, whatever stands around it."""


class Trace(NamedTuple):
    """What one message says about tool calls."""

    kind: Kind
    form: str = ""
    """``chat``, ``function`` (the older form of chat), ``anthropic``, or the type of a responses call item."""
    ids: tuple[str, ...] = ()
    """The calls it makes or answers, in order."""
    code: str = ""
    """For BROKEN: what is wrong."""


INPUT = Trace(Kind.INPUT)
OUTPUT = Trace(Kind.OUTPUT)
REASONING = Trace(Kind.REASONING)

# Items of the responses API that wait for an item `<type>_output` of the same call_id. The others (web_search_call, mcp_call, …)
# carry their own outcome.
RESPONSES_CALLS = ("function_call", "custom_tool_call", "computer_call", "shell_call", "apply_patch_call")
_RESPONSES_RESULTS = {f"{name}_output": name for name in RESPONSES_CALLS}


def is_plain(messages: Iterable[Message]) -> bool:
    """Whether all are role and text and nothing else: then nothing can be wrong with their tool calls. False also where in doubt."""
    # This is the path of almost every read, so it must stay at a tenth of a microsecond a message.
    for message in messages:
        if type(message) is not dict or len(message) != 2 or type(message.get("content")) is not str:
            return False
        role = message.get("role")
        if role != "user" and role != "assistant" and role != "system":
            return False
    return True


def is_user(message: Message) -> bool:
    """Whether a person speaks: role user, and not a carrier of tool results."""
    return message.get("role") == "user" and not _parts(message, "tool_result")


def read(message: object) -> Trace:
    """The trace of one message. Never raises, whatever it is given."""
    if not isinstance(message, Mapping):
        return _broken("not-an-object")
    role = message.get("role")
    kind = message.get("type")
    if isinstance(kind, str) and kind != "message" and "role" not in message:
        return _read_item(message, kind)
    if role == "tool":
        return _read_chat_result(message)
    if role == "function":
        name = message.get("name")
        return Trace(Kind.RESULT, "function", (name,)) if _named(name) and "content" in message else _broken("malformed-result")
    return _read_spoken(message, role)


def _read_spoken(message: Message, role: Any) -> Trace:
    uses, results = _parts(message, "tool_use"), _parts(message, "tool_result")
    calls, old_call = message.get("tool_calls"), message.get("function_call")
    found = bool(uses) + bool(results) + (calls is not None) + (old_call is not None)
    if not found:
        return OUTPUT if role == "assistant" else INPUT
    if found > 1:
        return _broken("mixed-forms")
    if results:
        return _read_anthropic_result(message, results) if role == "user" else _broken("misplaced-result")
    if role != "assistant":
        return _broken("misplaced-call")
    if uses:
        return _read_anthropic_call(message, uses)
    if calls is not None:
        return _read_chat_call(calls)
    if isinstance(old_call, Mapping) and _named(name := old_call.get("name")) and isinstance(old_call.get("arguments"), str):
        return Trace(Kind.CALL, "function", (name,))
    return _broken("malformed-call")


def _read_item(item: Message, kind: str) -> Trace:
    if kind == "reasoning":
        return REASONING
    call_id = item.get("call_id")
    if kind in RESPONSES_CALLS:
        if not _named(call_id):
            return _broken("missing-call-id")
        if kind == "function_call" and not (_named(item.get("name")) and isinstance(item.get("arguments"), str)):
            return _broken("malformed-call")
        return Trace(Kind.CALL, kind, (call_id,))
    if kind in _RESPONSES_RESULTS:
        if not _named(call_id):
            return _broken("missing-result-id")
        if kind == "function_call_output" and not isinstance(item.get("output"), str | list):
            return _broken("malformed-result")
        return Trace(Kind.RESULT, _RESPONSES_RESULTS[kind], (call_id,))
    return OUTPUT


def _read_chat_call(calls: Any) -> Trace:
    if not isinstance(calls, list):
        return _broken("malformed-call")
    if not calls:
        return _broken("empty-calls")
    for call in calls:
        if not isinstance(call, Mapping):
            return _broken("malformed-call")
        if not _named(call.get("id")):
            return _broken("missing-call-id")
        kind = call.get("type")
        text = {"function": "arguments", "custom": "input"}.get(kind) if isinstance(kind, str) else None
        body = call.get(kind) if text else None
        if not (isinstance(body, Mapping) and _named(body.get("name")) and isinstance(body.get(text), str)):
            return _broken("malformed-call")
    return _call("chat", [call["id"] for call in calls])


def _read_chat_result(message: Message) -> Trace:
    call_id = message.get("tool_call_id")
    if not _named(call_id):
        return _broken("missing-result-id")
    if not isinstance(message.get("content"), str | list):
        return _broken("malformed-result")
    return Trace(Kind.RESULT, "chat", (call_id,))


def _read_anthropic_call(message: Message, uses: list[Message]) -> Trace:
    if not all(_named(part.get("id")) for part in uses):
        return _broken("missing-call-id")
    if not all(_named(part.get("name")) and isinstance(part.get("input"), Mapping) for part in uses):
        return _broken("malformed-call")
    return _call("anthropic", [part["id"] for part in uses])


def _read_anthropic_result(message: Message, results: list[Message]) -> Trace:
    ids = [call_id for part in results if _named(call_id := part.get("tool_use_id"))]
    if len(ids) < len(results):
        return _broken("missing-result-id")
    if len(set(ids)) < len(ids):
        return _broken("duplicate-result")
    if any(not isinstance(part, Mapping) or part.get("type") != "tool_result" for part in message["content"][: len(results)]):
        return _broken("results-not-first")
    return Trace(Kind.RESULT, "anthropic", tuple(ids))


def _parts(message: Message, kind: str) -> list[Message]:
    content = message.get("content")
    if not isinstance(content, list):
        return []
    return [part for part in content if isinstance(part, Mapping) and part.get("type") == kind]


def _call(form: str, ids: list[str]) -> Trace:
    return Trace(Kind.CALL, form, tuple(ids)) if len(set(ids)) == len(ids) else _broken("duplicate-call-id")


def _broken(code: str) -> Trace:
    return Trace(Kind.BROKEN, code=code)


def _named(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and value != ""
