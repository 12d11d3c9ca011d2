"""``mogplex_cancel_run``: POST /runs/{runId}/cancel (Mogplex documentation, /web/api/runs)."""

from __future__ import annotations

from pydantic import Field

from mogplex_mcp.auth.scopes import AGENTS_RUN
from mogplex_mcp.tools.bounds import fit_run
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.tool import RUN_SCHEMA, Arguments, Hints, Identifier, Json, Tool


class CancelRunArguments(Arguments):
    """Arguments of ``mogplex_cancel_run``."""

    run_id: Identifier = Field(description="`runId` from mogplex_start_agent_run.")


async def _cancel_run(call: Call, arguments: CancelRunArguments) -> Json:
    result = await call.api.cancel_run(arguments.run_id)
    call.watchers.nudge(call.caller.account, arguments.run_id)
    return {"run": fit_run(result.run.wire()), "status": result.status, "alreadyTerminal": result.already_terminal}


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
