"""The tools, and how one is called."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import mcp_types as types
from pydantic import ValidationError

from mogplex_mcp.api import MogplexError
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.cancel_run import CANCEL_RUN
from mogplex_mcp.tools.errors import (
    BadArgumentsError,
    api_error_result,
    bad_arguments_result,
    bad_request_result,
)
from mogplex_mcp.tools.export_run import EXPORT_RUN
from mogplex_mcp.tools.follow_run import FOLLOW_RUN
from mogplex_mcp.tools.get_run import GET_RUN
from mogplex_mcp.tools.get_run_events import GET_RUN_EVENTS
from mogplex_mcp.tools.list_repos import LIST_REPOS
from mogplex_mcp.tools.list_runs import LIST_RUNS
from mogplex_mcp.tools.list_sandboxes import LIST_SANDBOXES
from mogplex_mcp.tools.results import result_of
from mogplex_mcp.tools.start_agent_run import START_AGENT_RUN
from mogplex_mcp.tools.tasks import Task
from mogplex_mcp.tools.tool import Tool

TOOLS: Final[Mapping[str, Tool[Any]]] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            LIST_REPOS,
            START_AGENT_RUN,
            FOLLOW_RUN,
            GET_RUN_EVENTS,
            GET_RUN,
            CANCEL_RUN,
            LIST_RUNS,
            EXPORT_RUN,
            LIST_SANDBOXES,
        )
    }
)
"""Every tool by name, in the order in which they are listed."""

TOOL_SCOPES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {name: (tool.scope,) for name, tool in TOOLS.items()}
)
"""What each tool's call needs."""


async def call_tool(tool: Tool[Any], arguments: Mapping[str, Any] | None, call: Call) -> types.CallToolResult | Task:
    """Call one tool; failures that a model can act on are results too.

    Args:
        tool: One of ``TOOLS``.
        arguments: As the host sent them.
        call: Who calls, and what is at hand for it.

    Raises:
        UndecidedError: The person has to be asked, or the model told what there is to choose from.
    """
    try:
        data = await tool.handle(call, tool.arguments.model_validate(arguments or {}, by_name=False))
    except ValidationError as error:
        return bad_arguments_result(error)
    except BadArgumentsError as error:
        return bad_request_result(error.fields)
    except MogplexError as error:
        return api_error_result(error, tool.argument_names)
    return data if isinstance(data, Task) else result_of(data)


def tools_table() -> str:
    """The README's table of tools, in Markdown."""
    rows = ["| tool | what it does | scope |", "| --- | --- | --- |"]
    rows += [f"| `{tool.name}` | {tool.description.split('. ')[0]}. | `{tool.scope}` |" for tool in TOOLS.values()]
    return "\n".join(rows)
