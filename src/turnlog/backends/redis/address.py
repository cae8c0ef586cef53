"""The address of a store on Redis: what of its URL is turnlog's own, and what is redis-py's."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from turnlog.backends.redis.backend import RedisBackend
from turnlog.backends.redis.opening import RedisUrlError

OWN_OPTIONS = ("prefix", "wait", "create", "shards", "search")


def open_backend(url: str, *, asynchronous: bool) -> RedisBackend:
    """The backend at ``url``: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://``, ``redis+sentinel://``.

    The last two take several hosts, ``host1:port,host2:port``: one that answers is enough, and it names the servers there are now.
    Options in the URL: ``prefix``, ``wait`` (replicas), ``create`` (0 or 1), ``shards``, ``search`` (0); all others are redis-py's.
    Raises RedisUrlError.
    """
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: given.pop(name) for name in OWN_OPTIONS if name in given}
    options: dict[str, Any] = {}
    try:
        if "prefix" in own:
            options["prefix"] = own["prefix"]
        if "create" in own:
            options["create"] = {"0": False, "1": True}[own["create"]]
        options |= {name: int(own[name]) for name in ("wait", "shards") if name in own}
    except (ValueError, KeyError) as error:
        raise RedisUrlError("wait and shards take a whole number, create takes 0 or 1") from error
    if own.get("search", "0") != "0":
        raise RedisUrlError("on Redis there is no index of words, search reads the messages: leave search out of the URL")
    return RedisBackend(urlunsplit(parts._replace(query=urlencode(given))), asynchronous=asynchronous, **options)
