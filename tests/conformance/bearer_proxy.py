"""A few lines of proxy that add the bearer: the conformance suite sends no credential.

Everything else passes byte for byte, headers in their order and spelling, for those are what the suite tests. Only the
proxy's own authority becomes the server's, in ``Host`` and ``Origin``, as if the suite had spoken to the server itself;
a foreign host or origin stays what it is.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

_GONE = (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError)
"""How it shows that one side has closed its connection."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


@asynccontextmanager
async def bearer_proxy(port: int, token: str) -> AsyncIterator[int]:
    """Run the proxy until the block is left; gives its port on 127.0.0.1.

    Args:
        port: The server's port on 127.0.0.1.
        token: The credential to add to every request.
    """
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as connections,
    ):
        own = int(listener.extra(SocketAttribute.local_port))  # noqa: S610 - anyio's, not Django's

        async def serve(client: SocketStream) -> None:
            async with client, await anyio.connect_tcp("127.0.0.1", port) as server, anyio.create_task_group() as both:
                both.start_soon(_copy, server, client)
                await _forward(client, server, own=own, port=port, token=token)
                both.cancel_scope.cancel()

        connections.start_soon(listener.serve, serve)
        yield own
        connections.cancel_scope.cancel()


async def _forward(client: ByteReceiveStream, server: ByteSendStream, *, own: int, port: int, token: str) -> None:
    """Pass on requests until one side closes."""
    requests = BufferedByteReceiveStream(client)
    try:
        while True:
            head = await requests.receive_until(b"\r\n\r\n", 65_536) + b"\r\n\r\n"
            assert not _CHUNKED.search(head), "the proxy knows only bodies with a length"
            length = _LENGTH.search(head)
            body = await requests.receive_exactly(int(length[1])) if length else b""
            line, fields = head.split(b"\r\n", 1)
            await server.send(b"%b\r\nAuthorization: Bearer %b\r\n" % (line, token.encode()))
            await server.send(_addressed(fields, own, port) + body)
    except _GONE:
        return


async def _copy(server: ByteReceiveStream, client: SocketStream) -> None:
    """Pass on answers as they come; when the server closes, so does the proxy."""
    try:
        async for data in server:
            await client.send(data)
        await client.aclose()
    except _GONE:
        return


def _addressed(fields: bytes, own: int, port: int) -> bytes:
    """The header lines, with the proxy's own authority replaced by the server's."""
    pattern = rb"(?mi)^((?:host|origin): *(?:http://)?(?:localhost|127\.0\.0\.1)):%d(?=\r$)" % own
    return re.sub(pattern, rb"\g<1>:%d" % port, fields)
