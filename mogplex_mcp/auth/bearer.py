"""The bearer layer: no request reaches the MCP server without a caller.

Sources: RFC 6750, sections 2.1 and 3; Mogplex documentation, /web/api/mcp, section "Errors".
"""

from __future__ import annotations

import math
import re

from mcp.server.auth.middleware.auth_context import auth_context_var
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.caller import CallerUser
from mogplex_mcp.auth.pat import TokenChecks, TooManyRefusalsError
from mogplex_mcp.auth.rpc_call import BodyTooLargeError, look, read_body, replay
from mogplex_mcp.auth.rpc_errors import RATE_LIMITED, UNAUTHORIZED, refusal

INVALID_REQUEST = -32600
INTERNAL_ERROR = -32603
UNREACHABLE_RETRY_SECONDS = 5.0

_PAT = re.compile(r"mog_[\x21-\x7e]{1,508}")
"""The documentation's own examples disagree on the length, so only the prefix and a bound are checked."""


class BearerMiddleware:
    """Finds the caller of each request, then looks at what is called.

    The caller goes into ``scope["user"]`` (where the SDK compares session owners) and into the SDK's context variable;
    the look goes into ``scope["rpc_call"]``.
    """

    def __init__(self, app: ASGIApp, checks: TokenChecks) -> None:
        self.app = app
        self.checks = checks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = await self._caller(scope)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        scope["user"] = found
        if scope["method"] == "POST":
            try:
                body = await read_body(receive)
            except BodyTooLargeError:
                await refusal(413, INVALID_REQUEST, "Request body over 4 MiB.")(scope, receive, send)
                return
            except TimeoutError:
                await refusal(408, INVALID_REQUEST, "The request body did not arrive in time.")(scope, receive, send)
                return
            scope["rpc_call"] = look(body)
            receive = replay(body, receive)
        reset = auth_context_var.set(found)
        try:
            await self.app(scope, receive, send)
        finally:
            auth_context_var.reset(reset)

    async def _caller(self, scope: Scope) -> CallerUser | Response:
        token = _bearer(Headers(scope=scope))
        if token is None:
            return _unauthorized("Send a Mogplex token: Authorization: Bearer mog_…")
        client = scope.get("client")
        try:
            user = await self.checks.check(token, client[0] if client else "")
        except TooManyRefusalsError as error:
            return _limited("Too many refused tokens from this address.", error.retry_after)
        except MogplexError as error:
            if error.code == "RATE_LIMITED":
                return _limited("Mogplex limits this token's requests.", error.retry_after or 60.0)
            headers = {"Retry-After": str(math.ceil(error.retry_after or UNREACHABLE_RETRY_SECONDS))}
            return refusal(503, INTERNAL_ERROR, f"The token could not be checked. {error.message}", headers)
        return user or _unauthorized("Mogplex refuses this token: it is unknown, expired or revoked.", "invalid_token")


def _bearer(headers: Headers) -> str | None:
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and _PAT.fullmatch(token) else None


def _unauthorized(message: str, error: str | None = None) -> Response:
    # RFC 6750, section 3.1: a request without credentials gets a challenge without an error code.
    challenge = "Bearer" if error is None else f'Bearer error="{error}"'
    return refusal(401, UNAUTHORIZED, message, {"WWW-Authenticate": challenge})


def _limited(message: str, retry_after: float) -> Response:
    seconds = max(1, math.ceil(retry_after))
    return refusal(429, RATE_LIMITED, f"{message} Try again in {seconds} s.", {"Retry-After": str(seconds)})
