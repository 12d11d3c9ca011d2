"""Run starts, counted before Mogplex does (documentation, /web/api/authentication, "Per-user run-start limits")."""

from __future__ import annotations

import asyncio
from collections import deque

from mogplex_mcp.api.errors import MogplexError

StartLimits = tuple[tuple[str, float, int], ...]
"""Name of a window, its seconds, and how many runs may start within."""

HOSTED_STARTS: StartLimits = (("minute", 60.0, 10), ("hour", 3_600.0, 30), ("day", 86_400.0, 150))


class StartBudget:
    """The run starts of one credential, as far as this process made them.

    Args:
        limits: Windows; none is no limit.
    """

    def __init__(self, limits: StartLimits) -> None:
        self._limits = limits
        self._starts: deque[float] = deque(maxlen=max((count for _, _, count in limits), default=1))
        self._blocked_until = 0.0

    def admit(self) -> float:
        """Count a start. Returns what ``forget`` takes, should it turn out to have made no run.

        Raises:
            MogplexError: RATE_LIMITED: Mogplex would refuse it; with the seconds to wait.
        """
        now = asyncio.get_running_loop().time()
        wait, why = self._blocked_until - now, "Mogplex takes no more run starts for now."
        for name, seconds, count in self._limits:
            # The start that has to leave the window before another may come.
            free = self._starts[-count] + seconds - now if len(self._starts) >= count else 0.0
            if free > wait:
                wait, why = free, f"Mogplex takes {count} run starts per {name}, and they are used up."
        if wait > 0:
            raise MogplexError("RATE_LIMITED", why, retry_after=round(wait, 1))
        self._starts.append(now)
        return now

    def forget(self, start: float) -> None:
        """Take back a start that made no run."""
        if start in self._starts:
            self._starts.remove(start)

    def learn(self, retry_after: float | None) -> None:
        """Take note that Mogplex refused a start: the same person starts runs elsewhere, too."""
        if retry_after is not None and self._limits:
            self._blocked_until = max(self._blocked_until, asyncio.get_running_loop().time() + retry_after)
