"""What a tool has at hand for one call."""

from __future__ import annotations

from dataclasses import dataclass

from mogplex_mcp.api import MogplexApi
from mogplex_mcp.auth.caller import Caller
from mogplex_mcp.tools.repo_lists import RepoLists


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    Attributes:
        api: Mogplex as the caller.
        caller: Who calls.
        repos: The accounts' repositories, remembered for a minute.
    """

    api: MogplexApi
    caller: Caller
    repos: RepoLists
