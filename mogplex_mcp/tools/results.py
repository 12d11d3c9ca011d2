"""The result of a call that did what it was asked: the data, and the same as text for hosts that show only that."""

from __future__ import annotations

import mcp_types as types

from mogplex_mcp.api.compact_json import encode
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES
from mogplex_mcp.tools.errors import error_result
from mogplex_mcp.tools.tool import Json

LINKS_SINCE = "2025-06-18"
"""The protocol revision whose results first had ``resource_link`` (MCP specification, changelog)."""


def result_of(data: Json) -> types.CallToolResult:
    """The tool result that carries this data; an error when it is too large for a host to show."""
    text = encode(data)
    if len(text) > MAX_RESULT_BYTES or len(text.encode("utf-8")) > MAX_RESULT_BYTES:
        return error_result(
            {
                "code": "INVALID_RESPONSE",
                "status": None,
                "message": "Mogplex's answer is too large to show, even shortened.",
                "suggestion": "Ask for less: a smaller limit or tail.",
            }
        )
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text), *_links(data)], structured_content=data
    )


def for_revision(result: types.CallToolResult, revision: str) -> types.CallToolResult:
    """The result as a client of this protocol revision reads it: before 2025-06-18 nobody knew of links."""
    if revision >= LINKS_SINCE or len(result.content) == 1:
        return result
    return result.model_copy(update={"content": [c for c in result.content if not isinstance(c, types.ResourceLink)]})


def _links(data: Json) -> list[types.ResourceLink]:
    """The resource that holds what was too long for the result."""
    if "resourceUri" not in data or "text" in data:
        return []
    return [types.ResourceLink(uri=data["resourceUri"], name="export", mime_type=data["mimeType"])]
