"""Bearer tokens: whose they are, and the key under which a session of theirs is kept, so that no token reaches another's."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path

from turnlog.errors import InvalidSessionIdError, SessionError
from turnlog.messages import MAX_SESSION_ID_LENGTH, check_session_id

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
PREFIX = "served."
"""What the ids of all tokens' sessions begin with."""
TOKEN = re.compile(r"[!-~]{8,1024}")


class TokenFileError(SessionError, ValueError):
    """The file of tokens cannot be used. Attributes: ``path``, ``line`` (from 1; None where it is the whole file)."""


class Tokens:
    """Who may ask. ``pairs``: (name, token); a name may have several tokens, a token has one name.

    A name is 1 to 64 of ``A-Za-z0-9_-``; a token 8 to 1,024 visible ASCII characters. Only hashes of the tokens are kept.
    Raises ValueError, which never tells a token.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._owners: dict[bytes, str] = {}
        for name, token in pairs:
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r:.80} is no name for a token: take 1 to 64 of A-Z, a-z, 0-9, _ and -")
            if not TOKEN.fullmatch(token):
                raise ValueError(f"the token of {name} must be 8 to 1,024 visible ASCII characters without spaces")
            if self._owners.setdefault(_digest(token), name) != name:
                raise ValueError(f"the token of {name} is also {self._owners[_digest(token)]}'s: give each its own")
        if not self._owners:
            raise ValueError("there is no token: write one a line, as name: token")

    @classmethod
    def read(cls, path: str | Path) -> Tokens:
        """The tokens of a file: ``name: token`` a line; empty lines and those that begin with # say nothing. Raises TokenFileError."""
        pairs: list[tuple[str, str]] = []
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise TokenFileError(f"{path} cannot be read ({type(error).__name__}): name a text file", path=path, line=None) from error
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            name, colon, token = line.partition(":")
            if not colon:
                raise TokenFileError(f"{path}, line {number}: write name: token", path=path, line=number)
            pairs.append((name.strip(), token.strip()))
        try:
            return cls(pairs)
        except ValueError as error:
            raise TokenFileError(f"{path}: {error}", path=path, line=None) from error

    def owner(self, token: str) -> str | None:
        """The name that a token belongs to; None for no token of ours. Takes as long for any token."""
        given = _digest(token)
        found = None
        for digest, name in self._owners.items():
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def __repr__(self) -> str:
        return f"Tokens({', '.join(sorted(set(self._owners.values())))})"


def session_key(owner: str | None, session_id: str) -> str:
    """The id in the store of a token's session: ``served.<owner>.<session_id>``, or without tokens the id itself.

    No name has a dot, so what is between the first two dots is the owner, whatever the id is. The first word keeps what other programs
    have in the store apart: their ``ann.lee`` is no session of the token ``ann``. Raises InvalidSessionIdError.
    """
    check_session_id(session_id)
    if owner is None:
        return session_id
    before = f"{PREFIX}{owner}."
    longest = MAX_SESSION_ID_LENGTH - len(before)
    if len(session_id) > longest:
        raise InvalidSessionIdError(f"session_id has {len(session_id)} characters, the limit is {longest} here: pass a shorter one")
    return before + session_id


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
