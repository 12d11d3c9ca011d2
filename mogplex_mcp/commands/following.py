"""Following a run from the command line, by the one watcher that a run has in this process."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mogplex_mcp.api import MogplexError
from mogplex_mcp.commands.exit_codes import Exit
from mogplex_mcp.commands.failures import CommandError
from mogplex_mcp.commands.session import Session
from mogplex_mcp.commands.timeline import Timeline
from mogplex_mcp.runs import Follower
from mogplex_mcp.tools.seen_runs import seen

DEFAULT_SECONDS = 1_800
"""Documentation, /cli/automation/headless-runs, "Timeout"."""


@dataclass
class _Place:
    """How far somebody has followed a run.

    Attributes:
        run_id: The run.
        last: The latest event that was printed.
        count: Events that were printed.
    """

    run_id: str
    last: str | None
    count: int = 0


async def follow(session: Session, run_id: str, *, since: str | None, seconds: float) -> Exit:
    """Print a run's events until it ends. Leaving, and the time being over, leave the run as it is.

    Args:
        session: Whose run.
        run_id: Its id.
        since: Only events after the one with this id.
        seconds: How long at most.

    Returns:
        How the run ended.

    Raises:
        CommandError: The time is over.
        MogplexError: The run cannot be read; BAD_REQUEST: ``since`` is no event of it.
    """
    place = _Place(run_id, since)
    try:
        async with asyncio.timeout(seconds) as limit:
            return await _to_its_end(session, place)
    except TimeoutError:
        if not limit.expired():
            raise
    except asyncio.CancelledError:
        session.output.note(
            f"Left run {run_id}, which goes on. To come back: {_come_back(session, place)}",
            runId=run_id,
            lastEventId=place.last,
        )
        raise
    message = f"--follow timed out after {seconds:g}s waiting for terminal status"
    raise CommandError(
        message,
        hints=[*_trouble(session, run_id), f"The run goes on. To follow on: {_come_back(session, place)}"],
        details={"runId": run_id, "lastEventId": place.last},
    )


async def print_so_far(session: Session, run_id: str, *, since: str | None) -> Exit:
    """Print the events that there are.

    Args:
        session: Whose run.
        run_id: Its id.
        since: Only events after the one with this id.

    Raises:
        MogplexError: As ``follow``.
    """
    async with _following(session, run_id, since) as follower:
        timeline = Timeline(session.output, str)
        async for event in follower.so_far():
            timeline.event(event)
        await seen(session.call, follower.run)
        _say_if_truncated(session, follower)
    return Exit.SUCCESS


async def _to_its_end(session: Session, place: _Place) -> Exit:
    async with _following(session, place.run_id, place.last) as follower:
        await seen(session.call, follower.run)
        timeline = Timeline(session.output, lambda: _state(session, follower, place))
        async with timeline.drawn():
            async for event in follower:
                timeline.event(event)
                place.last, place.count = event.id, place.count + 1
        run = follower.run
        await seen(session.call, run)
        _say_if_truncated(session, follower)
        timeline.end(run)
        return Exit.SUCCESS if run.status == "success" else Exit.FAILED


@asynccontextmanager
async def _following(session: Session, run_id: str, since: str | None) -> AsyncIterator[Follower]:
    caller = session.call.caller
    try:
        async with session.call.watchers.follow(caller.account, caller.credential, run_id, since=since) as follower:
            yield follower
    except MogplexError as error:
        if since is None or error.code != "BAD_REQUEST":
            raise
        raise CommandError(f"--since: {run_id} has no event {since}", Exit.USAGE, "BAD_REQUEST") from None


def _state(session: Session, follower: Follower, place: _Place) -> str:
    live = session.call.watchers.snapshot(session.call.caller.account, place.run_id)
    trouble = f" · {live.trouble.code}, trying on" if live is not None and live.trouble is not None else ""
    return f"{follower.run.status} · {place.count} events{trouble}"


def _trouble(session: Session, run_id: str) -> list[str]:
    live = session.call.watchers.snapshot(session.call.caller.account, run_id)
    return [] if live is None or live.trouble is None else [f"Lately it could not be read: {live.trouble}"]


def _come_back(session: Session, place: _Place) -> str:
    since = f" --since {shlex.quote(place.last)}" if place.last is not None else ""
    return f"{session.command} runs events {shlex.quote(place.run_id)} --follow{since}"


def _say_if_truncated(session: Session, follower: Follower) -> None:
    if follower.truncated is not None:
        session.output.note(follower.truncated, eventsTruncated=True)
