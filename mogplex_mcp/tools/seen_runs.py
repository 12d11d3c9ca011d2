"""Runs that an account sees are remembered for it: Mogplex has no route that lists them."""

from __future__ import annotations

import structlog
from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import Run
from mogplex_mcp.tools.bounds import fit_run
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.tool import Json

_log = structlog.stdlib.get_logger(__name__)


async def seen(call: Call, run: Run) -> Json:
    """Remember the run as it is now.

    Returns:
        The run as a result shows it.
    """
    wire = run.wire()
    try:
        await call.known.note(call.caller.account, wire)
    except SQLAlchemyError:
        # The run was started, or read: that must not be lost because remembering it failed.
        _log.exception("run_not_remembered")
    return fit_run(wire)
