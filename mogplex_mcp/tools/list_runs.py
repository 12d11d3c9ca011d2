"""``mogplex_list_runs``: the runs that the account started or asked about here; Mogplex has no route for it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.store.known_runs import CursorError
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES, fit_run, take_within
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.errors import BadArgumentsError
from mogplex_mcp.tools.fresh_runs import refresh
from mogplex_mcp.tools.repo_names import repo_id_of
from mogplex_mcp.tools.tool import RUN_SCHEMA, Absent, Arguments, Hints, Identifier, Json, Tool, nullable

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
ENVELOPE_BYTES = 1_000
"""Room for everything in the result but the runs."""


class ListRunsArguments(Arguments):
    """Arguments of ``mogplex_list_runs``."""

    repo_id: Identifier | Absent = Field(None, description="Only runs in this repository: its `id` or owner/name.")
    status: Annotated[str, Field(min_length=1, max_length=50)] | Absent = Field(
        None, description="Only this status: pending, streaming, success, failed or cancelled."
    )
    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT)] | Absent = Field(
        None, description="At most this many; 20 unless given."
    )
    cursor: Annotated[str, Field(min_length=1, max_length=500)] | Absent = Field(
        None, description="`nextCursor` of the page before."
    )


async def _list_runs(call: Call, arguments: ListRunsArguments) -> Json:
    named = arguments.repo_id
    repo_id = None if named is None else await repo_id_of(call, named, changes=False)
    left = await refresh(call, repo_id)

    async def page(limit: int) -> tuple[list[Json], str | None]:
        try:
            found = await call.known.list(
                call.caller.account, repo_id=repo_id, status=arguments.status, limit=limit, cursor=arguments.cursor
            )
        except CursorError:
            raise BadArgumentsError(cursor="is no nextCursor of this list; leave it out to begin anew") from None
        return [fit_run(run) for run in found.runs], found.next_cursor

    runs, next_cursor = await page(arguments.limit or DEFAULT_LIMIT)
    shown = take_within(runs, MAX_RESULT_BYTES - ENVELOPE_BYTES)
    if len(shown) < len(runs):
        # Again, so that the cursor is that of the last one shown.
        shown, next_cursor = await page(len(shown))
    notice = f"Unfinished runs that are shown as they were seen last: {left}." if left else None
    return {"runs": shown, "nextCursor": next_cursor, **({"notice": notice} if notice else {})}


LIST_RUNS = Tool(
    name="mogplex_list_runs",
    title="List Mogplex runs",
    description=(
        "List this account's runs, the latest first: those it started or looked at through this server. Use it to find "
        "a run again, or to see what is running. Runs started elsewhere appear once mogplex_get_run was asked about "
        "them."
    ),
    scope=TOOLS_READ,
    hints=Hints(read_only=True, destructive=False, idempotent=True, open_world=True),
    arguments=ListRunsArguments,
    result={
        "runs": {"type": "array", "items": RUN_SCHEMA},
        "nextCursor": nullable("string"),
        "notice": {"type": "string"},
    },
    handle=_list_runs,
)
