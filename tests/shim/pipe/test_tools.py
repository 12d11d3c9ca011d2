"""``Mcp-Param-*``: arguments that a tool wants in headers (MCP 2026-07-28, SEP-2243)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.inbound import encode_header_value, find_invalid_x_mcp_header, mcp_param_headers, x_mcp_header_map
from mogplex_mcp_shim.mirrored import annotated, encoded, parameter_headers

from tests.shim.pipe.scripted_server import Legacy, Received, Reply, scripted_server
from tests.shim.pipe.shim_process import running_shim

Json = dict[str, Any]

SCHEMA: Json = {
    "type": "object",
    "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "where": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "Zone"}}},
        "other": {"type": "string"},
    },
}
TOOLS: Json = {
    "tools": [
        {"name": "good", "inputSchema": SCHEMA},
        {"name": "bad", "inputSchema": {"properties": {"n": {"type": "number", "x-mcp-header": "N"}}}},
    ]
}


def server_that_validates(pages: int = 1) -> Any:
    """Lists its tools, and refuses a call without the header."""

    def handler(request: Received, reply: Reply) -> None:
        if request.rpc == "tools/list":
            cursor = request.message["params"].get("cursor", "1")
            last = int(cursor) == pages
            reply.result(
                {**(TOOLS if last else {"tools": []}), **({} if last else {"nextCursor": str(int(cursor) + 1)})}
            )
        elif "mcp-param-region" not in request.headers:
            reply.error(400, -32020, "Mcp-Param-Region is missing")
        else:
            reply.result({name: value for name, value in request.headers.items() if name.startswith("mcp-param-")})

    return handler


ARGUMENTS: Json = {"region": " Zürich", "count": 42, "dry": False, "where": {"zone": "a"}, "other": "x"}
HEADERS = {
    "mcp-param-region": "=?base64?IFrDvHJpY2g=?=",
    "mcp-param-count": "42",
    "mcp-param-dry-run": "false",
    "mcp-param-zone": "a",
}


def test_arguments_are_mirrored_once_the_tools_are_known(tmp_path: Path) -> None:
    with scripted_server(server_that_validates()) as server, running_shim(tmp_path / "h", server.url) as shim:
        listed = shim.answer(shim.modern("tools/list"))["result"]["tools"]
        assert [tool["name"] for tool in listed] == ["good"]
        assert "the tool bad is left out" in shim.errors()
        called = shim.answer(shim.modern("tools/call", {"name": "good", "arguments": ARGUMENTS}))
        assert called["result"] == HEADERS
        assert len(server.of("tools/call")) == 1


@pytest.mark.parametrize("pages", [1, 3])
def test_a_call_refused_for_its_headers_lists_the_tools_and_is_sent_again(pages: int, tmp_path: Path) -> None:
    with scripted_server(server_that_validates(pages)) as server, running_shim(tmp_path / "h", server.url) as shim:
        called = shim.answer(shim.modern("tools/call", {"name": "good", "arguments": ARGUMENTS}))
        assert called["result"] == HEADERS
        assert [each.rpc for each in server.requests] == ["tools/call", *["tools/list"] * pages, "tools/call"]
        assert shim.is_silent(0.1)


def test_a_call_refused_for_its_headers_in_vain_is_that_error(tmp_path: Path) -> None:
    with scripted_server(server_that_validates()) as server, running_shim(tmp_path / "h", server.url) as shim:
        error = shim.answer(shim.modern("tools/call", {"name": "good", "arguments": {"region": None}}))["error"]
        assert error["code"] == -32020
        assert [each.rpc for each in server.requests] == ["tools/call", "tools/list"]


def test_earlier_revisions_know_no_such_headers(tmp_path: Path) -> None:
    legacy = Legacy(own={"tools/list": lambda _, reply: reply.result(TOOLS)})
    with scripted_server(legacy) as server, running_shim(tmp_path / "h", server.url) as shim:
        shim.initialize()
        assert len(shim.call("tools/list")["tools"]) == 2
        shim.call("tools/call", {"name": "good", "arguments": ARGUMENTS})
        assert not [name for name in server.requests[-1].headers if name.startswith("mcp-param") or name == "mcp-name"]


INVALID: list[object] = [
    {"x-mcp-header": "Root"},
    {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
    {"properties": {"a": {"type": "string", "x-mcp-header": "Two Words"}}},
    {"properties": {"a": {"type": "string", "x-mcp-header": "Line\r\nBreak"}}},
    {"properties": {"a": {"type": "string", "x-mcp-header": 5}}},
    {"properties": {"a": {"type": "number", "x-mcp-header": "N"}}},
    {"properties": {"a": {"type": ["string"], "x-mcp-header": "N"}}},
    {"properties": {"a": {"x-mcp-header": "N"}}},
    {"properties": {"a": {"type": "string", "x-mcp-header": "N"}, "b": {"type": "string", "x-mcp-header": "n"}}},
    {"properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "N"}}}},
    {"properties": {"a": {"anyOf": [{"type": "string", "x-mcp-header": "N"}]}}},
    {"$defs": {"a": {"type": "string", "x-mcp-header": "N"}}},
    {"allOf": [{"properties": {"a": {"type": "string", "x-mcp-header": "N"}}}]},
    {"properties": {"a": {"not": {"properties": {"b": {"type": "string", "x-mcp-header": "N"}}}}}},
]
VALID: list[object] = [
    SCHEMA,
    {},
    None,
    {"default": {"x-mcp-header": "N"}, "enum": [{"x-mcp-header": "N"}]},
    {"properties": {"x-mcp-header": {"type": "string"}}},
]


@pytest.mark.parametrize("schema", INVALID, ids=str)
def test_what_the_sdk_calls_invalid_is_invalid_here(schema: object) -> None:
    assert find_invalid_x_mcp_header(schema) is not None
    with pytest.raises(ValueError, match="x-mcp-header"):
        annotated(schema)


@pytest.mark.parametrize("schema", VALID, ids=str)
def test_what_the_sdk_calls_valid_gives_the_same_headers_here(schema: object) -> None:
    assert find_invalid_x_mcp_header(schema) is None
    found = annotated(schema)
    assert found == x_mcp_header_map(schema)
    assert dict(parameter_headers(found, ARGUMENTS)) == mcp_param_headers(found, ARGUMENTS)


@pytest.mark.parametrize(
    "value",
    ["", "plain", "a b", " a", "a ", "tab\t", "line\n", "Hello, 世界", "=?base64?literal?=", "=?base64?", "\x7f"],
)
def test_values_are_encoded_as_the_sdk_encodes_them(value: str) -> None:
    assert encoded(value) == encode_header_value(value)
