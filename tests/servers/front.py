"""A listener on this machine that stands before a server of the tests, a thread or two for each connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"


class Front:
    """Takes connections at ``port``, for ``target`` behind it, as long as its scope lasts; then all end, and its threads with them."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def take(self, client: socket.socket) -> None:
        """See to a connection, which is ended with the scope: in other threads, by ``start``."""
        raise NotImplementedError

    def start(self, work: Callable[..., None], *arguments: object) -> None:
        """Let a thread work."""
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def __enter__(self) -> Self:
        self.start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        # The first thread adds the others.
        self._threads[0].join()
        for each in self._sockets:
            end(each)
        for thread in self._threads:
            thread.join()
        for each in (*self._sockets, self._listener):
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            self.take(client)


def end(each: socket.socket) -> None:
    """End a connection, so that whoever waits at it hears of it."""
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        # It has ended already.
        return
