"""One run, watched by one poller however many follow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Literal

import structlog

from mogplex_mcp.api import MogplexError, Run, RunEvent
from mogplex_mcp.api.credential import Credential
from mogplex_mcp.runs.history import History
from mogplex_mcp.runs.source import PAGE, FirstRead, Reading, Source

Change = Literal["run", "events", "ended"]

ENDING_TYPES = frozenset({"finished", "failed", "cancelled"})
"""After one of these a run has no more events (the service today; the documentation names none)."""
FINAL_CODES = frozenset({"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "UNAUTHORIZED"})
"""What asking again does not mend."""
PATIENCE = 3
"""How often in a row such an answer comes before it is believed of a run that was there."""
CONFIRMATIONS = 3
WINDOW_FULL = f"Mogplex shows a run's first {PAGE} events only; run.status still moves, so watch that."
HISTORY_FULL = "The run has more events than this server takes; run.status still moves, so watch that."

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Pace:
    """How often a run is read. All times in seconds.

    Attributes:
        busy: Between two reads while something happens.
        idle: Between two reads when nothing has happened for long.
        growth: By which the time between two reads grows while nothing happens.
        linger: How long a run is watched after its last follower has gone.
        confirm: After the status became final, until it is read once more: the answer may have been put together
            while the last events were written.
        gap: Between two reads that wait for news.
        trouble: The longest time between two reads that fail.
    """

    busy: float = 1.5
    idle: float = 10.0
    growth: float = 1.2
    linger: float = 30.0
    confirm: float = 0.5
    gap: float = 0.02
    trouble: float = 30.0

    def scaled(self, factor: float) -> Pace:
        """The same in another time."""
        times = (self.busy, self.idle, self.linger, self.confirm, self.gap, self.trouble)
        busy, idle, linger, confirm, gap, trouble = (time * factor for time in times)
        return Pace(busy, idle, self.growth, linger, confirm, gap, trouble)


@dataclass(frozen=True)
class LiveRun:
    """What is known of a watched run.

    Attributes:
        run: The run as it was read last.
        events: Its latest events; all of them when ``complete``.
        complete: Whether ``events`` begins with the run's first.
        ended: Whether the run has ended and its events are all here.
        truncated: Why later events are missing; None when none are.
        age: Seconds since it was read.
        trouble: Why the latest read failed, if it did.
    """

    run: Run
    events: list[RunEvent]
    complete: bool
    ended: bool
    truncated: str | None
    age: float
    trouble: MogplexError | None


class WatchedRun:
    """A run, its history, and the task that keeps both current.

    Args:
        source: Where it is read.
        pace: How often.
        first: What it is read for first.
        tell: Called with what changed.
        gone: Called when it is watched no longer.
    """

    def __init__(
        self,
        source: Source,
        pace: Pace,
        first: FirstRead,
        tell: Callable[[Change], None],
        gone: Callable[[WatchedRun], None],
    ) -> None:
        self.source = source
        self.history = History()
        self.run: Run | None = None
        self.ended = False
        self.caught_up = False
        self.truncated: str | None = None
        self.error: MogplexError | None = None
        self._trouble: MogplexError | None = None
        self._failures = 0
        self._refusals = 0
        self._confirmations = 0
        self._read_at = 0.0
        self._delay = pace.busy
        self._pace = pace
        self._tell = tell
        self._gone = gone
        self._changed = asyncio.Event()
        self._nudged = asyncio.Event()
        self._credentials: list[Credential] = []
        self._leaving: asyncio.TimerHandle | None = None
        self._first = first
        self._task = self._begin()

    @property
    def followed(self) -> bool:
        """Whether anybody follows."""
        return bool(self._credentials)

    def _begin(self) -> asyncio.Task[None]:
        # In a context of its own: it outlives the request that began it, and acts for nobody but the account.
        return asyncio.get_running_loop().create_task(self._watch(), context=Context())

    def join(self, credential: Credential, first: FirstRead) -> None:
        """Somebody follows."""
        self._credentials.append(credential)
        if self.run is None and first == "call" and self._first != "call":
            # A call does not queue with the polls, not even for a run that one of them was to read first.
            self._first = first
            self._task.cancel()
            self._task = self._begin()
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
            if self._delay > self._pace.busy and self._trouble is None:
                self._delay = self._pace.busy
                self._nudged.set()

    def leave(self, credential: Credential) -> None:
        """Somebody follows no longer; after the last one, it lingers."""
        self._credentials.remove(credential)
        if not self._credentials and self.error is None:
            self._leaving = asyncio.get_running_loop().call_later(self._pace.linger, self.stop)

    def nudge(self) -> None:
        """Read at once: something is known to have happened."""
        self._delay = self._pace.busy
        self._nudged.set()

    def stop(self) -> None:
        """Watch no longer."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._task.cancel()
        if self._credentials and not self.ended and self.error is None:
            self.error = stopping()
        self._gone(self)
        self._wake()

    async def finished(self) -> None:
        """Wait for the task's end, after ``stop``."""
        await asyncio.wait({self._task})

    async def changed(self) -> None:
        """Wait for the next change."""
        await self._changed.wait()

    def snapshot(self) -> LiveRun | None:
        """What is known; None before the first answer."""
        if self.run is None:
            return None
        age = asyncio.get_running_loop().time() - self._read_at
        events, complete = self.history.kept(), self.history.start == 0 and self.caught_up
        return LiveRun(self.run, events, complete, self.ended, self.truncated, age, self._trouble)

    async def _watch(self) -> None:
        try:
            self._take(await self._read_first())
            while not self.ended:
                await self._next()
        except MogplexError as error:
            self._fail(error)
        except Exception:
            _log.exception("watcher_broken")
            self._fail(MogplexError("INTERNAL_ERROR", "Watching the run failed; the server's log says why."))

    async def _read_first(self) -> Reading:
        try:
            return await self.source.first(self._first)
        except MogplexError as error:
            # Calls are repeated further down.
            if self._first == "call" or error.code in FINAL_CODES:
                raise
            delay = max(self._pace.busy, min(error.retry_after or 0.0, self._pace.trouble))
        await asyncio.sleep(delay)
        return await self.source.first(self._first)

    async def _next(self) -> None:
        nudged = await self._pause()
        try:
            reading = await self.source.news(self.history.last_id, nudge=nudged or self._delay < self._pace.busy)
        except MogplexError as error:
            self._bear(error)
            return
        self._take(reading)

    async def _pause(self) -> bool:
        """Wait until it is time to read. Returns whether it was cut short."""
        try:
            async with asyncio.timeout(self._delay):
                await self._nudged.wait()
        except TimeoutError:
            return False
        self._nudged.clear()
        return True

    def _bear(self, error: MogplexError) -> None:
        """Go on after a read that failed, unless going on is of no use."""
        if error.code in FINAL_CODES:
            self._refusals += 1
            if error.code in {"UNAUTHORIZED", "FORBIDDEN"} and self._use_another_credential():
                return
            if error.code == "UNAUTHORIZED" or self._refusals >= PATIENCE:
                raise error
        self._trouble = error
        self._failures += 1
        delay = min(self._pace.trouble, self._pace.busy * 2 ** min(self._failures - 1, 10))
        # The budget knows until when a 429 lasts; there is no need to sleep twice.
        asked = 0.0 if error.code == "RATE_LIMITED" else error.retry_after or 0.0
        self._delay = max(delay, min(asked, self._pace.trouble * 2))

    def _use_another_credential(self) -> bool:
        """Read with another follower's credential: all of them are the account's."""
        current = self.source.credential
        others = [credential for credential in self._credentials if credential is not current]
        if not others or self._refusals > PATIENCE:
            return False
        self.source.credential = others[0]
        self._delay = self._pace.confirm
        return True

    def _take(self, reading: Reading) -> None:
        """Take over what a read gave, and tell everybody."""
        self._trouble, self._failures, self._refusals = None, 0, 0
        self._read_at = asyncio.get_running_loop().time()
        moved = self.run is None or self.run.wire() != reading.run.wire()
        self.run = reading.run
        news = self.history.add(reading.events)
        settled = not self.caught_up and not reading.more
        self.caught_up = self.caught_up or settled
        if self.history.full:
            self.truncated = HISTORY_FULL
            self.source.take_no_more()
        elif reading.window_full:
            self.truncated = WINDOW_FULL
        self.ended = self._complete(reading, news)
        self._delay = self._next_delay(reading, news=bool(news), moved=moved)
        if news:
            self._tell("events")
        if moved:
            self._tell("run")
        if self.ended:
            self._tell("ended")
        if news or moved or settled or self.ended:
            self._wake()

    def _complete(self, reading: Reading, news: int) -> bool:
        """Whether the run has ended and there is nothing more to read."""
        if not reading.run.terminal:
            return False
        if self.truncated is not None:
            return True
        if reading.more:
            return False
        if self.history.last_type in ENDING_TYPES:
            return True
        self._confirmations += 1
        return (self._confirmations > 1 and not news) or self._confirmations > CONFIRMATIONS

    def _next_delay(self, reading: Reading, *, news: bool, moved: bool) -> float:
        pace = self._pace
        if reading.more and self.truncated is None:
            return 0.0
        if reading.run.terminal:
            return pace.confirm
        if reading.waited and self.truncated is None:
            return pace.gap
        if not self.followed:
            return pace.idle
        return pace.busy if news or moved else min(pace.idle, max(self._delay, pace.busy) * pace.growth)

    def _fail(self, error: MogplexError) -> None:
        self.error = error
        self._gone(self)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def stopping() -> MogplexError:
    """Why nothing is followed any more."""
    return MogplexError("SERVICE_UNAVAILABLE", "This server is stopping.", retry_after=5)
