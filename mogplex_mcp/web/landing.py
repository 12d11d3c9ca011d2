"""The page at ``/``: what this is and how to connect a host."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.web.pages import Pages

NAME = "mogplex"


@dataclass(frozen=True)
class Host:
    """How one agent host is connected.

    Attributes:
        name: The host.
        words: What to do with the line.
        line: To copy.
    """

    name: str
    words: str
    line: str


def hosts(endpoint: str) -> tuple[Host, ...]:
    """The lines that connect each host to an endpoint."""
    opencode = json.dumps({"mcp": {NAME: {"type": "remote", "url": endpoint}}}, indent=2)
    return (
        Host("Claude Code", "In a terminal:", f"claude mcp add --transport http {NAME} {endpoint}"),
        Host("Codex", "In a terminal:", f"codex mcp add {NAME} --url {endpoint}"),
        Host("opencode", "In opencode.json:", opencode),
        Host(
            "MCP Inspector", "In a terminal, then connect to the address below:", "npx @modelcontextprotocol/inspector"
        ),
        Host("Any other host", "A server of the type “HTTP” or “Streamable HTTP”, without a token:", endpoint),
    )


def cursor_link(endpoint: str) -> str:
    """Cursor's install link (Cursor documentation, "MCP install links")."""
    config = base64.b64encode(json.dumps({"url": endpoint}).encode()).decode()
    return "cursor://anysphere.cursor-deeplink/mcp/install?" + urlencode({"name": NAME, "config": config})


def vscode_link(endpoint: str) -> str:
    """VS Code's install link (VS Code documentation, "Use MCP servers", URL handler)."""
    return "vscode:mcp/install?" + quote(json.dumps({"name": NAME, "type": "http", "url": endpoint}), safe="")


@dataclass(frozen=True)
class Landing:
    """The handler."""

    pages: Pages
    urls: PublicUrls

    async def show(self, request: Request) -> Response:
        """GET: no cookie is read or set here."""
        endpoint = self.urls.resource(request)
        return self.pages.render(
            "landing",
            account=None,
            endpoint=endpoint,
            hosts=hosts(endpoint),
            cursor=cursor_link(endpoint),
            vscode=vscode_link(endpoint),
        )
