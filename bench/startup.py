"""How long a user waits: from starting the server to the first right answer to an authenticated call."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import uvloop

from bench.calls import Subject, Target
from bench.load import Caller, Tally
from bench.processes import START_TIMEOUT, Running, running_server


def seconds_to_first_answer(upstream: Running, directory: Path) -> float:
    """Start a server with an empty home, call it once, and end it.

    Args:
        upstream: A running ``bench.upstream``.
        directory: Where the server's home is made.

    Raises:
        RuntimeError: The answer was wrong, or none came in time.
    """
    started = time.perf_counter()
    with running_server(upstream, directory) as server:
        uvloop.run(_first_answer(server.port))
        return time.perf_counter() - started


async def _first_answer(port: int) -> None:
    async with asyncio.timeout(START_TIMEOUT):
        caller = await _connect(port)
    tally = Tally()
    await caller.call(tally)
    await caller.close()
    if tally.errors:
        raise RuntimeError(tally.errors[0])


async def _connect(port: int) -> Caller:
    """Connect as soon as the port is open: the address may be printed a moment before."""
    while True:
        try:
            return await Caller.connect(Target(Subject.STATELESS, port))
        except ConnectionRefusedError:
            await asyncio.sleep(0.002)
