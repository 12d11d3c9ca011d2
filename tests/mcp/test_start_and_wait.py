"""Starting a run and waiting for it in one call."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import REPO, RUN, Connection, ScriptedUpstream, error, ok, scripted_upstream
from tests.mcp.conftest import Host, serving
from tests.mcp.test_access import Person, person  # noqa: F401 - a fixture
from tests.mcp.test_tools import call, demo_repo

TOKEN = "mog_tests0123456789"
START = "mogplex_start_agent_run"


async def test_one_call_starts_a_run_and_sees_it_to_its_end(host: Host) -> None:
    repo = await demo_repo(host)
    done = await call(host, START, repoId=repo, prompt="Repair it", createBranch=True, wait=True)
    assert done["ended"] is True
    assert done["run"]["status"] == "success"
    assert done["run"]["replayed"] is False
    read = await call(host, "mogplex_get_run_events", runId=done["run"]["runId"])
    assert [event["id"] for event in done["events"]] == [event["id"] for event in read["events"]]
    assert done["nextEventId"] == read["nextEventId"]


async def test_a_start_waits_no_longer_than_it_was_told_and_following_goes_on_from_there(host: Host) -> None:
    repo = await demo_repo(host)
    begun = await call(host, START, repoId=repo, prompt="Repair it", createBranch=True, wait=True, timeoutSeconds=1)
    rest = await call(host, "mogplex_follow_run", runId=begun["run"]["runId"], sinceEventId=begun["nextEventId"])
    assert rest["ended"] is True
    read = await call(host, "mogplex_get_run_events", runId=begun["run"]["runId"])
    both = [event["id"] for event in [*begun["events"], *rest["events"]]]
    assert both == [event["id"] for event in read["events"]]


async def test_how_long_to_wait_makes_no_sense_without_waiting(host: Host) -> None:
    repo = await demo_repo(host)
    refused = await call(host, START, repoId=repo, prompt="x", createBranch=True, timeoutSeconds=5)
    assert set(refused["error"]["fields"]) == {"timeoutSeconds"}
    assert (await call(host, "mogplex_list_runs"))["runs"] == []


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_ending_the_wait_does_not_end_the_run(host: Host, mode: str) -> None:
    repo = await demo_repo(host)
    heard = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    headers = {"Authorization": f"Bearer {host.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(host.url, http_client=http), mode=mode) as client,
    ):
        arguments = {"repoId": repo, "prompt": "Repair it", "createBranch": True, "wait": True}
        waiting = asyncio.create_task(client.call_tool(START, arguments, progress_callback=hear))
        async with asyncio.timeout(30):
            await heard.wait()
        waiting.cancel()
        await asyncio.wait({waiting})
    (run,) = (await call(host, "mogplex_list_runs"))["runs"]
    assert (await call(host, "mogplex_follow_run", runId=run["runId"]))["run"]["status"] == "success"


async def test_who_may_start_and_not_read_may_not_wait_and_nothing_is_started(person: Person) -> None:  # noqa: F811
    agent, _ = await person.connect("tools:read", "agents:run")
    repo = await demo_repo(agent)
    await person.on_connections("scopes", scope=["agents:run"])
    refused = await call(agent, START, repoId=repo, prompt="x", createBranch=True, wait=True)
    assert refused["error"]["code"] == "FORBIDDEN"
    assert "tools:read" in refused["error"]["message"]
    await person.on_connections("scopes", scope=["tools:read", "agents:run"])
    assert (await call(agent, "mogplex_list_sandboxes"))["sandboxes"] == []


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as scripted:
        scripted.answers(ok({"repos": [REPO]}), on="GET /repos")
        yield scripted


async def test_a_run_that_cannot_be_followed_was_started_all_the_same(upstream: ScriptedUpstream, home: Path) -> None:
    upstream.answers(ok({**RUN, "replayed": False}, 202), on="POST /runs")
    upstream.answers(error(404, "NOT_FOUND"), on="GET /runs/run-1/events")
    settings = Settings(home=home, url=upstream.url, dev=True)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        started = await call(host, START, repoId="acme/web", prompt="x", createBranch=True, wait=True)
    assert started == {"run": {**RUN, "replayed": False}}


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_run_whose_start_was_under_way_when_its_host_left_is_in_the_list(
    upstream: ScriptedUpstream, home: Path, mode: str
) -> None:
    released = asyncio.Event()

    async def late(connection: Connection) -> None:
        await released.wait()
        await ok({**RUN, "replayed": False}, 202)(connection)

    upstream.answers(late, on="POST /runs")
    upstream.answers(ok({"run": RUN}), on="GET /runs/run-1")
    settings = Settings(home=home, url=upstream.url, dev=True)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        headers = {"Authorization": f"Bearer {host.token}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(host.url, http_client=http), mode=mode) as client,
        ):
            starting = asyncio.create_task(client.call_tool(START, {"repoId": "acme/web", "prompt": "x", "wait": True}))
            while not any(request.route == "POST /runs" for request in upstream.requests):
                await upstream.received(len(upstream.requests) + 1)
            starting.cancel()
            await asyncio.wait({starting})
        # Another request of that host: what it said before has arrived.
        assert (await call(host, "mogplex_list_runs"))["runs"] == []
        released.set()
        async with asyncio.timeout(10):
            while not (listed := (await call(host, "mogplex_list_runs"))["runs"]):
                pass
        assert listed == [RUN]
        assert sum(request.route == "POST /runs" for request in upstream.requests) == 1
