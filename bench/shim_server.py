"""An MCP server of 2025-11-25 that does nothing but answer, and only to who is signed in: the shims' common server.

Run as ``python -m bench.shim_server``; prints its address, then serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Final, cast

import click
import uvloop

TOKEN: Final = "mog_" + "S" * 32
"""The credential every request carries; any other is answered with 401."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_TOOL = {"name": "bench", "description": "Answers.", "inputSchema": {"type": "object"}}
_RESULTS: Final[dict[str, object]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "bench", "version": "1"},
    },
    "tools/list": {"tools": [_TOOL]},
    "tools/call": {"content": [{"type": "text", "text": "x" * 200}], "isError": False},
    "ping": {},
}


def _response(status: str, body: bytes = b"", *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, f"content-length: {len(body)}"))
    return f"{head}\r\n".encode() + body


class Server(asyncio.Protocol):
    """One keep-alive connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to answer on."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[: end + 2]
            length = _LENGTH.search(head)
            after = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < after:
                return
            body, self._buffer = self._buffer[end + 4 : after], self._buffer[after:]
            if self._transport is not None:
                self._transport.write(_answer(head, body))


def _answer(head: bytes, body: bytes) -> bytes:
    if f"Bearer {TOKEN}\r\n".encode() not in head:
        return _response("401 Unauthorized")
    if not head.startswith(b"POST"):
        return _response("200 OK" if head.startswith(b"DELETE") else "405 Method Not Allowed")
    message = json.loads(body)
    if "id" not in message:
        return _response("202 Accepted")
    answer = {"jsonrpc": "2.0", "id": message["id"], "result": _RESULTS.get(message["method"], {})}
    session = ["mcp-session-id: bench"] if message["method"] == "initialize" else []
    return _response("200 OK", json.dumps(answer).encode(), "content-type: application/json", *session)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    click.echo(f"serving on http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve())
