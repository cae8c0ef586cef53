"""Planted faults in full stores: edits of the metadata that are lost, done twice or do too much; wrong lines about a session."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.verify.planting import fault
from turnlog.errors import SessionError
from turnlog.session import DefaultSessionStore, InMemorySessionStore, SqliteSessionStore

Metadata = dict[str, Any]
Edit = Callable[[Metadata], Metadata]


@fault("2.45")
class EditsAreMerged(InMemorySessionStore):
    """An edit sets keys and never takes one away."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        return super().edit_session_metadata(session_id, lambda given: {**given, **edit(dict(given))})


@fault("2.45")
class KeepsWhatItGave(InMemorySessionStore):
    """Stores the dict that the edit was given, whatever the edit returns."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        def change(given: Metadata) -> Metadata:
            after = edit(given)
            return given if "lost" in given else after

        return super().edit_session_metadata(session_id, change)


@fault("2.45")
class GivesWhatWas(InMemorySessionStore):
    """Returns the metadata as it was before the edit."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        before = self.get_session(session_id).metadata
        super().edit_session_metadata(session_id, edit)
        return before


@fault("2.45")
class EditsEndOpenTurns(InMemorySessionStore):
    """Takes an edit for a change of history, after which no turn goes on."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        for one in self.get_open_turns(session_id):
            self.drop_open_turn(session_id, one.id)
        return super().edit_session_metadata(session_id, edit)


@fault("2.45")
class EditsOfTheHistory(InMemorySessionStore):
    """Notes an edit as a state of the history that the next undo goes back to."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        count = len(self.get_messages(session_id))
        after = super().edit_session_metadata(session_id, edit)
        if count:
            self.add_message(session_id, "system", "edited")
            self.revert_to_message(session_id, count - 1)
        return after


@fault("2.45")
class EveryEditIsAChange(InMemorySessionStore):
    """Raises the revision for an edit that changed nothing: whoever has read the session has to read it again."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        super().update_session_metadata(session_id, edited=time.time())
        return super().edit_session_metadata(session_id, lambda given: edit({k: v for k, v in given.items() if k != "edited"}))


@fault("2.46")
class ForgetsWhereAnEditForgets(InMemorySessionStore):
    """Takes None, from an edit that changed its argument and did not return it, for no metadata."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        return super().edit_session_metadata(session_id, lambda given: edit(given) or {})


@fault("2.46")
class CreatesBeforeItEdits(InMemorySessionStore):
    """Creates the session, and then asks for the edit."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        self.create_session(session_id)
        return super().edit_session_metadata(session_id, edit)


@fault("2.46")
class KeepsHalfAnEdit(InMemorySessionStore):
    """Stores what the edit had done to its argument when it raised."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        given = self.get_session(session_id).metadata
        try:
            return super().edit_session_metadata(session_id, lambda _: edit(given))
        except Exception as error:
            if not isinstance(error, SessionError) and self.session_exists(session_id):
                super().edit_session_metadata(session_id, lambda _: given)
            raise


@fault("2.46", time_limit=3.0)
class StaysLocked(InMemorySessionStore):
    """An edit that raises leaves the session locked."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        def change(given: Metadata) -> Metadata:
            lock = self.backend._lock  # type: ignore[attr-defined]
            lock.acquire()
            after = edit(given)
            lock.release()
            return after

        return super().edit_session_metadata(session_id, change)


@fault("2.47")
class ReadsThenSets(InMemorySessionStore):
    """Reads the metadata, edits it and sets it: what came in between is gone."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        after = edit(self.get_session(session_id).metadata)
        time.sleep(0)
        return super().edit_session_metadata(session_id, lambda _: after)


@fault("2.47")
class EditsTwiceUnderLoad(SqliteSessionStore):
    """Does an edit again where another was faster, though the first attempt had gone through."""

    busy = 0

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        self.busy += 1
        try:
            after = super().edit_session_metadata(session_id, edit)
            return super().edit_session_metadata(session_id, edit) if self.busy > 1 else after
        finally:
            self.busy -= 1


@fault("2.48")
class CountsWhatWasEverThere(InMemorySessionStore):
    """Tells the number of messages ever added, the reverted ones too."""

    def get_session_info(self, session_id: str) -> Any:
        info = super().get_session_info(session_id)
        if info is None:
            return None
        head = self._core.backend.get_head(session_id)
        try:
            head.send(None)
        except StopIteration as finished:
            return replace(info, message_count=finished.value.past_count + finished.value.length)


@fault("2.48")
class RemembersInfo(DefaultSessionStore):
    """Tells what it knew of a session until it changes the session itself."""

    def __init__(self, session_dir: Path, max_messages: int | None = None, **options: Any) -> None:
        super().__init__(session_dir, max_messages, **options)
        self.known: dict[str, Any] = {}

    def get_session_info(self, session_id: str) -> Any:
        if session_id not in self.known:
            self.known[session_id] = super().get_session_info(session_id)
        return self.known[session_id]


@fault("2.48")
class InventsASession(InMemorySessionStore):
    """Tells of an unknown session that it has no messages."""

    def get_session_info(self, session_id: str) -> Any:
        info = super().get_session_info(session_id)
        if info is not None:
            return info
        self.create_session("made up")
        invented = super().get_session_info("made up")
        self.delete_session("made up")
        return replace(invented, session_id=session_id) if invented is not None else None


@fault("2.48")
class SharesItsMetadata(InMemorySessionStore):
    """Gives the metadata that it goes on using."""

    def __init__(self, max_messages: int | None = None) -> None:
        super().__init__(max_messages)
        self.shared: dict[str, Metadata] = {}

    def get_session_info(self, session_id: str) -> Any:
        info = super().get_session_info(session_id)
        return info and replace(info, metadata=self.shared.setdefault(f"{info.revision} {json.dumps(info.metadata)}", info.metadata))


@fault("2.49")
class AsksTwice(InMemorySessionStore):
    """Asks for the revision, and then for the rest."""

    def get_session_info(self, session_id: str) -> Any:
        revision = self.get_revision(session_id)
        time.sleep(0)
        info = super().get_session_info(session_id)
        return info and replace(info, revision=revision)


@fault("3.10.4")
class CountsMessagesForInfo(InMemorySessionStore):
    """Reads all messages to tell how many there are."""

    def get_session_info(self, session_id: str) -> Any:
        info = super().get_session_info(session_id)
        return info and replace(info, message_count=len(self.get_messages(session_id)))


@fault("3.10.15")
class ReadsAllToEdit(InMemorySessionStore):
    """Notes the number of messages with each edit, and reads them for it."""

    def edit_session_metadata(self, session_id: str, edit: Edit) -> Metadata:
        count = len(self.get_messages(session_id))
        return super().edit_session_metadata(session_id, lambda given: {**edit(given), "count": count})
