"""The Tasks extension on the wire: who may ask, by which headers, and what nobody learns."""

import base64
from dataclasses import replace

import pytest

from mogplex_mcp.store.bounds import TASK_LIFE
from mogplex_mcp.tools.tasks import EXTENSION
from tests.api.scripted_upstream import ScriptedUpstream
from tests.mcp.conftest import Json
from tests.tasks.client import START, TaskHost
from tests.tasks.conftest import TOKEN

METHODS: dict[str, Json] = {"tasks/get": {}, "tasks/update": {"inputResponses": {}}, "tasks/cancel": {}}
EVERY_METHOD = pytest.mark.parametrize("method", METHODS)


async def test_the_server_says_that_it_speaks_the_extension(agent: TaskHost) -> None:
    assert (await agent.ask("server/discover"))["capabilities"]["extensions"] == {EXTENSION: {}}


async def test_a_waiting_start_is_answered_with_a_task_and_nothing_but_a_task(agent: TaskHost) -> None:
    task = await agent.start("repo-1")
    assert set(task) == {
        *("resultType", "taskId", "status", "statusMessage", "createdAt", "lastUpdatedAt"),
        *("ttlMs", "pollIntervalMs", "_meta"),
    }
    assert (task["resultType"], task["status"], task["ttlMs"]) == ("task", "working", TASK_LIFE)
    assert "run-1" in task["statusMessage"]
    assert task["createdAt"] <= task["lastUpdatedAt"]


async def test_the_task_is_shown_as_it_was_made(agent: TaskHost) -> None:
    made = await agent.start("repo-1")
    assert await agent.ask("tasks/get", taskId=made["taskId"]) == {**made, "resultType": "complete"}


async def test_a_start_that_does_not_wait_is_answered_at_once(agent: TaskHost) -> None:
    started = await agent.call(START, repoId="repo-1", prompt="x", createBranch=True)
    assert started["resultType"] == "complete"
    assert started["structuredContent"]["run"]["runId"] == "run-1"


@pytest.mark.parametrize("capabilities", [{}, {"extensions": {}}, {"extensions": {"com.example/tasks": {}}}])
async def test_who_does_not_take_tasks_waits_as_ever(agent: TaskHost, capabilities: dict[str, object]) -> None:
    waited = await agent.declaring(capabilities).start("repo-1", timeoutSeconds=1)
    assert waited["resultType"] == "complete"
    assert waited["structuredContent"]["ended"] is False


async def test_a_declaration_holds_for_its_own_request_only(agent: TaskHost) -> None:
    assert (await agent.start("repo-1"))["resultType"] == "task"
    assert (await agent.declaring({}).start("repo-1", timeoutSeconds=1))["resultType"] == "complete"


async def test_an_earlier_revision_knows_no_tasks(agent: TaskHost) -> None:
    waited = await agent.host.tool(START, repoId="repo-1", prompt="x", createBranch=True, wait=True, timeoutSeconds=1)
    assert waited["structuredContent"]["ended"] is False
    for method, more in METHODS.items():
        assert (await agent.host.rpc(method, {"taskId": "x", **more}))["error"]["code"] == -32601


@EVERY_METHOD
async def test_who_does_not_declare_the_extension_is_told_what_is_missing(agent: TaskHost, method: str) -> None:
    task = await agent.start("repo-1")
    answer = await agent.declaring({}).post(method, {"taskId": task["taskId"], **METHODS[method]})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32021
    assert answer.json()["error"]["data"] == {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}


@EVERY_METHOD
@pytest.mark.parametrize("header", ["another", "", "=?base64?%%%?="])
async def test_a_header_that_names_another_task_is_refused(agent: TaskHost, method: str, header: str) -> None:
    task = await agent.start("repo-1")
    answer = await agent.post(method, {"taskId": task["taskId"], **METHODS[method]}, Mcp_Name=header)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_a_request_without_the_header_is_refused(agent: TaskHost) -> None:
    body, headers = agent.message("tasks/get", {"taskId": (await agent.start("repo-1"))["taskId"]})
    answer = await agent.host.post(body, **{name: value for name, value in headers.items() if name != "Mcp_Name"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, -32020)


async def test_the_header_may_be_written_in_base64(agent: TaskHost) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    encoded = base64.b64encode(name.encode()).decode()
    answer = await agent.post("tasks/get", {"taskId": name}, Mcp_Name=f"=?base64?{encoded}?=")
    assert answer.json()["result"]["taskId"] == name


@EVERY_METHOD
async def test_anothers_task_is_answered_like_one_that_never_was(
    agent: TaskHost, method: str, upstream: ScriptedUpstream
) -> None:
    task = await agent.start("repo-1")
    somebody = replace(agent, host=replace(agent.host, token=TOKEN + "x"))
    asked = len(upstream.requests)
    anothers = await somebody.post(method, {"taskId": task["taskId"], **METHODS[method]})
    unknown = await somebody.post(method, {"taskId": "0" * 32, **METHODS[method]})
    assert (anothers.status_code, anothers.content) == (unknown.status_code, unknown.content)
    assert anothers.json()["error"]["code"] == -32602
    assert [each.route for each in upstream.requests[asked:] if "run-1" in each.route] == []


@EVERY_METHOD
@pytest.mark.parametrize("name", ["", "x" * 201, 7, None])
async def test_what_cannot_be_a_tasks_name_is_refused(agent: TaskHost, method: str, name: object) -> None:
    body, headers = agent.message(method, {"taskId": "x", **METHODS[method]})
    body["params"]["taskId"] = name
    assert (await agent.host.post(body, **headers)).json()["error"]["code"] == -32602


async def test_a_run_asks_nothing_so_an_answer_is_taken_and_ignored(agent: TaskHost) -> None:
    task = await agent.start("repo-1")
    taken = await agent.ask("tasks/update", taskId=task["taskId"], inputResponses={"never-asked": {"any": 1}})
    assert {name for name in taken if name != "_meta"} == {"resultType"}
    many: Json = {str(number): {} for number in range(101)}
    unusable: tuple[object, ...] = (None, [], "x", many)
    for responses in unusable:
        error = await agent.refused("tasks/update", taskId=task["taskId"], inputResponses=responses)
        assert error["code"] == -32602


@pytest.mark.parametrize("method", ["tasks/list", "tasks/result"])
async def test_what_the_extension_has_dropped_is_not_there(agent: TaskHost, method: str) -> None:
    assert (await agent.refused(method, taskId="x"))["code"] == -32601


async def test_an_earlier_revision_is_not_told_of_the_extension(agent: TaskHost) -> None:
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    initialized = (await agent.host.rpc("initialize", client, Accept="application/json"))["result"]
    assert EXTENSION not in str(initialized["capabilities"])
    assert "tasks" not in initialized["capabilities"]
