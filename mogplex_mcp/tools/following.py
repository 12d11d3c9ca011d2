"""Following a run for as long as a call lasts: what happened before, then what happens, told as it does."""

from __future__ import annotations

import asyncio
from time import monotonic

from mogplex_mcp.api import RunEvent
from mogplex_mcp.runs import Follower
from mogplex_mcp.runs.event_words import in_words
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES, fit_payloads, size, take_within
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.seen_runs import seen
from mogplex_mcp.tools.tool import Json

DEFAULT_SECONDS = 50
"""Hosts give a call 60 s unless told otherwise."""
MAX_SECONDS = 1_800
LEAST_SECONDS = 1.0
"""What is left for events after a first look that took all the time."""
MAX_EVENTS = 200
"""Events that one answer holds at most."""
ENVELOPE_BYTES = 800
"""Room for everything in the result but the run and the events."""


async def follow(call: Call, run_id: str, *, since: str | None, until: str | None, seconds: float) -> Json:
    """Follow a run until it ends, an event of a type comes, the time is over, or the answer is full.

    Leaving early, and being cancelled, leave the run as it is.

    Args:
        call: Who follows. Progress is reported to them, one notification an event.
        run_id: The run.
        since: Only events after the one with this id.
        until: Type of the event to stop at.
        seconds: How long to wait for events, a slow first look at the run counted; what there is then is given anyway.

    Returns:
        ``run``, ``events``, ``nextEventId``, ``ended``, ``eventsTruncated``, ``truncatedReason``.

    Raises:
        MogplexError: The run cannot be read; BAD_REQUEST: ``since`` is no event of it.
    """
    caller, began = call.caller, monotonic()
    async with call.watchers.follow(caller.account, caller.credential, run_id, since=since) as follower:
        events: list[RunEvent] = []
        try:
            # Hosts count from the call on.
            left = max(seconds - (monotonic() - began), min(seconds, LEAST_SECONDS))
            async with asyncio.timeout(left) as limit:
                await _collect(call, follower, events, until)
        except TimeoutError:
            if not limit.expired():
                raise
        return _answer(await seen(call, follower.run), follower, events, since)


async def _collect(call: Call, follower: Follower, events: list[RunEvent], until: str | None) -> None:
    async for event in follower:
        # Kept before it is told: a call that ends in between has it.
        events.append(event)
        await call.report(len(events), in_words(event))
        if event.type == until or len(events) >= MAX_EVENTS:
            return


def _answer(run: Json, follower: Follower, events: list[RunEvent], since: str | None) -> Json:
    room = MAX_RESULT_BYTES - ENVELOPE_BYTES - size(run)
    shown = take_within(fit_payloads([event.wire() for event in events], room), room)
    everything = len(shown) == len(events)
    reason = follower.truncated
    if not everything or (len(events) >= MAX_EVENTS and not follower.ended):
        reason = "The answer is full: call again with sinceEventId = nextEventId for what follows."
    return {
        "run": run,
        "events": shown,
        "nextEventId": shown[-1]["id"] if shown else since,
        "ended": everything and follower.ended,
        "eventsTruncated": reason is not None,
        **({"truncatedReason": reason} if reason else {}),
    }
