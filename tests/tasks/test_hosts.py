"""Tasks as hosts use them: real runs, the SDK's client, a question first, and what a person has not allowed."""

import asyncio
import signal
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import kill
from pathlib import Path
from typing import Any, ClassVar, Literal

import httpx2
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from bench.processes import COMMAND, clean_environment, running
from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.tasks import EXTENSION, TaskParams
from tests.api.scripted_upstream import REPO, ScriptedUpstream, ok
from tests.mcp.conftest import Host, Json, new_token
from tests.mcp.test_access import Person, person  # noqa: F401 - a fixture
from tests.mcp.test_tools import call, demo_repo, structured, until_terminal
from tests.tasks.client import DECLARED, START, TaskHost
from tests.test_command_line import home as daemon_home  # noqa: F401 - a fixture


async def test_a_real_run_is_a_task_until_it_ends_and_then_its_result(real: TaskHost) -> None:
    made = await real.start(await demo_repo(real.host))
    assert made["resultType"] == "task"
    ended = await real.until_ended(made["taskId"])
    data = structured(START, ended["result"])
    read = await call(real.host, "mogplex_get_run_events", runId=data["run"]["runId"])
    assert (ended["status"], data["run"]["status"], data["ended"]) == ("completed", "success", True)
    assert [event["id"] for event in data["events"]] == [event["id"] for event in read["events"]]
    assert ended["lastUpdatedAt"] > made["lastUpdatedAt"]


async def test_cancelling_the_task_cancels_the_run(real: TaskHost) -> None:
    made = await real.start(await demo_repo(real.host))
    (run,) = (await call(real.host, "mogplex_list_runs"))["runs"]
    await real.ask("tasks/cancel", taskId=made["taskId"])
    assert (await real.until_ended(made["taskId"]))["status"] == "cancelled"
    assert (await until_terminal(real.host, run["runId"]))[0]["status"] == "cancelled"
    await real.ask("tasks/cancel", taskId=made["taskId"])


async def test_a_run_cancelled_by_its_tool_is_a_cancelled_task(real: TaskHost) -> None:
    made = await real.start(await demo_repo(real.host))
    (run,) = (await call(real.host, "mogplex_list_runs"))["runs"]
    await call(real.host, "mogplex_cancel_run", runId=run["runId"])
    assert (await real.until_ended(made["taskId"]))["status"] == "cancelled"


@pytest.mark.parametrize("answered", ["accept", "decline"])
async def test_which_repository_is_asked_by_the_call_itself_before_there_is_a_task(
    agent: TaskHost, upstream: ScriptedUpstream, answered: str
) -> None:
    repos = [{**REPO, "id": f"repo-{name}", "full_name": f"{name}/api"} for name in ("acme", "beta")]
    upstream.answers(ok({"repos": repos}), on="GET /repos")
    person_there = agent.declaring({**DECLARED, "elicitation": {}})
    asked = await person_there.start("api")
    assert asked["resultType"] == "input_required"
    assert "taskId" not in asked
    assert set(asked["inputRequests"]) == {"repoId"}
    arguments = {"repoId": "api", "prompt": "x", "createBranch": True, "wait": True}
    content = {"content": {"repoId": "beta/api"}} if answered == "accept" else {}
    made = await person_there.ask(
        "tools/call", name=START, arguments=arguments, inputResponses={"repoId": {"action": answered, **content}}
    )
    starts = [each.body for each in upstream.requests if each.route == "POST /runs"]
    if answered == "decline":
        assert made["structuredContent"]["error"]["code"] == "AMBIGUOUS_REPO"
        assert starts == []
        return
    assert made["resultType"] == "task"
    assert "inputRequests" not in made
    assert [b"repo-beta" in body for body in starts] == [True]
    assert (await person_there.ask("tasks/get", taskId=made["taskId"]))["status"] == "working"


async def test_who_may_only_read_sees_a_task_and_may_not_cancel_it(person: Person) -> None:  # noqa: F811
    agent, _ = await person.connect("tools:read", "agents:run")
    host = TaskHost(agent)
    made = await host.start(await demo_repo(agent))
    await person.on_connections("scopes", scope=["tools:read"])
    assert (await host.ask("tasks/get", taskId=made["taskId"]))["taskId"] == made["taskId"]
    refused = await host.post("tasks/cancel", {"taskId": made["taskId"]})
    assert refused.status_code == 403
    assert 'scope="agents:run"' in refused.headers["www-authenticate"]
    await person.on_connections("scopes", scope=["agents:run"])
    for method in ("tasks/get", "tasks/update"):
        assert (await host.post(method, {"taskId": made["taskId"], "inputResponses": {}})).status_code == 403
    await host.ask("tasks/cancel", taskId=made["taskId"])


async def test_who_may_start_and_not_read_gets_no_task_and_starts_nothing(person: Person) -> None:  # noqa: F811
    agent, _ = await person.connect("tools:read", "agents:run")
    repo = await demo_repo(agent)
    await person.on_connections("scopes", scope=["agents:run"])
    refused = await TaskHost(agent).start(repo)
    assert refused["structuredContent"]["error"]["code"] == "FORBIDDEN"


class CreatedTask(types.Result):
    """``CreateTaskResult``, as far as this client needs it."""

    result_type: Literal["task"]
    task_id: str
    poll_interval_ms: int


class Detailed(types.Result):
    """``DetailedTask``, likewise."""

    status: str
    poll_interval_ms: int
    result: dict[str, Any] | None = None


class GetTask(types.Request[TaskParams, Literal["tasks/get"]]):
    """``tasks/get``, named in its header by the task."""

    name_param: ClassVar[str | None] = "taskId"

    method: Literal["tasks/get"] = "tasks/get"
    params: TaskParams


class TakesTasks(ClientExtension):
    """The SDK's client with the extension: it waits for a task as if the call had been held."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=CreatedTask, resolve=self.wait)]

    async def wait(self, created: CreatedTask, ctx: ClaimContext) -> types.CallToolResult:
        while True:
            await asyncio.sleep(created.poll_interval_ms / 1000)
            request = GetTask(params=TaskParams(task_id=created.task_id))
            task = await ctx.session.send_request(request, Detailed)
            if task.status != "working":
                return types.CallToolResult.model_validate(task.result)


async def test_the_sdks_client_with_the_extension_gets_the_result_of_a_task(real: TaskHost) -> None:
    repo = await demo_repo(real.host)
    headers = {"Authorization": f"Bearer {real.host.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(
            streamable_http_client(real.host.url, http_client=http), mode="2026-07-28", extensions=[TakesTasks()]
        ) as client,
    ):
        done = await client.call_tool(START, {"repoId": repo, "prompt": "x", "createBranch": True, "wait": True})
    assert done.structured_content is not None
    assert (done.structured_content["ended"], done.structured_content["run"]["status"]) == (True, "success")


@pytest.mark.slow
async def test_on_standard_input_a_task_needs_no_header(daemon_home: Path) -> None:  # noqa: F811
    environment = clean_environment({"MOGPLEX_HOME": str(daemon_home), "MOGPLEX_LOCAL_HARNESS": "demo"})
    stdio = stdio_client(StdioServerParameters(command=COMMAND[0], args=[*COMMAND[1:], "stdio"], env=environment))
    async with Client(stdio, mode="2026-07-28", extensions=[TakesTasks()]) as client:
        start = {"repoId": "demo/hello", "prompt": "x", "createBranch": True, "wait": True}
        done = await client.call_tool(START, start)
    assert done.structured_content is not None
    assert (done.structured_content["ended"], done.structured_content["run"]["status"]) == (True, "success")


@pytest.mark.slow
async def test_a_task_outlives_the_process_that_made_it_and_is_served_by_another() -> None:
    with tempfile.TemporaryDirectory(prefix="mm-") as name, ExitStack() as stack:
        home, settings = Path(name), Settings(home=Path(name))
        variables = {"MOGPLEX_HOME": name, "MOGPLEX_LOCAL_HARNESS": "demo"}
        first, second = (
            stack.enter_context(running([*COMMAND, "serve", "--port", "0"], home / f"{number}.log", variables))
            for number in "12"
        )
        async with httpx2.AsyncClient(timeout=60, trust_env=False) as http:
            token = await asyncio.to_thread(new_token, settings)
            url = "http://127.0.0.1:{}/mcp"
            one = TaskHost(Host(url.format(first.port), token, http, None))  # type: ignore[arg-type]
            two = one.on(url.format(second.port))
            made = await one.start(await demo_repo(one.host))
            kill(first.pid, signal.SIGKILL)
            shown: Json = await two.ask("tasks/get", taskId=made["taskId"])
            assert shown["taskId"] == made["taskId"]
            assert (await two.until_ended(made["taskId"]))["status"] == "completed"
            third = stack.enter_context(running([*COMMAND, "serve", "--port", "0"], home / "3.log", variables))
            assert (await two.on(url.format(third.port)).ask("tasks/get", taskId=made["taskId"]))[
                "status"
            ] == "completed"
            stranger = replace(two, host=replace(two.host, token=await asyncio.to_thread(new_token, settings)))
            assert (await stranger.refused("tasks/get", taskId=made["taskId"]))["code"] == -32602
