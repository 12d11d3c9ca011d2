"""A server that stops ends what it tells in order, and at once."""

import asyncio
import os
import signal
import time
from pathlib import Path

import httpx2
import psutil
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from bench.processes import COMMAND, running
from tests.running_server import RunningServer


async def test_listeners_are_told_that_it_is_over_and_the_server_ends(home: Path) -> None:
    with running([*COMMAND, "serve", "--port", "0"], home / "server.log", {"MOGPLEX_HOME": str(home)}) as process:
        server = RunningServer(process.port, home)
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(server.create_token)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(server.url, http_client=http), mode="2026-07-28") as client,
            client.listen(resources_list_changed=True) as heard,
        ):
            began = time.monotonic()
            os.kill(process.pid, signal.SIGTERM)
            async with asyncio.timeout(10):
                # An abrupt end would raise SubscriptionLost.
                assert [event async for event in heard] == []
            assert time.monotonic() - began < 1
        await asyncio.to_thread(psutil.wait_procs, [psutil.Process(process.pid)], timeout=10)
        assert time.monotonic() - began < 6


async def test_a_start_that_waits_is_answered_with_its_run_and_whoever_follows_learns_why_it_ends(home: Path) -> None:
    variables = {"MOGPLEX_HOME": str(home), "MOGPLEX_LOCAL_HARNESS": "demo"}
    with running([*COMMAND, "serve", "--port", "0"], home / "server.log", variables) as process:
        server = RunningServer(process.port, home)
        headers = {"Authorization": f"Bearer {await asyncio.to_thread(server.create_token)}"}
        begun = asyncio.Event()

        async def note(progress: float, total: float | None, message: str | None) -> None:
            begun.set()

        async with (
            asyncio.timeout(30),
            httpx2.AsyncClient(headers=headers, timeout=60) as http,
            Client(streamable_http_client(server.url, http_client=http), mode="2026-07-28") as client,
        ):
            arguments = {"repoId": "demo/hello", "prompt": "Repair it", "createBranch": True, "wait": True}
            starting = asyncio.create_task(
                client.call_tool("mogplex_start_agent_run", arguments, progress_callback=note)
            )
            await begun.wait()
            listed = await client.call_tool("mogplex_list_runs", {})
            assert listed.structured_content is not None
            run_id = listed.structured_content["runs"][0]["runId"]
            begun.clear()
            following = asyncio.create_task(
                client.call_tool("mogplex_follow_run", {"runId": run_id}, progress_callback=note)
            )
            await begun.wait()
            os.kill(process.pid, signal.SIGTERM)
            started, followed = await asyncio.gather(starting, following)
        assert started.structured_content is not None
        assert started.structured_content["run"]["runId"] == run_id
        assert followed.structured_content is not None
        assert followed.structured_content["error"]["code"] == "SERVICE_UNAVAILABLE"
