"""The directory of session files: which are there, newest first, what their heads say, and what killed writers left beside them."""

from __future__ import annotations

import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from turnlog.backends.cursors import decode_cursor, encode_cursor
from turnlog.backends.json_file.files import SIDE, TEMPORARY, TURNS, remove_beside, remove_temporaries, storage_error
from turnlog.backends.json_file.lock import FileLock
from turnlog.backends.json_file.names import SUFFIX, may_begin_with
from turnlog.backends.json_file.quarantine import MARK, bring_back, quarantined
from turnlog.backends.json_file.session_file import TornError
from turnlog.backends.json_file.views import Stamp, copied, file_stamp, front_at, head_of, load_view
from turnlog.backends.port import Page, Query
from turnlog.errors import LockTimeoutError, SessionError
from turnlog.heads import Head

KNOWN_HEADS = 4096
"""Heads that are remembered, each as long as its file does not change."""
SETTLED = 0.1
"""Seconds after which a further change of a file surely shows in its stamp; a clock tick of the file system is shorter."""

log = logging.getLogger("turnlog")


class Directory:
    """The sessions of the directory ``root``."""

    def __init__(self, root: str, lock_timeout: float, *, sync: bool) -> None:
        self.root, self.lock_timeout, self.sync = root, lock_timeout, sync
        self._heads: dict[str, tuple[Stamp, Head | None]] = {}
        self._hopeless: set[str] = set()
        """Files that another program set aside and that hold no session of ours."""

    def page(self, query: Query, cursor: str | None, limit: int) -> Page:
        """See Backend.list_heads. ``updated_at`` is the file's time. What cannot be read is named in a log line and left out."""
        below = decode_cursor(cursor) if cursor is not None else None
        heads: list[Head] = []
        for path, found in self.newest_first():
            moment = found.st_mtime_ns / 1e9
            if len(heads) > limit and moment != heads[limit - 1].updated_at:
                break
            if query.since is not None and moment < query.since:
                break
            if (query.until is not None and moment >= query.until) or (below is not None and moment > below[0]):
                continue
            if query.prefix and not may_begin_with(os.path.basename(path), query.prefix):
                continue
            head = self._listed(path, found)
            if head is None or not (below is None or (moment, head.session_id) < below):
                continue
            # The head may be of a later moment than the time: then the session has changed since, and is not as old as it looked.
            if matches(head, query) and (query.until is None or head.updated_at < query.until):
                heads.append(replace(head, updated_at=moment))
        heads.sort(key=lambda head: (head.updated_at, head.session_id), reverse=True)
        more = len(heads) > limit
        heads = [replace(head, fields=copied(head.fields)) for head in heads[:limit]]
        return Page(heads, encode_cursor(heads[-1].updated_at, heads[-1].session_id) if more and heads else None)

    def newest_first(self) -> Iterator[tuple[str, os.stat_result]]:
        """The files that may hold a session, last changed first. Puts right on the way what killed writers left."""
        found, names = self._scanned()
        if self._tidy(names):
            found, _ = self._scanned()
        found.sort(key=lambda pair: pair[1].st_mtime_ns, reverse=True)
        yield from found

    def _scanned(self) -> tuple[list[tuple[str, os.stat_result]], list[str]]:
        """The documents, and the names of all that lies beside documents, but for locks."""
        found, beside = [], []
        try:
            with os.scandir(self.root) as entries:
                for entry in entries:
                    name = entry.name
                    if name.endswith(SUFFIX):
                        with suppress(FileNotFoundError):
                            one = entry.stat(follow_symlinks=False)
                            if stat.S_ISREG(one.st_mode):
                                found.append((entry.path, one))
                    elif SUFFIX + "." in name and not name.endswith(SUFFIX + ".lock"):
                        beside.append(name)
        except FileNotFoundError:
            return [], []
        except OSError as error:
            raise storage_error(error, self.root) from error
        return found, beside

    # What was left ----------------------------------------------------------------------------------------------------

    def _tidy(self, names: list[str]) -> bool:
        """Remove temporary files whose writer is gone, and what lies beside no document; bring back what another program set aside."""
        came_back = False
        documents = {os.path.join(self.root, name[: name.index(SUFFIX + ".") + len(SUFFIX)]) for name in names}
        left = [os.path.join(self.root, name).removesuffix(TEMPORARY) for name in names if name.endswith(TEMPORARY)]
        temporary = {path.removesuffix(SIDE).removesuffix(TURNS) for path in left}
        for path in documents:
            if path in temporary or not os.path.lexists(path):
                came_back |= self._put_right(path, [os.path.join(self.root, name) for name in names if MARK in name])
        return came_back

    def _put_right(self, path: str, marked: list[str]) -> bool:
        kept = [each for each in marked if each.startswith(path + MARK) and each not in self._hopeless]
        if not kept and not os.path.lexists(path) and any(each.startswith(path + MARK) for each in marked):
            return False
        try:
            lock = FileLock(path, 0.0)
        except OSError as error:
            log.warning("not put right: %s", storage_error(error, path))
            return False
        try:
            lock.acquire()
            remove_temporaries(path)
            if os.path.lexists(path):
                return False
            if not kept:
                remove_beside(path)
                return False
            return self._brought_back(path, kept)
        except LockTimeoutError:
            log.debug("%s is in use", path)
            return False
        finally:
            lock.close()

    def _brought_back(self, path: str, kept: list[str]) -> bool:
        try:
            fronts = [front for front in (front_at(each) for each in kept) if front is not None]
            if fronts and (ours := quarantined(path, fronts[-1].head.session_id)):
                bring_back(path, ours, None, sync=self.sync).close()
                return True
        except (SessionError, OSError) as error:
            log.warning("%s stays set aside: %s", path, error if isinstance(error, SessionError) else storage_error(error, path))
        self._hopeless.update(kept)
        return False

    # Heads ------------------------------------------------------------------------------------------------------------

    def _listed(self, path: str, found: os.stat_result) -> Head | None:
        """The head of a file, remembered as long as the file does not change; None where there is no session to read."""
        stamp = file_stamp(found)
        known = self._heads.get(path)
        if known is not None and known[0] == stamp:
            return known[1]
        now = time.time()
        head, certain = self._load_head(path)
        if certain and not 0 <= now - found.st_ctime < SETTLED:
            self._heads[path] = (stamp, head)
            while len(self._heads) > KNOWN_HEADS:
                with suppress(KeyError, StopIteration, RuntimeError):
                    del self._heads[next(iter(self._heads))]
        return head

    def _load_head(self, path: str) -> tuple[Head | None, bool]:
        """The head, and whether asking again would give the same."""
        try:
            try:
                view = load_view(path, sync=self.sync, exclusive=False)
            except (TornError, SessionError):
                # An append may be under way: look again when it is done.
                lock = FileLock(path, self.lock_timeout)
                try:
                    lock.acquire()
                    view = load_view(path, sync=self.sync, exclusive=True)
                finally:
                    lock.close()
            if view is None:
                return None, True
            try:
                return head_of(view), True
            finally:
                view.close()
        except FileNotFoundError:
            return None, False
        except LockTimeoutError:
            raise
        except SessionError as error:
            log.warning("left out of the listing: %s", error)
            return None, True
        except OSError as error:
            log.warning("left out of the listing: %s", storage_error(error, path))
            return None, False


def matches(head: Head, query: Query) -> bool:
    """Whether a head is one that the query asks for; ``since`` and ``until`` are looked at elsewhere."""
    return (
        head.session_id.startswith(query.prefix)
        and (query.agent_name is None or head.fields.get("agent_name") == query.agent_name)
        and (query.user_id is None or head.fields.get("user_id") == query.user_id)
        and (query.parent_id is None or (head.parent is not None and head.parent.session_id == query.parent_id))
        and (query.expired_at is None or head.is_expired(query.expired_at))
    )
