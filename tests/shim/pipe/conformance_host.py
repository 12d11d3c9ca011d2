"""The client that the conformance suite runs: the Python SDK's stdio client, with the shim between it and the server.

Argument: the server's URL. The suite names the scenario and the revision in the environment.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp_types import ElicitRequestParams, ElicitResult
from pydantic import ValidationError

SHIM = Path(__file__).parents[3] / "shim"
ARGUMENTS: dict[str, dict[str, object]] = {
    "add_numbers": {"a": 5, "b": 3},
    "valid_tool": {"region": "us-west1"},
}
"""What a tool of the suite is called with; those that are not here want nothing."""

LISTED_ONLY = {"json-schema-ref-no-deref"}
"""Scenarios whose tools are not there to be called."""


async def elicit(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
    """Accept what the server proposes."""
    schema: dict[str, Any] = getattr(params, "requested_schema", None) or {}
    properties = schema.get("properties", {})
    proposed = {name: each["default"] for name, each in properties.items() if "default" in each}
    answers = {"boolean": True, "integer": 1, "number": 1.0}
    required = {name: answers.get(properties[name].get("type"), "yes") for name in schema.get("required", [])}
    return ElicitResult(action="accept", content={**required, **proposed})


async def main() -> None:
    """List the tools and call them all."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    mode = "legacy" if os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"] < "2026" else "auto"
    with tempfile.TemporaryDirectory(prefix="conformance-") as home:
        shim = StdioServerParameters(
            command=sys.executable,
            args=["-m", "mogplex_mcp_shim", sys.argv[1]],
            env={"PYTHONPATH": str(SHIM), "MOGPLEX_HOME": home},
        )
        async with Client(stdio_client(shim), mode=mode, elicitation_callback=elicit) as client:
            tools = (await client.list_tools()).tools
            schemas = {tool.name: tool.input_schema for tool in tools}
            if os.environ["MCP_CONFORMANCE_SCENARIO"] in LISTED_ONLY:
                return
            for call in context.get("toolCalls") or [{"name": name} for name in schemas]:
                arguments = call.get("arguments") or ARGUMENTS.get(call["name"], {})
                if "schema" in schemas[call["name"]].get("required", []):
                    arguments = {"schema": next(iter(schemas.values()))}
                with suppress(ValidationError):  # the SDK refuses a result without resultType; the suite sends one
                    await client.call_tool(call["name"], arguments)
            if mode == "auto" and client.server_capabilities.prompts:
                for prompt in (await client.list_prompts()).prompts:
                    await client.get_prompt(prompt.name)
            if mode == "auto" and client.server_capabilities.resources:
                for resource in (await client.list_resources()).resources:
                    await client.read_resource(str(resource.uri))


if __name__ == "__main__":
    anyio.run(main)
