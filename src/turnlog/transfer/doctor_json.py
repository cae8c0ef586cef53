"""The doctor's look at a directory of session files."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from stat import S_IMODE, S_ISDIR, S_ISREG

from turnlog.backends.json_file.files import LOCK, SIDE, TEMPORARY, remove_temporaries
from turnlog.backends.json_file.lock import FileLock
from turnlog.backends.json_file.names import SUFFIX, file_names
from turnlog.backends.json_file.quarantine import MARK
from turnlog.backends.json_file.rewrite import history_numbers
from turnlog.backends.json_file.session_file import SessionFile, TornError
from turnlog.backends.json_file.views import front_at, load_view
from turnlog.errors import CorruptSessionError, FormatVersionError, LockTimeoutError, SessionError, StorageError
from turnlog.heads import Head
from turnlog.messages import decode_body
from turnlog.store.branching import is_parent
from turnlog.store.sync import SessionStore
from turnlog.transfer.findings import OTHERS, Finding

TORN = ".torn-"
PATIENCE = 5.0
"""Seconds to wait for a writer before a file that looks torn is taken to be in use."""

_BY_HAND = "look at it, and move it away if you do not need it"


def look(root: str) -> list[Finding]:
    """All findings, by path. Opens files and takes locks that are there, and writes nothing."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"{root}: {error.strerror}", path=root) from error
    found = list(_loose(root, os.lstat(root).st_mode, 0o700))
    heads: dict[str, Head] = {}
    for name in names:
        path = os.path.join(root, name)
        with suppress(FileNotFoundError):
            mode = os.lstat(path).st_mode
            if name.endswith(LOCK):
                continue
            if name.endswith(SUFFIX) and S_ISREG(mode):
                finding, head = _document(path)
                found += [finding] if finding else []
                heads |= {path: head} if head else {}
            else:
                found += _beside(root, name, mode)
            if S_ISREG(mode) and SUFFIX in name:
                found += _loose(path, mode, 0o600)
    found += _colliding(heads)
    found += _orphans(heads)
    return sorted(found, key=lambda finding: finding.path)


def unreadable(root: str) -> list[tuple[str, str]]:
    """The session files of a directory that a store's listing leaves out, by name, each with the reason."""
    return [
        (os.path.basename(finding.path), finding.text)
        for finding in look(root)
        if finding.path.endswith(SUFFIX) and finding.kind in ("torn", "corrupt", "newer-format", "foreign", "colliding")
    ]


def mend(store: SessionStore, found: list[Finding]) -> None:
    """Do what is safe: rights, temporary files whose writer is gone, and opening what the store mends by itself."""
    for finding in found:
        path = finding.path
        if finding.kind == "permissions" and finding.fix:
            with suppress(OSError):
                os.chmod(path, 0o700 if os.path.isdir(path) else 0o600)
        elif finding.kind == "leftover" and finding.fix:
            _remove_temporary(path.removesuffix(TEMPORARY).removesuffix(SIDE))
        elif (finding.kind == "torn" and path.endswith(SUFFIX)) or (finding.kind == "corrupt" and MARK in path):
            with suppress(SessionError, OSError):
                front = front_at(path)
                if front is not None:
                    store.session_exists(front.head.session_id)


def _remove_temporary(document: str) -> None:
    with suppress(SessionError, OSError):
        lock = FileLock(document, 0.0)
        try:
            lock.acquire()
            remove_temporaries(document)
        finally:
            lock.close()


# One file -------------------------------------------------------------------------------------------------------------


def _document(path: str) -> tuple[Finding | None, Head | None]:
    """What is wrong with a session file, and its head where that can be read."""
    try:
        try:
            return _read(path)
        except (TornError, CorruptSessionError):
            # An append may be under way: what counts is what stands when it is done.
            if not os.path.lexists(path + LOCK):
                raise
            lock = FileLock(path, PATIENCE)
            try:
                lock.acquire(shared=True)
                return _read(path)
            finally:
                lock.close()
    except TornError:
        return _torn(path), _head_at(path)
    except FormatVersionError as error:
        return Finding("newer-format", path, str(error), "use a newer turnlog"), None
    except CorruptSessionError as error:
        return Finding("corrupt", path, str(error), "restore the file from a backup, or mend it by hand"), _head_at(path)
    except (LockTimeoutError, FileNotFoundError):
        return None, None
    except OSError as error:
        return Finding("permissions", path, f"it cannot be opened: {error.strerror or 'no access'}"), None


def _torn(path: str) -> Finding:
    """Whether the store could mend the file, seen by mending a copy."""
    fix = "the store keeps the last whole line and sets the rest aside when it opens the session"
    with tempfile.TemporaryDirectory() as folder, _silence(folder):
        copy = os.path.join(folder, "copy")
        try:
            for suffix in ("", SIDE):
                if os.path.lexists(path + suffix):
                    shutil.copyfile(path + suffix, copy + suffix)
            mended = load_view(copy, sync=False, exclusive=True)
            finding = _read(copy)[0]
            if mended is not None:
                mended.close()
        except SessionError as error:
            finding = Finding("corrupt", path, str(error).replace(copy, path))
    if finding is not None:
        return replace(finding, path=path)
    return Finding("torn", path, "its end was cut short: an append was killed, or the disk was full", fix)


@contextmanager
def _silence(folder: str) -> Iterator[None]:
    """Keep what the store has to say of files in ``folder`` out of the log."""

    def elsewhere(line: logging.LogRecord) -> bool:
        return folder not in line.getMessage()

    log = logging.getLogger("turnlog")
    # A logger's filters see only what it logs itself; all of the store logs here.
    log.addFilter(elsewhere)
    try:
        yield
    finally:
        log.removeFilter(elsewhere)


def _read(path: str) -> tuple[Finding | None, Head | None]:
    view = load_view(path, sync=False, exclusive=False)
    if view is None:
        return Finding("foreign", path, "this is no session file; a store that meets it passes over it", _BY_HAND), None
    try:
        if isinstance(view, SessionFile):
            head = view.current_head()
            numbers = []
            for record in view.all_messages():
                decode_body(record)
                numbers.append(record.seq)
            if numbers != history_numbers(head):
                text = f"it holds {len(numbers)} messages, and not the {head.count} that its first line and its end speak of"
                return Finding("corrupt", path, text, "restore the file from a backup, or mend it by hand"), head
            return None, head
        return None, view.head
    finally:
        view.close()


def _head_at(path: str) -> Head | None:
    with suppress(SessionError, OSError):
        front = front_at(path)
        return front.head if front else None
    return None


def _is_side(root: str, name: str) -> bool:
    """Whether this is the side file of a document that is there."""
    return name.endswith(SUFFIX + SIDE) and os.path.lexists(os.path.join(root, name.removesuffix(SIDE)))


def _beside(root: str, name: str, mode: int) -> Iterator[Finding]:
    """What is no session file."""
    path = os.path.join(root, name)
    if not _is_side(root, name):
        yield _stray(path, name, mode)


def _stray(path: str, name: str, mode: int) -> Finding:
    if S_ISDIR(mode) or not S_ISREG(mode) or (SUFFIX + "." not in name and not name.endswith(TEMPORARY)):
        return Finding("foreign", path, "this is no session file, and no turnlog looks at it", _BY_HAND)
    if TORN in name:
        return Finding("torn", path, "this was cut off a file whose end was torn; the file itself was mended", _BY_HAND)
    if MARK in name:
        ours = _head_at(path)
        text = "another program could not read this and set it aside" + ("" if ours else "; it is no file of turnlog's")
        return Finding("corrupt", path, text, "the store brings its messages back when it opens the session" if ours else None)
    if name.endswith(TEMPORARY) and SUFFIX + "." in name:
        return Finding("leftover", path, "a writer was killed amid a rewrite; the session itself is whole", "it is removed")
    if name.endswith(SUFFIX + SIDE):
        return Finding("leftover", path, "it belongs to a session file that is not there", _BY_HAND)
    return (
        Finding("leftover", path, "another program left this temporary file", _BY_HAND)
        if name.endswith(TEMPORARY)
        else Finding("foreign", path, "nothing that turnlog keeps beside a session file", _BY_HAND)
    )


def _loose(path: str, mode: int, wanted: int) -> Iterator[Finding]:
    if S_IMODE(mode) & OTHERS:
        yield Finding("permissions", path, f"others than its owner have rights on it ({S_IMODE(mode):04o})", f"it gets {wanted:04o}")


# All of them ----------------------------------------------------------------------------------------------------------


def _colliding(heads: dict[str, Head]) -> Iterator[Finding]:
    """Files whose id is another file's, or does not belong to their name."""
    first: dict[str, str] = {}
    for path, head in heads.items():
        name = os.path.basename(path)
        fitting = [each for each in file_names(head.session_id) if os.path.join(os.path.dirname(path), each) in heads]
        if name not in file_names(head.session_id):
            right = file_names(head.session_id)[0]
            text = f"it holds session {head.session_id!r:.80}, which belongs in {right}: the store does not find it here"
            yield Finding("colliding", path, text, "move one away" if fitting else f"rename it to {right}")
        elif head.session_id in first:
            text = f"it holds session {head.session_id!r:.80}, and so does {os.path.basename(first[head.session_id])}"
            yield Finding("colliding", path, text, "move one away")
        else:
            first[head.session_id] = path


def _orphans(heads: dict[str, Head]) -> Iterator[Finding]:
    by_id = {head.session_id: head for head in heads.values()}
    for path, head in heads.items():
        if head.parent is not None:
            above = by_id.get(head.parent.session_id)
            if above is None or not is_parent(above, head):
                text = f"its parent {head.parent.session_id!r:.80} is gone; the session itself is whole"
                yield Finding("orphan", path, text, "nothing need be done")
