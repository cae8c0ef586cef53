"""TurnlogSession: any turnlog store as the session of an openai-agents run. Needs the extra ``openai-agents``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self, cast

from turnlog.errors import ConflictError
from turnlog.forms import to_responses
from turnlog.messages import ENVELOPE_KEYS, SessionMessage, check_session_id
from turnlog.session import AsyncAdaptedStore, AsyncSessionStore, SessionStore, adapt_store
from turnlog.session.awaiting import InThread, finished
from turnlog.session.opening import open_backend
from turnlog.toolcalls import RESPONSES_CALLS, Kind, read
from turnlog.trim import Window

try:
    from agents.memory import SessionSettings
    from agents.memory.session_settings import coerce_session_settings, resolve_session_limit
except ImportError as error:
    raise ImportError("turnlog.integrations.openai_agents needs openai-agents: pip install 'turnlog[openai-agents]'") from error

if TYPE_CHECKING:
    from agents import TResponseInputItem

    from turnlog.protocols import AsyncSessionStoreProtocol, SessionStoreProtocol
    from turnlog.session import AdaptedStore

    Store = SessionStore | AsyncSessionStore | AdaptedStore | AsyncAdaptedStore | SessionStoreProtocol | AsyncSessionStoreProtocol

ATTEMPTS = 1_000
"""Lost races after which ``pop_item`` gives up; each loss means that somebody else's change went through."""


class TurnlogSession:
    """One session of a store, as openai-agents' ``Session``.

    ``store``: a turnlog store, sync or async; an object with the five methods; the URL of a store; or None for the store that
    ``TURNLOG_STORE`` names, else the default directory of JSON files. A sync store works in worker threads, so the event loop never
    waits for it. ``session_settings`` (SessionSettings or a dict): its ``limit`` is how many items ``get_items()`` gives at most.

    Items are stored as they are. A call that is cancelled waits for its outcome before it raises CancelledError, so nobody is left to
    guess. Errors are those of the store (turnlog.errors).
    """

    session_id: str
    session_settings: SessionSettings | None

    def __init__(
        self, session_id: str, store: Store | str | None = None, *, session_settings: SessionSettings | Mapping[str, Any] | None = None
    ) -> None:
        self.session_id = check_session_id(session_id)
        given = dict(session_settings) if isinstance(session_settings, Mapping) else session_settings
        self.session_settings = SessionSettings() if given is None else coerce_session_settings(given)
        self._owns = store is None or isinstance(store, str)
        self.store: Any = _opened(store) if store is None or isinstance(store, str) else adapt_store(cast("SessionStore", store))
        self._waits = isinstance(self.store, AsyncSessionStore | AsyncAdaptedStore)

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The newest items, oldest first: at most ``limit``, else at most ``session_settings.limit``, else all. 0: none; below: all.

        They are a history that the model's API takes: fewer than the limit where the cut would part a result from its call or an item
        from its reasoning, without results that have no call and calls that have no result. Only calls at the very end that still wait
        for their results (for an approval, say) are there. Messages in another vendor's form come back as items.
        """
        wanted = resolve_session_limit(limit, self.session_settings)
        if wanted is None:
            wanted = getattr(self.store, "max_messages", None)
        if wanted == 0:
            return []
        take = wanted + 1 if wanted is not None and wanted > 0 else None
        while True:
            messages = await self._call(self.store.get_messages, self.session_id, -take if take else 0, None)
            whole = take is None or len(messages) < take
            window = newest(_items(messages), wanted if take else None, whole=whole)
            if window is not None:
                return cast("list[TResponseInputItem]", window)
            # The cut falls into a tool group that began earlier: read further back.
            take = 2 * (take or 1)

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Store the items at the end of the session, all or none, in one append; nothing for an empty list."""
        if items:
            turn = [_message(cast("dict[str, Any]", item)) for item in items]
            await finished(self._call(self.store.add_messages, self.session_id, turn))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the newest item and return it; None where there is none. Two callers never get the same one.

        Popping the only item deletes the session. A message that another part of turnlog wrote in another vendor's form, and that reads
        as several items, goes as a whole. The cost grows with the length of the session, since a revert needs the index. Raises
        UnsupportedVerbError for a store that has only the five methods.
        """
        return cast("TResponseInputItem | None", await finished(self._pop()))

    async def clear_session(self) -> None:
        """Erase all items. The session itself, its title and its metadata stay."""
        await finished(self._call(self.store.clear_session, self.session_id))

    async def close(self) -> None:
        """Close the store if this session opened it; a store that was handed over stays open."""
        if self._owns:
            await self._call(self.store.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _pop(self) -> dict[str, Any] | None:
        revert = self.store.revert_to_message
        for _ in range(ATTEMPTS):
            info = await self._call(self.store.get_session_info, self.session_id)
            for index in range(info.message_count - 1 if info else -1, -1, -1):
                items = _items(await self._call(self.store.get_messages, self.session_id, index, index + 1))
                if not items:
                    # It reads as nothing here, such as another vendor's reasoning: it belongs to what is before it.
                    continue
                try:
                    if index:
                        await self._call(revert, self.session_id, index - 1, expect_revision=info.revision)
                    else:
                        # A revert keeps at least one message, and clear_session cannot be told what it may clear.
                        await self._call(self.store.delete_session, self.session_id, expect_revision=info.revision)
                except ConflictError:
                    break
                return items[-1]
            else:
                return None
        raise ConflictError(
            f"session {self.session_id!r} changes too fast: {ATTEMPTS} attempts lost, try again", session_id=self.session_id
        )

    def _call(self, verb: Callable[..., Any], *arguments: Any, **named: Any) -> Awaitable[Any]:
        return verb(*arguments, **named) if self._waits else InThread(verb, *arguments, **named)


def _message(item: dict[str, Any]) -> dict[str, Any] | SessionMessage:
    """What stores the item whole: its own id, where it has one, is none of the store's envelope."""
    return item if item.keys().isdisjoint(ENVELOPE_KEYS) else SessionMessage(record=item)


def _opened(url: str | None) -> SessionStore | AsyncSessionStore:
    backend = open_backend(url)
    # One hop to a thread is all that a blocking engine needs; the async store would make it too, behind a task that costs as much again.
    return SessionStore(backend) if backend.blocking else AsyncSessionStore(backend)


def newest(items: Sequence[dict[str, Any]], limit: int | None, *, whole: bool) -> list[dict[str, Any]] | None:
    """The last ``limit`` of ``items`` (None: all) that an API takes, as ``turnlog.trim.Window`` decides, with calls still open at the end.

    None where that depends on items before the first; ``whole`` says that there are none.
    """
    answers = _missing_results(items)
    window = Window(limit + len(answers) if limit else None).of_suffix([*items, *answers], whole=whole)
    return window and [item for item in window if all(item is not answer for answer in answers)]


def _missing_results(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A result for each call of the newest answer that has none yet, so that a call is not taken for an abandoned one too early."""
    answered: set[str] = set()
    missing: list[dict[str, Any]] = []
    said = False
    for item in reversed(items):
        trace = read(item)
        if trace.kind is Kind.RESULT and not said:
            answered.update(trace.ids)
        elif trace.kind is Kind.CALL and trace.form in RESPONSES_CALLS:
            said = True
            missing += [
                {"type": f"{trace.form}_output", "call_id": call_id, "output": ""} for call_id in trace.ids if call_id not in answered
            ]
        elif trace.kind in (Kind.OUTPUT, Kind.REASONING):
            said = True
        else:
            break
    return missing


def _items(messages: Sequence[SessionMessage]) -> list[dict[str, Any]]:
    """The messages as items. What is in no vendor's form, such as the framework's EncryptedSession writes, comes back as it is."""
    items: list[dict[str, Any]] = []
    for known, records in groupby((message.record for message in messages), lambda record: "role" in record or "type" in record):
        stretch = list(records)
        items += to_responses(stretch) if known else stretch
    return items
