"""A connection to a server: how it is made, seen to live, and taken from the thread that waits for it."""

from __future__ import annotations

import os
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from ssl import SSLContext
    from typing import Any

    from mogplex_mcp_shim.urls import Url

CONNECT_TIMEOUT = 5.0
"""Seconds to connect to one address, and for TLS with it."""

IDLE_LIMIT = 15.0
"""Seconds on the wall clock after which an idle connection is not used again: after a sleep it only seems alive."""

PIECE = 262_144
"""Octets read at once."""

_DO_NOT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class HttpError(OSError):
    """An exchange failed. The text is safe to show.

    Attributes:
        kind: ``dns``, ``refused``, ``connect``, ``tls``, ``timeout``, ``reset``, ``protocol``, ``too_large`` or
            ``aborted``.
        sent: Whether the server may have got the request.
    """

    def __init__(self, kind: str, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class Abort:
    """Ends an exchange from another thread, also while it waits."""

    __slots__ = ("_event", "_lock", "_socket")

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def set(self) -> None:
        """End the exchange now; one that has not begun never will."""
        self._event.set()
        with self._lock:
            if self._socket is not None:
                _shut(self._socket)

    def is_set(self) -> bool:
        """Whether it was ended."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; give back at once, and True, when it is ended."""
        return self._event.wait(seconds)

    def attach(self, used: socket.socket | None) -> None:
        """Name the socket the exchange now blocks on.

        Raises:
            HttpError: It was ended already.
        """
        with self._lock:
            self._socket = used
        if used is not None and self._event.is_set():
            raise HttpError("aborted", "the request was cancelled")


class Connection:
    """A connected socket and what was read from it ahead."""

    __slots__ = ("_buffer", "_start", "idle_since", "socket")

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.idle_since = 0.0
        self._buffer = b""
        self._start = 0

    def take(self, most: int | None) -> bytes:
        """The next bytes, at most so many; none when the server has closed."""
        if self._start == len(self._buffer):
            self._buffer = self.socket.recv(PIECE)
            self._start = 0
        start, end = self._start, len(self._buffer)
        if most is not None and end - start > most:
            end = start + most
        self._start = end
        return self._buffer[start:end]

    def take_until(self, mark: bytes, limit: int) -> bytes:
        """The next bytes up to a mark, without it.

        Raises:
            ConnectionResetError: The server closed before.
            ValueError: The mark does not come within the limit.
        """
        while True:
            end = self._buffer.find(mark, self._start)
            if end >= 0:
                found = self._buffer[self._start : end]
                self._start = end + len(mark)
                return found
            if len(self._buffer) - self._start > limit:
                raise ValueError("the server sent a header that is too long")
            more = self.socket.recv(PIECE)
            if not more:
                raise ConnectionResetError
            self._buffer = self._buffer[self._start :] + more
            self._start = 0

    def is_alive(self) -> bool:
        """Whether an idle connection can be used again: nothing has come on it, not even its end."""
        if self._start < len(self._buffer) or not 0 <= time.time() - self.idle_since < IDLE_LIMIT:
            return False
        try:
            if not _DO_NOT_WAIT:
                self.socket.setblocking(False)
            # Past TLS, on purpose: SSLSocket.recv() takes no flags.
            socket.socket.recv(self.socket, 1, socket.MSG_PEEK | _DO_NOT_WAIT)
        except BlockingIOError:
            if not _DO_NOT_WAIT:
                self.socket.setblocking(True)
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """Close the socket."""
        try:
            self.socket.close()
        except OSError:
            pass


class Connector:
    """Connects to one origin."""

    def __init__(self, url: Url, check_address: Callable[[str], None] | None = None) -> None:
        """Connect to nothing yet.

        Args:
            url: Any URL of the origin.
            check_address: Called with each numeric address to connect to; raises ValueError to refuse it.
        """
        self._url = url
        self._check_address = check_address
        self._lock = threading.Lock()
        self._tls: SSLContext | None = None

    def connect(self, timeout: float | None) -> Connection:
        """Connect to the first address that answers.

        Raises:
            HttpError: None does.
        """
        limit = CONNECT_TIMEOUT if timeout is None else min(timeout, CONNECT_TIMEOUT)
        failure: Exception = HttpError("dns", f"{self._url.host} has no address")
        for family, kind, protocol, _, address in _addresses(self._url):
            if self._check_address is not None:
                self._check_address(str(address[0]))
            raw = socket.socket(family, kind, protocol)
            try:
                raw.settimeout(limit)
                raw.connect(address)
                _tune(raw)
                connected = self._secured(raw) if self._url.scheme == "https" else raw
                connected.settimeout(None)
            except OSError as error:
                raw.close()
                failure = error
            else:
                return Connection(connected)
        if isinstance(failure, HttpError):
            raise failure
        raise _connect_failure(self._url, failure) from failure

    def _secured(self, raw: socket.socket) -> socket.socket:
        import ssl

        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            return self._tls.wrap_socket(raw, server_hostname=self._url.host)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
            raise HttpError("tls", f"no secure connection to {self._url.host}: {reason}") from error


def _addresses(url: Url) -> list[tuple[int, int, int, str, tuple[Any, ...]]]:
    if url.host.replace(".", "").isdecimal() and url.host.count(".") == 3:
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (url.host, url.port))]
    try:
        # As bytes: for a str Python loads its IDNA codec and all of Unicode with it.
        found = socket.getaddrinfo(url.host.encode("ascii"), url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise HttpError("dns", f"the name {url.host} cannot be resolved: check it, and the network") from error
    return list(found)


def _connect_failure(url: Url, error: Exception) -> HttpError:
    where = f"{url.host} port {url.port}"
    if isinstance(error, ConnectionRefusedError):
        return HttpError("refused", f"nothing listens at {where}")
    if isinstance(error, TimeoutError):
        return HttpError("timeout", f"{where} does not answer")
    return HttpError("connect", f"{where} cannot be reached: {os.strerror(getattr(error, 'errno', 0) or 0)}")


def _tune(connected: socket.socket) -> None:
    """No delay for small requests; a peer that is gone is noticed within a minute."""
    options = [
        ("IPPROTO_TCP", "TCP_NODELAY", 1),
        ("SOL_SOCKET", "SO_KEEPALIVE", 1),
        ("IPPROTO_TCP", "TCP_KEEPIDLE", 15),
        ("IPPROTO_TCP", "TCP_KEEPALIVE", 15),
        ("IPPROTO_TCP", "TCP_KEEPINTVL", 5),
        ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
        ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 60_000),
    ]
    for level, name, value in options:
        option = getattr(socket, name, None)
        if option is not None:
            connected.setsockopt(getattr(socket, level), option, value)


def _shut(used: socket.socket) -> None:
    try:
        # Past TLS, on purpose: SSLSocket.shutdown() takes the session from under the thread that reads.
        socket.socket.shutdown(used, socket.SHUT_RDWR)
    except OSError:
        pass
