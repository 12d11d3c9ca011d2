"""``mogplex_list_sandboxes``: GET /sandboxes (Mogplex documentation, /web/api/sandboxes)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES, take_within
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.repo_names import repo_id_of
from mogplex_mcp.tools.tool import Absent, Arguments, Hints, Identifier, Json, Tool, nullable


class ListSandboxesArguments(Arguments):
    """Arguments of ``mogplex_list_sandboxes``."""

    repo_id: Identifier | Absent = Field(None, description="Only sandboxes of this repository: its `id` or owner/name.")
    status: Annotated[str, Field(min_length=1, max_length=50)] | Absent = Field(
        None, description="Only this status, for example running, paused, stopped or error."
    )
    limit: Annotated[int, Field(ge=1, le=200)] | Absent = Field(
        None, description="At most this many; 100 unless given."
    )


async def _list_sandboxes(call: Call, arguments: ListSandboxesArguments) -> Json:
    named = arguments.repo_id
    repo_id = None if named is None else await repo_id_of(call, named, changes=False)
    found = await call.api.list_sandboxes(repo_id=repo_id, status=arguments.status, limit=arguments.limit)
    sandboxes = [sandbox.wire() for sandbox in found]
    shown = take_within(sandboxes, MAX_RESULT_BYTES - 200)
    if len(shown) == len(sandboxes):
        return {"sandboxes": shown}
    left_out = len(sandboxes) - len(shown)
    return {
        "sandboxes": shown,
        "notice": f"{left_out} older sandboxes left out for size: narrow with repoId or status.",
    }


LIST_SANDBOXES = Tool(
    name="mogplex_list_sandboxes",
    title="List Mogplex sandboxes",
    description=(
        "List the sandboxes (working copies) in which agents run or ran, most recently active first, with branch, "
        "status and preview address. Use it to see what is running in a repository or to find a preview. To see what "
        "an agent did, use mogplex_get_run_events instead."
    ),
    scope=TOOLS_READ,
    hints=Hints(read_only=True, destructive=False, idempotent=True, open_world=True),
    arguments=ListSandboxesArguments,
    result={
        "sandboxes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "repo_id": {"type": "string"},
                    "status": {"type": "string"},
                    "working_branch": nullable("string"),
                    "preview_url": nullable("string"),
                },
                "required": ["id"],
            },
        },
        "notice": {"type": "string"},
    },
    handle=_list_sandboxes,
)
