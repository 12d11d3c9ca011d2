"""An upstream that does as it is told: a real server on loopback (or a Unix socket) that also hangs, breaks and lies.

Give it answers in the order in which they are to come; the last one repeats. Answers may be given for one route only::

    async with scripted_upstream() as upstream:
        upstream.answers(error(503, "SERVICE_UNAVAILABLE", retry_after="0"), ok({"repos": []}))
        upstream.answers(reset(), on="POST /runs")
        ...
        assert [request.target for request in upstream.requests] == [...]
"""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "/api/v1/mogplex"
REPO = {"id": "repo-1", "full_name": "acme/web", "default_branch": "main", "root_directory": None}
RUN = {"runId": "run-1", "status": "streaming", "repoId": "repo-1", "harness": "codex"}


@dataclass(frozen=True)
class Received:
    """One request as it arrived. Header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """Method and path, without the API's prefix and the query: ``POST /runs``."""
        return f"{self.method} {self.target.split('?', 1)[0].removeprefix(PREFIX)}"


@dataclass
class Connection:
    """The server's end of one connection."""

    writer: asyncio.StreamWriter
    gone: asyncio.Event
    keep: bool = True

    async def send(self, data: bytes) -> None:
        """Send bytes; the client may have gone away."""
        with suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        """Close in order (FIN)."""
        self.keep = False

    def reset(self) -> None:
        """Close at once (RST), losing what is under way."""
        self.keep = False
        sock = self.writer.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Answer = Callable[[Connection], Awaitable[None]]


def raw(data: bytes, *, close: bool = False) -> Answer:
    """Exactly these bytes."""

    async def answer(connection: Connection) -> None:
        await connection.send(data)
        if close:
            connection.close()

    return answer


def http(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
    """An answer of HTTP, whole and in order."""
    return raw(head(status, {"content-length": str(len(body)), **(headers or {})}) + body)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The head of an answer."""
    lines = [f"HTTP/1.1 {status} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ok(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """A success in Mogplex's envelope."""
    return json_answer({"ok": True, "data": data}, status, headers)


def error(
    status: int,
    code: str,
    message: str = "So it goes.",
    *,
    retry_after: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """A failure in Mogplex's envelope."""
    more = {"retry-after": retry_after} if retry_after is not None else {}
    return json_answer({"ok": False, "error": {"code": code, "message": message}}, status, {**more, **(headers or {})})


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Any JSON."""
    return http(status, json.dumps(value).encode(), {"content-type": "application/json", **(headers or {})})


def html(status: int = 200) -> Answer:
    """A page, such as proxies and sign-in walls give."""
    return http(status, b"<!doctype html><title>Secret page</title>", {"content-type": "text/html"})


def redirect(location: str, status: int = 308) -> Answer:
    """A redirect."""
    return http(status, b"", {"location": location})


def hang() -> Answer:
    """No answer, until the client goes away."""

    async def answer(connection: Connection) -> None:
        await connection.gone.wait()
        connection.close()

    return answer


def drop() -> Answer:
    """The whole request is taken, then the connection ends without an answer."""

    async def answer(connection: Connection) -> None:
        connection.close()

    return answer


def reset() -> Answer:
    """The whole request is taken, then the connection is reset."""

    async def answer(connection: Connection) -> None:
        connection.reset()

    return answer


def cut(status: int = 200, *, announced: int = 1000, sent: bytes = b'{"ok":true,"da', hard: bool = False) -> Answer:
    """An answer that ends before its announced length."""

    async def answer(connection: Connection) -> None:
        await connection.send(head(status, {"content-type": "application/json", "content-length": str(announced)}))
        await connection.send(sent)
        connection.reset() if hard else connection.close()

    return answer


def drip(every: float = 0.02) -> Answer:
    """An answer that comes byte by byte and never ends."""

    async def answer(connection: Connection) -> None:
        await connection.send(head(200, {"content-type": "application/json", "content-length": "1000000"}))
        while not connection.gone.is_set():
            await connection.send(b" ")
            with suppress(TimeoutError):
                await asyncio.wait_for(connection.gone.wait(), every)
        connection.close()

    return answer


def flood(chunk: bytes, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer without length, of this piece again and again until the client goes away."""

    async def answer(connection: Connection) -> None:
        await connection.send(head(200, {"connection": "close", **(headers or {})}))
        while not connection.gone.is_set() and not connection.writer.is_closing():
            await connection.send(chunk)
            await asyncio.sleep(0)
        connection.close()

    return answer


def gzip_bomb(megabytes: int = 512) -> Answer:
    """A small answer that unpacks into an enormous one."""
    piece = gzip.compress(b" " * 1024**2 * 16)
    return http(200, piece * (megabytes // 16), {"content-type": "application/json", "content-encoding": "gzip"})


class _Reader(asyncio.StreamReader):
    """Knows that the client has gone away before anybody reads."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        self.gone.set()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.gone.set()
        super().set_exception(exc)


@dataclass
class ScriptedUpstream:
    """The running server.

    Attributes:
        url: Base URL, without the API's prefix; empty on a Unix socket.
        requests: What has arrived, in order.
        connections: How many connections have been made.
    """

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _scripts: dict[str, list[Answer]] = field(default_factory=dict)
    _arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def answers(self, *answers: Answer, on: str = "") -> None:
        """Give these answers next, in this order, the last one for ever.

        Args:
            answers: At least one.
            on: Only on this route (``GET /repos``); unset, on every route without a script of its own.
        """
        self._scripts[on] = list(answers)

    async def received(self, count: int) -> list[Received]:
        """Wait until so many requests have arrived."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= count)
        return self.requests

    async def serve(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        self.connections += 1
        connection = Connection(writer, reader.gone)
        try:
            while connection.keep and (request := await _read(reader)):
                async with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                script = self._scripts.get(request.route) or self._scripts[""]
                answer = script.pop(0) if len(script) > 1 else script[0]
                await answer(connection)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Received | None:
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, target, _ = lines[0].split(" ", 2)
    pairs = (line.partition(":") for line in lines[1:] if line)
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body)


@asynccontextmanager
async def scripted_upstream(
    socket_path: Path | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedUpstream]:
    """Run one on a free port of 127.0.0.1, or on a Unix socket. Unless told otherwise it lists one repository.

    Args:
        socket_path: The Unix socket to listen on.
        tls: Speak TLS with this context.
    """
    upstream = ScriptedUpstream()
    upstream.answers(ok({"repos": [REPO]}))
    tasks: set[asyncio.Task[None]] = set()

    def accept() -> asyncio.StreamReaderProtocol:
        reader = _Reader()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(upstream.serve(reader, writer))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return asyncio.StreamReaderProtocol(reader, connected)

    loop = asyncio.get_running_loop()
    if socket_path is not None:
        server: asyncio.Server = await loop.create_unix_server(accept, socket_path)
    else:
        server = await loop.create_server(accept, "127.0.0.1", 0, ssl=tls)
        scheme = "https" if tls else "http"
        upstream.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield upstream
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()
