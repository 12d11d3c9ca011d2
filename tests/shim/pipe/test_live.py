"""What a host behind the shim hears of live runs of this server: changes in both eras, and tasks."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from tests.running_server import running_server
from tests.shim.pipe.shim_process import shim_environment
from tests.subscriptions.hosting import PATIENCE, RUNS, Session, heard_until, hearing
from tests.tasks.test_hosts import TakesTasks

pytestmark = pytest.mark.slow

START = {"repoId": "demo/hello", "prompt": "Repair it", "createBranch": True}


@dataclass(frozen=True)
class Shim:
    """A shim for this server, not yet started."""

    url: str
    token: str
    home: Path

    def client(self, **options: Any) -> Client:
        """The SDK's client with the shim as its server."""
        variables = shim_environment(self.home / "shim", {"MOGPLEX_API_KEY": self.token})
        command = StdioServerParameters(
            command=sys.executable, args=["-m", "mogplex_mcp_shim", self.url], env=variables
        )
        return Client(stdio_client(command), **options)


@pytest.fixture(scope="module")
def shim() -> Iterator[Shim]:
    with running_server(MOGPLEX_LOCAL_HARNESS="demo", MOGPLEX_LOCAL_RATE_LIMIT="0") as server:
        yield Shim(server.url, server.create_token(), server.home)


async def start(client: Client) -> str:
    """Start a run; its id."""
    started = await client.call_tool("mogplex_start_agent_run", START)
    assert started.structured_content is not None
    return str(started.structured_content["run"]["runId"])


async def test_a_host_of_the_new_era_listens(shim: Shim) -> None:
    async with shim.client(mode="2026-07-28") as client, client.listen(resources_list_changed=True) as lists:
        run_id = await start(client)
        assert await heard_until(lists, bool) == [ResourcesListChanged()]
        state = f"{RUNS}/{run_id}"
        async with client.listen(resource_subscriptions=[state]) as of_the_run:
            assert await heard_until(of_the_run, bool) == [ResourceUpdated(state)]
        await client.call_tool("mogplex_cancel_run", {"runId": run_id})


async def test_a_host_of_the_old_era_subscribes(shim: Shim) -> None:
    heard = Session()
    async with shim.client(mode="legacy", message_handler=hearing(heard)) as client:
        heard.client = client
        async with asyncio.timeout(PATIENCE):
            run_id = await start(client)
            await heard.until(lambda told: ResourcesListChanged() in told)
            await heard.subscribe(f"{RUNS}/{run_id}")
            await heard.until(lambda told: ResourceUpdated(f"{RUNS}/{run_id}") in told)


async def test_a_waiting_start_is_a_task(shim: Shim) -> None:
    async with asyncio.timeout(PATIENCE), shim.client(mode="2026-07-28", extensions=[TakesTasks()]) as client:
        done = await client.call_tool("mogplex_start_agent_run", {**START, "wait": True})
    assert isinstance(done, types.CallToolResult)
    assert done.structured_content is not None
    assert (done.structured_content["ended"], done.structured_content["run"]["status"]) == (True, "success")
