"""Addresses in errors: how much of a URL may be shown, and what in it could make a part of the password pass for something else."""

from __future__ import annotations

import re

_SECRET = re.compile("@|pass|pwd|secret", re.IGNORECASE)
_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]*")
_PLAIN = re.compile("[^:=]*")
"""What was given in place of a URL and names no user: a path, a word."""
_OF_PATHS = ("json", "sqlite", "memory")
"""Schemes that a path follows, never a user."""
_WITHOUT_FRAGMENT = ("mongodb", "postgres")
"""Begin the schemes whose drivers know no fragment, so that a # may stand in a password, and take the first @ for the end of it."""
_PORT = re.compile("[0-9]{0,5}")
_LONGEST = 200

SPELLED = "in user and password write %2F for /, %3F for ?, %23 for # and %40 for @"
"""What to do with a password that is more than letters and digits."""


def shown(url: str) -> str:
    """``url`` as an error may name it: in quotes as it was written, or, where it may hold a password, nothing of it but the scheme.

    Where a URL is malformed nobody can tell what in it is a password, so all of it goes.
    """
    if known := scheme_of(url):
        return f"{url!r:.{_LONGEST}}" if not _SECRET.search(url) else f"this {known}:// URL (it may hold a password, and is not shown)"
    begin, _, path = url.partition(":")
    if _PLAIN.fullmatch(path if begin in _OF_PATHS else url) and not _SECRET.search(url):
        return f"{url!r:.{_LONGEST}}"
    return "this (it may hold a password, and is not shown)"


def scheme_of(url: str) -> str:
    """What stands before ``://``, "" where that is no scheme."""
    scheme, mark, _ = url.partition("://")
    return scheme if mark and _SCHEME.fullmatch(scheme) else ""


def fault(url: str) -> str | None:
    """Why the URL of a server cannot be taken: its hosts are not for certain its hosts. None where they are.

    A raw ``/`` in a password ends the hosts before it, and what is left of the password would be shown as a host and its port.
    """
    login, hosts, behind = _split(url)
    if "@" in login and url.startswith(_WITHOUT_FRAGMENT):
        return f"an @ stands in user or password: {SPELLED}"
    if "@" in behind:
        return f"an @ stands behind its hosts: {SPELLED}, and %40 for an @ that is meant there"
    # Imported here: only a URL needs it, and it would double what importing a store costs.
    from urllib.parse import urlsplit

    try:
        urlsplit(f"//{login}@host")
    except ValueError:
        # Its text holds the password.
        return "user or password holds what a URL cannot: write such characters in percent form, as urllib.parse.quote does"
    if not all(_PORT.fullmatch(host.rpartition("]")[2].partition(":")[2]) for host in hosts.split(",")):
        return f"a port in it is no number of up to five digits; {SPELLED}"
    return None


def hosts_of(url: str) -> str:
    """The hosts of a URL without a fault, with their ports as they are written; "" for none."""
    return _split(url)[1]


def _split(url: str) -> tuple[str, str, str]:
    """User and password, hosts, and what follows these."""
    scheme, _, rest = url.partition("://")
    end = re.search("[/?]" if scheme.startswith(_WITHOUT_FRAGMENT) else "[/?#]", rest)
    place = rest[: end.start()] if end else rest
    login, _, hosts = place.rpartition("@")
    return login, hosts, rest[len(place) :]
