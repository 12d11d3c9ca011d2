"""Runs that an account sees are remembered for it: Mogplex has no route that lists them."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import Run
from mogplex_mcp.tools.bounds import Json, fit_run
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import RunChanged, RunsChanged

_log = structlog.stdlib.get_logger(__name__)


async def seen(call: Call, run: Run) -> Json:
    """Remember the run as it is now, and tell those who listen for it.

    Returns:
        The run as a result shows it.
    """
    wire, account = run.wire(), call.caller.account
    try:
        noted = await call.known.note(account, wire)
    except SQLAlchemyError:
        # The run was started, or read: that must not be lost because remembering it failed.
        _log.exception("run_not_remembered")
        return fit_run(wire)
    if noted == "new":
        call.changes.tell(account, RunsChanged())
    elif noted == "changed" and call.watchers.snapshot(account, run.run_id) is None:
        # Of one that is watched, whoever watches it tells.
        call.changes.tell(account, RunChanged(run.run_id, "run"))
    return fit_run(wire)
