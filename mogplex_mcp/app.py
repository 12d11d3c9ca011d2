"""The ASGI application: composition of the checks before the MCP server and the server itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mogplex_mcp.api import Upstream
from mogplex_mcp.auth.bearer import INVALID_REQUEST, BearerMiddleware
from mogplex_mcp.auth.field_values import FieldValueMiddleware
from mogplex_mcp.auth.origin import Addresses, OriginMiddleware
from mogplex_mcp.auth.pat import TokenChecks
from mogplex_mcp.auth.rpc_call import MAX_BODY_BYTES, RpcCall
from mogplex_mcp.auth.rpc_errors import refusal
from mogplex_mcp.request_log import RequestLogMiddleware
from mogplex_mcp.server import create_server
from mogplex_mcp.settings import Settings

MAX_SESSIONS = 2_000
SESSION_IDLE_SECONDS = 30 * 60.0

CORS_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
)
"""Request headers of both protocol eras."""
CORS_EXPOSED = ("Mcp-Session-Id", "MCP-Protocol-Version", "Retry-After", "WWW-Authenticate")


class McpEndpoint:
    """Streamable HTTP for every protocol revision that the SDK serves, on one address.

    2026-07-28 requests and 2025 sessions go to one manager. A 2025 request without a session, other than the one that
    opens a session, is served by itself, with a JSON answer; so is any request of a client that accepts JSON alone.
    """

    def __init__(self, server: Server[dict[str, Any]]) -> None:
        self._sessions = StreamableHTTPSessionManager(
            server,
            max_request_body_size=MAX_BODY_BYTES,
            session_idle_timeout=SESSION_IDLE_SECONDS,
            max_sessions=MAX_SESSIONS,
        )
        self._single = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=MAX_BODY_BYTES
        )

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve until left; leaving ends every session."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._sessions.run())
            await stack.enter_async_context(self._single.run())
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope)
        call: RpcCall | None = scope.get("rpc_call")
        handshake_era = (
            headers.get("mcp-protocol-version", HANDSHAKE_PROTOCOL_VERSIONS[0]) in HANDSHAKE_PROTOCOL_VERSIONS
        )
        if call is not None and handshake_era and not call.wellformed:
            # The documentation's code; the SDK says invalid params here, and only in this era.
            message = "The body must be one JSON-RPC 2.0 request, notification or response."
            await refusal(400, INVALID_REQUEST, message)(scope, receive, send)
            return
        manager = self._single if _stands_alone(headers, call, handshake_era=handshake_era) else self._sessions
        await manager.handle_request(scope, receive, send)


def _stands_alone(headers: Headers, call: RpcCall | None, *, handshake_era: bool) -> bool:
    """Whether a request is answered by itself, in JSON."""
    if call is None or "mcp-session-id" in headers:
        return False
    if handshake_era:
        return call.method != "initialize" or not _accepts_stream(headers)
    return not _accepts_stream(headers) and call.method != "subscriptions/listen"


def _accepts_stream(headers: Headers) -> bool:
    accept = headers.get("accept", "")
    return any(kind in accept for kind in ("text/event-stream", "text/*", "*/*"))


def create_app(settings: Settings, upstream: Upstream) -> Starlette:
    """Build the application.

    Args:
        settings: Addresses, origins and limits.
        upstream: The way to Mogplex, open for as long as the application serves.
    """
    endpoint = McpEndpoint(create_server(settings, upstream))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with endpoint.run():
            yield

    middleware = [
        Middleware(RequestLogMiddleware),
        Middleware(FieldValueMiddleware),
        Middleware(OriginMiddleware, addresses=Addresses.of(settings)),
    ]
    if settings.mcp_allowed_origins:
        middleware.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.mcp_allowed_origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=CORS_HEADERS,
                expose_headers=CORS_EXPOSED,
                max_age=3600,
            )
        )
    checked = BearerMiddleware(endpoint, TokenChecks(upstream))
    return Starlette(routes=[Route("/mcp", endpoint=checked)], middleware=middleware, lifespan=lifespan)
