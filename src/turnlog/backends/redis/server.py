"""Talking to the server: exchanges that are repeated when a connection breaks, scripts, replicas to wait for, errors in turnlog's terms."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Sequence
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
        self._heard = False
        self._errors = driver("redis.exceptions")
        errors = self._errors
        self._broken = (errors.ConnectionError, errors.TimeoutError, errors.RedisClusterException, errors.InvalidResponse, OSError)

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
        # What the caller is about to handle is no cause of ours.
        outside = sys.exception()
        error: Exception | None = None
        for attempt in range(ATTEMPTS):
            try:
                if attempt:
                    await self.line.refresh()
                replies = await self._once(key, sent)
            except self._broken as failure:
                if isinstance(failure, SessionError):
                    raise
                if (refusal := self._refusal(failure, outside)) is not None:
                    raise self._named(refusal) from failure
                error = failure
                continue
            self._heard = True
            wrong = next((reply for reply in replies if isinstance(reply, self._errors.ResponseError)), None)
            if not self._elsewhere(wrong):
                if wrong is not None:
                    raise wrong
                self._check_waited(replies, sent is not commands)
                return replies[: len(commands)]
            error = wrong
        assert error is not None
        raised = self._named(error) if self._elsewhere(error) else self._away(error, outside)
        # What older versions of redis-py say of Sentinels holds their password.
        raise raised from None if _is_no_primary(error) else error

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
        if "cluster support disabled" in str(error):
            return StorageError(f"{host} is no Cluster: write redis:// or rediss:// in the URL", host=host)
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
        return BackendUnavailableError(
            f"{host} is a replica, or a Cluster without a server for the key: see that it has a primary", host=host
        )

    def _refusal(self, failure: Exception, outside: BaseException | None) -> Exception | None:
        """What a server answered, where redis-py makes of that a failure to connect."""
        errors = self._errors
        answers = (errors.AuthenticationError, errors.ResponseError)
        kinds = answers if isinstance(failure, errors.RedisClusterException) else answers[:1]
        return next((each for each in _below(failure, outside) if isinstance(each, kinds)), None)

    def _away(self, error: Exception, outside: BaseException | None) -> SessionError:
        """The error of ours for a server that gave no answer, or none that can be used."""
        errors, host, causes = self._errors, self.line.host, list(_below(error, outside))
        tls = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
        text = f"{host} cannot be reached, or broke off: see that the server runs"
        if _is_no_primary(error):
            return _no_primary(str(error), host)
        if isinstance(tls, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted here ({tls.verify_message})"
            text = f"TLS with {host} failed, {why}: see ssl_ca_certs, and that the certificate is for this host"
        elif tls is not None and not (self._heard and isinstance(tls, ssl.SSLEOFError | ssl.SSLZeroReturnError)):
            text = f"TLS with {host} failed ({tls.reason}): see that this port speaks TLS, and the certificates in the URL"
        elif isinstance(error, errors.MaxConnectionsError) or "No connection available" in str(error):
            text = f"all connections to {host} are in use: raise max_connections"
        elif isinstance(error, errors.InvalidResponse):
            text = f"what answers at {host} does not speak as Redis does: see the port"
        elif any(isinstance(each, FileNotFoundError) for each in causes):
            text = (
                f"on the way to {host} a file is missing: see the path of the socket, or those of certificates in ssl_ca_certs and the like"
            )
        elif any(isinstance(each, errors.TimeoutError) for each in causes):
            text = f"{host} did not answer in time: "
            text += (
                "what was sent may or may not be stored"
                if self._heard
                else "see that the server runs, and where TLS is asked for, that it speaks TLS there"
            )
        elif not self._heard and all(
            isinstance(each, ConnectionResetError | BrokenPipeError) for each in causes if isinstance(each, OSError)
        ):
            text = (
                f"{host} broke off before its first answer: see that the server runs, and whether it wants TLS, as by rediss:// in the URL"
            )
        return BackendUnavailableError(text, host=host)


def _below(error: BaseException, outside: BaseException | None) -> Iterator[Any]:
    """An error and what led to it, down to what was being handled ``outside``."""
    below: BaseException | None = error
    while below is not None and below is not outside:
        yield below
        below = below.__cause__ or below.__context__


def _is_no_primary(error: Exception) -> bool:
    """Whether no Sentinel named a primary; redis-py has a class of this name for plain Python and one for event loops."""
    return type(error).__name__ == "MasterNotFoundError"


def _no_primary(said: str, host: str) -> SessionError:
    """The error of ours for Sentinels that named no primary; redis-py has each one's failure in its text, without the reason."""
    if "AuthenticationError" in said:
        return StorageError(
            f"{host} refuses the name or the password of Sentinel: check sentinel_username and sentinel_password", host=host
        )
    if "Error" in said:
        text = f"{host} cannot be reached: see that Sentinel runs there, and if TLS is asked for, that TLS does not fail (see ssl_ca_certs)"
        return BackendUnavailableError(text, host=host)
    return BackendUnavailableError(f"the Sentinels at {host} know no such service with a primary that is up: see the URL", host=host)
