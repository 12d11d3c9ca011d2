"""HTTP/1.1 over blocking sockets: as much of RFC 9112 as a client of one server needs, and no import that costs.

A connection carries one exchange at a time and is kept for the next one. A blocked exchange is ended from another thread
by its :class:`Abort`.
"""

from __future__ import annotations

import os
import socket
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from ssl import SSLContext

    from mogplex_mcp_shim.urls import Url

    HeaderList = Iterable[tuple[str, str]]

CONNECT_TIMEOUT = 5.0
"""Seconds to connect to one address, and for TLS with it."""

IDLE_LIMIT = 15.0
"""Seconds on the wall clock after which an idle connection is not used again: after a sleep it only seems alive."""

IDLE_CONNECTIONS = 8
HEAD_LIMIT = 65_536
PIECE = 262_144

_DO_NOT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)


class HttpError(OSError):
    """An exchange failed. The text is safe to show.

    Attributes:
        kind: ``dns``, ``refused``, ``connect``, ``tls``, ``timeout``, ``reset``, ``protocol``, ``too_large`` or ``aborted``.
        sent: Whether the server may have got the request.
    """

    def __init__(self, kind: str, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent


class Headers:
    """The header fields of an answer; names in any case."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._fields = fields

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value of this name."""
        name = name.lower()
        for known, value in self._fields:
            if known == name:
                return value
        return default

    def get_all(self, name: str) -> list[str]:
        """Every value of this name."""
        name = name.lower()
        return [value for known, value in self._fields if known == name]

    def items(self) -> list[tuple[str, str]]:
        """Names in lower case, with their values."""
        return list(self._fields)

    def media_type(self) -> str:
        """The ``Content-Type`` without its parameters, in lower case."""
        return (self.get("content-type") or "").partition(";")[0].strip().lower()


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


class Exchange:
    """An answer whose head has come; its body is read piece by piece.

    Attributes:
        status: The status code.
        headers: The header fields.
    """

    __slots__ = ("_abort", "_chunked", "_connection", "_keep", "_left", "_pool", "headers", "status")

    def __init__(
        self, connection: Connection, pool: Pool | None, abort: Abort | None, head: tuple[int, Headers, bool], method: str
    ) -> None:
        self.status, self.headers, persistent = head
        self._connection: Connection | None = connection
        self._pool = pool
        self._abort = abort
        self._chunked = "chunked" in (self.headers.get("transfer-encoding") or "").lower()
        length = self.headers.get("content-length")
        self._keep = persistent
        self._left: int | None = None
        """Octets left of the body or of its current chunk; None: until the server closes."""
        if method == "HEAD" or self.status in {204, 304}:
            self._chunked = False
            self._left = 0
        elif self._chunked:
            self._left = 0
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                self.close()
                raise HttpError("protocol", "the server sent a length that is no number", sent=True)
            self._left = int(length)
        else:
            self._keep = False

    def read(self) -> bytes:
        """The next piece of the body; empty at its end.

        Raises:
            HttpError: ``reset``: it broke off; ``protocol``: it is not HTTP; ``aborted``.
        """
        connection = self._connection
        if connection is None:
            return b""
        try:
            if self._chunked and self._left == 0 and not self._next_chunk(connection):
                self._release()
                return b""
            if self._left == 0:
                self._release()
                return b""
            data = connection.take(self._left)
        except (OSError, ValueError) as error:
            self.close()
            raise self._failure(error) from error
        if not data:
            cut = self._left is not None
            self.close()
            if cut:
                raise self._failure(None)
            return b""
        if self._left is not None:
            self._left -= len(data)
            if self._left == 0 and not self._chunked:
                self._release()
        return data

    def read_all(self, limit: int) -> bytes:
        """The rest of the body.

        Args:
            limit: Octets beyond which it is refused.

        Raises:
            HttpError: As :meth:`read`, or ``too_large``.
        """
        pieces = []
        size = 0
        while piece := self.read():
            size += len(piece)
            if size > limit:
                self.close()
                raise HttpError("too_large", f"the server's answer is larger than {limit} bytes", sent=True)
            pieces.append(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def finish(self, seconds: float) -> None:
        """Let go of an answer that has said all it will: what is left of it is awaited a moment, to keep the connection."""
        if self._connection is None:
            return
        try:
            self._connection.socket.settimeout(seconds)
            for _ in range(8):
                if not self.read():
                    return
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Close the connection, unless the answer was read to its end: then it is kept already."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            if self._abort is not None:
                self._abort.attach(None)

    def _release(self) -> None:
        connection = self._connection
        if connection is None:
            return
        if self._keep and self._pool is not None:
            if self._abort is not None:
                self._abort.attach(None)
            self._connection = None
            self._pool.give_back(connection)
        else:
            self.close()

    def _next_chunk(self, connection: Connection) -> bool:
        """Read the head of the next chunk (RFC 9112, 7.1); False after the last one."""
        line = _line(connection)
        if not line:  # the end of the chunk before
            line = _line(connection)
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 12 or not digits.isalnum():
            raise ValueError("the server sent a chunk without a length")
        self._left = int(digits, 16)
        if self._left:
            return True
        while _line(connection):
            pass
        return False

    def _failure(self, error: Exception | None) -> HttpError:
        if self._abort is not None and self._abort.is_set():
            return HttpError("aborted", "the request was cancelled", sent=True)
        if isinstance(error, HttpError):
            return error
        if isinstance(error, ValueError):
            return HttpError("protocol", str(error), sent=True)
        if isinstance(error, TimeoutError):
            return HttpError("timeout", "the server took too long", sent=True)
        return HttpError("reset", "the server's answer broke off", sent=True)


class Pool:
    """The connections to one origin."""

    def __init__(self, url: Url, check_address: Callable[[str], None] | None = None) -> None:
        self._url = url
        self._check_address = check_address
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._tls: SSLContext | None = None

    def exchange(self, method: str, target: str, headers: HeaderList, body: bytes, abort: Abort | None = None, *,
                 timeout: float | None = None, on_sent: Callable[[], None] | None = None) -> Exchange:
        """Send a request and await the head of its answer.

        Args:
            method: The method.
            target: Path and query.
            headers: Header fields; ``Host`` and ``Content-Length`` are added.
            body: The body.
            abort: Ends the exchange from another thread.
            timeout: Seconds for each step; None waits for ever, once connected.
            on_sent: Called when the request has gone out.

        Raises:
            HttpError: No answer came.
        """
        request = _request(self._url, method, target, headers, body)
        connection = self._take()
        try:
            if connection is None:
                connection = Connection(self._connect(timeout))
            if abort is not None:
                abort.attach(connection.socket)
            connection.socket.settimeout(timeout)
            return self._converse(connection, request, method, abort, on_sent)
        except HttpError:
            if connection is not None:
                connection.close()
            raise

    def _converse(self, connection: Connection, request: bytes, method: str, abort: Abort | None,
                  on_sent: Callable[[], None] | None) -> Exchange:
        try:
            failed: OSError | None = None
            try:
                connection.socket.sendall(request)
            except OSError as error:
                failed = error  # a server that refuses a long body answers and closes before it has read it all
            if on_sent is not None:
                on_sent()
            try:
                head = _read_head(connection)
            except OSError as error:
                raise failed or error from error
        except ValueError as error:
            raise HttpError("protocol", str(error), sent=True) from error
        except OSError as error:
            if abort is not None and abort.is_set():
                raise HttpError("aborted", "the request was cancelled", sent=True) from error
            if isinstance(error, TimeoutError):
                raise HttpError("timeout", f"{self._url.host} took too long to answer", sent=True) from error
            raise HttpError("reset", f"{self._url.host} closed the connection without an answer", sent=True) from error
        return Exchange(connection, self, abort, head, method)

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for the next exchange."""
        connection.idle_since = time.time()
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()

    def _take(self) -> Connection | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if connection.is_alive():
                return connection
            connection.close()

    def _connect(self, timeout: float | None) -> socket.socket:
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
                return self._secured(raw) if self._url.scheme == "https" else raw
            except OSError as error:
                raw.close()
                failure = error
        if isinstance(failure, HttpError):
            raise failure
        raise _connect_failure(self._url, failure) from failure

    def _secured(self, raw: socket.socket) -> socket.socket:
        import ssl  # noqa: PLC0415 - a third of the start, and only https needs it

        with self._lock:
            if self._tls is None:
                self._tls = ssl.create_default_context()
                self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            return self._tls.wrap_socket(raw, server_hostname=self._url.host)
        except ssl.SSLError as error:
            reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
            raise HttpError("tls", f"no secure connection to {self._url.host}: {reason}") from error


class Response:
    """A whole answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def request(method: str, url: str, headers: HeaderList = (), body: bytes = b"", *, timeout: float, max_bytes: int,
            check_address: Callable[[str], None] | None = None) -> Response:
    """One exchange on a connection of its own. A redirect is an answer like any other: it is not followed.

    Args:
        method: The method.
        url: An http or https URL.
        headers: Header fields; ``Host`` and ``Content-Length`` are added.
        body: The body.
        timeout: Seconds for all of it.
        max_bytes: Octets beyond which the answer's body is refused.
        check_address: Called with the numeric address to connect to; raises ValueError to refuse it.

    Raises:
        HttpError: There was no whole answer.
        ValueError: The URL is none, or its address was refused.
    """
    from mogplex_mcp_shim.urls import parse_url  # noqa: PLC0415 - keeps this module free of imports of its own package

    parsed = parse_url(url)
    abort = Abort()
    timer = threading.Timer(timeout, abort.set)
    timer.daemon = True
    timer.start()
    try:
        pool = Pool(parsed, check_address)
        exchange = pool.exchange(method, parsed.target, [*headers, ("Connection", "close")], body, abort, timeout=timeout)
        return Response(exchange.status, exchange.headers, exchange.read_all(max_bytes))
    except HttpError as error:
        if error.kind == "aborted":
            raise HttpError("timeout", f"{parsed.host} took longer than {timeout:g} s", sent=error.sent) from error
        raise
    finally:
        timer.cancel()


def _request(url: Url, method: str, target: str, headers: HeaderList, body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1\r\nHost: {url.authority}\r\n"]
    for name, value in headers:
        if "\r" in value or "\n" in value or "\0" in value:
            raise HttpError("protocol", f"the value of the header {name} holds a line break")
        lines.append(f"{name}: {value}\r\n")
    if body or method not in {"GET", "DELETE", "HEAD"}:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    return "".join(lines).encode("latin-1", "replace") + body


def _read_head(connection: Connection) -> tuple[int, Headers, bool]:
    """Status, header fields, and whether the connection may be kept (RFC 9112, 9.3)."""
    while True:
        head = connection.take_until(b"\r\n\r\n", HEAD_LIMIT)
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        status = rest[:3]
        if not version.startswith("HTTP/1.") or not status.isdecimal() or len(status) != 3:
            raise ValueError("the server does not speak HTTP/1.1")
        if status[0] == "1":
            continue
        fields = []
        for line in lines:
            name, _, value = line.partition(":")
            fields.append((name.lower(), value.strip(" \t")))
        headers = Headers(fields)
        options = (headers.get("connection") or "").lower()
        return int(status), headers, "close" not in options and (version != "HTTP/1.0" or "keep-alive" in options)


def _line(connection: Connection) -> bytes:
    return connection.take_until(b"\n", HEAD_LIMIT).rstrip(b"\r")


def _addresses(url: Url) -> list[tuple[int, int, int, str, tuple[str | int, ...]]]:
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
    """No delay for small requests; a peer that is gone is noticed within half a minute."""
    options = [
        ("IPPROTO_TCP", "TCP_NODELAY", 1),
        ("SOL_SOCKET", "SO_KEEPALIVE", 1),
        ("IPPROTO_TCP", "TCP_KEEPIDLE", 15),
        ("IPPROTO_TCP", "TCP_KEEPALIVE", 15),
        ("IPPROTO_TCP", "TCP_KEEPINTVL", 5),
        ("IPPROTO_TCP", "TCP_KEEPCNT", 3),
        ("IPPROTO_TCP", "TCP_USER_TIMEOUT", 30_000),
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
