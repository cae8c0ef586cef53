"""Verbs that change what is known about a session rather than its messages: title, agent, user, metadata, sharing, runtime state."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

from turnlog.errors import InvalidMessageError, SessionNotFoundError
from turnlog.heads import Head
from turnlog.messages import json_copy
from turnlog.store.changing import Changing
from turnlog.store.conditions import check_ttl
from turnlog.store.core import with_fields
from turnlog.store.drive import verb
from turnlog.store.values import DOCUMENT_FIELDS


class Labels(Changing):
    """Changes a session's fields; a session that is not there comes to be."""

    @verb
    async def set_agent_info(self, session_id: str, agent_name: str | None = None, user_id: str | None = None) -> bool:
        """Note the agent and the user of the session; None leaves what was there."""
        return await self._label(session_id, **{k: v for k, v in (("agent_name", agent_name), ("user_id", user_id)) if v})

    @verb
    async def set_gateway_info(self, session_id: str, gateway_session_id: str | None = None, agent_id: str | None = None) -> bool:
        """Note the gateway's session and agent ids; None leaves what was there."""
        pairs = (("gateway_session_id", gateway_session_id), ("agent_id", agent_id))
        return await self._label(session_id, **{k: v for k, v in pairs if v})

    @verb
    async def update_session_metadata(self, /, session_id: str, **fields: Any) -> bool:
        """Merge ``fields`` into the session's metadata; a value of None is left out. Values must be JSON.

        ``agent_name``, ``user_id`` and ``agent_id`` are also noted as the session's own.
        """
        values = json_copy({name: value for name, value in fields.items() if value is not None}, "metadata")
        owned = {name: value for name, value in values.items() if name in DOCUMENT_FIELDS}

        async def edit(head: Head) -> Head:
            return with_fields(head, **owned, metadata={**(head.fields.get("metadata") or {}), **values})

        await self._change(session_id, edit, create=True)
        return True

    @verb
    async def edit_session_metadata(self, session_id: str, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
        """Set the session's metadata to ``edit(metadata)`` and return it; ``edit`` is called again if somebody was faster.

        ``edit`` may change what it is given; it must give JSON values. The session comes to be if it was not there.
        """
        after: dict[str, Any] = {}

        async def change(head: Head) -> Head:
            nonlocal after
            after = json_copy(edit(json_copy(head.fields.get("metadata") or {}, "metadata")), "metadata")
            if not isinstance(after, dict):
                raise InvalidMessageError(f"edit must return the metadata, a dict, not a {type(after).__name__}", session_id=session_id)
            return with_fields(head, metadata=after)

        await self._change(session_id, change, create=True)
        return after

    @verb
    async def rename_session(self, session_id: str, title: str) -> bool:
        """Give the session a title, under the name that programs use which keep it in the metadata; "" takes it away."""
        return await self._title(session_id, title, everywhere=True)

    @verb
    async def set_title(self, session_id: str, title: str) -> bool:
        """Give the session a title; "" takes it away."""
        return await self._title(session_id, title, everywhere=False)

    @verb
    async def set_session_ttl(self, session_id: str, ttl: float | None) -> bool:
        """Let the session expire ``ttl`` seconds after its last change, this one to begin with; None: never.

        An expired session is treated as if it were not there, and ``sweep`` erases it. Raises SessionNotFoundError, InvalidArgumentError.
        """
        seconds = check_ttl(ttl)

        async def edit(head: Head) -> Head:
            return replace(head, ttl=seconds)

        await self._change(session_id, edit)
        return True

    @verb
    async def share_session(self, session_id: str) -> bool:
        """Mark the session as shared."""
        return await self._label(session_id, is_shared=True)

    @verb
    async def unshare_session(self, session_id: str) -> bool:
        """Remove the mark of ``share_session``."""
        return await self._label(session_id, is_shared=None)

    @verb
    async def set_runtime_state(
        self, session_id: str, runtime_id: str, turn_id: str, state: dict[str, Any], mirror_enabled: bool = True
    ) -> bool:
        """Keep a small state of a runtime for one turn. ``mirror_enabled=False``: nothing is kept."""
        if not mirror_enabled:
            return True
        kept = json_copy({turn_id: state}, "state")

        async def edit(head: Head) -> Head:
            states = head.fields.get("runtime_state") or {}
            return with_fields(head, runtime_state={**states, runtime_id: {**states.get(runtime_id, {}), **kept}})

        await self._change(session_id, edit, create=True)
        return True

    @verb
    async def clear_runtime_state(self, session_id: str, runtime_id: str | None = None) -> bool:
        """Drop the states of one runtime, or of all."""

        async def edit(head: Head) -> Head:
            states = {} if runtime_id is None else dict(head.fields.get("runtime_state") or {})
            states.pop(runtime_id, None)
            return with_fields(head, runtime_state=states or None)

        with suppress(SessionNotFoundError):
            await self._change(session_id, edit)
        return True

    @verb
    async def append_compaction_checkpoint(
        self,
        session_id: str,
        summary: str,
        *,
        role: str = "system",
        tokens_before: int = 0,
        tokens_after: int = 0,
        metadata: dict[str, Any] | None = None,
    ) -> bool:
        """Note a summary of all messages so far; ``get_working_history`` gives it in their place. The messages stay."""
        figures = {"tokens_before": tokens_before, "tokens_after": tokens_after, "timestamp": time.time()}
        checkpoint = json_copy({"summary": summary, "role": role, **figures, "metadata": metadata or {}}, "checkpoint")

        async def edit(head: Head) -> Head:
            return with_fields(head, last_compaction={**checkpoint, "message_index": head.count})

        await self._change(session_id, edit, create=True)
        return True

    async def _title(self, session_id: str, title: str, *, everywhere: bool) -> bool:
        given = json_copy(title, "the title") or None

        async def edit(head: Head) -> Head:
            metadata = dict(head.fields.get("metadata") or {})
            if everywhere or "title" in metadata:
                metadata.pop("title", None)
                metadata |= {"title": given} if given else {}
            return with_fields(head, title=given, metadata=metadata or None)

        await self._change(session_id, edit, create=True)
        return True

    async def _label(self, session_id: str, **fields: Any) -> bool:
        values = json_copy(fields, "the value")

        async def edit(head: Head) -> Head:
            return with_fields(head, **values)

        await self._change(session_id, edit, create=True)
        return True
