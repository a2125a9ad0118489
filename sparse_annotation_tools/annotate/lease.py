"""Which page may paint: one at a time, for as long as its tab is open."""

from __future__ import annotations

import select
import socket
import threading
import time

_GRACE_S = 5.0  # between taking the lease and the first connection that holds it


class Lease:
    """Held by a page through an open connection, so that a closed tab gives it back at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page: str | None = None
        self._taken = 0.0
        self._connection: socket.socket | None = None

    def take(self, page: str) -> bool:
        """Give the lease to a page, unless another page has it and is still open."""
        with self._lock:
            if self._page not in (None, page) and self._is_held():
                return False
            self._page, self._taken, self._connection = page, time.monotonic(), None
            return True

    def hold(self, page: str, connection: socket.socket) -> bool:
        """Tie the lease to a connection of the page that has it; return False if it has not."""
        with self._lock:
            if page != self._page:
                return False
            self._connection = connection
            return True

    def let_go(self, connection: socket.socket) -> None:
        """Give the lease back if it is tied to this connection, which has ended."""
        with self._lock:
            if self._connection is connection:
                self._connection, self._taken = None, 0.0

    def _is_held(self) -> bool:
        if self._connection is None:
            return time.monotonic() - self._taken < _GRACE_S
        return not _is_closed(self._connection)


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other end has closed a connection on which it sends nothing."""
    try:
        readable, _, _ = select.select([connection], [], [], 0)
        return bool(readable) and connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
