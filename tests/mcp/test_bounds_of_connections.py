"""What hosts and strangers may take: sessions, header bytes, header time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import pytest

from mogplex_mcp import http_protocol
from mogplex_mcp.sessions import SESSIONS_PER_CALLER
from tests.mcp.conftest import Host

INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
}


@asynccontextmanager
async def connected(host: Host) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(host.url).port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def status_of(host: Host, session: str) -> int:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    return (await host.post(ping, Mcp_Session_Id=session)).status_code


async def test_a_caller_who_opens_too_many_sessions_loses_the_oldest_and_nobody_else_does(
    host: Host, other_token: str
) -> None:
    foreign = await host.post(INITIALIZE, Authorization=f"Bearer {other_token}")
    opened = [(await host.post(INITIALIZE)).headers["mcp-session-id"] for _ in range(SESSIONS_PER_CALLER + 1)]
    assert await status_of(host, opened[0]) == 404
    assert await status_of(host, opened[1]) == 200
    assert await status_of(host, opened[-1]) == 200
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    session = foreign.headers["mcp-session-id"]
    answer = await host.post(ping, Authorization=f"Bearer {other_token}", Mcp_Session_Id=session)
    assert answer.status_code == 200


async def test_a_header_over_the_limit_is_refused_before_it_is_whole(host: Host) -> None:
    async with connected(host) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ")
        writer.write(b"a" * (http_protocol.MAX_HEAD_BYTES + 300_000))
        assert (await asyncio.wait_for(reader.readline(), 10)).startswith(b"HTTP/1.1 431")


async def test_a_large_body_in_pieces_is_no_header(host: Host) -> None:
    body = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"x":"' + b"y" * 500_000 + b'"}}'
    answer = await host.http.post(host.url, content=body, headers=host.headers())
    assert answer.status_code == 200


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: local"])
async def test_a_header_that_does_not_end_ends_the_connection(
    host: Host, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    async with connected(host) as (reader, writer):
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 10) == b""
