"""An HTTP server that does what a test tells it, on raw sockets: faults are made below HTTP."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


@dataclass
class Received:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Json:
        """Its JSON-RPC message; empty when it has none."""
        found = json.loads(self.body) if self.body else {}
        assert isinstance(found, dict)
        return found

    @property
    def rpc(self) -> str:
        """Its JSON-RPC method."""
        return str(self.message.get("method", ""))


@dataclass
class Reply:
    """Writes the answer to one request."""

    connection: socket.socket
    request: Received
    is_open: bool = True

    def send(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole answer."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 {status} Some Reason\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
        self.connection.sendall(head.encode() + body)

    def json(self, message: object, status: int = 200, **headers: str) -> None:
        """A JSON-RPC message."""
        self.send(status, json.dumps(message).encode(), Content_Type="application/json", **headers)

    def result(self, result: Json, **headers: str) -> None:
        """The result of the request."""
        self.json({"jsonrpc": "2.0", "id": self.request.message["id"], "result": result}, 200, **headers)

    def error(self, status: int, code: int, message: str = "no") -> None:
        """The request's error."""
        error = {"code": code, "message": message}
        self.json({"jsonrpc": "2.0", "id": self.request.message.get("id"), "error": error}, status)

    def stream(self, **headers: str) -> None:
        """Begin a stream of events."""
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{lines}Transfer-Encoding: chunked\r\n\r\n"
        self.connection.sendall(head.encode())

    def event(self, message: object = None, *, id: str | None = None, retry: int | None = None) -> None:  # noqa: A002
        """One event on the stream; without a message a priming one."""
        text = (f"id: {id}\n" if id is not None else "") + (f"retry: {retry}\n" if retry is not None else "")
        text += "data: " + (json.dumps(message) if message is not None else "") + "\n\n"
        self.raw(text.encode())

    def raw(self, data: bytes) -> None:
        """One chunk."""
        self.connection.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """End the stream as HTTP has it."""
        self.connection.sendall(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close the connection in the middle."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.is_open = False

    def reset(self) -> None:
        """Close the connection with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.is_open = False

    def await_close(self, seconds: float = 10.0) -> bool:
        """Whether the client closes the connection within this time."""
        self.connection.settimeout(seconds)
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


Handler = Callable[[Received, Reply], None]


@dataclass
class ScriptedServer:
    """A running server.

    Attributes:
        port: Its port on 127.0.0.1.
        requests: Every request that came, in order.
    """

    handler: Handler
    tls: ssl.SSLContext | None = None
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _listener: socket.socket | None = None
    _open: set[socket.socket] = field(default_factory=set)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def of(self, rpc: str) -> list[Received]:
        """The requests with this JSON-RPC method."""
        return [each for each in self.requests if each.rpc == rpc]

    @property
    def ended(self) -> list[str]:
        """The sessions that were ended by a DELETE."""
        return [each.headers["mcp-session-id"] for each in self.requests if each.method == "DELETE"]

    def await_requests(self, ready: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait until what came is enough."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert time.monotonic() < deadline, [f"{each.method} {each.rpc}" for each in self.requests]
            time.sleep(0.005)

    def start(self) -> None:
        """Listen."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def stop(self) -> None:
        """Listen no longer; connections that are open break off."""
        if self._listener is not None:
            # Closing alone would leave the thread that accepts, and so the port.
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for each in list(self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        connection = raw
        try:
            if self.tls is not None:
                connection = self.tls.wrap_socket(raw, server_side=True)
            with connection, connection.makefile("rb") as stream:
                while (request := _read(stream)) is not None:
                    self.requests.append(request)
                    reply = Reply(connection, request)
                    self.handler(request, reply)
                    if not reply.is_open:
                        return
        except (OSError, ValueError):
            return  # the client has closed: that is its business
        finally:
            self._open.discard(raw)


def _read(stream: Any) -> Received | None:
    first = stream.readline()
    if not first:
        return None
    method, target, _ = first.decode().split(" ")
    headers: dict[str, str] = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Received(method, target, headers, stream.read(int(headers.get("content-length", "0"))))


@contextmanager
def scripted_server(handler: Handler, tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """Run a server until the block is left.

    Args:
        handler: Answers each request, in a thread of the request's connection.
        tls: Its certificate, for https.
    """
    server = ScriptedServer(handler, tls)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Legacy:
    """Answers as a server of 2025-11-25 does, with sessions; a test takes over what it wants to.

    Attributes:
        own: What the test takes over, by JSON-RPC method, or ``GET`` and ``DELETE``.
        sessions: The sessions that are known.
    """

    own: dict[str, Handler] = field(default_factory=dict)
    sessions: list[str] = field(default_factory=list)
    begun: int = 0

    def __call__(self, request: Received, reply: Reply) -> None:
        kind = request.rpc if request.method == "POST" else request.method
        if kind == "initialize":
            self.begun += 1
            session = f"session-{self.begun}"
            self.sessions.append(session)
            version = request.message["params"]["protocolVersion"]
            result = {
                "protocolVersion": version,
                "capabilities": {},
                "serverInfo": {"name": "scripted", "version": "1"},
            }
            reply.result(result, Mcp_Session_Id=session)
        elif request.headers.get("mcp-session-id") not in self.sessions:
            reply.send(404)
        elif kind in self.own:
            self.own[kind](request, reply)
        elif kind == "GET":
            reply.send(405)
        elif kind == "DELETE":
            self.sessions.remove(request.headers["mcp-session-id"])
            reply.send(200)
        elif "id" not in request.message or "method" not in request.message:
            reply.send(202)
        else:
            reply.result({"echo": request.message.get("params")})
