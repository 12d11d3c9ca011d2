"""A Mogplex that does nothing but answer ``GET /api/v1/mogplex/repos``, as fast as Python can: the upstream of a run.

Run as ``python -m bench.upstream``; prints its address, then serves until it is ended.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final, cast

import click
import uvloop

TOKEN: Final = "mog_" + "B" * 32
"""The credential every call of a run carries; the upstream answers 401 to any other."""

REPOS: Final = [
    {"id": f"repo_{name}", "full_name": f"bench/{name}", "default_branch": "main", "root_directory": None}
    for name in ("alpha", "beta", "gamma")
]
"""What the one route answers, so what every right answer of a measured server holds."""

ROUTE: Final = "/api/v1/mogplex/repos"


def _response(status: str, envelope: object) -> bytes:
    body = json.dumps(envelope, separators=(",", ":")).encode()
    return f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def _failure(status: str, code: str) -> bytes:
    return _response(status, {"ok": False, "error": {"code": code, "message": "Not in the benchmark."}})


_FOUND = _response("200 OK", {"ok": True, "data": {"repos": REPOS}})
_UNAUTHORIZED = _failure("401 Unauthorized", "UNAUTHORIZED")
_NOT_FOUND = _failure("404 Not Found", "NOT_FOUND")
_START = f"GET {ROUTE}".encode()
_CREDENTIAL = f"Bearer {TOKEN}\r\n".encode()


class Upstream(asyncio.Protocol):
    """One keep-alive connection. Requests have no body, so a blank line ends each."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to answer on."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has another base class

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete."""
        *heads, self._buffer = (self._buffer + data).split(b"\r\n\r\n")
        for head in heads:
            if self._transport is not None:
                self._transport.write(_answer(head + b"\r\n"))


def _answer(head: bytes) -> bytes:
    if not head.startswith((_START + b" ", _START + b"?")):
        return _NOT_FOUND
    return _FOUND if _CREDENTIAL in head else _UNAUTHORIZED


async def serve() -> None:
    """Serve on a free port of 127.0.0.1 until cancelled."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    click.echo(f"upstream on http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
