"""How often clients are told to ask: what their credential can afford, with room for everybody else. Simulated time."""

from __future__ import annotations

import asyncio
from statistics import median

import pytest

from mogplex_mcp.api import MogplexApi
from tests.runs.simulated import TOKEN, Mogplex, now, simulated

MINUTES = 5


@pytest.mark.parametrize(("tasks", "promised"), [(1, 3.0), (5, 13.0), (20, 50.0)])
def test_clients_that_ask_as_they_are_told_are_never_refused_and_leave_room(tasks: int, promised: float) -> None:
    told: list[float] = []
    waited: list[float] = []

    async def client(api: MogplexApi, ends: float) -> None:
        while now() < ends:
            await api.polling().get_run("run-1")
            told.append(api.poll_interval(tasks))
            await asyncio.sleep(told[-1])

    async def person(api: MogplexApi, ends: float) -> None:
        while now() < ends:
            await asyncio.sleep(5)
            begun = now()
            await api.get_run("run-1")
            waited.append(now() - begun)

    async def work() -> list[float]:
        mogplex = Mogplex()
        mogplex.run()
        api = MogplexApi(mogplex.upstream(limit=60), TOKEN)
        ends = now() + MINUTES * 60
        async with asyncio.TaskGroup() as group:
            group.create_task(person(api, ends))
            for _ in range(tasks):
                group.create_task(client(api, ends))
        return [at for at, _ in mogplex.requests]

    asked = simulated(work)
    assert max(sum(at <= each < at + 60 for each in asked) for at in asked) <= 60
    assert max(waited) < 0.5
    assert 1.5 <= median(told) <= promised
