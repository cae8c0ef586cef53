"""Which session files are open, and access to one at a time: finding the file, its lock, and what was last seen of it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock

from turnlog.backends.json_file.files import LOCK, make_directory, remove_temporaries, storage_error
from turnlog.backends.json_file.lock import FileLock, timed_out
from turnlog.backends.json_file.names import SUFFIX, file_names, is_plain, praison_name
from turnlog.backends.json_file.quarantine import bring_back, quarantined
from turnlog.backends.json_file.session_file import SessionFile, TornError
from turnlog.backends.json_file.views import View, WholeFile, is_expired, load_side, load_view
from turnlog.errors import ClosedStoreError, CorruptSessionError, SessionError
from turnlog.messages import Record

OPEN_FILES = 64
"""Sessions kept open; each holds two file descriptors."""
LARGE = 1024 * 1024
"""Bytes from which on another program's file is read anew each time rather than kept in memory."""


class Slot:
    """One session that this process uses: its lock and its file. All but ``mutex`` is read and changed under ``mutex``."""

    __slots__ = ("depth", "gone", "lock", "mutex", "path", "session_id", "used", "view")

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.mutex = threading.RLock()
        self.path = ""
        self.lock: FileLock | None = None
        self.view: View | None = None
        self.depth = 0
        """How many scopes of this thread hold the lock exclusively."""
        self.used = 0
        self.gone = False

    def forget_view(self) -> None:
        """What was seen of the file counts no more; the next use reads it again."""
        view, self.view = self.view, None
        if view is not None:
            view.close()

    def close(self) -> None:
        """Close lock and file."""
        self.forget_view()
        lock, self.lock = self.lock, None
        if lock is not None:
            lock.close()
        self.path = ""

    def abandon(self) -> None:
        """Close lock and file in a forked child, whose parent goes on using them."""
        self.gone = True
        self.depth = 0
        with suppress(OSError):
            self.forget_view()
        lock, self.lock = self.lock, None
        if lock is not None:
            with suppress(OSError):
                lock.abandon()


class OpenSessions:
    """The sessions of a directory that are open in this process."""

    def __init__(self, root: str, lock_timeout: float, *, sync: bool) -> None:
        self.root, self.lock_timeout, self.sync = root, lock_timeout, sync
        self.slots: dict[str, Slot] = {}
        self.closed = False
        self._guard = threading.Lock()
        self._uses = 0
        _everywhere.add(self)

    def append_quickly(self, session_id: str, records: Sequence[Record], now: float) -> SessionFile | None:
        """Append to a file that is open and unchanged; None where more must be looked at first, and nothing was written."""
        slot = self.slots.get(session_id)
        if slot is None:
            return None
        if not slot.mutex.acquire(blocking=False):
            return None
        try:
            view, lock = slot.view, slot.lock
            if slot.depth or lock is None or type(view) is not SessionFile or view.ids is None:
                return None
            for record in records:
                if record.id in view.ids:
                    return None
            if len(records) > 1 and len({record.id for record in records}) < len(records):
                return None
            self._uses = slot.used = self._uses + 1
            try:
                flock(lock.fd, LOCK_EX | LOCK_NB)
                if not view.is_current() or not os.fstat(lock.fd).st_nlink or is_expired(view, now):
                    return None
                view.append(records, now)
                return view
            except (BlockingIOError, FileNotFoundError):
                return None
            except BaseException as error:
                slot.forget_view()
                if isinstance(error, OSError) and not isinstance(error, SessionError):
                    raise storage_error(error, slot.path) from error
                raise
            finally:
                flock(lock.fd, LOCK_UN)
        finally:
            slot.mutex.release()

    def hold_at_once(self, session_id: str) -> Slot | None:
        """``hold`` for a file that is open and unchanged, where nobody has to be waited for; else None, and nothing is held."""
        slot = self.slots.get(session_id)
        if slot is None or not slot.mutex.acquire(blocking=False):
            return None
        if self._lock_at_once(slot):
            slot.depth = 1
            return slot
        slot.mutex.release()
        return None

    @staticmethod
    def _lock_at_once(slot: Slot) -> bool:
        view, lock = slot.view, slot.lock
        if slot.depth or lock is None or type(view) is not SessionFile:
            return False
        try:
            flock(lock.fd, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            return False
        try:
            current = view.is_current() and os.fstat(lock.fd).st_nlink > 0
        except FileNotFoundError:
            current = False
        if not current:
            lock.release()
        return current

    @contextmanager
    def opened(self, session_id: str, *, shared: bool = False, create: bool = False) -> Iterator[Slot | None]:
        """The session under its lock; None where there is none. ``create``: a slot without a view instead, ready to be written."""
        slot = self.hold(session_id, shared=shared, create=create)
        if slot is None:
            yield None
            return
        try:
            yield slot
        except SessionError:
            raise
        except OSError as error:
            slot.forget_view()
            raise storage_error(error, slot.path) from error
        except BaseException:
            slot.forget_view()
            raise
        finally:
            self.release(slot)

    def hold(self, session_id: str, *, shared: bool = False, create: bool = False) -> Slot | None:
        """Take the session's lock for this thread; ``release`` gives it back. None: no such session, and nothing is held."""
        while True:
            slot = self._slot(session_id)
            if not slot.mutex.acquire(timeout=self.lock_timeout):
                raise timed_out(f"session {session_id!r:.80}", self.lock_timeout)
            if slot.gone:
                slot.mutex.release()
                continue
            try:
                found = self._enter(slot, shared=shared, create=create)
            except BaseException as error:
                path = slot.path or self.root
                self._leave(slot)
                if isinstance(error, OSError) and not isinstance(error, SessionError):
                    raise storage_error(error, path) from error
                raise
            if found:
                if not shared or slot.depth:
                    slot.depth += 1
                return slot
            self._leave(slot)
            return None

    def _leave(self, slot: Slot) -> None:
        """End a use that came to nothing; nothing of the slot stays, unless an outer scope uses it."""
        if slot.depth == 0:
            slot.gone = True
            slot.close()
            with self._guard:
                if self.slots.get(slot.session_id) is slot:
                    del self.slots[slot.session_id]
        slot.mutex.release()

    def release(self, slot: Slot) -> None:
        """End what ``hold`` began."""
        if slot.depth:
            slot.depth -= 1
        if slot.depth == 0:
            if slot.lock is not None:
                slot.lock.release()
            if type(slot.view) is WholeFile and slot.view.stamp[1] > LARGE:
                slot.forget_view()
        slot.mutex.release()

    def close(self) -> None:
        """Close everything. Idempotent."""
        self.closed = True
        with self._guard:
            slots = list(self.slots.values())
            self.slots.clear()
        for slot in slots:
            with slot.mutex:
                slot.gone = True
                slot.close()

    # Finding the session ----------------------------------------------------------------------------------------------

    def _slot(self, session_id: str) -> Slot:
        if self.closed:
            raise ClosedStoreError("the store is closed: open a new one")
        self._uses += 1
        slot = self.slots.get(session_id)
        if slot is None:
            with self._guard:
                slot = self.slots.setdefault(session_id, Slot(session_id))
                if len(self.slots) > OPEN_FILES:
                    self._close_oldest(slot)
        slot.used = self._uses
        return slot

    def _close_oldest(self, wanted: Slot) -> None:
        for slot in sorted(self.slots.values(), key=lambda slot: slot.used):
            if len(self.slots) <= OPEN_FILES:
                return
            if slot is not wanted and slot.depth == 0 and slot.mutex.acquire(blocking=False):
                try:
                    if slot.depth == 0:
                        slot.gone = True
                        slot.close()
                        del self.slots[slot.session_id]
                finally:
                    slot.mutex.release()

    def _enter(self, slot: Slot, *, shared: bool, create: bool) -> bool:
        """Lock the session's file and see that the view is of now. False: no such session, and its lock is not held."""
        if slot.depth:
            if slot.view is None and slot.path:
                self._look(slot, exclusive=True)
            return slot.view is not None or create
        while True:
            if not slot.path and not self._find(slot, create=create):
                return False
            try:
                lock = slot.lock = slot.lock or FileLock(slot.path, self.lock_timeout)
                lock.acquire(shared=shared)
            except FileNotFoundError:
                # The directory is gone: begin again from there.
                slot.close()
                continue
            try:
                self._look(slot, exclusive=not shared)
            except TornError:
                lock.release()
                lock.acquire()
                self._look(slot, exclusive=True)
            if slot.view is not None:
                return True
            if create and not os.path.lexists(slot.path):
                return True
            slot.close()

    def _find(self, slot: Slot, *, create: bool) -> bool:
        """Choose the session's path among its names. False: there is no such session and none is to be made."""
        names = file_names(slot.session_id)
        free = ""
        for name in names:
            path = os.path.join(self.root, name)
            try:
                exists = os.path.lexists(path)
            except ValueError:
                continue
            if self._is_of(path, slot.session_id) if exists else self._was_of(path, slot.session_id):
                slot.path = path
                return True
            if not exists and not free and (name == names[0] or is_plain(slot.session_id)):
                free = path
        if create:
            if not free:
                raise CorruptSessionError(
                    f"{os.path.join(self.root, names[0])} holds another session: move the file away",
                    path=os.path.join(self.root, names[0]),
                )
            make_directory(self.root, sync=self.sync)
            slot.path = free
        return create

    @staticmethod
    def _was_of(path: str, session_id: str) -> bool:
        """Whether the missing file held this session until another program set it aside."""
        return os.path.lexists(path + LOCK) and bool(quarantined(path, session_id))

    def _is_of(self, path: str, session_id: str) -> bool:
        """Whether the existing file holds this session; its content is looked at under its lock."""
        try:
            lock = FileLock(path, self.lock_timeout)
        except OSError:
            if os.path.lexists(path):
                raise
            return False
        try:
            lock.acquire()
            try:
                view = load_view(path, sync=self.sync, exclusive=True)
            except FileNotFoundError:
                return False
            if view is None:
                raise CorruptSessionError(f"{path} holds no session: move the file away", path=path)
            view.close()
            found = view.head.session_id
        finally:
            lock.close()
        if found == session_id:
            return True
        if os.path.basename(path) == praison_name(found) + SUFFIX:
            return False
        raise CorruptSessionError(f"{path} holds another session than its name says: move the file away", path=path)

    def _look(self, slot: Slot, *, exclusive: bool) -> None:
        """See that ``slot.view`` is of now; None where the file is gone. Needs the lock. Raises TornError unless ``exclusive``."""
        view = slot.view
        if view is not None:
            try:
                if view.is_current():
                    return
                if type(view) is SessionFile and os.lstat(slot.path).st_ino == view.identity:
                    side = load_side(slot.path, view.head.born, view.edition)
                    if (side.changes if side else 0) == view.changes:
                        view.catch_up()
                        return
            except (FileNotFoundError, TornError):
                pass
            slot.forget_view()
        remove_temporaries(slot.path)
        view, missing = None, False
        try:
            view = load_view(slot.path, sync=self.sync, exclusive=exclusive)
        except FileNotFoundError:
            missing = True
        if view is not None and view.head.session_id != slot.session_id:
            view.close()
            view = None
        elif (missing and slot.lock is not None and slot.lock.was_there) or (type(view) is WholeFile and view.never_ours):
            kept = quarantined(slot.path, slot.session_id)
            if kept and not exclusive:
                if view is not None:
                    view.close()
                raise TornError
            if kept:
                view = bring_back(slot.path, kept, view, sync=self.sync)
        if view is None and not missing:
            slot.path = ""
        slot.view = view


_everywhere: weakref.WeakSet[OpenSessions] = weakref.WeakSet()


def _begin_anew_in_child() -> None:
    # A forked child shares its parent's open files, and with them the parent's locks; it closes them and opens its own.
    for sessions in list(_everywhere):
        slots, sessions.slots = sessions.slots, {}
        sessions._guard = threading.Lock()
        for slot in slots.values():
            slot.abandon()


os.register_at_fork(after_in_child=_begin_anew_in_child)
