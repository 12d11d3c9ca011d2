"""Repositories by name where their ids are all that there is: people know names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from mogplex_mcp.api import MogplexError
from mogplex_mcp.commands.session import Session

SECONDS = 3.0
"""How long a table waits for names: ids will do."""


async def repo_titles(session: Session) -> Mapping[str, str]:
    """Names by id; ids that are missing have none that is known, also because Mogplex does not answer now.

    Args:
        session: Whose repositories.
    """
    call = session.call
    try:
        async with asyncio.timeout(SECONDS):
            listed = await call.repos.get(call.api, call.caller.account)
    except (MogplexError, TimeoutError):
        return {}
    return {repo.id: repo.full_name for repo in listed.repos}
