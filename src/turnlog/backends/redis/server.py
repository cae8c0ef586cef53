"""Talking to the server: exchanges that are repeated when a connection breaks, scripts, replicas to wait for, errors in turnlog's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnlog.backends.redis.keys import format_key
from turnlog.backends.redis.lines import Command, Line
from turnlog.backends.redis.lua import Script
from turnlog.backends.redis.opening import driver
from turnlog.backends.redis.scripts import FORMAT
from turnlog.errors import BackendUnavailableError, ClosedStoreError, CorruptSessionError, FormatVersionError, SessionError, StorageError

VERSION = 2
"""The number of the format of keys and values. In format 1 heads had neither ttl nor, as a field of its own, what was shed."""
ATTEMPTS = 2
"""How often an exchange is tried in all. Each is safe to repeat: ids and tokens tell a repeat from a change of its own."""


class Server:
    """The server behind ``line``. ``wait``: replicas that must have a write before it is acknowledged, within ``patience`` seconds."""

    def __init__(self, line: Line, *, wait: int, patience: float) -> None:
        self.line = line
        self.wait = wait
        self._patience = patience
        self._closed = False
        self._errors = driver("redis.exceptions")

    async def open(self, prefix: str, shards: int, *, create: bool) -> int:
        """The number of shards of the store under ``prefix``, which comes to be, or to the newest format, unless ``create`` is false.

        Safe to race. Heads of format 1 stay as they are, until a change or a fork completes them. Raises FormatVersionError for a newer
        format, and for an older one that may not be changed; StorageError where nothing may be created.
        """
        found, stored = await self.run(FORMAT, format_key(prefix), VERSION, shards if create else "", write=create)
        way = "run what `turnlog schema URL` prints, or open it with create=True"
        if found is None:
            text = f"there is no turnlog store with the prefix {prefix!r} on {self.line.host}: {way}"
            raise StorageError(text, prefix=prefix)
        try:
            version, count = int(found), int(stored)
        except (TypeError, ValueError) as error:
            text = f"the keys with the prefix {prefix!r} were not written by turnlog: choose another prefix"
            raise CorruptSessionError(text, path=format_key(prefix)) from error
        if version > VERSION:
            text = f"the store {prefix!r} has format {version}, this turnlog knows formats up to {VERSION}: use a newer turnlog"
            raise FormatVersionError(text, found=version, supported=VERSION)
        if version < VERSION:
            text = f"the store {prefix!r} has format {version}, and this turnlog writes format {VERSION}: {way}"
            raise FormatVersionError(text, found=version, supported=VERSION)
        return count

    async def run(self, script: Script, key: str, *values: str | bytes | int | float, write: bool = True) -> Any:
        """What a script on the shard of ``key`` gives. The server is told its text only where it does not know it."""
        # A second key tells a script that it runs on a Cluster.
        keys = (2, key, key) if self.line.spread else (1, key)
        try:
            return (await self._exchange(key, [("EVALSHA", script.digest, *keys, *values)], write))[0]
        except self._errors.NoScriptError:
            return (await self.ask(key, ("EVAL", script.text, *keys, *values), write=write))[0]
        except self._errors.ResponseError as error:
            raise self._named(error) from error

    async def ask(self, key: str, *commands: Command, write: bool = False) -> list[Any]:
        """The replies to commands on keys of one shard, in one round trip."""
        try:
            return await self._exchange(key, commands, write)
        except self._errors.ResponseError as error:
            raise self._named(error) from error

    async def close(self) -> None:
        """Close the connections."""
        self._closed = True
        await self.line.close()

    async def _exchange(self, key: str, commands: Sequence[Command], write: bool) -> list[Any]:
        """Send commands and read their replies; on a fresh connection again when the first broke or led to the wrong server."""
        if self._closed:
            raise ClosedStoreError("the store is closed: open a new one")
        sent = commands
        if write and self.wait:
            # WAIT asks for what this connection has written; so something is written even when the commands found all done.
            hint = f"{key.partition('}')[0]}}}:wait"
            sent = [*commands, ("SET", hint, ""), ("WAIT", self.wait, int(self._patience * 1000))]
        error: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                if attempt:
                    await self.line.refresh()
                replies = await self._once(key, sent)
            except (self._errors.ConnectionError, self._errors.TimeoutError, self._errors.RedisClusterException, OSError) as failure:
                if isinstance(failure, SessionError | self._errors.AuthenticationError):
                    raise self._named(failure) from failure
                error = failure
                continue
            wrong = next((reply for reply in replies if isinstance(reply, self._errors.ResponseError)), None)
            if not self._elsewhere(wrong):
                if wrong is not None:
                    raise wrong
                self._check_waited(replies, sent is not commands)
                return replies[: len(commands)]
            error = wrong
        assert error is not None
        raise self._named(error) from error

    async def _once(self, key: str, commands: Sequence[Command]) -> list[Any]:
        line = self.line
        taken = await line.take(key)
        try:
            await line.send(taken, commands)
            replies: list[Any] = []
            for _ in commands:
                try:
                    replies.append(await line.receive(taken))
                except self._errors.ResponseError as error:
                    replies.append(error)
            if self._elsewhere(next((reply for reply in replies if isinstance(reply, Exception)), None)):
                # A connection to a server that is no longer the primary.
                await line.drop(taken)
                return replies
        except BaseException:
            # Cancelled or broken: a reply may still come, and must not be taken for the next command's.
            await line.drop(taken)
            raise
        await line.give(taken)
        return replies

    def _elsewhere(self, error: object) -> bool:
        """Whether the server refused because another one has the key now, so that nothing was written."""
        errors = self._errors
        if isinstance(error, errors.AskError | errors.ClusterDownError | errors.TryAgainError | errors.ReadOnlyError):
            return True
        return isinstance(error, errors.ResponseError) and "non local key" in str(error)

    def _check_waited(self, replies: Sequence[Any], waited: bool) -> None:
        if waited and replies[-1] < self.wait:
            text = f"{replies[-1]} of {self.wait} replicas of {self.line.host} have the write: it is stored on the primary, send it again"
            raise BackendUnavailableError(text, host=self.line.host, wanted=self.wait, acknowledged=replies[-1])

    def _named(self, error: Exception) -> SessionError:
        """The error of ours for one of redis-py or of the server. No text of the server's is shown that could hold a value."""
        errors, host = self._errors, self.line.host
        if isinstance(error, SessionError):
            return error
        if isinstance(error, errors.AuthenticationError):
            return StorageError(f"{host} refuses the name or the password: check the URL", host=host)
        if isinstance(error, errors.ResponseError) and not self._elsewhere(error):
            # redis-py takes the code off the texts of the errors that it has classes for.
            kinds = {errors.OutOfMemoryError: "OOM", errors.NoPermissionError: "NOPERM"}
            code = kinds.get(type(error)) or str(error).partition(" ")[0].rstrip(":")
            if code == "NOREPLICAS":
                text = f"too few replicas of {host} are connected, see min-replicas-to-write: send it again when they are back"
                return BackendUnavailableError(text, host=host, code=code)
            fix = {
                "OOM": "its memory is full: raise maxmemory, with maxmemory-policy noeviction",
                "MISCONF": "it cannot write to its disk: make room there",
                "NOPERM": "this user may not run the command: grant it the commands and keys of the store",
                "WRONGTYPE": "a key of the store holds something else: choose another prefix",
                "NOAUTH": "it wants a password: put it in the URL",
                "BUSY": "a script keeps it busy: try again",
            }.get(code, "see its log")
            return StorageError(f"{host} refused a command ({code}): {fix}", host=host, code=code)
        if isinstance(error, errors.TimeoutError):
            return BackendUnavailableError(f"{host} did not answer in time: what was sent may or may not be stored", host=host)
        if isinstance(error, errors.MaxConnectionsError) or "No connection available" in str(error):
            return BackendUnavailableError(f"all connections to {host} are in use: raise max_connections", host=host)
        return BackendUnavailableError(f"{host} cannot be reached, or broke off: see that the server runs", host=host)
