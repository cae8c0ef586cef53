"""Where the server is, how a connection to it is opened, and what a store's URL says of the store itself."""

from __future__ import annotations

import os
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from turnlog.backends.addresses import fault, scheme_of
from turnlog.errors import UnsupportedVerbError

OWN_OPTIONS = ("schema", "durability", "pool_size", "timeout", "create", "search")
"""Options of a URL that are turnlog's; all others are libpq's."""

# Every statement has an index. A plan that was made while the tables were small would read them whole, for as long as it is remembered.
SETTINGS = "-c default_transaction_isolation=read\\ committed -c enable_seqscan=off -c jit=off"


class Address(NamedTuple):
    """A server as libpq finds it, and its name without password for errors."""

    conninfo: str
    where: str


def split_url(url: str) -> tuple[str, dict[str, Any]]:
    """The URL without turnlog's own options, and these as arguments of PostgresBackend. Raises UnsupportedVerbError."""
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
        text = "of a PostgreSQL store's URL, pool_size is a number, timeout a number of seconds, create and search are true or false"
        raise UnsupportedVerbError(text, verb="open", reason="no such option") from error
    return (f"{plain}?{urlencode(rest, quote_via=quote)}" if rest else plain) if mark else url, options


def address(url: str, timeout: float) -> Address:
    """How to connect: what ``url`` says, and limits in time where it says nothing. Raises UnsupportedVerbError for what is none."""
    check(url)
    try:
        given = conninfo_to_dict(url)
    except (ProgrammingError, UnicodeError):
        # Their own messages may repeat the URL, and with it the password.
        text = "this is no PostgreSQL address: write postgresql://user:password@host:port/database, and options as libpq names them"
        raise UnsupportedVerbError(text, verb="open", reason="no address") from None
    settings = f"-c statement_timeout={max(1, int(timeout * 1000))} {SETTINGS}"
    ours: dict[str, Any] = {
        "application_name": "turnlog",
        "connect_timeout": max(2, round(timeout)),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": int((timeout + 2) * 1000),
    }
    always = {"client_encoding": "utf8", "options": " ".join(filter(None, [str(given.get("options") or ""), settings]))}
    return Address(make_conninfo(url, **{name: value for name, value in ours.items() if name not in given}, **always), named(given))


def check(url: str) -> None:
    """Refuse a URL in which a part of the password could pass for a host. Raises UnsupportedVerbError."""
    # What is no URL is a list of name=value, in which a password cannot be mistaken.
    if scheme_of(url) and (wrong := fault(url)):
        raise UnsupportedVerbError(f"this PostgreSQL address cannot be taken: {wrong}", verb="open", reason="no address")


def named(given: dict[str, Any]) -> str:
    """Host and port, or several of them, as a person would write them."""
    hosts = str(given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST") or "localhost").split(",")
    ports = str(given.get("port") or os.environ.get("PGPORT") or 5432).split(",")
    return ",".join(f"{host}:{ports[number] if number < len(ports) else ports[-1]}" for number, host in enumerate(hosts))
