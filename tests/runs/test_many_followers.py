"""A thousand followers of a hundred runs in one process: a hundred pollers, little memory, prompt delivery."""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from contextlib import AsyncExitStack

import pytest

from bench.simulated_mogplex import PlannedRun, SimulatedMogplex
from mogplex_mcp.auth.caller import GivenToken
from mogplex_mcp.runs import Follower, Watchers
from tests.runs.hosting import over_http

RUNS, FOLLOWERS = 100, 1_000
SECONDS = 8.0
CREDENTIAL = GivenToken("mog_AbCdEf1234567890aBcDeF1234567890")


# It is timed: beside other tests it would measure them.
@pytest.mark.slow
async def test_a_thousand_followers_of_a_hundred_runs() -> None:
    loop = asyncio.get_running_loop()
    mogplex = SimulatedMogplex(loop.time, limit=0)
    learned: dict[tuple[str, str], float] = {}
    late: list[float] = []

    async with over_http(mogplex) as upstream, AsyncExitStack() as stack:
        names = [f"run-{number}" for number in range(RUNS)]
        mogplex.runs = {name: PlannedRun(name, ()) for name in names}
        watchers = Watchers(upstream)

        def learn(account: str, run_id: str, change: str) -> None:
            known = watchers.snapshot(account, run_id)
            if known and change == "events":
                for event in known.events:
                    learned.setdefault((run_id, event.id), time.perf_counter())

        watchers.subscribe(learn)
        tracemalloc.start()
        for name in names:
            await stack.enter_async_context(watchers.follow("ann", CREDENTIAL, name))
        alone = tracemalloc.get_traced_memory()[0]
        followers = [
            (
                names[number % RUNS],
                await stack.enter_async_context(watchers.follow("ann", CREDENTIAL, names[number % RUNS])),
            )
            for number in range(FOLLOWERS)
        ]

        async def read(run_id: str, follower: Follower) -> list[str]:
            found = []
            async for event in follower:
                late.append(time.perf_counter() - learned[run_id, event.id])
                found.append(event.id)
            return found

        reading = [asyncio.create_task(read(*each)) for each in followers]
        await asyncio.sleep(0.5)
        each_takes = (tracemalloc.get_traced_memory()[0] - alone) / FOLLOWERS
        tracemalloc.stop()
        assert len(watchers._runs) == RUNS
        before, rng, begins = mogplex.answered, random.Random(1), loop.time()
        ends = begins + SECONDS
        mogplex.runs = {name: PlannedRun.lively(name, rng, begins=begins, ends=ends, gap=0.5) for name in names}
        found = await asyncio.gather(*reading)
        for (run_id, _), ids in zip(followers, found, strict=True):
            assert len(ids) == len(mogplex.runs[run_id].events) + 1
        await watchers.close()

    # One poller a run: about a request every 1.5 s, whoever follows.
    assert mogplex.answered - before <= RUNS * (2 + (SECONDS + 1.5) / 1.5)
    assert each_takes <= 50 * 1024
    assert sorted(late)[len(late) * 99 // 100] <= 0.1
