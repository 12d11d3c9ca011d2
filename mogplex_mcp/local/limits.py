"""The limits of the API (Mogplex documentation, /web/api/authentication, "Rate limits")."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from sqlalchemy import Connection, select

from mogplex_mcp.local.tables import runs
from mogplex_mcp.settings import Settings

WINDOW = 60.0
"""Seconds of the rolling window of the request limit."""

_MANY_TOKENS = 1_000


class RateLimiter:
    """At most ``limit`` requests per rolling 60 s and token, counted in memory.

    Args:
        limit: requests; 0 is no limit.
        clock: seconds that only grow.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._seen: dict[str, deque[float]] = {}

    def admit(self, token_id: str) -> int | None:
        """Counts a request, or tells in how many whole seconds one would be admitted. A refusal does not count."""
        if self._limit == 0:
            return None
        now = self._clock()
        seen = self._seen.get(token_id)
        if seen is None:
            self._forget_idle(now)
            seen = self._seen.setdefault(token_id, deque())
        while seen and seen[0] <= now - WINDOW:
            seen.popleft()
        if len(seen) >= self._limit:
            return max(1, math.ceil(seen[0] + WINDOW - now))
        seen.append(now)
        return None

    def _forget_idle(self, now: float) -> None:
        if len(self._seen) < _MANY_TOKENS:
            return
        self._seen = {token: seen for token, seen in self._seen.items() if seen and seen[-1] > now - WINDOW}


def run_start_wait(connection: Connection, settings: Settings, now: int) -> tuple[str, int] | None:
    """Whether one more run may start now.

    It counts the runs in the database, so a restart forgets nothing, and replays, which make no run, never count.
    Call it in the transaction that inserts the run.

    Args:
        now: milliseconds since 1970.

    Returns:
        None, or the budget that is spent (``"10 run starts per minute"``) and the whole seconds until it frees.
    """
    budgets = (
        ("minute", 60, settings.local_run_starts_per_minute),
        ("hour", 3_600, settings.local_run_starts_per_hour),
        ("day", 86_400, settings.local_run_starts_per_day),
    )
    worst: tuple[str, int] | None = None
    for name, seconds, limit in budgets:
        if limit == 0:
            continue
        since = now - seconds * 1000
        # The run that has to leave the window before another may start.
        query = select(runs.c.created_at).where(runs.c.created_at > since).order_by(runs.c.created_at.desc())
        oldest = connection.execute(query.offset(limit - 1).limit(1)).scalar()
        if oldest is None:
            continue
        wait = max(1, math.ceil((oldest - since) / 1000))
        if worst is None or wait > worst[1]:
            worst = (f"{limit} run starts per {name}", wait)
    return worst
