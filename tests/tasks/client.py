"""A host that takes tasks, and says so in every request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2

from mogplex_mcp.tools.tasks import EXTENSION
from tests.mcp.conftest import Host, Json

START = "mogplex_start_agent_run"
DECLARED: Json = {"extensions": {EXTENSION: {}}}
ENDED = {"completed", "failed", "cancelled"}


@dataclass(frozen=True)
class TaskHost:
    """Speaks 2026-07-28.

    Attributes:
        host: Its address and token.
        capabilities: What it declares.
    """

    host: Host
    capabilities: Mapping[str, Any] = field(default_factory=lambda: DECLARED)

    def on(self, url: str) -> TaskHost:
        """The same host, at another server."""
        return replace(self, host=replace(self.host, url=url))

    def declaring(self, capabilities: Json) -> TaskHost:
        """The same host, which can do something else."""
        return replace(self, capabilities=capabilities)

    def message(self, method: str, params: Json) -> tuple[Json, dict[str, str]]:
        """Body and headers of a request."""
        body, headers = self.host.modern(method, params)
        body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"] = dict(self.capabilities)
        if "taskId" in params:
            headers["Mcp_Name"] = params["taskId"]
        return body, headers

    async def post(self, method: str, params: Json, **headers: str) -> httpx2.Response:
        """Send a request; headers given here replace those that belong."""
        body, usual = self.message(method, params)
        return await self.host.post(body, **{**usual, **headers})

    async def ask(self, method: str, **params: object) -> Json:
        """Send a request; its result."""
        answer = (await self.post(method, params)).json()
        assert "error" not in answer, answer
        result: Json = answer["result"]
        return result

    async def refused(self, method: str, **params: object) -> Json:
        """Send a request; the error that it is answered with."""
        error: Json = (await self.post(method, params)).json()["error"]
        return error

    async def call(self, name: str, **arguments: object) -> Json:
        """Call a tool."""
        return await self.ask("tools/call", name=name, arguments=arguments)

    async def start(self, repo: str, **more: object) -> Json:
        """Start a run and ask to wait for it."""
        return await self.call(START, repoId=repo, prompt="Repair it", createBranch=True, wait=True, **more)

    async def until_ended(self, task_id: str, seconds: float = 60) -> Json:
        """Ask for the task as often as it says, until it has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            task = await self.ask("tasks/get", taskId=task_id)
            if task["status"] in ENDED:
                return task
            await asyncio.sleep(task["pollIntervalMs"] / 1000)
        raise AssertionError("the task did not end")
