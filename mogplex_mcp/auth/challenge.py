"""What a caller without a valid token, or without a needed scope, is told (RFC 6750, section 3; RFC 9728, section 5.1).

The 401 challenge names all scopes that the served tools need: several hosts never ask for more later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from starlette.requests import HTTPConnection
from starlette.responses import Response

from mogplex_mcp.auth.rpc_errors import FORBIDDEN, RATE_LIMITED, UNAUTHORIZED, refusal
from mogplex_mcp.auth.scopes import SCOPES, SERVED
from mogplex_mcp.auth.urls import ENDPOINT, PublicUrls

METADATA_PATH = "/.well-known/oauth-protected-resource"


def unauthorized(urls: PublicUrls, connection: HTTPConnection, message: str, error: str | None = None) -> Response:
    """401: sign in, or sign in again.

    Args:
        urls: This server's addresses.
        connection: The request.
        message: One sentence for the body.
        error: ``invalid_token`` when a token was presented; a request without one gets no error code.
    """
    parameters = {} if error is None else {"error": error, "error_description": message}
    return refusal(401, UNAUTHORIZED, message, {"WWW-Authenticate": _challenge(urls, connection, SERVED, parameters)})


def insufficient_scope(
    urls: PublicUrls, connection: HTTPConnection, needed: Iterable[str], missing: Iterable[str]
) -> Response:
    """403: the person has not ticked what this call needs.

    Args:
        urls: This server's addresses.
        connection: The request.
        needed: Everything the call needs, for the host to ask for.
        missing: What of it is not granted, for the person to tick.
    """
    boxes = "; ".join(f'"{SCOPES[scope]}"' for scope in missing)
    where = f"{urls.base(connection)}/account/connections"
    message = f"This agent may not do that. Tick {boxes} for it at {where}, or reconnect it and tick the box then."
    parameters = {"error": "insufficient_scope", "error_description": message.replace('"', "'")}
    headers = {"WWW-Authenticate": _challenge(urls, connection, needed, parameters)}
    return refusal(403, FORBIDDEN, message, headers)


def limited(message: str, retry_after: float) -> Response:
    """429 with the seconds to wait."""
    seconds = max(1, math.ceil(retry_after))
    return refusal(429, RATE_LIMITED, f"{message} Try again in {seconds} s.", {"Retry-After": str(seconds)})


def _challenge(urls: PublicUrls, connection: HTTPConnection, scopes: Iterable[str], parameters: dict[str, str]) -> str:
    shown = {
        **parameters,
        "resource_metadata": f"{urls.base(connection)}{METADATA_PATH}{ENDPOINT}",
        "scope": " ".join(scopes),
    }
    return "Bearer " + ", ".join(f'{name}="{value}"' for name, value in shown.items())
