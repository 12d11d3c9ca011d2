"""Real runs of the embedded Mogplex, followed in-process and over the daemon's socket."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from mogplex_mcp.api import Upstream
from mogplex_mcp.api.budget import Budgets
from mogplex_mcp.api.transport import Route
from mogplex_mcp.auth.caller import GivenToken
from mogplex_mcp.runs import Watchers
from tests.local.hosting import Host, daemons_of, hosting
from tests.runs.simulated import rest_of

LONG = "for n in range(450): message(f'message {n}')"
STEPS = "import time\nfor n in range(40):\n    message(f'message {n}')\n    time.sleep(0.05)"
FOREVER = "message('begun')\nwait_for('/nowhere')"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("MOGPLEX_", "GIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def data_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="mogplex-")).resolve()
    yield path
    for daemon in daemons_of(path):
        daemon.kill()
        daemon.wait(10)
    shutil.rmtree(path)


@asynccontextmanager
async def watching(host: Host, limit: int = 0) -> AsyncIterator[Watchers]:
    route = Route("embedded", "test", "http://localhost")
    watchers = Watchers(Upstream(route, host.transport, 5, 30, Budgets(limit)))
    try:
        yield watchers
    finally:
        await watchers.close()


def credential(host: Host) -> GivenToken:
    return GivenToken(host.client.headers["authorization"].removeprefix("Bearer "))


async def followed(watchers: Watchers, host: Host, run_id: str, since: str | None = None) -> list[str]:
    async with watchers.follow("ann", credential(host), run_id, since=since) as follower:
        return await rest_of(follower)


async def all_ids(host: Host, run_id: str) -> list[str]:
    """Every event of a run, page by page."""
    found: list[str] = []
    while True:
        query = {"after": found[-1]} if found else {}
        page = (await host.data(f"/runs/{run_id}/events", limit=200, **query))["events"]
        found += [event["id"] for event in page]
        if not page:
            return found


@pytest.mark.parametrize("may_own", [True, False], ids=["in-process", "daemon"])
async def test_followers_of_a_real_run_see_everything_whenever_they_come(data_dir: Path, may_own: bool) -> None:
    async with hosting(data_dir, may_own=may_own) as host, watching(host) as watchers:
        run_id = (await host.start(STEPS, createBranch=True))["runId"]

        async def join(after: float) -> list[str]:
            await asyncio.sleep(after)
            return await followed(watchers, host, run_id)

        seen = await asyncio.gather(*(join(number * 0.15) for number in range(20)))
        expected = await all_ids(host, run_id)
        assert len(expected) > 40
        assert all(each == expected for each in seen)


async def test_a_run_with_many_events_is_told_whole_on_a_budget_of_a_few_requests(data_dir: Path) -> None:
    async with hosting(data_dir, local_rate_limit=3) as host, watching(host, limit=3) as watchers:
        run_id = (await host.start(LONG, createBranch=True))["runId"]
        seen = await followed(watchers, host, run_id)
        assert len(seen) >= 450
        assert len(set(seen)) == len(seen)


def _seconds(created: object) -> float:
    return datetime.fromisoformat(str(created)).timestamp()


def _age(created: object) -> float:
    return time.time() - datetime.fromisoformat(str(created)).timestamp()


async def test_events_arrive_at_once(data_dir: Path) -> None:
    async with hosting(data_dir) as host, watching(host) as watchers:
        steps = STEPS.replace("0.05", "0.2").replace("40", "20")
        run_id = (await host.start(steps, createBranch=True))["runId"]
        async with watchers.follow("ann", credential(host), run_id) as follower:
            late = [_age(event.created_at) async for event in follower]
        # The first ones may have been there before.
        assert sorted(late)[len(late) // 2] < 0.25


async def test_a_cancelled_run_ends_its_followers(data_dir: Path) -> None:
    async with hosting(data_dir) as host, watching(host) as watchers:
        run_id = (await host.start(FOREVER, createBranch=True))["runId"]
        following = asyncio.create_task(followed(watchers, host, run_id))
        await host.until(run_id, "streaming")
        await host.cancel(run_id)
        watchers.nudge("ann", run_id)
        assert await following == await all_ids(host, run_id)


async def test_leaving_does_not_harm_the_run(data_dir: Path) -> None:
    async with hosting(data_dir) as host, watching(host) as watchers:
        run_id = (await host.start(STEPS, createBranch=True))["runId"]
        async with watchers.follow("ann", credential(host), run_id) as follower:
            first = await anext(follower)
        assert (await host.ended(run_id))["status"] == "success"
        rest = await followed(watchers, host, run_id, since=first.id)
        assert [first.id, *rest] == await all_ids(host, run_id)


async def test_when_mogplex_is_killed_and_comes_back_followers_go_on_to_the_end(data_dir: Path) -> None:
    async with hosting(data_dir, may_own=False) as host, watching(host) as watchers:
        (daemon,) = daemons_of(data_dir)
        run_id = (await host.start(FOREVER, createBranch=True))["runId"]
        async with watchers.follow("ann", credential(host), run_id) as follower:
            seen = [(await anext(follower)).id]
            daemon.kill()
            await asyncio.to_thread(daemon.wait, 10)
            seen += await rest_of(follower)
            assert follower.run.status == "failed"
        assert seen == await all_ids(host, run_id)


async def test_a_watcher_that_is_made_anew_goes_on_in_the_middle_of_a_run(data_dir: Path) -> None:
    async with hosting(data_dir, may_own=False) as host:
        run_id = (await host.start(STEPS, createBranch=True))["runId"]
        seen: list[str] = []
        async with watching(host) as before, before.follow("ann", credential(host), run_id) as follower:
            seen += [(await anext(follower)).id for _ in range(5)]
        async with watching(host) as after:
            seen += await followed(after, host, run_id, since=seen[-1])
        assert seen == await all_ids(host, run_id)
