"""A real host, the Python SDK's stdio client, through the shim to real servers, in both eras."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bench.processes import COMMAND, running
from tests.running_server import RunningServer
from tests.shim.pipe.shim_process import shim_environment

Mode = Literal["auto", "legacy"]
ERAS: list[tuple[Mode, str]] = [("auto", "2026-07-28"), ("legacy", "2025-11-25")]
RESTARTS = 60.0
"""Seconds for the first calls after it."""


@contextmanager
def this_server(home: Path, port: int = 0) -> Iterator[RunningServer]:
    environment = {"MOGPLEX_HOME": str(home), "MOGPLEX_LOCAL_RATE_LIMIT": "0"}
    command = [*COMMAND, "serve", "--port", str(port)]
    with running(command, home / "server.log", environment) as server:
        yield RunningServer(server.port, home)


@pytest.fixture
def home() -> Iterator[Path]:
    # Not pytest's tmp_path: the path of a Unix socket below it may be too long.
    with tempfile.TemporaryDirectory(prefix="mm-") as name:
        yield Path(name)


@asynccontextmanager
async def host(url: str, home: Path, mode: Mode, token: str | None = None) -> AsyncIterator[Client]:
    variables = {"MOGPLEX_API_KEY": token} if token is not None else {}
    environment = shim_environment(home / "shim", variables)
    shim = StdioServerParameters(command=sys.executable, args=["-m", "mogplex_mcp_shim", url], env=environment)
    async with Client(stdio_client(shim), mode=mode) as client:
        yield client


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "revision"), ERAS)
async def test_a_host_works_with_this_server(mode: Mode, revision: str, home: Path) -> None:
    with this_server(home) as server:
        token = await asyncio.to_thread(server.create_token)
        async with host(server.url, home, mode, token) as client:
            assert client.protocol_version == revision
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert "mogplex_start_agent_run" in names
            listed = await client.call_tool("mogplex_list_repos", {})
            assert listed.structured_content is not None
            (repo,) = listed.structured_content["repos"]
            arguments = {"repoId": repo["id"], "prompt": "Mend the test"}
            started = await client.call_tool("mogplex_start_agent_run", arguments)
            assert not started.is_error, started


@pytest.mark.slow
async def test_a_host_survives_a_restart_of_this_server(home: Path) -> None:
    with ExitStack() as servers:
        server = servers.enter_context(this_server(home))
        token = await asyncio.to_thread(server.create_token)
        async with host(server.url, home, "legacy", token) as client:
            assert not (await client.call_tool("mogplex_list_repos", {})).is_error
            servers.close()
            servers.enter_context(this_server(home, server.port))
            with anyio.fail_after(RESTARTS):
                assert not (await client.call_tool("mogplex_list_repos", {})).is_error
                assert (await client.list_tools()).tools


@contextmanager
def sdk_server(directory: Path) -> Iterator[str]:
    """The server made with the SDK; gives its URL."""
    command = [sys.executable, "-m", "tests.shim.pipe.sdk_server"]
    with running(command, directory / "sdk.log") as server:
        yield f"http://127.0.0.1:{server.port}/mcp"


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "revision"), ERAS)
async def test_a_host_works_with_a_server_made_with_the_sdk(mode: Mode, revision: str, tmp_path: Path) -> None:
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    with sdk_server(tmp_path) as url:
        async with host(url, tmp_path, mode) as client:
            assert client.protocol_version == revision
            counted = await client.call_tool("count", {"to": 20}, progress_callback=on_progress)
            assert counted.structured_content == {"result": 20}
            assert seen == list(range(20))
            read = await client.read_resource("sdk://text")
            assert "text" in str(read.contents)
            async with anyio.create_task_group() as group:
                for number in range(20):
                    group.start_soon(client.call_tool, "count", {"to": number})


@pytest.mark.slow
async def test_an_answer_that_breaks_off_is_resumed_with_the_sdks_server(tmp_path: Path) -> None:
    with sdk_server(tmp_path) as url:
        async with host(url, tmp_path, "legacy") as client:
            broken = await client.call_tool("break_off", {})
            assert broken.structured_content == {"result": "after all"}
