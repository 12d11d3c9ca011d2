"""The ASGI application: composition of the checks before the MCP server and the server itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Protocol

from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mogplex_mcp.api import Upstream
from mogplex_mcp.attach import ATTACH_HEADER, AttachMiddleware
from mogplex_mcp.auth.access import AccessTokens
from mogplex_mcp.auth.authorization import CROSS_ORIGIN_PATHS, create_authorization, oauth_routes
from mogplex_mcp.auth.bearer import BearerMiddleware, Gate
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.endings import Endings
from mogplex_mcp.auth.field_values import FieldValueMiddleware
from mogplex_mcp.auth.origin import Addresses, OriginMiddleware
from mogplex_mcp.auth.pat import TokenChecks
from mogplex_mcp.auth.rpc_call import MAX_BODY_BYTES, RpcCall
from mogplex_mcp.auth.rpc_errors import INVALID_REQUEST, refusal
from mogplex_mcp.auth.signin.authorization_client import AuthorizationClient
from mogplex_mcp.auth.streams import OpenStreams
from mogplex_mcp.auth.urls import ENDPOINT, PublicUrls
from mogplex_mcp.request_log import RequestLogMiddleware
from mogplex_mcp.runs import Watchers
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.server import create_server
from mogplex_mcp.sessions import CallerSessions, StandingStreams
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from mogplex_mcp.tools.registry import TOOL_SCOPES
from mogplex_mcp.tools.run_tasks import RunTasks
from mogplex_mcp.tools.subscriptions import Subscriptions
from mogplex_mcp.web.pages import Pages
from mogplex_mcp.web.routes import account_routes
from mogplex_mcp.web.wrong_address import WrongAddress

MAX_SESSIONS = 2_000
SESSION_IDLE_SECONDS = 30 * 60.0

METHODS = ("GET", "POST", "DELETE")
"""HTTP methods of the handshake era; 2026-07-28 has POST alone."""

CORS_HEADERS = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Last-Event-ID",
    "MCP-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
    ATTACH_HEADER,
)
"""Request headers of both protocol eras."""
CORS_EXPOSED = (ATTACH_HEADER, "Mcp-Session-Id", "MCP-Protocol-Version", "Retry-After", "WWW-Authenticate")


class McpEndpoint:
    """Streamable HTTP for every protocol revision that the SDK serves, on one address.

    2026-07-28 requests and 2025 sessions go to one manager. A 2025 request without a session, other than the one that
    opens a session, is served by itself, with a JSON answer; so is any request of a client that accepts JSON alone.
    """

    def __init__(self, server: Server[dict[str, Any]], standing: StandingStreams) -> None:
        self._standing = standing
        self._sessions = CallerSessions(
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
        methods = METHODS if handshake_era else ("POST",)
        if scope["method"] not in methods:
            message = f"The MCP endpoint takes {', '.join(methods)}; each JSON-RPC message is sent by POST."
            await refusal(405, INVALID_REQUEST, message, {"Allow": ", ".join(methods)})(scope, receive, send)
            return
        manager = self._single if _stands_alone(headers, call, handshake_era=handshake_era) else self._sessions
        if scope["method"] == "GET":
            await self._standing.serve(manager.handle_request, scope, receive, send)
        else:
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


class LocalTokens(Protocol):
    """Tokens of the embedded Mogplex, for people who sign in with a one-time code."""

    async def mint(self) -> str:
        """Make one."""

    async def revoke(self, token: str) -> None:
        """Revoke one."""


def create_app(settings: Settings, upstream: Upstream, store: Store, local: LocalTokens | None = None) -> Starlette:
    """Build the application.

    Args:
        settings: Addresses, origins, ways to sign in and limits.
        upstream: The way to Mogplex, open for as long as the application serves.
        store: Accounts, clients, grants and tokens, open as long.
        local: Tokens of the embedded Mogplex, when that is the way.

    Raises:
        UnsafeAddressError, SignInSettingsError, ClientsFileError: The settings cannot be followed.
    """
    urls = PublicUrls.of(settings)
    checks = TokenChecks(upstream)
    hosted = upstream.route.kind == "hosted"
    authorization_client = AuthorizationClient(upstream, dev=settings.dev) if hosted else None
    credentials = Credentials(store, authorization_client, local.revoke if local else None)
    access, streams = AccessTokens(store, credentials), OpenStreams()
    endings = Endings(store, access, streams, credentials)
    authorization = create_authorization(settings, store)
    pages = Pages()
    watchers = Watchers(upstream)
    subscriptions, known, tasks = Subscriptions(), KnownRuns(store), RunTasks(store)
    standing = StandingStreams()
    server = create_server(
        settings,
        upstream,
        watchers,
        known,
        tasks,
        subscriptions=subscriptions,
        streams=streams,
        stream_opened=standing.opened,
    )
    endpoint = McpEndpoint(server, standing)
    pats = checks if settings.mcp_pat_auth == "allow" else None
    checked = AttachMiddleware(BearerMiddleware(endpoint, Gate(urls, access, pats, streams, TOOL_SCOPES)))

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        keeping = asyncio.create_task(endings.keep())
        try:
            async with endpoint.run():
                yield
        finally:
            await watchers.close()
            keeping.cancel()
            await asyncio.wait({keeping})
            await endings.finish()

    routes = [
        Route(ENDPOINT, endpoint=_cors(checked, settings) if settings.mcp_allowed_origins else checked),
        *oauth_routes(authorization, urls, pages.error_page, endings.ended),
        *account_routes(
            settings=settings,
            urls=urls,
            store=store,
            upstream=upstream,
            pages=pages,
            authorization=authorization,
            credentials=credentials,
            endings=endings,
            authorization_client=authorization_client,
            checks=checks,
            mint_local_credential=local.mint if local else None,
        ),
    ]
    wrong = WrongAddress(pages, urls)
    app = Starlette(
        routes=routes,
        middleware=_middleware(settings),
        exception_handlers={404: wrong.not_found, 405: wrong.wrong_method},
        lifespan=lifespan,
    )
    # Starlette would redirect to the address with another slash, by the scheme that the proxy in front spoke with us.
    app.router.redirect_slashes = False
    app.state.subscriptions, app.state.watchers = subscriptions, watchers
    return app


def begin_stop(app: Starlette) -> None:
    """Have subscriptions say that they end, and calls that wait for a run answer, before their streams are closed."""
    app.state.subscriptions.close()
    app.state.watchers.stop()


def _middleware(settings: Settings) -> list[Middleware]:
    """What every request passes, in this order."""
    proxies = list(settings.mcp_trusted_proxies)
    return [
        *([Middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)] if proxies else []),
        Middleware(RequestLogMiddleware),
        Middleware(FieldValueMiddleware),
        Middleware(OriginMiddleware, addresses=Addresses.of(settings), open_paths=CROSS_ORIGIN_PATHS),
    ]


def _cors(app: ASGIApp, settings: Settings) -> ASGIApp:
    return CORSMiddleware(
        app,
        allow_origins=settings.mcp_allowed_origins,
        allow_methods=METHODS,
        allow_headers=CORS_HEADERS,
        expose_headers=CORS_EXPOSED,
        max_age=3600,
    )
