"""Where the server is: what a store's URL says of the store itself, and what of the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from turnlog.backends.addresses import fault, hosts_of
from turnlog.errors import UnsupportedVerbError

OWN_OPTIONS = ("prefix", "durability", "pool_size", "timeout", "create", "search")
"""Options of a URL that are turnlog's; all others are the driver's."""


def split_url(url: str) -> tuple[str, dict[str, Any]]:
    """The URL without turnlog's own options, and these as arguments of MongoBackend. Raises UnsupportedVerbError."""
    check(url)
    plain, mark, query = url.partition("?")
    pairs = parse_qsl(query, keep_blank_values=True)
    rest = [(name, value) for name, value in pairs if name not in OWN_OPTIONS]
    options: dict[str, Any] = {name: value for name, value in pairs if name in OWN_OPTIONS}
    try:
        for name, kind in (("pool_size", int), ("timeout", float)):
            if name in options:
                options[name] = kind(options[name])
        for name in ("create", "search"):
            if name in options:
                options[name] = {"true": True, "1": True, "false": False, "0": False}[options[name]]
    except (ValueError, KeyError) as error:
        text = (
            "a MongoDB store's URL takes pool_size=NUMBER, timeout=SECONDS, create=true or false, search=true or false, prefix=NAME, "
            "durability=power or process"
        )
        raise UnsupportedVerbError(text, verb="open", reason="no such option") from error
    return (f"{plain}?{urlencode(rest, quote_via=quote)}" if rest else plain) if mark else url, options


def parts(url: str) -> tuple[str, str, set[str]]:
    """The hosts that a URL names, never user or password; its database, "" for none; its options, in lower case.

    Raises UnsupportedVerbError.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in ("mongodb", "mongodb+srv") or not rest:
        text = "this is no MongoDB address: write mongodb://user:password@host:port/database, and options as PyMongo names them"
        raise UnsupportedVerbError(text, verb="open", reason="no address")
    check(url)
    place, _, query = rest.partition("?")
    database = place.partition("/")[2]
    return hosts_of(url), unquote(database), {name.lower() for name, _ in parse_qsl(query, keep_blank_values=True)}


def check(url: str) -> None:
    """Refuse a URL in which a part of the password could pass for a host. Raises UnsupportedVerbError."""
    if wrong := fault(url):
        raise UnsupportedVerbError(f"this MongoDB address cannot be taken: {wrong}", verb="open", reason="no address")
