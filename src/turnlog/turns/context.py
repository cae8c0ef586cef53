"""A turn: the valid history to send, what the turn adds to it, and its landing in the store as one append, or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal, Self, get_args

from turnlog.errors import ConflictError, InvalidMessageError, LockTimeoutError, SessionError, UnsupportedVerbError
from turnlog.forms import to_anthropic, to_chat, to_responses
from turnlog.messages import SessionMessage, check_session_id, new_token
from turnlog.session.awaiting import AwaitedStore, Known
from turnlog.store.drive import drive
from turnlog.store.values import OpenTurn
from turnlog.trim import Window
from turnlog.turns.owner import Owner, is_running
from turnlog.turns.replies import messages_of, usage_of
from turnlog.validity import validate_history

Form = Literal["chat", "responses", "anthropic"]

POLL = 0.05
"""Seconds between two looks at whether another's turn has ended."""
NOTE = "turn"
"""The key of a message's metadata under which the last message of a turn tells what the turn took."""
INTERRUPTED = 32
"""Interrupted turns that a session keeps at most, the latest: each is read again by every turn, and those who stop answers leave many."""
NEVER = "no revision is this"
"""What an append expects that is only meant to find out whether its messages are stored already."""


class Turn:
    """One turn of a conversation, as ``turn(…)`` gives it. A context manager: ``with`` over a sync store, ``async with`` over any."""

    def __init__(
        self, store: AwaitedStore, session_id: str, *, form: Form, window: Window, wait: float, known: Known | None = None
    ) -> None:
        if form not in get_args(Form):
            reason = f"form must be {', '.join(get_args(Form))}, not {form!r:.40}"
            raise UnsupportedVerbError(reason, verb="turn", reason=reason)
        if wait and not store.full:
            reason = "a store with five methods cannot tell that another's turn is under way"
            raise UnsupportedVerbError(f"turn(wait={wait!r}) needs a full store: {reason}", verb="turn", reason=reason)
        self.session_id = check_session_id(session_id)
        self.id = new_token()
        self.form: Form = form
        self.added: list[SessionMessage] = []
        """What the turn adds, as it will be stored."""
        self.note: dict[str, Any] = {}
        """What the turn took: ``model``, ``input_tokens``, ``output_tokens``, ``seconds``; kept with its last message."""
        self.stored: list[SessionMessage] = []
        """The history, with ids and metadata."""
        self.landed = False
        """Whether a turn of this id is stored."""
        self.keeps = True
        """Whether it is kept before it lands, for others to see and to go on with; a turn that others wait for is, in any case."""
        self._store = store
        self._window = window
        self._wait = wait
        self._known = known
        self._began = 0.0
        self._kept = False
        self._resumed = False

    @property
    def history(self) -> list[dict[str, Any]]:
        """The history before the turn, in the turn's form, as the API takes it. For "anthropic" see also ``system``."""
        return self._formed([message.record for message in self.stored])

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The history and what was added so far, in the turn's form: what to send next."""
        return self._formed([message.record for message in (*self.stored, *self.added)])

    @property
    def system(self) -> str | None:
        """The text of the system messages, which the Anthropic API takes apart from the others; None for none."""
        return to_anthropic([message.record for message in (*self.stored, *self.added)])[0]

    def add(self, *messages: Any) -> None:
        """Add to the turn: dicts in any vendor's form, lists of them, or what a vendor's SDK returned (a message or the whole response).

        All is looked at and copied here and now. A whole response also tells ``note`` its model and tokens. Raises InvalidMessageError.
        """
        for message in messages:
            self.added += messages_of(message)
            for name, value in usage_of(message).items():
                self.note[name] = self.note.get(name, 0) + value if isinstance(value, int) else value

    # The steps of a turn, as coroutines; over a sync store outside an event loop they never suspend. -------------------------------

    async def begin(self, resumed: OpenTurn | None = None) -> None:
        """Wait for others' turns if asked to, and read the history. ``resumed``: an interrupted turn to go on with, under its id.

        Of several who go on with one, the first does; the others get ConflictError.
        """
        self._began = time.monotonic()
        produced = resumed.messages if resumed else []
        try:
            if resumed is not None:
                self.id, self._resumed = resumed.id, True
                await self._keep(produced, {}, expect_updated_at=resumed.updated_at)
            if self._wait:
                await self.keep(produced)
                await self._queue()
            self.stored = await self._store.window(self.session_id, self._window, self._known)
        except BaseException as error:
            # Nobody is to wait for a turn that never began.
            if self._kept:
                await self._keep_interrupted(error, produced)
            raise

    async def keep(self, messages: Sequence[SessionMessage] | None = None, **info: Any) -> None:
        """Keep what the turn has produced so far (None: what was added), so that it outlives this process. Nothing on five methods."""
        if self._store.full and (self.keeps or self._wait):
            await self._keep(self.added if messages is None else messages, info)

    async def _keep(self, messages: Sequence[SessionMessage], info: dict[str, Any], **expect: float) -> None:
        note = {"state": "running", **Owner.here().to_dict(), **info}
        try:
            await self._store.finish("put_open_turn", self.session_id, self.id, messages, info=note, **expect)
        except SessionError:
            raise
        except BaseException:
            # Ctrl-C, or cancelled: that comes when it is kept, or perhaps kept.
            self._kept = True
            raise
        self._kept = True

    async def land(self) -> None:
        """Store the turn whole. Raises InvalidMessageError for calls without results and the like, and what ``add_messages`` raises.

        ``landed`` then says whether the turn is stored all the same, as it may be after a StorageError.
        """
        if problems := validate_history([message.record for message in self.added]):
            raise InvalidMessageError(f"the turn cannot be stored: message {problems[0].index} of it {problems[0].text}")
        if not self.added:
            await self.drop()
            return
        self.note.setdefault("seconds", round(time.monotonic() - self._began, 3))
        last = self.added[-1]
        self.added[-1] = replace(last, metadata={**last.metadata, NOTE: self.note})
        landing = {"turn_id": self.id} if self._kept else {}
        try:
            await self._store.finish("add_messages", self.session_id, self.added, **landing)
        except asyncio.CancelledError:
            # It comes after the outcome, which was good.
            self.landed = True
            raise
        except ConflictError:
            if self._resumed:
                # Somebody else has taken this turn to its end.
                self.landed = True
                await self.drop()
            raise
        except BaseException:
            # An error, or Ctrl-C, may come when it is stored.
            self.landed = await self._is_stored(landing)
            raise
        self.landed = True

    async def interrupt(self, error: str, messages: Sequence[SessionMessage] | None = None) -> None:
        """Keep the turn as an interrupted one; a turn that has produced nothing is dropped."""
        if self.added if messages is None else messages:
            await self.keep(messages, state="interrupted", error=error)
            if self._kept:
                await self._forget_oldest()
        else:
            await self.drop()

    async def drop(self) -> None:
        """Forget what was kept of the turn."""
        if self._kept:
            await self._store.finish("drop_open_turn", self.session_id, self.id)

    async def _forget_oldest(self) -> None:
        """Drop the oldest interrupted turns of the session where there are too many. Should that fail, the next interruption does it."""
        with suppress(SessionError):
            turns = [turn for turn in await self._store.call("get_open_turns", self.session_id) if not is_running(turn)]
            for turn in turns[:-INTERRUPTED]:
                await self._store.finish("drop_open_turn", self.session_id, turn.id)

    async def _is_stored(self, landing: dict[str, str]) -> bool:
        if not self._store.full:
            return False
        try:
            await self._store.finish("add_messages", self.session_id, self.added, expect_revision=NEVER, **landing)
        except SessionError:
            return False
        return True

    async def _keep_interrupted(self, error: BaseException, messages: Sequence[SessionMessage] | None = None) -> None:
        """Keep the turn that ``error`` ended. That error is the one to be told, whatever happens here."""
        try:
            await self.interrupt(type(error).__name__, messages)
        except SessionError as another:
            error.add_note(f"what the turn had produced could not be kept: {another}")

    async def _queue(self) -> None:
        deadline = time.monotonic() + self._wait
        while True:
            turns = await self._store.call("get_open_turns", self.session_id)
            ids = [turn.id for turn in turns]
            before = turns[: ids.index(self.id)] if self.id in ids else turns
            running = [turn for turn in before if is_running(turn)]
            for turn in before:
                if turn not in running and turn.info.get("state") == "running" and not turn.messages:
                    # Its process was killed before it had produced anything: nothing is there to go on with.
                    await self._store.finish("drop_open_turn", self.session_id, turn.id)
            if not running:
                return
            if time.monotonic() >= deadline:
                raise LockTimeoutError(
                    f"another turn on session {self.session_id!r} has not ended within {self._wait} s: wait longer, or go on without",
                    session_id=self.session_id,
                )
            await self._store.pause(POLL)

    def _formed(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.form == "anthropic":
            return to_anthropic(records)[1]
        return to_chat(records) if self.form == "chat" else to_responses(records)

    # Context managers ------------------------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._store.waits:
            raise TypeError("this store is async: write `async with turn(...)`")
        drive(self._enter())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        drive(self._leave(error))

    async def __aenter__(self) -> Self:
        self._store.threads = True
        await self._enter()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._leave(error)

    async def _enter(self) -> None:
        try:
            await self.begin()
        except BaseException:
            await self._store.close()
            raise

    async def _leave(self, error: BaseException | None) -> None:
        try:
            if error is not None:
                await self._keep_interrupted(error)
            else:
                await self._land_or_keep()
        finally:
            await self._store.close()

    async def _land_or_keep(self) -> None:
        try:
            await self.land()
        except BaseException as error:
            if not self.landed:
                await self._keep_interrupted(error)
            raise
