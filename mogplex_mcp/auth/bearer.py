"""The bearer layer: no request reaches the MCP server without a caller who may make it.

Sources: RFC 6750, sections 2.1 and 3; Mogplex documentation, /web/api/mcp, section "Errors".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import auth_context_var
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.access import AccessTokens
from mogplex_mcp.auth.challenge import insufficient_scope, limited, unauthorized
from mogplex_mcp.auth.current_caller import CallerUser
from mogplex_mcp.auth.pat import TokenChecks, TooManyRefusalsError
from mogplex_mcp.auth.rpc_call import BodyTooLargeError, RpcCall, look, read_body, replay
from mogplex_mcp.auth.rpc_errors import INVALID_REQUEST, refusal
from mogplex_mcp.auth.scopes import needed_scopes
from mogplex_mcp.auth.streams import OpenStreams
from mogplex_mcp.auth.urls import PublicUrls, client_address

PARSE_ERROR = -32700
INTERNAL_ERROR = -32603
UNREACHABLE_RETRY_SECONDS = 5.0

_TOKEN = re.compile(r"(mog_|mgo_at_)[\x21-\x7e]{1,508}")
"""A Mogplex token (``mog_…``, whose documented lengths disagree) or one of ours."""


@dataclass(frozen=True)
class Gate:
    """What the bearer layer decides by.

    Attributes:
        urls: This server's addresses.
        access: Our own tokens.
        pats: Mogplex tokens as bearers; None when they are not accepted.
        streams: What is under way, by grant.
        tool_scopes: What each tool's call needs.
    """

    urls: PublicUrls
    access: AccessTokens
    pats: TokenChecks | None
    streams: OpenStreams
    tool_scopes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class _Found:
    user: CallerUser
    grant: tuple[str, float] | None = None


class BearerMiddleware:
    """Finds the caller of each request, looks at what is called, and whether the caller may.

    The caller goes into ``scope["user"]`` (where the SDK compares session owners) and into the SDK's context variable;
    the look goes into ``scope["rpc_call"]``.
    """

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self.app = app
        self.gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        connection = HTTPConnection(scope)
        found = await self._caller(connection)
        if isinstance(found, Response):
            await found(scope, receive, send)
            return
        scope["user"] = found.user
        needed: tuple[str, ...] = ()
        if scope["method"] == "POST":
            body = await _body(receive)
            if isinstance(body, Response):
                await body(scope, receive, send)
                return
            scope["rpc_call"] = look(body)
            needed = self._needed(scope["rpc_call"])
            if missing := found.user.caller.missing(needed):
                await insufficient_scope(self.gate.urls, connection, needed, missing)(scope, receive, send)
                return
            receive = replay(body, receive)
        reset = auth_context_var.set(found.user)
        try:
            if found.grant is None:
                await self.app(scope, receive, send)
            else:
                await self.gate.streams.serve(
                    self.app, scope, receive, send, grant=found.grant, needs=frozenset(needed)
                )
        finally:
            auth_context_var.reset(reset)

    async def _caller(self, connection: HTTPConnection) -> _Found | Response:
        token = _bearer(connection.headers)
        if token is None:
            return unauthorized(self.gate.urls, connection, "Sign in to Mogplex: this endpoint needs a bearer token.")
        if token.startswith("mog_"):
            return await self._pat(connection, token)
        try:
            access = await self.gate.access.find(token, client_address(connection))
        except SQLAlchemyError:
            headers = {"Retry-After": str(math.ceil(UNREACHABLE_RETRY_SECONDS))}
            return refusal(503, INTERNAL_ERROR, "The database of sign-ins does not answer.", headers)
        # RFC 8707, section 2: a token is good for what it was issued for, wherever it is stored.
        if access is None or not self.gate.urls.same_resource(access.resource, connection):
            message = "This token is unknown, expired or revoked, or its account must sign in again."
            return unauthorized(self.gate.urls, connection, message, "invalid_token")
        return _Found(access.user, (access.grant_id, self.gate.access.seconds_left(access)))

    async def _pat(self, connection: HTTPConnection, token: str) -> _Found | Response:
        urls, pats = self.gate.urls, self.gate.pats
        if pats is None:
            message = "This server takes no Mogplex tokens as bearers: sign in instead."
            return unauthorized(urls, connection, message, "invalid_token")
        try:
            user = await pats.check(token, client_address(connection))
        except TooManyRefusalsError as error:
            return limited("Too many refused tokens from this address.", error.retry_after)
        except MogplexError as error:
            if error.code == "RATE_LIMITED":
                return limited("Mogplex limits this token's requests.", error.retry_after or 60.0)
            headers = {"Retry-After": str(math.ceil(error.retry_after or UNREACHABLE_RETRY_SECONDS))}
            return refusal(503, INTERNAL_ERROR, f"The token could not be checked. {error.message}", headers)
        if user is None:
            message = "Mogplex refuses this token: it is unknown, expired or revoked."
            return unauthorized(urls, connection, message, "invalid_token")
        return _Found(user)

    def _needed(self, call: RpcCall) -> tuple[str, ...]:
        return () if call.method is None else needed_scopes(call.method, call.name, self.gate.tool_scopes) or ()


async def _body(receive: Receive) -> bytes | Response:
    try:
        body = await read_body(receive)
    except BodyTooLargeError:
        return refusal(413, INVALID_REQUEST, "Request body over 4 MiB.")
    except TimeoutError:
        return refusal(408, INVALID_REQUEST, "The request body did not arrive in time.")
    # RFC 8259, section 8.1. Parsers differ on other encodings, and what is looked at must be what is executed.
    if body.startswith(b"\xef\xbb\xbf") or b"\0" in body[:4]:
        return refusal(400, PARSE_ERROR, "The body must be JSON in UTF-8 without a byte order mark.")
    return body


def _bearer(headers: Headers) -> str | None:
    values = headers.getlist("authorization")
    if len(values) != 1:
        return None
    scheme, _, token = values[0].partition(" ")
    token = token.strip(" ")
    return token if scheme.lower() == "bearer" and _TOKEN.fullmatch(token) else None
