"""The v1 client of Mogplex: typed calls, one exception, three ways upstream."""

from mogplex_mcp.api.client import MogplexApi, new_idempotency_key
from mogplex_mcp.api.errors import MogplexError
from mogplex_mcp.api.models import (
    TERMINAL_STATUSES,
    CancelResult,
    McpServer,
    Repo,
    Run,
    RunEvent,
    RunEvents,
    Sandbox,
    StartedRun,
    StartRun,
)
from mogplex_mcp.api.transport import Route, Upstream, choose_route, open_upstream

__all__ = [
    "TERMINAL_STATUSES",
    "CancelResult",
    "McpServer",
    "MogplexApi",
    "MogplexError",
    "Repo",
    "Route",
    "Run",
    "RunEvent",
    "RunEvents",
    "Sandbox",
    "StartRun",
    "StartedRun",
    "Upstream",
    "choose_route",
    "new_idempotency_key",
    "open_upstream",
]
