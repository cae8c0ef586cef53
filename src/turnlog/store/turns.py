"""Open turns: what an unfinished turn has produced so far, kept beside the history until the turn lands, or somebody drops it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from turnlog.backends.port import RowKind
from turnlog.errors import ConflictError, InvalidMessageError
from turnlog.heads import Head, Stretch, run_of
from turnlog.messages import Record, SessionMessage, check_session_id, encode_json
from turnlog.store.core import ATTEMPTS, with_fields
from turnlog.store.drive import verb
from turnlog.store.values import OpenTurn
from turnlog.store.writing import Message, Writing, encode_messages

TURN: RowKind = "turn"
CHECKED = "\n"
"""Ends the key of a row that tells up to which message it is known that a turn has not landed; no turn's id ends so."""
TAKEN = "taken_turns"
"""The field of a head that tells when its open turns were last taken over."""
CHECK_EVERY = 64
"""Messages that are looked through again and again before that is noted."""


class Turns(Writing):
    """Keeps turns that are under way.

    An open turn survives ``kill -9`` and is nobody's history: no read but ``get_open_turns`` shows it. Nothing of it is acknowledged,
    so JSON files do not sync it to the disk. It ends with the append that names it (``add_messages(turn_id=…)``), with
    ``drop_open_turn``, and with clear and delete.
    """

    @verb
    async def put_open_turn(
        self,
        session_id: str,
        turn_id: str,
        messages: Sequence[Message] = (),
        *,
        info: dict[str, Any] | None = None,
        expect_updated_at: float | None = None,
    ) -> bool:
        """Keep what a turn has produced so far, in place of what was kept of it; the session comes to be if it was not there.

        ``messages`` have the ids under which the turn will land. ``info`` is for the caller: who runs it, what went wrong. The cost does
        not depend on the length of the session. With ``expect_updated_at`` the turn is taken over as it was seen then: ConflictError if
        somebody has put, dropped or landed it since. Raises like ``add_messages``.
        """
        check_turn_id(turn_id)
        records = encode_messages(messages)
        note = json.loads(encode_json(info or {}, "info"))
        for _ in range(ATTEMPTS):
            async with self._together(session_id):
                head = await self._head(session_id)
                if head is None:
                    if expect_updated_at is not None:
                        raise _gone(session_id, turn_id)
                    _, head = await self._change(session_id, _same, create=True)
                # What a crash amid landing left behind is cleared away by the next turn, and cannot be taken over.
                rows = await self._tidy_turns(head, but=turn_id if expect_updated_at is None else "")
                if expect_updated_at is not None and rows.get(turn_id, {}).get("updated_at") != expect_updated_at:
                    raise _gone(session_id, turn_id)
                now = time.time()
                first = rows.get(turn_id) or {"since": head.length, "started_at": now}
                # Who takes it over is told by this time, which must differ although a clock stands still.
                now = max(now, math.nextafter(first.get("updated_at", 0.0), math.inf))
                if expect_updated_at is not None and not await self._claim_turn(head, turn_id, now, rows):
                    continue
                kept = [[record.id, record.time, record.body, record.meta] for record in records]
                body = {"since": first["since"], "started_at": first["started_at"], "updated_at": now, "info": note, "messages": kept}
                if await self.backend.put_row(session_id, head.run, TURN, turn_id, json.dumps(body)):
                    return True
        raise ConflictError(f"session {session_id!r} changes too fast: {ATTEMPTS} attempts lost, try again", session_id=session_id)

    @verb
    async def get_open_turns(self, session_id: str) -> list[OpenTurn]:
        """The turns that have not landed, in the order in which they began. An unknown session has none."""
        head = await self._head(session_id)
        if head is None:
            return []
        rows, _ = await self._turn_rows(head)
        return [_open_turn(session_id, key, row) for key, row in rows.items()]

    @verb
    async def drop_open_turn(self, session_id: str, turn_id: str) -> bool:
        """Forget what was kept of a turn. True also when there was nothing."""
        await self._drop_turn(session_id, check_turn_id(turn_id))
        return True

    @verb
    async def add_messages(
        self, session_id: str, messages: Sequence[Message], *, expect_revision: str | None = None, turn_id: str | None = None
    ) -> bool:
        """Store a whole turn: all messages, in a row, or none.

        A message is a dict (``id``, ``metadata`` and ``timestamp`` are its envelope, every other key is kept as the message) or a
        SessionMessage. With ``expect_revision`` the turn is stored only if the session is still in that state; "" means that it must not
        exist yet. Ids that are all known with the same content are success, whatever the revision. ``turn_id`` names the open turn that
        lands with it. Raises like ``add_message``, and ConflictError for the loser.
        """
        if turn_id is None:
            await self._append_turn(session_id, messages, expect_revision)
            return True
        check_turn_id(turn_id)
        async with self._together(session_id):
            revision = await self._append_turn(session_id, messages, expect_revision)
            if revision:
                # The run that it landed in: its head need not be read again.
                await self.backend.drop_rows(session_id, run_of(revision), TURN, [turn_id, turn_id + CHECKED])
            else:
                await self._drop_turn(session_id, turn_id)
        return True

    async def _claim_turn(self, head: Head, turn_id: str, now: float, rows: Mapping[str, Any]) -> bool:
        """Note in the head that the turn is taken over, so that compare-and-set lets only one do it; False where the head has changed.

        Not where each session stands alone: such a backend lets nobody else change the session meanwhile.
        """
        if self.backend.copies:
            return True
        taken = {key: when for key, when in (head.fields.get(TAKEN) or {}).items() if key in rows}
        after = with_fields(head, **{TAKEN: {**taken, turn_id: now}})
        return await self.backend.put_head(replace(after, counter=head.counter + 1, updated_at=time.time()), expect=head.revision)

    async def _drop_turn(self, session_id: str, turn_id: str) -> None:
        head = await self._head(session_id)
        if head is not None:
            await self.backend.drop_rows(session_id, head.run, TURN, [turn_id, turn_id + CHECKED])

    async def _tidy_turns(self, head: Head, but: str) -> dict[str, dict[str, Any]]:
        """Drop what is left of turns that have landed, and note of the others, which it gives, how far that is known. Not of ``but``."""
        rows, left = await self._turn_rows(head, but)
        if left:
            await self.backend.drop_rows(head.session_id, head.run, TURN, left)
        for key, row in rows.items():
            if key != but and row["messages"] and head.length - row["checked"] >= CHECK_EVERY:
                await self.backend.put_row(head.session_id, head.run, TURN, key + CHECKED, str(head.length))
        return rows

    async def _turn_rows(self, head: Head, but: str = "") -> tuple[dict[str, dict[str, Any]], list[str]]:
        """The rows of open turns, in the order in which they began, and the keys of what is left of others. ``but`` counts as open."""
        stored = await self.backend.get_rows(head.session_id, head.run, TURN)
        rows: dict[str, dict[str, Any]] = {}
        left = [key for key in stored if key.endswith(CHECKED) and key.removesuffix(CHECKED) not in stored]
        for key, body in stored.items():
            if key.endswith(CHECKED):
                continue
            row = json.loads(body)
            row["checked"] = max(row["since"], int(stored.get(key + CHECKED, 0)))
            # Later than the row's own where who took it over has ended before it wrote the row.
            row["updated_at"] = max(row["updated_at"], (head.fields.get(TAKEN) or {}).get(key, 0.0))
            if key != but and await self._landed(head, row):
                left += [key, key + CHECKED]
            else:
                rows[key] = row
        return rows, left

    async def _landed(self, head: Head, row: dict[str, Any]) -> bool:
        """Whether the turn of a row is in the history: a crash between the append and the drop leaves the row behind."""
        ids = {message[0] for message in row["messages"]}
        if not ids or row["checked"] >= head.length:
            return False
        later: list[Record] = await self.backend.read(head.session_id, [Stretch(head.run, row["checked"], head.length)])
        return any(record.id in ids for record in later)


def check_turn_id(turn_id: object) -> str:
    """``turn_id`` if it can name a turn, else InvalidMessageError."""
    if not isinstance(turn_id, str) or not 0 < len(turn_id) <= 256 or not turn_id.isprintable():
        raise InvalidMessageError(f"a turn id must be a printable, non-empty str of at most 256 characters, not {turn_id!r:.80}")
    return turn_id


def _gone(session_id: str, turn_id: str) -> ConflictError:
    text = f"turn {turn_id!r} of session {session_id!r} was taken over, dropped or landed meanwhile: look again"
    return ConflictError(text, session_id=session_id)


async def _same(head: Head) -> Head:
    return head


def _open_turn(session_id: str, turn_id: str, row: dict[str, Any]) -> OpenTurn:
    return OpenTurn(
        id=turn_id,
        session_id=check_session_id(session_id),
        messages=[SessionMessage.from_record(Record(-1, *message)) for message in row["messages"]],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        info=row["info"],
    )
