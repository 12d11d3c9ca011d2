"""What a tool has at hand for one call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mogplex_mcp.api import MogplexApi, StartedRun
from mogplex_mcp.auth.caller import Caller
from mogplex_mcp.runs import Watchers
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.tools.changes import Changes
from mogplex_mcp.tools.repo_lists import RepoLists

if TYPE_CHECKING:
    # Not at run time: commands have calls too, and no tasks.
    from mogplex_mcp.tools.tasks import Task


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    Attributes:
        api: Mogplex as the caller.
        caller: Who calls.
        repos: The accounts' repositories, remembered for a minute.
        watchers: The runs that are followed in this process.
        known: The runs that the accounts have seen.
        changes: Where what changes is told of.
        start_task: Makes a task of a run that was started; None where the client takes no tasks.
        report: Tells the host how far the call is: a number that grows, and words. Hosts that did not ask hear nothing.
    """

    api: MogplexApi
    caller: Caller
    repos: RepoLists
    watchers: Watchers
    known: KnownRuns
    changes: Changes
    start_task: Callable[[Call, StartedRun], Awaitable[Task]] | None
    report: Callable[[int, str], Awaitable[None]]
