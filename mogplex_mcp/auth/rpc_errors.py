"""Refusals before the MCP server: a JSON-RPC error body with the HTTP status that the documentation gives.

Source: Mogplex documentation, /web/api/mcp, section "Errors".
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

INVALID_REQUEST = -32600
UNAUTHORIZED = -32001
RATE_LIMITED = -32002
FORBIDDEN = -32003


def refusal(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON-RPC error without a request id.

    Args:
        status: HTTP status code.
        code: JSON-RPC error code.
        message: One sentence that says what to do.
        headers: Further response headers.
    """
    body = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return Response(json.dumps(body), status_code=status, headers=headers, media_type="application/json")
