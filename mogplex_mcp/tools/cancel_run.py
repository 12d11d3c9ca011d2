"""``mogplex_cancel_run``: POST /runs/{runId}/cancel (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

from pydantic import Field

from mogplex_mcp.auth.scopes import AGENTS_RUN
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.run_names import run_id_of
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tool import RUN_SCHEMA, Arguments, Hints, Identifier, Json, Tool


class CancelRunArguments(Arguments):
    """Arguments of ``mogplex_cancel_run``."""

    run_id: Identifier = Field(description="`runId` from mogplex_start_agent_run.")


async def _cancel_run(call: Call, arguments: CancelRunArguments) -> Json:
    run_id = await run_id_of(call, arguments.run_id, changes=True)
    result = await call.api.cancel_run(run_id)
    call.watchers.nudge(call.caller.account, run_id)
    return {"run": await seen(call, result.run), "status": result.status, "alreadyTerminal": result.already_terminal}


CANCEL_RUN = Tool(
    name="mogplex_cancel_run",
    title="Cancel a Mogplex run",
    description=(
        "Ask a run to stop. Use it only when the person wants the run ended: what the agent has committed stays on its "
        "branch, the rest of the work is not done. Repeating it is harmless, and a run that has ended stays as it is "
        "(`alreadyTerminal: true`). The agent stops within seconds: mogplex_get_run then shows status cancelled."
    ),
    scope=AGENTS_RUN,
    hints=Hints(read_only=False, destructive=True, idempotent=True, open_world=True),
    arguments=CancelRunArguments,
    result={"run": RUN_SCHEMA, "status": {"type": "string"}, "alreadyTerminal": {"type": "boolean"}},
    handle=_cancel_run,
)
