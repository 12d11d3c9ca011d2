"""Writes one run's events, within bounds."""

from __future__ import annotations

from collections.abc import Iterable

from mogplex_mcp.local import runs
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.events import MAX_BYTES_PER_RUN, MAX_PER_RUN, NewEvent
from mogplex_mcp.local.news import News
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.timestamps import now_ms


class RunLog:
    """Appends to a run's events until the run has its share; how it ends is always recorded (``runs.finish``)."""

    def __init__(
        self,
        db: Database,
        run: Run,
        news: News,
        *,
        max_events: int = MAX_PER_RUN,
        max_bytes: int = MAX_BYTES_PER_RUN,
    ) -> None:
        self._db = db
        self._run = run
        self._news = news
        self._events_left = max_events
        self._bytes_left = max_bytes

    async def write(self, events: Iterable[NewEvent]) -> None:
        kept = list(events)
        if not kept or self._full():
            return
        kept = kept[: self._events_left]
        self._events_left -= len(kept)
        self._bytes_left -= await self._db.call(self._append, kept)
        if self._full():
            await self._db.call(
                self._append, [NewEvent("log", "This run has had its share of events; no more are kept.")]
            )
        self._news.tell(self._run.id)

    def _full(self) -> bool:
        return self._events_left <= 0 or self._bytes_left <= 0

    def _append(self, events: list[NewEvent]) -> int:
        with self._db.write() as connection:
            return runs.append_events(connection, self._run, events, now_ms())
