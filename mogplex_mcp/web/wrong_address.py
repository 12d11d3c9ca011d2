"""Requests for an address that is none, or by a method that it does not take: what there is instead, in a sentence.

Programs get JSON: at ``/oauth/`` and ``/.well-known/`` an OAuth error (RFC 6749, section 5.2), elsewhere a JSON-RPC
one, since what calls there is mostly a host whose address of the endpoint is wrong. Browsers get a page.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from mogplex_mcp.auth.rpc_errors import INVALID_REQUEST, refusal
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.web.pages import Pages

_OAUTH = ("/oauth/", "/.well-known/")


@dataclass(frozen=True)
class WrongAddress:
    """The handlers, for Starlette's ``exception_handlers``."""

    pages: Pages
    urls: PublicUrls

    async def not_found(self, request: Request, _: Exception) -> Response:
        """404."""
        return self._answer(request, 404, "not_found", "There is nothing at this address.")

    async def wrong_method(self, request: Request, error: Exception) -> Response:
        """405."""
        allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
        response = self._answer(request, 405, "wrong_method", f"This address takes {allowed}.")
        response.headers["Allow"] = allowed
        return response

    def _answer(self, request: Request, status: int, kind: str, what: str) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return self.pages.problem(kind, again="/")
        if request.url.path.startswith(_OAUTH):
            where = f"{self.urls.issuer(request)}/.well-known/oauth-authorization-server names every address."
            return JSONResponse({"error": "invalid_request", "error_description": f"{what} {where}"}, status)
        return refusal(status, INVALID_REQUEST, f"{what} MCP is served at {self.urls.resource(request)}.")
