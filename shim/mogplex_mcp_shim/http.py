"""HTTP/1.1 over blocking sockets: as much of RFC 9112 as a client of one server needs.

A connection carries one exchange at a time and is kept for the next one. A blocked exchange is ended from another
thread by its :class:`Abort`.
"""

from __future__ import annotations

import threading
import time

from mogplex_mcp_shim.connection import Abort, Connection, Connector, HttpError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mogplex_mcp_shim.urls import Url

    HeaderList = Iterable[tuple[str, str]]

__all__ = ["Abort", "Exchange", "Headers", "HttpError", "Pool", "Response", "request"]

IDLE_CONNECTIONS = 8
HEAD_LIMIT = 65_536


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


class Exchange:
    """An answer whose head has come; its body is read piece by piece.

    Attributes:
        status: The status code.
        headers: The header fields.
    """

    __slots__ = ("_abort", "_chunked", "_connection", "_keep", "_left", "_pool", "headers", "status")

    def __init__(
        self,
        connection: Connection,
        pool: Pool | None,
        abort: Abort | None,
        head: tuple[int, Headers, bool],
        method: str,
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
        """Let go of an answer that has said all it will; its end is awaited a moment, to keep the connection."""
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
        self._connector = Connector(url, check_address)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()

    def exchange(
        self,
        method: str,
        target: str,
        headers: HeaderList,
        body: bytes,
        abort: Abort | None = None,
        *,
        timeout: float | None = None,
        on_sent: Callable[[], None] | None = None,
    ) -> Exchange:
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
                connection = self._connector.connect(timeout)
            if abort is not None:
                abort.attach(connection.socket)
            if timeout is not None:
                connection.socket.settimeout(timeout)
            return self._converse(connection, request, method, abort, on_sent)
        except HttpError:
            if connection is not None:
                connection.close()
            raise

    def _converse(
        self,
        connection: Connection,
        request: bytes,
        method: str,
        abort: Abort | None,
        on_sent: Callable[[], None] | None,
    ) -> Exchange:
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
        connection.socket.settimeout(None)  # or a look at whether it lives would wait
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


class Response:
    """A whole answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def request(
    method: str,
    url: str,
    headers: HeaderList = (),
    body: bytes = b"",
    *,
    timeout: float,
    max_bytes: int,
    check_address: Callable[[str], None] | None = None,
) -> Response:
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
    from mogplex_mcp_shim.urls import parse_url

    parsed = parse_url(url)
    abort = Abort()
    timer = threading.Timer(timeout, abort.set)
    timer.daemon = True
    timer.start()
    try:
        pool = Pool(parsed, check_address)
        exchange = pool.exchange(
            method, parsed.target, [*headers, ("Connection", "close")], body, abort, timeout=timeout
        )
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
