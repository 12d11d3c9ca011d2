"""The v1 API as an ASGI application: envelope, credentials, limits, and the table of routes.

It is the same application over TCP, over a Unix socket and in-process (Mogplex documentation, /web/api/errors,
/web/api/authentication).
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mogplex_mcp.local import v1
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.errors import ApiError
from mogplex_mcp.local.limits import RateLimiter
from mogplex_mcp.local.runner import Runner
from mogplex_mcp.local.runs import API
from mogplex_mcp.local.timestamps import now_ms
from mogplex_mcp.local.tokens import TokenRecord, authenticate
from mogplex_mcp.local.v1 import Activity, Mogplex
from mogplex_mcp.own_command import command_for
from mogplex_mcp.settings import Settings

log = structlog.get_logger()

_BUSY_RETRY = 60
Handler = Callable[[Mogplex, Request], Awaitable[v1.Data]]

ROUTES: tuple[tuple[str, str, str, int, Handler], ...] = (
    ("GET", "/repos", "read", 200, v1.list_repos),
    ("GET", "/sandboxes", "read", 200, v1.list_sandboxes),
    ("POST", "/runs", "write", 202, v1.create_run),
    ("GET", "/runs/{run_id}", "read", 200, v1.get_run),
    ("GET", "/runs/{run_id}/events", "read", 200, v1.list_run_events),
    ("POST", "/runs/{run_id}/cancel", "write", 200, v1.cancel_run),
    ("GET", "/mcp/servers", "read", 200, v1.list_mcp_servers),
)
"""Method, path, scope, status of success, handler."""


def create_app(
    db: Database,
    runner: Runner,
    settings: Settings,
    *,
    activity: Activity | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], int] = now_ms,
) -> Starlette:
    """The application.

    Args:
        db: the data directory's database.
        runner: executes what POST /runs records.
        settings: limits and harnesses.
        activity: told of every request.
        clock: seconds that only grow, for the rolling request limit.
        now: milliseconds since 1970, for run-start budgets.
    """
    limiter = RateLimiter(settings.local_rate_limit, clock)
    mogplex = Mogplex(db, runner, settings, limiter, activity or Activity(), now)
    routes = [
        Route(API + path, _endpoint(mogplex, scope, status, handler), methods=[method])
        for method, path, scope, status, handler in ROUTES
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(_Outermost, activity=mogplex.activity)],
        exception_handlers={HTTPException: _no_route},
    )
    app.router.redirect_slashes = False
    return app


def _endpoint(mogplex: Mogplex, scope: str, status: int, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            await _admit(mogplex, request, scope)
            return _json(status, {"ok": True, "data": await handler(mogplex, request)})
        except ApiError as error:
            return _failure(error)

    return endpoint


async def _admit(mogplex: Mogplex, request: Request, scope: str) -> TokenRecord:
    """Who calls, whether they may, and whether they may now."""
    given = request.headers.get("authorization", "")
    scheme, _, bearer = given.partition(" ")
    if scheme.lower() != "bearer" or not bearer.strip():
        raise ApiError("UNAUTHORIZED", "A token is required: Authorization: Bearer mog_…")
    token = await mogplex.db.call(authenticate, mogplex.db, bearer.strip())
    if token is None:
        raise ApiError("UNAUTHORIZED", "The token is invalid, expired or revoked.")
    waits = request.url.path.endswith("/events") and v1.waits(request) > 0
    # One that waits for news comes again only when there are some: it takes the place of many that ask.
    wait = None if waits else mogplex.limiter.admit(token.id)
    if wait is not None:
        raise ApiError("RATE_LIMITED", f"Rate limit exceeded. Retry after {wait}s.", retry_after=wait)
    if scope not in token.scopes:
        raise ApiError(
            "FORBIDDEN",
            f"Missing required scope: {scope}. Issue a new token with the '{scope}' scope: "
            f"{command_for(mogplex.settings)} local tokens create --scopes {','.join(sorted({*token.scopes, scope}))}",
        )
    return token


def _json(status: int, content: Mapping[str, object], headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(content, status, {"Cache-Control": "no-store", **(headers or {})})


def _failure(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    extra = dict(headers or {})
    if error.retry_after is not None:
        extra["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        extra["WWW-Authenticate"] = 'Bearer realm="mogplex"'
    return _json(error.status, {"ok": False, "error": {"code": error.code, "message": error.message}}, extra)


async def _no_route(_request: Request, error: Exception) -> Response:
    """What Starlette's router refuses: a path or a method that is not there."""
    if isinstance(error, HTTPException) and error.status_code == 405:
        return _failure(ApiError("METHOD_NOT_ALLOWED", "This path has no such method."), error.headers)
    return _failure(ApiError("NOT_FOUND", "There is no such route."))


class _Outermost:
    """Gives every answer a request id, and an unexpected exception the envelope."""

    def __init__(self, app: ASGIApp, activity: Activity) -> None:
        self._app = app
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = f"req_{uuid.uuid4().hex}"
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        self._activity.in_flight += 1
        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            pass  # there is nobody left to answer
        except DBAPIError as error:
            log.error("database_unavailable", request_id=request_id, reason=str(error.orig))  # noqa: TRY400
            await _unavailable()(scope, receive, send_with_id)
        except Exception:
            log.exception("request_broken", request_id=request_id)
            if started:
                raise
            await _failure(ApiError("INTERNAL_ERROR", "Unexpected server error."))(scope, receive, send_with_id)
        finally:
            self._activity.in_flight -= 1
            self._activity.last = self._activity.clock()


def _unavailable() -> Response:
    return _failure(ApiError("SERVICE_UNAVAILABLE", "The database cannot be used right now.", retry_after=_BUSY_RETRY))
