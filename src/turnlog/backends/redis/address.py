"""The address of a store on Redis: what of its URL is turnlog's own, and what is redis-py's."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode

from turnlog.backends.redis.backend import RedisBackend
from turnlog.backends.redis.opening import RedisUrlError, split

OWN_OPTIONS = ("prefix", "wait", "create", "shards", "search")


def open_backend(url: str, *, asynchronous: bool) -> RedisBackend:
    """The backend at ``url``: ``redis://``, ``redis+cluster://``, ``redis+sentinel://``, with ``rediss`` for TLS, or ``unix://``.

    Cluster and Sentinel take several hosts, ``host1:port,host2:port``: one that answers is enough, and it names the servers there are now;
    the path of a Sentinel's URL is ``/service/database``.

    Options in the URL: ``prefix``, ``wait`` (replicas), ``create`` (0 or 1), ``shards``; ``search`` (0 or 1), which changes nothing: there
    is no index of words on Redis, a search reads the 10,000 sessions changed last; ``ssl`` (true or false), ``sentinel_username`` and
    ``sentinel_password``; all others are redis-py's. Raises RedisUrlError.
    """
    parts = split(url)
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
    if own.get("search", "0") not in ("0", "1"):
        raise RedisUrlError(f"search={own['search']!r:.40} in a Redis URL: write 0 or 1; it changes nothing, there is no index of words")
    return RedisBackend(parts._replace(query=urlencode(given)).geturl(), asynchronous=asynchronous, **options)
