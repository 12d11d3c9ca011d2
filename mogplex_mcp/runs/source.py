"""Reading one run from Mogplex: by polls, or by waiting for news where Mogplex knows how."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from mogplex_mcp.api import MogplexApi, MogplexError, Run, RunEvent, RunEvents, Upstream
from mogplex_mcp.api.budget import Kind
from mogplex_mcp.api.client import MAX_WAIT
from mogplex_mcp.api.credential import Credential

T = TypeVar("T")
FirstRead = Literal["call", "nudge"]

PAGE = 200
"""The most events that Mogplex gives at once; without ``after``, the most of all."""
CALL_SECONDS = 25.0
"""Within which somebody's own read ends."""
SPARE_SECONDS = 5.0
"""How much sooner a wait ends than the connection would."""
MAX_WAITING = 100
"""Requests that wait at once: half of the connections, so that calls find one."""


class NewsWaits:
    """What is known of how this Mogplex gives news; shared by all runs.

    Attributes:
        known: Whether it knows ``after`` and ``wait``; None until it was seen.
        seconds: How long to wait.
        waiting: How many requests wait now.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.known: bool | None = None
        self.seconds = int(max(1.0, min(MAX_WAIT, upstream.read_timeout - SPARE_SECONDS)))
        self.waiting = 0


@dataclass(frozen=True)
class Reading:
    """What one read gave.

    Attributes:
        run: The run.
        events: Events, oldest first, old ones among them.
        more: There are more to be read at once.
        window_full: Later events cannot be read.
        waited: The next read can wait for news, and costs nothing: it may follow at once.
    """

    run: Run
    events: list[RunEvent]
    more: bool = False
    window_full: bool = False
    waited: bool = False


class Source:
    """One run.

    Args:
        upstream: The way to Mogplex.
        waits: What is known of how it gives news.
        run_id: The run.
        credential: What Mogplex is called with; may be replaced.
    """

    def __init__(self, upstream: Upstream, waits: NewsWaits, run_id: str, credential: Credential) -> None:
        self.credential = credential
        self._upstream = upstream
        self._waits = waits
        self._run_id = run_id
        self._window_full = False
        self._status: str | None = None

    def take_no_more(self) -> None:
        """From now on read the run's state alone."""
        self._window_full = True

    async def first(self, kind: FirstRead) -> Reading:
        """Read the run's first events.

        Args:
            kind: Whether somebody's call waits for them.

        Raises:
            MogplexError: As the API says.
        """
        answer = await self._ask(kind, lambda api: api.list_run_events(self._run_id, limit=PAGE))
        self._status = answer.run.status
        can_wait = self._upstream.route.kind != "hosted" and self._waits.known is not False
        return replace(self._reading(answer), waited=can_wait)

    async def news(self, last_id: str | None, *, nudge: bool) -> Reading:
        """Read what came since.

        Args:
            last_id: The latest event that is known.
            nudge: There are known to be news.

        Raises:
            MogplexError: As the API says.
        """
        kind: Kind = "nudge" if nudge else "poll"
        if self._window_full:
            return Reading(await self._ask(kind, lambda api: api.get_run(self._run_id)), [], window_full=True)
        if self._waits.known is False or (last_id is None and self._upstream.route.kind == "hosted"):
            return self._reading(await self._ask(kind, lambda api: api.list_run_events(self._run_id, limit=PAGE)))
        return await self._waited(kind, last_id)

    async def page(self, last_id: str | None) -> list[RunEvent]:
        """Read events again, for somebody who is far behind.

        Args:
            last_id: Only events after this one.

        Raises:
            MogplexError: As the API says.
        """
        wait = 1 if self._waits.known else None
        after = last_id if self._waits.known else None
        answer = await self._ask(
            "call", lambda api: api.list_run_events(self._run_id, limit=PAGE, after=after, wait=wait)
        )
        return answer.events

    async def _waited(self, kind: Kind, last_id: str | None) -> Reading:
        wait = self._waits.seconds if self._waits.waiting < MAX_WAITING else None
        self._waits.waiting += wait is not None
        started = asyncio.get_running_loop().time()
        try:
            answer = await self._ask(
                kind, lambda api: api.list_run_events(self._run_id, limit=PAGE, after=last_id, wait=wait)
            )
        except MogplexError as error:
            if error.code == "BAD_REQUEST" and self._waits.known is not True:
                # A Mogplex that refuses what it does not know.
                self._waits.known = False
                return await self.news(last_id, nudge=kind == "nudge")
            raise
        finally:
            self._waits.waiting -= wait is not None
        if last_id is not None:
            # Whoever does not know `after` begins with the first event again.
            self._waits.known = all(event.id != last_id for event in answer.events)
        if self._waits.known is False:
            return self._reading(answer)
        took = asyncio.get_running_loop().time() - started
        free = wait is not None and self._upstream.route.kind != "hosted"
        # One that knows `wait` answers at once only when there is something to say.
        waited = free and (bool(answer.events) or answer.run.status != self._status or took > self._waits.seconds / 2)
        self._status = answer.run.status
        return Reading(answer.run, answer.events, more=len(answer.events) >= PAGE, waited=waited)

    def _reading(self, answer: RunEvents) -> Reading:
        """What an answer without ``after`` means."""
        many = len(answer.events) >= PAGE
        self._window_full = many and self._waits.known is False
        return Reading(answer.run, answer.events, more=many and not self._window_full, window_full=self._window_full)

    async def _ask(self, kind: Kind, call: Callable[[MogplexApi], Awaitable[T]]) -> T:
        """Call Mogplex, once more with another token should it refuse the first."""
        seconds = CALL_SECONDS if kind == "call" else self._waits.seconds + SPARE_SECONDS
        token = await self.credential.token()
        try:
            return await call(MogplexApi(self._upstream, token, deadline_seconds=seconds, kind=kind))
        except MogplexError as error:
            if error.code != "UNAUTHORIZED" or not await self.credential.refused(token):
                raise
        token = await self.credential.token()
        return await call(MogplexApi(self._upstream, token, deadline_seconds=seconds, kind=kind))
