"""Somebody who follows a run: everything from where they were, in order, none lost, none twice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from mogplex_mcp.api import MogplexError, Run, RunEvent
from mogplex_mcp.runs.watched_run import FINAL_CODES, WatchedRun

RETRY_SECONDS = 2.0


class Follower:
    """Iterate to get the events: first those that are there, then each as it comes; it ends with the run.

    An iteration that is cancelled loses nothing: the next one goes on.

    Attributes:
        last_event_id: The latest event that was given; at first the one to follow on from.
    """

    def __init__(self, watched: WatchedRun, since: str | None) -> None:
        self.last_event_id = since
        self._watched = watched
        self._position = 0
        self._again: deque[RunEvent] = deque()
        if since is not None:
            position = watched.history.position(since)
            if position is None:
                raise MogplexError(
                    "BAD_REQUEST",
                    "sinceEventId: is no event of this run.",
                    suggestion="Leave sinceEventId out to read the run from the beginning.",
                )
            self._position = position + 1

    @property
    def run(self) -> Run:
        """The run as it was read last."""
        if self._watched.run is None:
            raise LookupError("there are no followers before the first answer")
        return self._watched.run

    @property
    def ended(self) -> bool:
        """Whether the run has ended and everything has been given."""
        return self._watched.ended and self._position >= self._watched.history.end

    @property
    def newest_event_id(self) -> str | None:
        """The latest event that is known, whether or not it has been given; None when there is none."""
        return self._watched.history.last_id

    @property
    def truncated(self) -> str | None:
        """Why the run's later events cannot be had; None when they can."""
        return self._watched.truncated

    @property
    def waiting(self) -> bool:
        """Whether everything that is there has been given, so that the next event is yet to come."""
        return self._position >= self._watched.history.end

    @property
    def up_to_date(self) -> bool:
        """Whether everything that Mogplex shows has been read and given: what comes next has yet to happen."""
        return self.waiting and (self._watched.caught_up or self._watched.ended)

    def __aiter__(self) -> Follower:
        return self

    async def __anext__(self) -> RunEvent:
        """The next event.

        Raises:
            MogplexError: The run cannot be read any more.
        """
        watched = self._watched
        while True:
            if self._again:
                return self._give(self._again.popleft())
            if not self.waiting:
                event = watched.history.at(self._position)
                if event is not None:
                    return self._give(event)
                await self._read_again()
            elif watched.error is not None:
                raise watched.error
            elif watched.ended:
                raise StopAsyncIteration
            else:
                await watched.changed()

    async def so_far(self) -> AsyncIterator[RunEvent]:
        """The events that have happened, without waiting for others to come.

        Raises:
            MogplexError: The run cannot be read any more.
        """
        while not self.up_to_date:
            if self.waiting:
                await self._next_change()
            elif (event := await anext(self, None)) is not None:
                yield event

    async def changed(self) -> None:
        """Wait for the next change of the run, or of its events."""
        await self._watched.changed()

    async def left(self, status: str) -> None:
        """Wait until the run's status is another, or nothing more will come, whatever has been given.

        Raises:
            MogplexError: The run cannot be read any more.
        """
        while self.run.status == status and not self._watched.ended:
            await self._next_change()

    async def finished(self) -> None:
        """Wait until the run has ended and nothing more will come, whatever has been given.

        Raises:
            MogplexError: The run cannot be read any more.
        """
        while not self._watched.ended:
            await self._next_change()

    async def _next_change(self) -> None:
        if self._watched.error is not None:
            raise self._watched.error
        await self._watched.changed()

    def _give(self, event: RunEvent) -> RunEvent:
        position = self._watched.history.position(event.id)
        self._position = self._position + 1 if position is None else position + 1
        self.last_event_id = event.id
        return event

    async def _read_again(self) -> None:
        """Read events that are not kept any more."""
        history = self._watched.history
        try:
            events = await self._watched.source.page(self.last_event_id)
        except MogplexError as error:
            if error.code in FINAL_CODES:
                raise
            await asyncio.sleep(max(RETRY_SECONDS, error.retry_after or 0.0))
            return
        places = ((history.position(event.id), event) for event in events)
        known = [(place, event) for place, event in places if place is not None and place >= self._position]
        self._again.extend(event for _, event in sorted(known, key=lambda pair: pair[0]))
        if not known:
            # Mogplex has them no longer: on with those that are here.
            self._position = max(self._position, history.start)
