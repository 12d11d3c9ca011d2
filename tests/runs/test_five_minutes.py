"""Eight agents on one credential for five minutes: never a 429, news in time. Simulated, and shorter over real HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from statistics import median

import pytest

from bench.budget import Outcome, Scenario, play, simulate
from bench.simulated_mogplex import SimulatedMogplex
from mogplex_mcp.api.budget import Budgets
from tests.runs.hosting import over_http

SHORTER = 30.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("runs", "promised"), [(5, 4.5), (2, 2.0)])
def test_five_minutes_bring_no_429_and_news_in_time(runs: int, promised: float, seed: int) -> None:
    found = simulate(Scenario(runs=runs, seed=seed))
    assert (found.refused, found.missing, found.failed_calls) == (0, 0, 0)
    assert median(found.delays) <= promised
    assert median(found.call_seconds) < 0.5


def test_naive_polling_beside_it_meets_them_by_the_thousand() -> None:
    found = simulate(Scenario(), naive=True)
    assert found.refused > 1_000
    assert median(found.delays) > 10


@pytest.mark.slow
async def test_the_same_over_http_thirty_times_as_fast() -> None:
    five, two = await asyncio.gather(played_over_http(runs=5), played_over_http(runs=2))
    for found in (five, two):
        assert (found.refused, found.missing, found.failed_calls) == (0, 0, 0)
    # This machine itself is not thirty times as fast: a tenth of a second is three there.
    assert median(five.delays) * SHORTER <= 2 * 4.5
    assert median(two.delays) * SHORTER <= 2 * 2.0 + 3


async def played_over_http(runs: int) -> Outcome:
    scenario = Scenario(runs=runs).shortened(SHORTER)
    loop = asyncio.get_running_loop()
    mogplex = SimulatedMogplex(loop.time, scenario.limit, scenario.window, scenario.window)
    async with over_http(mogplex) as opened:
        mogplex.runs = scenario.plan(loop.time())
        upstream = replace(opened, budgets=Budgets(scenario.limit, window=scenario.window))
        return await play(scenario, upstream, mogplex)
