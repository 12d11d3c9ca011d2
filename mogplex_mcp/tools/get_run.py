"""``mogplex_get_run``: GET /runs/{runId} (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

from pydantic import Field

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.run_names import run_id_of
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tool import RUN_SCHEMA, Arguments, Hints, Identifier, Json, Tool


class GetRunArguments(Arguments):
    """Arguments of ``mogplex_get_run``."""

    run_id: Identifier = Field(description="`runId` from mogplex_start_agent_run.")


async def _get_run(call: Call, arguments: GetRunArguments) -> Json:
    run = await call.api.get_run(await run_id_of(call, arguments.run_id, changes=False))
    return {"run": await seen(call, run)}


GET_RUN = Tool(
    name="mogplex_get_run",
    title="Get a Mogplex run",
    description=(
        "Read a run's state: status, branches, times and, when it failed, why. Use it when only the state matters; to "
        "see what the agent is doing use mogplex_get_run_events, whose answer holds the same `run`. Status pending and "
        "streaming mean that it goes on; success, failed and cancelled are final."
    ),
    scope=TOOLS_READ,
    hints=Hints(read_only=True, destructive=False, idempotent=True, open_world=True),
    arguments=GetRunArguments,
    result={"run": RUN_SCHEMA},
    handle=_get_run,
)
