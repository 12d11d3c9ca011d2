"""A server made with the Python SDK, with streams that can be resumed. Prints its address, then serves."""

from __future__ import annotations

import socket
import sys

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventId, EventMessage, EventStore, StreamId
from mcp_types import JSONRPCMessage


class Events(EventStore):
    """Keeps what was sent, to send it again."""

    def __init__(self) -> None:
        self._sent: list[tuple[StreamId, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: StreamId, message: JSONRPCMessage | None) -> EventId:
        self._sent.append((stream_id, message))
        return str(len(self._sent))

    async def replay_events_after(self, last_event_id: EventId, send_callback: EventCallback) -> StreamId | None:
        last = int(last_event_id)
        stream = self._sent[last - 1][0]
        for number, (each, message) in enumerate(self._sent[last:], last + 1):
            if each == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


server = MCPServer("sdk")


@server.tool()
async def count(to: int, ctx: Context) -> int:
    """Count, and say how far."""
    for number in range(to):
        await ctx.report_progress(number, to)
    return to


@server.tool()
async def break_off(ctx: Context) -> str:
    """Close the answer's stream before the answer."""
    await ctx.close_sse_stream()
    return "after all"


@server.resource("sdk://text")
def text() -> str:
    """A text."""
    return "text"


class Announced(uvicorn.Server):
    """Says where it listens once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(f"serving on http://127.0.0.1:{port}/\n")
        sys.stdout.flush()


if __name__ == "__main__":
    app = server.streamable_http_app(event_store=Events(), retry_interval=50)
    Announced(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)).run()
