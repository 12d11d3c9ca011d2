"""``mogplex_list_repos``: GET /repos (Mogplex documentation, /web/api/repos)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES, take_within
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.tool import Absent, Arguments, Hints, Json, Tool, nullable


class ListReposArguments(Arguments):
    """Arguments of ``mogplex_list_repos``."""

    query: Annotated[str, Field(max_length=200)] | Absent = Field(
        None, description="Case-insensitive substring of owner/name."
    )
    limit: Annotated[int, Field(ge=1, le=200)] | Absent = Field(
        None, description="At most this many; 100 unless given."
    )


async def _list_repos(call: Call, arguments: ListReposArguments) -> Json:
    repos = [repo.wire() for repo in await call.api.list_repos(query=arguments.query, limit=arguments.limit)]
    shown = take_within(repos, MAX_RESULT_BYTES - 200)
    if len(shown) == len(repos):
        return {"repos": shown}
    return {"repos": shown, "notice": f"{len(repos) - len(shown)} more repos left out for size: narrow with query."}


LIST_REPOS = Tool(
    name="mogplex_list_repos",
    title="List Mogplex repositories",
    description=(
        "List the repositories this Mogplex account can run agents in. Use this first: the `id` of a repository is the "
        "`repoId` that mogplex_start_agent_run and mogplex_list_sandboxes take. Narrow a long list with `query`. An "
        "empty list means that no repository is connected yet."
    ),
    scope=TOOLS_READ,
    hints=Hints(read_only=True, destructive=False, idempotent=True, open_world=True),
    arguments=ListReposArguments,
    result={
        "repos": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "string"},
                    "full_name": {"type": "string"},
                    "default_branch": nullable("string"),
                    "root_directory": nullable("string"),
                },
                "required": ["id"],
            },
        },
        "notice": {"type": "string"},
    },
    handle=_list_repos,
)
