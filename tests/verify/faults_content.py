"""Planted faults in full stores: content, copies, ids, listings, the verbs beside, privacy."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import InvalidMessageError, SessionError
from turnlog.session import InMemorySessionStore


class _Changes(InMemorySessionStore):
    """Changes what is written."""

    def changed(self, value: Any) -> Any:
        raise NotImplementedError

    def changed_message(self, message: Any) -> Any:
        return {**message, "content": self.changed(message["content"])} if isinstance(message, dict) and "content" in message else message

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        return super().add_message(session_id, role, self.changed(content), *args, **kwargs)

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        if not isinstance(messages, list):
            return super().add_messages(session_id, messages, expect_revision=expect_revision)
        return super().add_messages(session_id, [self.changed_message(m) for m in messages], expect_revision=expect_revision)


def _walk(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return change({key: _walk(child, change) for key, child in value.items()})
    if isinstance(value, list):
        return change([_walk(child, change) for child in value])
    return change(value)


@fault("3.7.10")
class NanBecomesNull(_Changes):
    """Writes null for NaN."""

    def changed(self, value: Any) -> Any:
        return None if isinstance(value, float) and value != value else value


@fault("3.7.10")
class BytesBecomeText(_Changes):
    """Decodes bytes on its own account."""

    def changed(self, value: Any) -> Any:
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


@fault("3.7.10")
class KeysBecomeText(_Changes):
    """Makes strings of keys that are none, as json.dumps does."""

    def changed(self, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value))
        except (TypeError, ValueError, RecursionError):
            return value


@fault("3.7")
class SortsKeys(_Changes):
    """Keeps objects with their keys in order of the alphabet."""

    def changed(self, value: Any) -> Any:
        try:
            return json.loads(json.dumps(value, sort_keys=True))
        except (TypeError, ValueError, RecursionError):
            return value


@fault("3.7.7")
class DropsUnknownKeys(_Changes):
    """Keeps the keys that it knows."""

    def changed(self, value: Any) -> Any:
        return value

    def changed_message(self, message: Any) -> Any:
        known = ("role", "content", "tool_calls", "tool_call_id", "id", "metadata", "timestamp", "name")
        return {key: value for key, value in message.items() if key in known} if isinstance(message, dict) else message


@fault("3.7.6")
class NoneBecomesEmpty(_Changes):
    """Keeps "" for None."""

    def changed(self, value: Any) -> Any:
        return "" if value is None else value


@fault("3.7.6")
class FlattensParts(_Changes):
    """Joins the texts of a list of parts."""

    def changed(self, value: Any) -> Any:
        if isinstance(value, list) and value and all(isinstance(part, dict) and "text" in part for part in value):
            return "\n".join(part["text"] for part in value)
        return value


@fault("3.7.6")
class NumbersBecomeFloats(_Changes):
    """Keeps numbers as doubles, as JavaScript does."""

    def changed(self, value: Any) -> Any:
        return _walk(value, lambda one: float(one) if type(one) is int and abs(one) > 2**53 else one)


@fault("3.7.19")
class TakesTuplesApart(_Changes):
    """Keeps the first part of a tuple."""

    def changed(self, value: Any) -> Any:
        return value[0] if isinstance(value, tuple) else value


@fault("3.7.11")
class NoSizeLimit(_Changes):
    """Cuts what is too large instead of refusing it."""

    def changed(self, value: Any) -> Any:
        return value[:1_000_000] if isinstance(value, str) else value


@fault("3.7.13")
class HandsOutItsCache(InMemorySessionStore):
    """Gives everyone the same messages, from a cache."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.cache: dict[tuple[str, str], Any] = {}

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> Any:
        found = super().get_messages(session_id, start, stop)
        return [self.cache.setdefault((session_id, message.id), message) for message in found]


@fault("3.7.14")
class KeepsTheCallersObjects(InMemorySessionStore):
    """Keeps the very state it was given."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.states: dict[tuple[str, str, str], Any] = {}

    def set_runtime_state(self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True) -> bool:
        self.states[(session_id, runtime_id, turn_id)] = state
        return super().set_runtime_state(session_id, runtime_id, turn_id, state)

    def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        return self.states.get((session_id, runtime_id, turn_id or ""), super().get_runtime_state(session_id, runtime_id, turn_id))


@fault("3.7.15")
class StampsMessages(_Changes):
    """Keeps its own time of a message, and not the caller's."""

    def changed(self, value: Any) -> Any:
        return value

    def changed_message(self, message: Any) -> Any:
        return {key: value for key, value in message.items() if key != "timestamp"} if isinstance(message, dict) else message


@fault("3.8.3")
class HashesIds(InMemorySessionStore):
    """Keeps sessions under 16 bits of a hash."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        return super().add_message(self.name(session_id), role, content, *args, **kwargs)

    def get_chat_history(self, session_id: str, *args: Any, **kwargs: Any) -> Any:
        return super().get_chat_history(self.name(session_id), *args, **kwargs)

    def name(self, session_id: str) -> str:
        total = 7
        for character in session_id:
            total = (total * 31 + ord(character)) % 65536
        return str(total)


@fault("3.8.8")
class WildcardPrefix(InMemorySessionStore):
    """Takes _ in a prefix for any character."""

    def iter_sessions(self, *, prefix: str = "", **options: Any) -> Iterator[Any]:
        for info in super().iter_sessions(**options):
            name = info.session_id
            if len(name) >= len(prefix) and all(p in ("_", n) for p, n in zip(prefix, name, strict=False)):
                yield info


@fault("3.8.5")
class ListsPrintableIds(InMemorySessionStore):
    """Shows ids in listings without what is not printable."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        lines = super().list_sessions(limit)
        return [{**line, "session_id": "".join(filter(str.isprintable, line["session_id"]))} for line in lines]


@fault("2.50")
class RepeatsAtPages(InMemorySessionStore):
    """Shows the last session of a page again at the beginning of the next."""

    def iter_sessions(self, *, page_size: int = 50, **options: Any) -> Iterator[Any]:
        for number, info in enumerate(super().iter_sessions(page_size=page_size, **options), 1):
            yield info
            if number % page_size == 0:
                yield info


@fault("2.50")
class StopsAfterHundred(InMemorySessionStore):
    """Stops at the end of the second page."""

    def iter_sessions(self, *, page_size: int = 50, **options: Any) -> Iterator[Any]:
        for number, info in enumerate(super().iter_sessions(page_size=page_size, **options), 1):
            yield info
            if number == 2 * page_size:
                return


@fault("2.51")
class OldestFirst(InMemorySessionStore):
    """Lists what was created first, first."""

    def list_sessions(self, limit: int = 50) -> list[dict[str, Any]]:
        return sorted(super().list_sessions(10**6), key=lambda line: line["created_at"])[:limit]


@fault("2.52")
class CursorByTime(InMemorySessionStore):
    """A cursor is a time: sessions of the same moment are left out."""

    def iter_sessions(self, *, page_size: int = 50, cursor: str | None = None, **options: Any) -> Iterator[Any]:
        last = None
        for number, info in enumerate(super().iter_sessions(**options)):
            if cursor is not None and info.updated_at >= cursor:
                continue
            object.__setattr__(info, "cursor", info.updated_at)
            if number and number % page_size == 0 and info.updated_at == last:
                continue
            last = info.updated_at
            yield info


@fault("2.54")
class PrefixOfAgent(InMemorySessionStore):
    """Finds agents by the beginning of their names."""

    def iter_sessions(self, *, agent_name: str | None = None, **options: Any) -> Iterator[Any]:
        for info in super().iter_sessions(**options):
            if agent_name is None or (info.agent_name or "").startswith(agent_name):
                yield info


@fault("2.31")
class CreateWipes(InMemorySessionStore):
    """create_session of an existing id begins anew."""

    def create_session(self, session_id: str | None = None, *args: Any, **kwargs: Any) -> str:
        if session_id is not None:
            self.delete_session(session_id)
        return super().create_session(session_id, *args, **kwargs)


@fault("2.32")
class TitleWipesAgent(InMemorySessionStore):
    """Setting a title forgets the agent."""

    def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        return super().set_agent_info(session_id, agent_name or "nobody", user_id)


@fault("2.33")
class PositiveSlices(InMemorySessionStore):
    """Takes negative bounds for zero."""

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().get_messages(session_id, max(0, start), stop)


@fault("2.36")
class AppendsDrafts(InMemorySessionStore):
    """Adds a message for each piece of a streamed answer."""

    def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        return self.add_message(session_id, "assistant", content)


@fault("2.39")
class ExportsNoMetadata(InMemorySessionStore):
    """Leaves the messages' metadata out of exports."""

    def export_all(self) -> dict[str, Any]:
        payload = super().export_all()
        for session in payload["sessions"]:
            for message in session["messages"]:
                message["metadata"] = {}
        return payload


@fault("2.40")
class ImportsOver(InMemorySessionStore):
    """An import overwrites what is there."""

    def import_sessions(self, payload: Any, **options: Any) -> Any:
        return super().import_sessions(payload, **{**options, "overwrite": True})


@fault("3.12.2")
class LogsContent(InMemorySessionStore):
    """Logs what it stores, at the lowest level."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        logging.getLogger("store").debug("adding %r", messages)
        return super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("3.12.3")
class ContentInErrors(InMemorySessionStore):
    """Shows the refused content in its error."""

    def add_message(self, session_id: str, role: str, content: Any, *args: Any, **kwargs: Any) -> bool:
        try:
            return super().add_message(session_id, role, content, *args, **kwargs)
        except InvalidMessageError as error:
            raise InvalidMessageError(f"{error}: {content!r:.200}") from None


@fault("3.12.3")
class ContentInAttributes(InMemorySessionStore):
    """Hangs the messages on its errors."""

    def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None) -> bool:
        try:
            return super().add_messages(session_id, messages, expect_revision=expect_revision)
        except SessionError as error:
            error.rejected = messages  # type: ignore[attr-defined]
            raise
