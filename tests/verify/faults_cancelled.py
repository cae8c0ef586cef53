"""Planted faults in async stores: writes of several steps, between which a cancelled call ends. On an engine of countable steps."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.verify.planting import fault
from tests.verify.waiting_store import AsyncWaitingSessionStore


@fault("2.62")
class AppendsOneByOne(AsyncWaitingSessionStore):
    """Adds the messages of a turn one after the other."""

    async def add_messages(self, session_id: str, messages: Any, **options: Any) -> bool:
        for one in messages:
            await super().add_messages(session_id, [one], **options)
        return True


@fault("2.63")
class ReplacesInTwoSteps(AsyncWaitingSessionStore):
    """Clears, and then appends."""

    async def set_chat_history(self, session_id: str, messages: Any, **options: Any) -> bool:
        await self.clear_session(session_id)
        await asyncio.sleep(0)
        return await self.add_messages(session_id, messages)


@fault("2.63")
class EndsTurnsInTheMiddle(AsyncWaitingSessionStore):
    """Drops the open turn before what it produced is stored."""

    async def add_messages(self, session_id: str, messages: Any, *, expect_revision: str | None = None, turn_id: str | None = None) -> bool:
        if turn_id is not None:
            await self.drop_open_turn(session_id, turn_id)
        return await super().add_messages(session_id, messages, expect_revision=expect_revision)


@fault("2.63")
class SetsKeyByKey(AsyncWaitingSessionStore):
    """Sets each key of the metadata by itself."""

    async def update_session_metadata(self, /, session_id: str, **fields: Any) -> bool:
        for name, value in fields.items():
            await super().update_session_metadata(session_id, **{name: value})
        return True


@fault("2.64")
class FinalBeforeItIsGone(AsyncWaitingSessionStore):
    """Stores the answer, and then drops the draft of it."""

    async def upsert_partial_assistant_message(self, session_id: str, content: str, *, finalize: bool = False) -> bool:
        if not finalize:
            return await super().upsert_partial_assistant_message(session_id, content)
        await self.add_message(session_id, "assistant", content)
        return await self.discard_partial_assistant_message(session_id)


@fault("2.65")
class CreatesThenNames(AsyncWaitingSessionStore):
    """Creates a session, and then gives it what was asked for."""

    async def create_session(self, session_id: str | None = None, **given: Any) -> str:
        made = await super().create_session(session_id)
        await asyncio.sleep(0)
        return await super().create_session(made, **given)


@fault("2.65")
class ForksMessageByMessage(AsyncWaitingSessionStore):
    """Makes the fork, and then copies the messages into it."""

    async def fork_session(self, session_id: str, from_message_index: int | None = None, **given: Any) -> str:
        child = await super().fork_session(session_id, 0, **given)
        for one in (await self.get_messages(session_id))[1 : (from_message_index or 0) + 1]:
            await self.add_messages(child, [one])
        return child


@fault("2.66")
class InsistsWhereItIsCancelled(AsyncWaitingSessionStore):
    """Does an edit that was cancelled again, to be sure."""

    async def edit_session_metadata(self, session_id: str, edit: Any) -> Any:
        try:
            return await super().edit_session_metadata(session_id, edit)
        except asyncio.CancelledError:
            await super().edit_session_metadata(session_id, edit)
            raise


@fault("2.66")
class AcknowledgesTheOthers(AsyncWaitingSessionStore):
    """Waits for the edit under way, and takes its answer for that of all edits that came meanwhile."""

    under_way: asyncio.Future[Any] | None = None

    async def edit_session_metadata(self, session_id: str, edit: Any) -> Any:
        if self.under_way is not None:
            return await asyncio.shield(self.under_way)
        self.under_way = asyncio.ensure_future(super().edit_session_metadata(session_id, edit))
        try:
            return await asyncio.shield(self.under_way)
        finally:
            self.under_way = None
