"""adapt_store: what can be built on five methods, for a store that has no more than those; the rest says plainly why not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, overload

from turnlog.errors import InvalidMessageError, MessageIndexError, SessionNotFoundError, StorageError, UnsupportedVerbError
from turnlog.messages import ENVELOPE_KEYS, Record, SessionMessage, check_session_id, encode_message, new_token
from turnlog.protocols import FIVE_METHODS, AsyncSessionStoreProtocol, SessionStoreProtocol, is_async
from turnlog.store.aio import AsyncSessionStore
from turnlog.store.drive import drive
from turnlog.store.portability import VERSION
from turnlog.store.reading import check_limit
from turnlog.store.sync import SessionStore
from turnlog.store.values import SessionDiff
from turnlog.store.writing import Message, encode_messages
from turnlog.trim import Window

MARK = '{"turnlog":1,'
"""How the content of an envelope begins. Text that happens to begin so is put into an envelope itself."""

_NO_LISTING = "five methods cannot list sessions"
_NO_CAS = "five methods cannot change a session by compare-and-set, so what a racing writer adds could be lost"
_NO_FIELDS = "five methods keep messages only, no fields of a session"

UNSUPPORTED: Mapping[str, str] = {
    **dict.fromkeys(
        ("iter_sessions", "page_sessions", "list_sessions", "list_sessions_by_agent", "recent", "search", "export_all"), _NO_LISTING
    ),
    **dict.fromkeys(("get_children", "get_parent", "get_ancestors", "get_session_tree", "delete_where"), _NO_LISTING),
    **dict.fromkeys(("revert_to_message", "revert_to_snapshot", "undo_revert", "set_chat_history", "get_revision"), _NO_CAS),
    **dict.fromkeys(
        ("create_snapshot", "get_snapshots", "get_snapshot_messages", "delete_snapshot"), "five methods cannot name a position in a history"
    ),
    **dict.fromkeys(
        ("set_agent_info", "set_gateway_info", "update_session_metadata", "edit_session_metadata", "rename_session", "set_title"),
        _NO_FIELDS,
    ),
    **dict.fromkeys(("share_session", "unshare_session", "is_shared", "create_session", "append_compaction_checkpoint"), _NO_FIELDS),
    "set_session_ttl": _NO_FIELDS,
    **dict.fromkeys(("set_runtime_state", "get_runtime_state", "clear_runtime_state", "get_extended_session"), _NO_FIELDS),
    **dict.fromkeys(("get_session", "get_session_info", "get_session_model", "get_session_reasoning_effort"), _NO_FIELDS),
    **dict.fromkeys(("upsert_partial_assistant_message", "discard_partial_assistant_message"), "five methods cannot replace a message"),
    **dict.fromkeys(("import_sessions", "import_session"), "five methods cannot store a session whole, and keep no fields of one"),
    **dict.fromkeys(("put_open_turn", "get_open_turns", "drop_open_turn"), "five methods cannot keep a turn beside the history"),
    "window": "five methods keep no ids of messages",
    "sweep": "there is nothing that turnlog could put in order behind five methods",
}
"""What an adapted store cannot do, and why."""


class AsyncAdaptedStore:
    """A store over an object with the five methods.

    Plain text is stored as the object stores it. A message that is more than role and text, and every message of a turn, is
    kept as a marked JSON envelope in ``content``, so that it comes back exactly. A turn is several calls of ``add_message``: it is not
    atomic, and one that was cut short is hidden on read. Ids do not make retries safe, and ``timestamp`` is not kept for plain text.
    """

    def __init__(self, store: SessionStoreProtocol | AsyncSessionStoreProtocol) -> None:
        self.store = store
        self._waits = is_async(store.add_message)

    async def add_message(
        self,
        session_id: str,
        role: str,
        content: Any,
        metadata: dict[str, Any] | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
    ) -> bool:
        """Store one message. Raises StorageError when the object's ``add_message`` answers anything but True."""
        message = {"role": role, "content": content, "metadata": metadata}
        if tool_calls:
            message["tool_calls"] = tool_calls
        if tool_call_id is not None:
            message["tool_call_id"] = tool_call_id
        return await self._add(session_id, encode_message(message), None)

    async def add_user_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "user"."""
        return await self.add_message(session_id, "user", content, metadata)

    async def add_assistant_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "assistant"."""
        return await self.add_message(session_id, "assistant", content, metadata)

    async def add_messages(self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None) -> bool:
        """Store a turn, message by message; it shows once its last message is there. ``expect_revision`` is refused."""
        if expect_revision is not None:
            raise unsupported("add_messages(expect_revision=…)", _NO_CAS)
        if isinstance(messages, str | Mapping | SessionMessage):
            raise InvalidMessageError(f"messages must be a list of messages, not one {type(messages).__name__}: put it in a list")
        records = encode_messages(messages)
        turn = new_token() if len(records) > 1 else None
        for place, record in enumerate(records):
            await self._add(session_id, record, {"id": turn, "n": place, "of": len(records)} if turn else None)
        return True

    async def get_chat_history(
        self,
        session_id: str,
        max_messages: int | None = None,
        *,
        max_tokens: int | None = None,
        count_tokens: Callable[[Mapping[str, Any]], int] | None = None,
    ) -> list[dict[str, Any]]:
        """The history as a model takes it, by the rules of a full store's ``get_chat_history``."""
        window = Window(check_limit(max_messages), budget=max_tokens, count=count_tokens)
        take = window.limit + 1 if window.limit else None
        while True:
            raw = await self._raw(session_id, take)
            whole = take is None or len(raw) < take
            raw = raw if whole else raw[begun_earlier(raw) :]
            decided = window.of_suffix([message.to_llm_message() for message in complete(raw)], whole=whole)
            if decided is not None:
                return decided
            take = 2 * (take or 1)

    async def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """``get_chat_history``: nothing here notes a summary that could stand for a part of it."""
        return await self.get_chat_history(session_id, max_messages)

    async def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the history, as in a Python slice. Ids, times and metadata only where an envelope kept them."""
        for index in (start, stop):
            if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
                raise MessageIndexError(f"a message index must be an int, not {index!r:.80}", session_id=session_id, index=index, count=0)
        return complete(await self._raw(session_id, None))[start:stop]

    async def fork_session(self, session_id: str, from_message_index: int | None = None, *, new_session_id: str | None = None) -> str:
        """Copy the history up to message ``from_message_index`` (inclusive; None: all) to a new session and return its id."""
        if not await self.session_exists(session_id):
            raise SessionNotFoundError(f"there is no session {session_id!r} to fork", session_id=session_id)
        messages = await self.get_messages(session_id)
        last = len(messages) - 1 if from_message_index is None else from_message_index
        if from_message_index is not None and not 0 <= from_message_index < len(messages):
            raise MessageIndexError(
                f"session {session_id!r} has {len(messages)} messages, none with the index {from_message_index}",
                session_id=session_id,
                index=from_message_index,
                count=len(messages),
            )
        child = check_session_id(new_session_id) if new_session_id is not None else new_token()
        await self.add_messages(child, messages[: last + 1])
        return child

    async def diff(self, a: str, b: str) -> SessionDiff:
        """Compare two histories: how many messages they share from the start, then each side's own. The ancestor is not known."""
        left, right = await self.get_messages(a), await self.get_messages(b)
        common = 0
        for one, other in zip(left, right, strict=False):
            if one.record != other.record:
                break
            common += 1
        return SessionDiff(ancestor=None, common=common, left=left[common:], right=right[common:])

    async def clear_session(self, session_id: str) -> bool:
        """Remove all messages."""
        return bool(await self._call("clear_session", check_session_id(session_id)))

    async def delete_session(self, session_id: str) -> bool:
        """Remove the session."""
        return bool(await self._call("delete_session", check_session_id(session_id)))

    async def session_exists(self, session_id: str) -> bool:
        """Whether there is a session of that id."""
        return bool(await self._call("session_exists", check_session_id(session_id)))

    async def export_session(self, session_id: str, *, include_lineage: bool = True) -> dict[str, Any]:
        """The messages, in the form that a full store's ``import_sessions`` reads; no sessions where there is none."""
        if not await self.session_exists(session_id):
            return {"version": VERSION, "sessions": []}
        messages = [message.to_dict() for message in await self.get_messages(session_id)]
        return {"version": VERSION, "sessions": [{"session_id": session_id, "version": VERSION, "messages": messages}]}

    async def invalidate_cache(self, session_id: str | None = None) -> None:
        """Nothing to do: every read asks the object."""

    async def close(self) -> None:
        """Nothing to release: the object belongs to whoever made it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        raise refusal(name, type(self).__name__)

    async def _add(self, session_id: str, record: Record, turn: Mapping[str, Any] | None) -> bool:
        message = json.loads(record.body)
        metadata = json.loads(record.meta) if record.meta else None
        content = message.get("content")
        if turn is not None or set(message) != {"role", "content"} or not isinstance(content, str) or content.startswith(MARK):
            envelope = {"id": record.id, "time": record.time, "turn": turn, "message": message, "metadata": metadata}
            content = f"{MARK}{json.dumps(envelope)[1:]}"
        role = str(message.get("role") or "user")
        answer = await self._call("add_message", check_session_id(session_id), role, content, metadata)
        if answer is not True:
            raise StorageError(
                f"{type(self.store).__name__}.add_message answered {answer!r:.40} for session {session_id!r}: "
                "the message may not be stored",
                session_id=session_id,
            )
        return True

    async def _raw(self, session_id: str, take: int | None) -> list[dict[str, Any]]:
        return list(await self._call("get_chat_history", check_session_id(session_id), take))

    async def _call(self, name: str, *args: Any) -> Any:
        answer = getattr(self.store, name)(*args)
        return await answer if self._waits else answer


class AdaptedStore:
    """AsyncAdaptedStore for plain Python."""

    def __init__(self, store: SessionStoreProtocol) -> None:
        self._core = AsyncAdaptedStore(store)
        self.store = store

    def add_message(
        self,
        session_id: str,
        role: str,
        content: Any,
        metadata: dict[str, Any] | None = None,
        tool_calls: list[dict[str, Any]] | None = None,
        tool_call_id: str | None = None,
    ) -> bool:
        """Store one message. Raises StorageError when the object's ``add_message`` answers anything but True."""
        return drive(self._core.add_message(session_id, role, content, metadata, tool_calls, tool_call_id))

    def add_user_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "user"."""
        return drive(self._core.add_user_message(session_id, content, metadata))

    def add_assistant_message(self, session_id: str, content: Any, metadata: dict[str, Any] | None = None) -> bool:
        """``add_message`` with role "assistant"."""
        return drive(self._core.add_assistant_message(session_id, content, metadata))

    def add_messages(self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None) -> bool:
        """Store a turn, message by message; it shows once its last message is there. ``expect_revision`` is refused."""
        return drive(self._core.add_messages(session_id, messages, expect_revision=expect_revision))

    def get_chat_history(
        self,
        session_id: str,
        max_messages: int | None = None,
        *,
        max_tokens: int | None = None,
        count_tokens: Callable[[Mapping[str, Any]], int] | None = None,
    ) -> list[dict[str, Any]]:
        """The history as a model takes it, by the rules of a full store's ``get_chat_history``."""
        return drive(self._core.get_chat_history(session_id, max_messages, max_tokens=max_tokens, count_tokens=count_tokens))

    def get_working_history(self, session_id: str, max_messages: int | None = None) -> list[dict[str, Any]]:
        """``get_chat_history``: nothing here notes a summary that could stand for a part of it."""
        return drive(self._core.get_working_history(session_id, max_messages))

    def get_messages(self, session_id: str, start: int = 0, stop: int | None = None) -> list[SessionMessage]:
        """Messages ``start`` to ``stop`` of the history, indexes as in a Python slice."""
        return drive(self._core.get_messages(session_id, start, stop))

    def fork_session(self, session_id: str, from_message_index: int | None = None, *, new_session_id: str | None = None) -> str:
        """Copy the history up to message ``from_message_index`` (inclusive; None: all) to a new session and return its id."""
        return drive(self._core.fork_session(session_id, from_message_index, new_session_id=new_session_id))

    def diff(self, a: str, b: str) -> SessionDiff:
        """Compare two histories: how many messages they share from the start, then each side's own."""
        return drive(self._core.diff(a, b))

    def clear_session(self, session_id: str) -> bool:
        """Remove all messages."""
        return drive(self._core.clear_session(session_id))

    def delete_session(self, session_id: str) -> bool:
        """Remove the session."""
        return drive(self._core.delete_session(session_id))

    def session_exists(self, session_id: str) -> bool:
        """Whether there is a session of that id."""
        return drive(self._core.session_exists(session_id))

    def export_session(self, session_id: str, *, include_lineage: bool = True) -> dict[str, Any]:
        """The messages, in the form that a full store's ``import_sessions`` reads; no sessions where there is none."""
        return drive(self._core.export_session(session_id, include_lineage=include_lineage))

    def invalidate_cache(self, session_id: str | None = None) -> None:
        """Nothing to do: every read asks the object."""

    def close(self) -> None:
        """Nothing to release: the object belongs to whoever made it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        raise refusal(name, type(self).__name__)


@overload
def adapt_store(store: SessionStore) -> SessionStore: ...
@overload
def adapt_store(store: AsyncSessionStore) -> AsyncSessionStore: ...
@overload
def adapt_store(store: SessionStoreProtocol) -> AdaptedStore: ...
@overload
def adapt_store(store: AsyncSessionStoreProtocol) -> AsyncAdaptedStore: ...


def adapt_store(store: Any) -> SessionStore | AsyncSessionStore | AdaptedStore | AsyncAdaptedStore:
    """Give an object with the five methods all that can be built on them; a full store comes back as it is.

    An object with sync methods becomes an AdaptedStore, one with coroutines an AsyncAdaptedStore. What cannot be built raises
    UnsupportedVerbError with the reason, when it is called for. Raises TypeError naming the methods that are missing or of the wrong kind.
    """
    if isinstance(store, SessionStore | AsyncSessionStore | AdaptedStore | AsyncAdaptedStore):
        return store
    if isinstance(store, type):
        raise TypeError(f"{store.__name__} is a class, not a store: make one and pass that, {store.__name__}(...)")
    if isinstance(store, SessionStoreProtocol):
        return AdaptedStore(store)
    if isinstance(store, AsyncSessionStoreProtocol):
        return AsyncAdaptedStore(store)
    missing = [name for name in FIVE_METHODS if not callable(getattr(store, name, None))]
    if missing:
        raise TypeError(f"{type(store).__name__} is no session store: it has no {', '.join(missing)}")
    raise TypeError(f"{type(store).__name__} mixes sync methods and coroutines: make all five the same kind ({', '.join(FIVE_METHODS)})")


def complete(raw: Sequence[Mapping[str, Any]]) -> list[SessionMessage]:
    """The messages behind what a five-method store gave, without the turns that were cut short."""
    opened = [opened_message(message) for message in raw]
    kept: list[SessionMessage] = []
    parts: dict[str, set[int]] = {}
    for _, turn in opened:
        if turn is not None:
            parts.setdefault(turn["id"], set()).add(turn["n"])
    for message, turn in opened:
        if turn is None or len(parts[turn["id"]]) == turn["of"]:
            kept.append(message)
    return kept


def begun_earlier(raw: Sequence[Mapping[str, Any]]) -> int:
    """How much of the end of a history to leave out because it belongs to turns that began before it, or lies between their parts."""
    turns = [turn for _, turn in map(opened_message, raw)]
    begun = {turn["id"] for turn in turns if turn is not None and turn["n"] == 0}
    return max((index + 1 for index, turn in enumerate(turns) if turn is not None and turn["id"] not in begun), default=0)


def opened_message(raw: Mapping[str, Any]) -> tuple[SessionMessage, Mapping[str, Any] | None]:
    """A message out of its envelope, and its place in its turn; a plain one as it is."""
    content = raw.get("content")
    if isinstance(content, str) and content.startswith(MARK):
        envelope = json.loads(content)
        record = envelope["message"]
        stored = Record(-1, envelope["id"], envelope["time"], json.dumps(record), json.dumps(envelope["metadata"] or {}))
        return SessionMessage.from_record(stored), envelope["turn"]
    return SessionMessage.from_dict({key: value for key, value in raw.items() if key not in ENVELOPE_KEYS}), None


def unsupported(verb: str, reason: str) -> UnsupportedVerbError:
    """The refusal of a verb that five methods cannot carry."""
    return UnsupportedVerbError(f"{verb} needs a full store, such as SqliteSessionStore: {reason}", verb=verb, reason=reason)


def refusal(name: str, kind: str) -> Exception:
    """Why an adapted store has no attribute ``name``."""
    if name in UNSUPPORTED:
        return unsupported(name, UNSUPPORTED[name])
    return AttributeError(f"{kind} has no attribute {name!r}")
