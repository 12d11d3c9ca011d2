"""One log line per HTTP request: what was called, by whom, how it ended and how long it took."""

from __future__ import annotations

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mogplex_mcp.auth.current_caller import CallerUser
from mogplex_mcp.auth.rpc_call import RpcCall

logger = structlog.get_logger("mogplex_mcp.request")

MAX_FIELD = 100
"""Names come from outside; a line stays a line."""


class RequestLogMiddleware:
    """Logs each request after its last byte. Never a header, a body, or an argument."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        started = time.perf_counter()
        try:
            await self.app(scope, receive, watched)
        finally:
            logger.info("request", **_fields(scope, status), ms=round((time.perf_counter() - started) * 1000, 1))


def _fields(scope: Scope, status: int) -> dict[str, str | int]:
    fields: dict[str, str | int] = {"http": scope["method"], "path": scope["path"][:MAX_FIELD], "status": status}
    call = scope.get("rpc_call")
    if isinstance(call, RpcCall) and call.method is not None:
        fields["method"] = call.method[:MAX_FIELD]
        if call.name is not None:
            fields["tool"] = call.name[:MAX_FIELD]
    if "tool_error" in scope:
        fields["error"] = scope["tool_error"]
    user = scope.get("user")
    if isinstance(user, CallerUser):
        fields["account"] = user.caller.account
    return fields
