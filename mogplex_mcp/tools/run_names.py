"""Naming a run: by its id, or by how the id of a run that the account has seen begins."""

from __future__ import annotations

import re

from mogplex_mcp.auth.scopes import TOOLS_READ
from mogplex_mcp.runs.known import LEAST_PREFIX
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.questions import Question, UndecidedError

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
"""What an id looks like (Mogplex documentation, /web/api/runs): it needs no look-up."""


async def run_id_of(call: Call, name: str, *, changes: bool) -> str:
    """The id of the run that the argument ``runId`` names.

    Args:
        call: Who names it. Without the scope that shows runs, only ids are understood.
        name: An id, or at least ``LEAST_PREFIX`` characters that one run seen by this account begins with.
        changes: The run will be changed, so that the beginning of an id is not enough.

    Raises:
        UndecidedError: AMBIGUOUS_RUN: several begin so, or the one that does has to be confirmed.
    """
    if len(name) < LEAST_PREFIX or _UUID.fullmatch(name) or call.caller.missing((TOOLS_READ,)):
        return name
    found = await call.known.find_prefix(call.caller.account, name)
    if not found or name in found:
        return name
    if len(found) == 1 and not changes:
        return found[0]
    confirm = "Is it meant?" if len(found) == 1 else "Which one is meant?"
    message = f"{name[:200]!r} is only how the id of {'a run' if len(found) == 1 else f'{len(found)} runs'} begins."
    error = {
        "code": "AMBIGUOUS_RUN",
        "status": None,
        "message": message,
        "suggestion": f"Ask the person, then call again with the whole runId. Candidates: {', '.join(found)}.",
        "candidates": [{"runId": run_id} for run_id in found],
    }
    raise UndecidedError(error, Question("runId", "Run", f"{message} {confirm}", {each: each for each in found}))
