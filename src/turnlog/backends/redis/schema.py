"""What lies under which key, and what a DBA runs by hand to make a store or to bring one to the newest format."""

from __future__ import annotations

from turnlog.backends.redis.address import open_backend
from turnlog.backends.redis.keys import Keys
from turnlog.backends.redis.server import VERSION

_LAYOUT = """\
# turnlog on Redis or Valkey, format {version}: {shards} {word} under the prefix {prefix}
#
# These make the store, or bring one of format 1 to this format; stop the programs of older versions first:
{commands}
#
# Everything else comes to be with the first session. The server: maxmemory-policy noeviction; appendonly yes, with appendfsync always
# where what is acknowledged must survive power loss. The user of the store needs these keys, and besides the commands on them
#   ACL SETUSER <name> {access} +@read +@write +@connection +@scripting +wait +info{cluster}
# and for the sweep +scan, for its compact=True also +config|get +bgrewriteaof +bgsave.
#
# Keys. <base> is {bases}; a session lies in the shard of the CRC-32 of its id.
# Ids stand as they are, but for NUL, U+0001, lone surrogates and U+E000, which take two characters each.
#   <base>h:<session>        hash: run, counter, length, offset (length + offset = messages), shed, updated (seconds since the epoch),
#                            body (JSON: the rest of the head); ttl (seconds), agent, user, parent where there are any
#   <base>r:<run>            hash: sequence number -> record (time, message as JSON, metadata as JSON, id: a line each);
#                            "end" -> where the run ended, once it has left its session
#   <base>i:<run>            hash: message id -> sequence number
#   <base>w:<kind>:<run>     hash: key -> order of first storing, line break, row; kind is {kinds}
#   <base>n                  the last order given
#   <base>c:<run>, <base>c   hash: child run -> claim of a fork as JSON; set of the runs that have claims
#   <base>m, <base>m:<session>   hash: run that leaves its session -> mark; set of the marked runs of a session
#   <base>x:t                sorted set of all sessions by time; x:a:<agent>, x:u:<user>, x:p:<parent> those of one
#   <base>x:n                sorted set of all sessions by name
#   <base>x:e                sorted set of the sessions with a ttl by the time they expire
#   <base>z:<token>          half a minute long: the head change of that token was made
#   {{{prefix}}}:mended             for an hour: the sweep has looked at all heads
#   <base>wait               written where replicas are waited for
# The keys h, r, i and w of a session with a ttl expire by themselves, unless a fork needs its run.
"""


def schema_text(url: str) -> str:
    """Commands for redis-cli, with the layout of the keys as comments, for the store that ``url`` names. Connects to nothing.

    Raises RedisUrlError.
    """
    backend = open_backend(url, asynchronous=False)
    prefix, shards = backend.prefix, backend.shards
    keys = Keys(prefix, shards)
    first, last = keys.bases[0], keys.bases[-1]
    commands = f'HSETNX "{_quoted(keys.format)}" shards {shards}\nHSET "{_quoted(keys.format)}" format {VERSION}'
    return _LAYOUT.format(
        version=VERSION,
        shards=shards,
        word="shard" if shards == 1 else "shards",
        prefix=prefix,
        commands=commands,
        # Which server has which key, the driver asks of the servers.
        cluster=" +cluster|slots" if url.partition("://")[0].endswith("+cluster") else "",
        access=f"~{{{prefix}}}:* ~{{{prefix}.*}}:*",
        bases=first if shards == 1 else f"one of {first} to {last}",
        kinds="snapshot, undo, path, draft or turn",
    )


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
