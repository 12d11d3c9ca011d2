"""Failures that a model can act on: a tool result with ``isError``, one sentence, and the error as data.

Input the model can mend is a tool error since MCP 2025-11-25 (specification, tools, "Error Handling").
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import mcp_types as types
from pydantic import ValidationError

from mogplex_mcp.api import MogplexError

MAX_MESSAGE = 2000
MAX_FIELD = 300


def api_error_result(error: MogplexError, arguments: Collection[str] = ()) -> types.CallToolResult:
    """The result for a failed call to Mogplex.

    Args:
        error: What the client raised.
        arguments: The tool's argument names: one that begins the message (``workingBranch: …``) is a field at fault.
    """
    bad = error.code == "BAD_REQUEST"
    data: dict[str, Any] = {
        "code": error.code,
        "status": 400 if bad and error.status is None else error.status,
        "message": error.message[:MAX_MESSAGE],
        "suggestion": error.suggestion,
    }
    name, colon, problem = error.message.partition(": ")
    if bad and colon and name in arguments:
        data["fields"] = {name: problem[:MAX_FIELD]}
    if error.retry_after is not None:
        data["retryAfter"] = error.retry_after
    if error.request_id is not None:
        data["requestId"] = error.request_id
    if error.idempotency_key is not None:
        data["idempotencyKey"] = error.idempotency_key
    return error_result(data)


def bad_arguments_result(error: ValidationError) -> types.CallToolResult:
    """The result for arguments that do not fit the tool's schema: BAD_REQUEST with the fields at fault."""
    fields: dict[str, str] = {}
    for detail in error.errors(include_url=False, include_input=False, include_context=False)[:20]:
        name = str(detail["loc"][0])[:100] if detail["loc"] else "arguments"
        problem = "is not an argument of this tool" if detail["type"] == "extra_forbidden" else detail["msg"]
        fields.setdefault(name, problem[:MAX_FIELD])
    return bad_request_result(fields)


def bad_request_result(fields: dict[str, str]) -> types.CallToolResult:
    """The result for arguments refused here, by argument name."""
    message = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
    return error_result(
        {
            "code": "BAD_REQUEST",
            "status": 400,
            "message": f"Bad arguments: {message[:MAX_MESSAGE]}.",
            "suggestion": "Mend these arguments and call again.",
            "fields": fields,
        }
    )


def error_result(data: dict[str, Any]) -> types.CallToolResult:
    """The result that carries an error."""
    text = f"{data['message']} {data['suggestion']}".strip()
    return types.CallToolResult(
        content=[types.TextContent(type="text", text=text)], structured_content={"error": data}, is_error=True
    )


class BadArgumentsError(Exception):
    """Arguments that fit the schema and still make no sense.

    Attributes:
        fields: Argument name to what is wrong with it.
    """

    def __init__(self, **fields: str) -> None:
        super().__init__(", ".join(fields))
        self.fields = fields
