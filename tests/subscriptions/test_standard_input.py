"""A host on standard input hears of what changes, in either protocol era."""

import asyncio
from pathlib import Path

import mcp_types as types
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from bench.processes import COMMAND, clean_environment
from tests.subscriptions.hosting import PATIENCE, RUNS, Session, heard_until, hearing


def server(home: Path) -> StdioServerParameters:
    variables = {"MOGPLEX_HOME": str(home), "MOGPLEX_LOCAL_HARNESS": "demo", "MOGPLEX_LOCAL_RATE_LIMIT": "0"}
    return StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"], env=clean_environment(variables))


async def start(client: Client) -> str:
    """Start a run; its id."""
    listed = await client.call_tool("mogplex_list_repos", {})
    assert isinstance(listed, types.CallToolResult)
    assert listed.structured_content is not None
    arguments = {"repoId": listed.structured_content["repos"][0]["id"], "prompt": "Repair it", "createBranch": True}
    started = await client.call_tool("mogplex_start_agent_run", arguments)
    assert isinstance(started, types.CallToolResult)
    assert started.structured_content is not None
    return str(started.structured_content["run"]["runId"])


async def test_a_host_of_the_new_era_listens(home: Path) -> None:
    async with Client(stdio_client(server(home)), mode="2026-07-28") as client:
        async with client.listen(resources_list_changed=True) as lists:
            run_id = await start(client)
            assert await heard_until(lists, bool) == [ResourcesListChanged()]
            events = f"{RUNS}/{run_id}/events"
            async with client.listen(resource_subscriptions=[events]) as of_events:
                assert await heard_until(of_events, bool) == [ResourceUpdated(events)]
        # Both were closed by the client; the server goes on.
        await client.call_tool("mogplex_cancel_run", {"runId": run_id})


async def test_a_host_of_the_old_era_subscribes(home: Path) -> None:
    heard = Session()
    async with Client(stdio_client(server(home)), mode="legacy", message_handler=hearing(heard)) as client:
        heard.client = client
        async with asyncio.timeout(PATIENCE):
            run_id = await start(client)
            await heard.until(lambda told: told == [ResourcesListChanged()])
            await heard.subscribe(f"{RUNS}/{run_id}")
            await heard.until(lambda told: ResourceUpdated(f"{RUNS}/{run_id}") in told)
