"""A desk: what is kept of one user (chat, thread) beside the conversations, as a log in a session of its own, ``<key>.desk``."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any
from weakref import WeakValueDictionary

from turnlog.bots.events import Event, State, TooShortError, Waiting, folded, uid_of, update_event
from turnlog.bots.keys import DESK, DESKS
from turnlog.bots.platform import Update
from turnlog.errors import ConflictError
from turnlog.messages import new_token
from turnlog.session.awaiting import AwaitedStore

ROLE = "system"
"""The role of the log's messages: one that every store takes."""
CUT_AFTER = 48
"""Events after which a log in which nothing waits is cut to one checkpoint."""
CUT_SIZE = 256 * 1024
"""Characters of JSON after which it is cut the same way: pictures wait in it too."""
BEATEN = 0.05
"""Seconds after which an append is tried again that lost to others time and again."""
FIRST_READ = 256
"""Events of a log's end that are read at first where it is never cut: updates among these are not answered again."""


class Desk:
    """One user's log. What was appended is there after a crash; of every update it tells whether the answer was delivered.

    On a full store it is cut from time to time. With five methods it grows, and its end is read.
    """

    def __init__(self, store: AwaitedStore, key: str) -> None:
        self.key = key
        self.id = f"{key}{DESK}"
        self._store = store
        # With five methods nothing but this keeps an update from going with an erased log.
        self._guard = asyncio.Lock()

    async def receive(self, platform: str, update: Update, at: float) -> bool:
        """Store an update, once; False where it surely was there. Durable when it returns. Raises SessionError: it may not be stored."""
        uid = uid_of(platform, update.id)
        try:
            await self._append(update_event(uid, platform, at, update) | {"k": uid})
        except ConflictError:
            # Stored before, at another time; or else beaten by others, and then it is not to be acknowledged.
            if not any(message.id == uid for message in await self._store.call("get_messages", self.id)):
                raise
            return False
        return True

    async def read(self) -> State:
        """What the log comes to."""
        if self._store.full:
            messages = await self._store.call("get_messages", self.id)
            return _read([message.content for message in messages], whole=True)
        take = FIRST_READ
        while True:
            end = [message["content"] for message in await self._store.call("get_chat_history", self.id, take)]
            try:
                return _read(end, whole=len(end) < take)
            except TooShortError:
                take *= 4

    async def sent(self, state: State, uid: str, messages: list[str]) -> None:
        """Note which messages of an answer the platform has."""
        await self._note(state, {"e": "sent", "of": uid, "messages": messages})

    async def plan(self, state: State, uid: str, plan: Event) -> None:
        """Note what is about to be done, so that it is not done twice."""
        await self._note(state, {"e": "planned", "of": uid, "plan": plan})

    async def switch(self, state: State, uid: str, session_id: str) -> None:
        """Note that another session is in use from now on; nothing where it is the one in use."""
        if (state.current or self.key) != session_id:
            await self._note(state, {"e": "current", "of": uid, "session": session_id})

    async def delivered(self, state: State, waiting: Waiting, *, failed: bool = False, turn: bool = True) -> None:
        """Note that nothing more is to be done for an update. ``turn``: it was a message of the conversation, and no command."""
        event: Event = {"e": "delivered", "of": waiting.uid, "last": waiting.at if turn else None}
        state.apply(event)
        await self._log({**event, **({"failed": True} if failed else {}), "marks": state.marks()})
        state.count += 1

    async def settle(self, state: State) -> None:
        """Cut a log that is long and in which nothing waits, unless there is more in it than ``state`` tells."""
        if state.waiting or (state.count < CUT_AFTER and state.size < CUT_SIZE):
            return
        info = await self._store.call("get_session_info", self.id)
        if info is None or info.message_count != state.count:
            return
        kept = [_message(state.checkpoint() | {"k": new_token()})]
        # Whoever wrote meanwhile made it longer: it is cut another time.
        with suppress(ConflictError):
            await self._store.finish("set_chat_history", self.id, kept, expect_revision=info.revision)
            state.count = 1

    async def erase(self, uid: str) -> None:
        """Erase the log and all that it says, but for updates that wait behind ``uid``."""
        if not self._store.full:
            async with self._guard:
                state = await self.read()
                behind = [_event_of(each) for each in state.waiting.values() if each.uid != uid]
                await self._store.finish("delete_session", self.id)
                for event in behind:
                    await self._add(event)
            return
        while True:
            info = await self._store.call("get_session_info", self.id)
            if info is None:
                return
            state = await self.read()
            left = [_message(_event_of(each)) for each in state.waiting.values() if each.uid != uid]
            try:
                if left:
                    await self._store.finish("set_chat_history", self.id, left, expect_revision=info.revision)
                else:
                    await self._store.finish("delete_session", self.id, expect_revision=info.revision)
                return
            except ConflictError:
                # Somebody wrote meanwhile: what came is to stay.
                continue

    async def _note(self, state: State, event: Event) -> None:
        await self._log(event)
        state.apply(event)
        state.count += 1

    async def _log(self, event: Event) -> None:
        """Append an event of this worker's own, however often others are faster: what it tells of has happened."""
        event = event | {"k": new_token()}
        while True:
            try:
                return await self._append(event)
            except ConflictError:
                await asyncio.sleep(BEATEN)

    async def _append(self, event: Event) -> None:
        if self._store.full:
            await self._store.finish("add_messages", self.id, [_message(event)])
        else:
            async with self._guard:
                await self._add(event)

    async def _add(self, event: Event) -> None:
        await self._store.finish("add_message", self.id, ROLE, json.dumps(event, ensure_ascii=False))


class Desks:
    """The desks of one bot, each by its key, and one object for each as long as it is in use.

    A full store is looked through for them; with five methods their keys are kept in the session ``<bot>.desks``.
    """

    def __init__(self, store: AwaitedStore, bot: str) -> None:
        self._store = store
        self._list = f"{bot}{DESKS}"
        self._desks: WeakValueDictionary[str, Desk] = WeakValueDictionary()
        self._guard = asyncio.Lock()
        self._known: set[str] | None = None

    def of(self, key: str) -> Desk:
        """The desk of a key."""
        desk = self._desks.get(key)
        if desk is None:
            desk = self._desks[key] = Desk(self._store, key)
        return desk

    async def known(self) -> set[str]:
        """The keys of all desks, where a store cannot list them."""
        known = self._known
        if known is None:
            found = {json.loads(message["content"]) for message in await self._store.call("get_chat_history", self._list)}
            if self._known is None:
                # Else somebody read it meanwhile, and may have added to it.
                self._known = found
            known = self._known
        return set(known)

    async def remember(self, key: str) -> None:
        """See to it that the desk is found after a restart, before anything is at it."""
        if self._store.full or (self._known is not None and key in self._known):
            return
        async with self._guard:
            if key not in await self.known():
                await self._store.finish("add_message", self._list, ROLE, json.dumps(key))
                assert self._known is not None
                self._known.add(key)

    async def forget(self, key: str) -> None:
        """Take an erased desk's key from the list. Cut short, the list lacks others' keys: their next message brings them back."""
        if self._store.full:
            return
        async with self._guard:
            left = await self.known() - {key}
            self._known = set()
            await self._store.finish("delete_session", self._list)
            for each in sorted(left):
                await self._store.finish("add_message", self._list, ROLE, json.dumps(each))
                self._known.add(each)


def _read(contents: list[str], *, whole: bool) -> State:
    state = folded([json.loads(content) for content in contents], whole=whole)
    state.size, state.count = sum(map(len, contents)), len(contents)
    return state


def _message(event: Event) -> dict[str, Any]:
    return {"role": ROLE, "content": json.dumps(event, ensure_ascii=False), "id": event["k"]}


def _event_of(waiting: Waiting) -> Event:
    return update_event(waiting.uid, waiting.platform, waiting.at, waiting.update) | {"k": waiting.uid}
