"""Header field values without the optional white space around them (RFC 9110, section 5.5).

The faster of uvicorn's two HTTP parsers leaves trailing blanks in the value; everything behind this layer compares
values exactly.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class FieldValueMiddleware:
    """Strips spaces and tabs around every header field value."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and any(value[-1:] in {b" ", b"\t"} for _, value in scope["headers"]):
            scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self.app(scope, receive, send)
