"""From session ids to file names: no two ids share a name, also where the file system folds case and normal forms."""

from __future__ import annotations

import hashlib
import re

SUFFIX = ".json"
LONGEST_NAME = 120
"""Characters of a name before its suffix; leaves room for every further suffix within the 255 bytes of common file systems."""

_PLAIN = re.compile(r"[a-z0-9_-]{1,120}\Z")
_DEVICES = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])\Z")
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_-")


def is_plain(session_id: str) -> bool:
    """Whether the id is its own file name."""
    return _PLAIN.match(session_id) is not None and _DEVICES.match(session_id) is None


def file_names(session_id: str) -> tuple[str, ...]:
    """The names under which the session may lie, best first; the last ones only if the file says that it is this session.

    A plain id has its own name and, where another program keeps another session there, a second one. Any other id has
    an escaped or hashed name, and the name that praisonaiagents would give it.
    """
    if is_plain(session_id):
        return session_id + SUFFIX, _escaped(session_id, first=True) + SUFFIX
    return _escaped(session_id, first=_DEVICES.match(session_id) is not None) + SUFFIX, praison_name(session_id) + SUFFIX


def may_begin_with(name: str, prefix: str) -> bool:
    """Whether a file of this name may hold a session whose id begins with ``prefix``; False spares looking into it."""
    stem = name.removesuffix(SUFFIX)
    return "%" in stem or stem.startswith(("~", praison_name(prefix)))


def praison_name(session_id: str) -> str:
    """The name, without suffix, that praisonaiagents gives an id; many ids share one."""
    return "".join([char if char.isalnum() or char in "-_" else "_" for char in session_id])


def _escaped(session_id: str, *, first: bool) -> str:
    """Every byte outside ``[a-z0-9_-]`` (and the first, if asked) as %xx; a hash where that grows too long."""
    data = session_id.encode("utf-8", "surrogatepass")
    name = "".join([chr(byte) if byte in _KEPT and not (first and at == 0) else f"%{byte:02x}" for at, byte in enumerate(data)])
    if "%" in name and len(name) <= LONGEST_NAME:
        return name
    return "~" + hashlib.sha256(data).hexdigest()
