"""A line to a server that can be cut: a proxy on this machine that drops a connection at a chosen moment, or lets no answer through."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from tests.servers.front import HOST, Front, end

CHUNK = 1 << 16

Moment = Literal["request", "answer"]
"""Before what the client sent goes on to the server, or after the server has answered and before the client hears it."""


class CutLine(Front):
    """Passes every byte on between clients of ``port`` and the server at ``target``, until told to cut."""

    def __init__(self, target: int, *, only: bytes = b"") -> None:
        """``only``: what a request must hold to be cut."""
        super().__init__(target)
        self._only = only
        self._lock = threading.Lock()
        self._next: tuple[Moment, Callable[[], None] | None] | None = None
        self._silent = False
        self._unheard: set[socket.socket] = set()
        self.cuts = 0
        """Connections cut so far."""
        self.unheard = 0
        """Answers, or parts of them, that were held back while it was silent."""

    def cut(self, moment: Moment, meanwhile: Callable[[], None] | None = None) -> None:
        """Cut the connection that next sends a request; ``meanwhile`` runs before the client notices."""
        with self._lock:
            self._next = (moment, meanwhile)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """For this scope every request reaches the server and no answer comes back; then the connections that were owed one are cut."""
        with self._lock:
            self._silent = True
        yield
        with self._lock:
            self._silent = False
            owed = list(self._unheard)
        for client in owed:
            end(client)

    def take(self, client: socket.socket) -> None:
        """See Front.take."""
        try:
            server = socket.create_connection((HOST, self._target))
        except OSError:
            # As the server would refuse it itself.
            client.close()
            return
        self._sockets.append(server)
        answered = threading.Event()
        losing = threading.Event()
        self.start(self._ask, client, server, answered, losing)
        self.start(self._answer, client, server, answered, losing)

    def _ask(self, client: socket.socket, server: socket.socket, answered: threading.Event, losing: threading.Event) -> None:
        while data := _received(client):
            order = None
            if self._only in data:
                with self._lock:
                    order, self._next = self._next, None
            if order is not None:
                moment, meanwhile = order
                if moment == "answer":
                    answered.clear()
                    losing.set()
                    _send(server, data)
                    answered.wait(10)
                if meanwhile is not None:
                    meanwhile()
                self.cuts += 1
                break
            _send(server, data)
        end(server)
        end(client)

    def _answer(self, client: socket.socket, server: socket.socket, answered: threading.Event, losing: threading.Event) -> None:
        while data := _received(server):
            if losing.is_set():
                answered.set()
            elif not self._holds_back(client):
                _send(client, data)
        answered.set()
        if not losing.is_set():
            end(client)

    def _holds_back(self, client: socket.socket) -> bool:
        with self._lock:
            if self._silent:
                self._unheard.add(client)
            # Who has missed a part can make nothing of the rest.
            silenced = client in self._unheard
            self.unheard += silenced
            return silenced


def _received(line: socket.socket) -> bytes:
    try:
        return line.recv(CHUNK)
    except OSError:
        return b""


def _send(line: socket.socket, data: bytes) -> None:
    try:
        line.sendall(data)
    except OSError:
        end(line)
