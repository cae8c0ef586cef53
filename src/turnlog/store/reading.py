"""Verbs that read one session: the history as a model takes it, messages with their envelope, the whole session."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from turnlog.errors import MessageIndexError
from turnlog.heads import Head
from turnlog.messages import Record, SessionMessage, decode_all
from turnlog.store.core import Core
from turnlog.store.drive import verb
from turnlog.store.values import SessionData, SessionInfo, session_fields, session_info
from turnlog.trim import Window

FIRST_READ = 64
"""Messages read at first where no number was given but a token budget."""


class Reading(Core):
    """Reads one session."""

    @verb
    async def get_chat_history(
        self,
        session_id: str,
        max_messages: int | None = None,
        *,
        max_tokens: int | None = None,
        count_tokens: Callable[[Mapping[str, Any]], int] | None = None,
    ) -> list[dict[str, Any]]:
        """The history as a model takes it: oldest first, each message with exactly the keys it was stored with.

        The last ``max_messages`` (None or 0: all), and fewer only where the cut would split a tool group. Calls without all their
        results and results without their call are left out; ``get_messages`` shows them. ``max_tokens`` drops whole groups from the
        front until the sum of ``count_tokens(message)`` fits. An unknown session gives []. Raises MessageIndexError for a negative
        number.
        """
        window = Window(check_limit(max_messages) or self.max_messages, budget=max_tokens, count=count_tokens)
        return await self._window(session_id, window)

    @verb
    async def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """The history after the last compaction checkpoint, with its summary in front; all of it where there is none."""
        limit = check_limit(max_messages)
        while True:
            head = await self._head(session_id)
            checkpoint = head.fields.get("last_compaction") if head else None
            if not checkpoint:
                return await self._window(session_id, Window(limit or self.max_messages))
            found = await self._read(session_id, functools.partial(_after, checkpoint["message_index"]))
            if found is not None and found[0].fields.get("last_compaction") == checkpoint:
                break
        tail = decode_all([*found[1], *await self._draft(found[0])])
        summary = {"role": checkpoint["role"], "content": checkpoint["summary"]}
        if limit == 1:
            return [summary]
        return [summary, *Window(limit - 1 if limit else None).of(tail)]

    @verb
    async def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the kept history, with ids, times and metadata; indexes as in a Python slice.

        Shows everything that is stored, also what ``get_chat_history`` leaves out. An unknown session gives [].
        """
        for index in (start, stop):
            if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
                raise MessageIndexError(f"a message index must be an int, not {index!r:.80}", session_id=session_id, index=index, count=0)

        def choose(count: int) -> tuple[int, int]:
            low, high, _ = slice(start, stop).indices(count)
            return low, high

        found = await self._read(session_id, choose)
        return [SessionMessage.from_record(record) for record in found[1]] if found else []

    @verb
    async def get_session(self, session_id: str) -> SessionData:
        """The session with all messages, of one moment. A session that does not exist has none, and the revision ""."""
        return await self._session(session_id)

    @verb
    async def get_session_info(self, session_id: str) -> SessionInfo | None:
        """The session as a listing shows it, its number of messages among the rest; None where there is none. Reads the head only."""
        head = await self._head(session_id)
        return session_info(head, None) if head else None

    @verb
    async def get_revision(self, session_id: str) -> str:
        """The opaque token of the session's present state, for ``expect_revision``; "" where there is no session."""
        head = await self._head(session_id)
        return head.revision if head else ""

    @verb
    async def session_exists(self, session_id: str) -> bool:
        """Whether there is a session of that id. A cleared one is still there."""
        return await self._head(session_id) is not None

    @verb
    async def window(self, session_id: str, around_message_id: str | int | None = None, *, window: int = 5) -> list[dict[str, Any]]:
        """The messages around one, ``window`` to each side, as dicts with ``index``. Named by message id or index; None: the last one."""
        check_limit(window)
        found = await self._read_all(session_id)
        if found is None or not found[1]:
            return []
        records = found[1]
        anchor = len(records) - 1
        if around_message_id is not None and around_message_id != "":
            ids = {record.id: index for index, record in enumerate(records)}
            named = ids.get(str(around_message_id))
            if named is None and str(around_message_id).isdecimal() and int(around_message_id) < len(records):
                named = int(around_message_id)
            if named is None:
                raise MessageIndexError(
                    f"session {session_id!r} has no message {around_message_id!r:.80}: pass a message id or an index below {len(records)}",
                    session_id=session_id,
                    index=around_message_id,
                    count=len(records),
                )
            anchor = named
        return context(records, anchor, window)

    @verb
    async def get_runtime_state(self, session_id: str, runtime_id: str, turn_id: str | None = None) -> dict[str, Any]:
        """What ``set_runtime_state`` kept for a runtime: ``{turn_id: state}``, or the state of one turn; {} for none."""
        head = await self._head(session_id)
        states: dict[str, Any] = (head.fields.get("runtime_state") or {}).get(runtime_id, {}) if head else {}
        copied: dict[str, Any] = json.loads(json.dumps(states if turn_id is None else states.get(turn_id, {})))
        return copied

    @verb
    async def is_shared(self, session_id: str) -> bool:
        """Whether ``share_session`` marked the session."""
        head = await self._head(session_id)
        return bool(head and head.fields.get("is_shared"))

    @verb
    async def get_session_model(self, session_id: str) -> str | None:
        """The model the session was last run with: from its metadata, or from its newest message that names one."""
        return await self._recorded(session_id, ("model", "llm"))

    @verb
    async def get_session_reasoning_effort(self, session_id: str) -> str | None:
        """The reasoning effort the session was last run with, like ``get_session_model``."""
        return await self._recorded(session_id, ("reasoning_effort",))

    async def _recorded(self, session_id: str, names: tuple[str, ...]) -> str | None:
        data = await self._session(session_id)
        places = [data.metadata, *(message.metadata for message in reversed(data.messages))]
        for place in places:
            for name in names if place is data.metadata else names[:1]:
                if isinstance(value := place.get(name), str) and value:
                    return value
        return None

    async def _session(self, session_id: str) -> SessionData:
        found = await self._read_all(session_id)
        if found is None:
            return SessionData(session_id=session_id)
        head, records = found
        records += await self._draft(head)
        return SessionData(messages=[SessionMessage.from_record(record) for record in records], **session_fields(head))

    async def _draft(self, head: Head) -> list[Record]:
        """The draft as a record, if there is one."""
        key = await self._draft_id(head)
        if key is None:
            return []
        rows = await self.backend.get_rows(head.session_id, head.run, "draft", [key])
        if key not in rows:
            return []
        row = json.loads(rows[key])
        return [Record(-1, key, row["time"], row["body"], '{"partial":true}')]

    async def _window(self, session_id: str, window: Window) -> list[dict[str, Any]]:
        # One more than wanted: whether the first message wanted may stand alone depends on its neighbour.
        take = window.limit + 1 if window.limit else FIRST_READ if window.budget is not None else None
        while True:
            found = await self._read(session_id, partial(last, take))
            if found is None:
                return []
            head, records = found
            self._seen.note(head)
            whole = len(records) == head.count
            if "draft" in head.fields:
                records = [*records, *await self._draft(head)]
            messages = decode_all(records)
            decided = window.of_suffix(messages, whole=whole)
            if decided is not None:
                return decided
            # The cut falls into a tool group that began earlier: read further back.
            take = (take or 1) * 2


def last(number: int | None, count: int) -> tuple[int, int]:
    """Where the last ``number`` of ``count`` messages begin and end; all for None."""
    return (max(0, count - number) if number else 0, count)


def _after(index: int, count: int) -> tuple[int, int]:
    return min(index, count), count


def check_limit(limit: object) -> int | None:
    """``limit`` as a number of messages; None for None and 0."""
    if limit is None:
        return None
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise MessageIndexError(f"a number of messages must be an int of 0 or more, not {limit!r:.80}", index=limit, count=0)
    return limit or None


def context(records: list[Record], anchor: int, window: int) -> list[dict[str, Any]]:
    """The messages around index ``anchor`` as dicts: index, id, role, content, timestamp."""
    lines = []
    for index in range(max(0, anchor - window), min(len(records), anchor + window + 1)):
        message = SessionMessage.from_record(records[index])
        values = {"index": index, "id": message.id, "role": message.role, "content": message.content, "timestamp": message.timestamp}
        lines.append({**values, "archived": False})
    return lines
