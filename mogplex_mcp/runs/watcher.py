"""The runs that are watched in this process: per account and run one poller, however many follow."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import structlog

from mogplex_mcp.api import MogplexError, Upstream
from mogplex_mcp.api.credential import Credential
from mogplex_mcp.runs.follower import Follower
from mogplex_mcp.runs.source import FirstRead, NewsWaits, Source
from mogplex_mcp.runs.watched_run import Change, LiveRun, Pace, WatchedRun, stopping

MAX_RUNS = 2_000
"""Runs watched at once."""
MAX_FOLLOWERS = 20_000

Listener = Callable[[str, str, Change], None]
"""Called with account, run id and what changed; must not wait."""

_log = structlog.stdlib.get_logger(__name__)


class Watchers:
    """One per process; used on its event loop.

    Args:
        upstream: The way to Mogplex.
        pace: How often runs are read.
    """

    def __init__(self, upstream: Upstream, *, pace: Pace | None = None) -> None:
        self._upstream = upstream
        self._pace = pace or Pace()
        self._waits = NewsWaits(upstream)
        self._runs: dict[tuple[str, str], WatchedRun] = {}
        self._listeners: list[Listener] = []
        self._followers = 0
        self._stopped = False

    @asynccontextmanager
    async def follow(
        self, account: str, credential: Credential, run_id: str, *, since: str | None = None, kind: FirstRead = "call"
    ) -> AsyncIterator[Follower]:
        """Follow a run. Leaving the block leaves the run as it is.

        Args:
            account: Who follows; the runs of different accounts have nothing to do with each other.
            credential: What Mogplex is called with for the account.
            run_id: The run.
            since: Only events after the one with this id.
            kind: How the run is read first: at once for somebody's call, else among the polls, which leave room for
                calls; that may take a minute.

        Raises:
            MogplexError: What the first read of the run gave (NOT_FOUND, …); BAD_REQUEST when ``since`` is none of the
                run's events; SERVICE_UNAVAILABLE when too much is followed here, or nothing any more.
        """
        watched = self._watched(account, credential, run_id, kind)
        watched.join(credential, kind)
        self._followers += 1
        try:
            while watched.error is None and not _ready(watched, since):
                await watched.changed()
            if watched.error is not None and watched.run is None:
                raise watched.error
            yield Follower(watched, since)
        finally:
            self._followers -= 1
            watched.leave(credential)

    def nudge(self, account: str, run_id: str) -> None:
        """Read a run at once, if it is watched: it was just started or cancelled."""
        if watched := self._runs.get((account, run_id)):
            watched.nudge()

    def snapshot(self, account: str, run_id: str) -> LiveRun | None:
        """What is known of a run; None when it is not watched."""
        watched = self._runs.get((account, run_id))
        return watched.snapshot() if watched else None

    def count(self, account: str) -> int:
        """How many runs are watched for an account."""
        return sum(owner == account for owner, _ in self._runs)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Tell a listener of every change of every watched run. Returns what ends that."""
        self._listeners.append(listener)
        return partial(self._listeners.remove, listener)

    def stop(self) -> list[WatchedRun]:
        """Follow nothing any more: whoever does learns it at once. Returns what was watched."""
        self._stopped = True
        watched = list(self._runs.values())
        for each in watched:
            each.stop()
        return watched

    async def close(self) -> None:
        """Stop watching."""
        for each in self.stop():
            await each.finished()

    def _watched(self, account: str, credential: Credential, run_id: str, kind: FirstRead) -> WatchedRun:
        if self._stopped:
            raise stopping()
        if self._followers >= MAX_FOLLOWERS:
            raise _busy()
        watched = self._runs.get((account, run_id))
        if watched is None:
            self._make_room()
            source = Source(self._upstream, self._waits, run_id, credential)
            key = account, run_id
            watched = WatchedRun(source, self._pace, kind, partial(self._tell, *key), partial(self._forget, key))
            self._runs[key] = watched
        return watched

    def _make_room(self) -> None:
        if len(self._runs) < MAX_RUNS:
            return
        lingering = next((watched for watched in self._runs.values() if not watched.followed), None)
        if lingering is None:
            raise _busy()
        lingering.stop()

    def _forget(self, key: tuple[str, str], watched: WatchedRun) -> None:
        if self._runs.get(key) is watched:
            del self._runs[key]

    def _tell(self, account: str, run_id: str, change: Change) -> None:
        for listener in list(self._listeners):
            try:
                listener(account, run_id, change)
            except Exception:
                _log.exception("listener_broken", change=change)


def _ready(watched: WatchedRun, since: str | None) -> bool:
    """Whether a follower can begin: the run is there, and so is the event to go on from, if it is anywhere."""
    if watched.run is None:
        return False
    return since is None or watched.caught_up or watched.ended or watched.history.position(since) is not None


def _busy() -> MogplexError:
    return MogplexError("SERVICE_UNAVAILABLE", "As many runs are followed here as can be.", retry_after=30)
