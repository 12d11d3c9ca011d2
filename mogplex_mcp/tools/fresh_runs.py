"""The runs that an account has seen, brought up to date before they are shown."""

from __future__ import annotations

import asyncio

from mogplex_mcp.api import MogplexError
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.seen_runs import seen

MAX_LOOKED_AT = 100
"""Unfinished runs that are looked at, of each status."""
MAX_ASKED = 5
"""Unfinished runs that nobody follows and whose state is asked for; each costs one request."""
UNFINISHED = ("pending", "streaming")


async def refresh(call: Call, repo_id: str | None) -> int:
    """Bring unfinished runs up to date: from those who watch them, a few of the others by asking.

    Args:
        call: Whose runs.
        repo_id: Only those of this repository.

    Returns:
        How many are left as they were seen last.
    """
    account = call.caller.account
    alone: list[str] = []
    for status in UNFINISHED:
        page = await call.known.list(account, repo_id=repo_id, status=status, limit=MAX_LOOKED_AT)
        for run_id in (str(run["runId"]) for run in page.runs):
            live = call.watchers.snapshot(account, run_id)
            if live is not None and live.trouble is None:
                await seen(call, live.run)
            else:
                alone.append(run_id)
    asked = await asyncio.gather(*(_ask(call, run_id) for run_id in alone[:MAX_ASKED]))
    return len(alone) - sum(asked)


async def _ask(call: Call, run_id: str) -> bool:
    """Bring one run up to date. Returns whether that succeeded: a list of what is known is an answer all the same."""
    try:
        run = await call.api.get_run(run_id)
    except MogplexError as error:
        if error.code == "UNAUTHORIZED":
            raise
        return False
    await seen(call, run)
    return True
