"""Subscriptions: what one subscriber wants to hear of, and what has changed of it and has not been told yet.

One kind for both protocol eras. What is told is that something changed, never what: whoever hears it reads again. So a
change that waits to be told swallows those after it, and what waits is never more than what was asked for.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass, field
from urllib.parse import unquote

import structlog
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import MogplexError
from mogplex_mcp.runs import Follower
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import Change, RunChanged, RunsChanged, TaskChanged
from mogplex_mcp.tools.fresh_runs import UNFINISHED
from mogplex_mcp.tools.live_resources import RUNS_URI
from mogplex_mcp.tools.seen_runs import seen

MAX_URIS = 100
"""Resources, and tasks, in one subscription."""
MAX_LISTED = 10
"""Unfinished runs that are followed for one who subscribed to the list of runs; each costs reads."""
SUBSCRIPTIONS_PER_ACCOUNT = 100
"""A session of the earlier protocol is one, too."""
MAX_SUBSCRIPTIONS = 4_000
RUNS_PER_ACCOUNT = 500
"""Runs that an account's subscriptions follow together: this process watches a few thousand, for everybody."""
PACE_SECONDS = 0.5
"""Between two rounds of telling: nothing is told more often."""

_TOLD = re.compile(re.escape(RUNS_URI) + r"(?:/([^/?#]{1,600})(?:/(events|transcript))?)?")
"""The resources of which changes are told: the list of runs, and what there is of one."""

Notice = ResourceUpdated | ResourcesListChanged | TaskChanged

_log = structlog.stdlib.get_logger(__name__)


class TooManySubscriptionsError(Exception):
    """The account, or this process, has as many as there may be."""


class Subscriptions:
    """The open subscriptions of this process."""

    def __init__(self) -> None:
        self._open: dict[str, set[Subscription]] = {}
        self._closed = False

    @contextmanager
    def open(self, call: Call) -> Iterator[Subscription]:
        """Hear of changes until the block is left.

        Args:
            call: Who subscribes, and what is at hand for it.

        Raises:
            TooManySubscriptionsError: There is no room.
        """
        account = call.caller.account
        mine = self._open.get(account, set())
        if len(mine) >= SUBSCRIPTIONS_PER_ACCOUNT or sum(map(len, self._open.values())) >= MAX_SUBSCRIPTIONS:
            raise TooManySubscriptionsError
        subscription = Subscription(call, lambda: self._following(account) < RUNS_PER_ACCOUNT)
        if self._closed:
            subscription.close()
        self._open.setdefault(account, set()).add(subscription)
        try:
            yield subscription
        finally:
            subscription.end()
            self._open[account].discard(subscription)
            if not self._open[account]:
                del self._open[account]

    def _following(self, account: str) -> int:
        return sum(subscription.following for subscription in self._open.get(account, ()))

    def close(self) -> None:
        """This process stops: everybody is told what is left to tell, and then that there is no more."""
        self._closed = True
        for subscription in [each for mine in self._open.values() for each in mine]:
            subscription.close()


@dataclass(eq=False)
class _Followed:
    """A run that is followed for a subscription.

    Attributes:
        uris: What of it was asked for; ``mogplex://runs`` among them when it is followed for the list.
        settled: Set once it is known whether the run can be read.
        error: Why it cannot.
        follower: What follows it; None before it can be read, and once nothing more comes.
        state: The run as the subscriber knows it.
        event: The latest event that the subscriber knows of.
    """

    uris: set[str] = field(default_factory=set)
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    error: MogplexError | None = None
    follower: Follower | None = None
    state: Mapping[str, object] = field(default_factory=dict)
    event: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def live(self) -> bool:
        """Whether it is followed, or about to be."""
        return self.follower is not None or not self.settled.is_set()


class Subscription:
    """Used within ``Subscriptions.open``.

    Attributes:
        list_changed: Whether the subscriber wants to hear of runs that are new.
        task_ids: The tasks that the subscriber wants to hear of.
        broken: Whether something that was promised cannot be kept: a run is readable no longer.
    """

    def __init__(self, call: Call, may_follow: Callable[[], bool]) -> None:
        self.list_changed = False
        self.task_ids: frozenset[str] = frozenset()
        self.broken = False
        self._call = call
        self._may_follow = may_follow
        self._uris: dict[str, tuple[str | None, str | None]] = {}
        self._runs: dict[str, _Followed] = {}
        self._pending: dict[str, Notice] = {}
        self._news = asyncio.Event()
        self._closing = asyncio.Event()
        self._more_runs = asyncio.Event()
        self._listing: asyncio.Task[None] | None = None
        self._next_round = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self._leave = call.changes.subscribe(call.caller.account, self._take)

    @property
    def following(self) -> int:
        """How many runs it follows, or is about to."""
        return sum(followed.live for followed in self._runs.values())

    async def want(self, uri: str) -> bool:
        """Hear of changes of a resource: of what runs there are, of a run, its events, its transcript.

        Returns:
            Whether this is such a resource; of others nothing is ever told.

        Raises:
            MogplexError: The run cannot be read; SERVICE_UNAVAILABLE: the account follows as many as it may.
            ValueError: There are ``MAX_URIS`` already.
        """
        named = _TOLD.fullmatch(uri)
        if named is None:
            return False
        if uri in self._uris:
            return True
        if len(set(self._uris).union(*(followed.uris for followed in self._runs.values())) - {uri}) >= MAX_URIS:
            raise ValueError(uri)
        quoted, part = named.groups()
        if quoted is None:
            self._uris[uri] = None, None
            self._listing = self._listing or self._start(self._follow_unfinished())
            return True
        run_id = unquote(quoted)
        if run_id not in self._runs and not self._may_follow():
            raise MogplexError("SERVICE_UNAVAILABLE", "This account follows as many runs as it may.", retry_after=30)
        followed = self._follow(run_id, uri)
        try:
            await followed.settled.wait()
        except asyncio.CancelledError:
            self.unwant(uri)
            raise
        if followed.error is not None:
            raise followed.error
        if uri in followed.uris:
            # Nobody thought better of it meanwhile.
            self._uris[uri] = run_id, part
        return True

    def unwant(self, uri: str) -> None:
        """Hear no more of a resource."""
        self._uris.pop(uri, None)
        self._pending.pop(uri, None)
        if uri == RUNS_URI and self._listing is not None:
            self._listing.cancel()
            self._listing = None
        for run_id, followed in list(self._runs.items()):
            followed.uris.discard(uri)
            if not followed.uris:
                del self._runs[run_id]
                if followed.task is not None:
                    followed.task.cancel()

    async def news(self) -> list[Notice]:
        """What has changed since the last time, each thing once; waits for something to have. Nothing: it is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._next_round):
                await self._closing.wait()
        while not self._pending and not self._closing.is_set():
            self._news.clear()
            await self._news.wait()
        told, self._pending = list(self._pending.values()), {}
        self._next_round = asyncio.get_running_loop().time() + PACE_SECONDS
        return told

    def close(self) -> None:
        """Give what is left, then end."""
        self._closing.set()
        self._news.set()
        self.end()

    def end(self) -> None:
        """Hear and follow no more; may be repeated."""
        self._leave()
        for task in self._tasks:
            task.cancel()

    def _take(self, change: Change) -> None:
        match change:
            case RunChanged(run_id, what):
                self._take_run(run_id, what)
            case RunsChanged():
                self._more_runs.set()
                self._mark_resources(None)
                if self.list_changed:
                    self._mark("list", ResourcesListChanged())
            case TaskChanged(task) if (task_id := task.get("taskId")) in self.task_ids:
                self._mark(f"task {task_id}", change)

    def _take_run(self, run_id: str, what: str) -> None:
        followed = self._runs.get(run_id)
        if followed is None:
            if what == "run":
                self._mark_resources(None)
            return
        if followed.follower is None:
            # What was read first, by whoever followed it first, is no change; and after its end there is none.
            return
        state, event = followed.follower.run.wire(), followed.follower.newest_event_id
        if state != followed.state:
            followed.state = state
            self._mark_resources(run_id, None, "transcript")
            self._mark_resources(None)
        if event != followed.event:
            followed.event = event
            self._mark_resources(run_id, "events", "transcript")

    def _mark_resources(self, run_id: str | None, *parts: str | None) -> None:
        for uri, (of_run, part) in self._uris.items():
            if of_run == run_id and (run_id is None or part in parts):
                self._mark(uri, ResourceUpdated(uri))

    def _mark(self, key: str, notice: Notice) -> None:
        self._pending[key] = notice
        self._news.set()

    def _follow(self, run_id: str, uri: str) -> _Followed:
        followed = self._runs.get(run_id)
        if followed is None:
            followed = self._runs[run_id] = _Followed()
            followed.task = self._start(self._keep(run_id, followed))
        followed.uris.add(uri)
        return followed

    async def _keep(self, run_id: str, followed: _Followed) -> None:
        """Follow a run until nothing more comes, or nobody wants it."""
        call = self._call
        caller = call.caller
        try:
            async with call.watchers.follow(caller.account, caller.credential, run_id, kind="nudge") as follower:
                await seen(call, follower.run)
                followed.follower, followed.state = follower, follower.run.wire()
                followed.event = follower.newest_event_id
                followed.settled.set()
                await follower.finished()
                # The list of runs shows how it ended, although nobody follows it any more.
                await seen(call, follower.run)
        except MogplexError as error:
            self._lose(run_id, followed, error)
        else:
            followed.uris.discard(RUNS_URI)
            if not followed.uris:
                self._forget(run_id, followed)
        finally:
            followed.follower = None
            followed.settled.set()

    def _lose(self, run_id: str, followed: _Followed, error: MogplexError) -> None:
        """A run that cannot be read, or no longer can."""
        self._forget(run_id, followed)
        if not followed.settled.is_set():
            followed.error = error
            return
        self._mark_resources(run_id, None, "events", "transcript")
        promised = followed.uris - {RUNS_URI}
        for uri in promised:
            self._uris.pop(uri, None)
        self.broken = self.broken or bool(promised)

    def _forget(self, run_id: str, followed: _Followed) -> None:
        if self._runs.get(run_id) is followed:
            del self._runs[run_id]

    async def _follow_unfinished(self) -> None:
        """Follow the latest unfinished runs, also those to come, so that there are changes to tell of."""
        known, account = self._call.known, self._call.caller.account
        while True:
            self._more_runs.clear()
            try:
                pages = [await known.list(account, status=status, limit=MAX_LISTED) for status in UNFINISHED]
            except SQLAlchemyError:
                _log.exception("runs_not_listed")
                pages = []
            for run_id in (str(run["runId"]) for page in pages for run in page.runs):
                listed = sum(followed.live and RUNS_URI in followed.uris for followed in self._runs.values())
                if listed < MAX_LISTED and (run_id in self._runs or self._may_follow()):
                    self._follow(run_id, RUNS_URI)
            await self._more_runs.wait()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        # In a context of its own: it outlives the request that began it, and acts for nobody but the account.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("subscription_broken", exc_info=error)
