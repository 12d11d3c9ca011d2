"""The main job, by tools over HTTP: list, start, read, cancel; real git, real children."""

import json
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES
from mogplex_mcp.tools.registry import TOOLS
from tests.mcp.conftest import Host, Json

TERMINAL = {"success", "failed", "cancelled"}


def structured(name: str, result: Json) -> Json:
    """The structured result, checked against the tool's own schema and against the text."""
    data: Json = result["structuredContent"]
    Draft202012Validator(TOOLS[name].output_schema()).validate(data)
    if not result["isError"]:
        assert json.loads(result["content"][0]["text"]) == data
    return data


async def call(host: Host, name: str, **arguments: object) -> Json:
    return structured(name, await host.tool(name, **arguments))


async def demo_repo(host: Host) -> str:
    repos = (await call(host, "mogplex_list_repos", query="HELLO"))["repos"]
    assert [repo["full_name"] for repo in repos] == ["demo/hello"]
    identifier: str = repos[0]["id"]
    return identifier


async def until_terminal(host: Host, run_id: str) -> tuple[Json, list[Json]]:
    """Follow a run as its description says: on from nextEventId until it ends."""
    events: list[Json] = []
    since: str | None = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        answer = await call(host, "mogplex_get_run_events", runId=run_id, sinceEventId=since)
        events += answer["events"]
        since = answer["nextEventId"]
        if answer["run"]["status"] in TERMINAL and not answer["events"]:
            return answer["run"], events
    raise AssertionError(f"the run did not end: {[event['type'] for event in events]}")


def git(repo: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", repo, *arguments], check=True, capture_output=True, text=True).stdout


async def test_a_run_repairs_the_demo_repository_on_a_branch_of_its_own(host: Host, settings: Settings) -> None:
    repo = await demo_repo(host)
    started = (await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair the test", createBranch=True))[
        "run"
    ]
    assert started["replayed"] is False
    assert started["status"] == "pending"
    run, events = await until_terminal(host, started["runId"])
    assert run["status"] == "success", run["error"]
    assert events[0]["type"] == "stream_started"
    assert events[-1]["type"] == "finished"
    assert len({event["id"] for event in events}) == len(events)
    branch = started["branch"]["working"]
    assert branch.startswith("mogplex/run/")
    path = settings.data_dir / "repos" / "demo" / "hello"
    assert git(path, "log", "--format=%s", f"main..{branch}").strip()
    assert git(path, "status", "--porcelain") == ""
    assert (await call(host, "mogplex_get_run", runId=started["runId"]))["run"]["status"] == "success"
    again = await call(host, "mogplex_cancel_run", runId=started["runId"])
    assert again["alreadyTerminal"] is True
    assert again["status"] == "already_terminal"
    assert again["run"]["status"] == "success"


async def test_another_run_is_cancelled_and_says_so(host: Host) -> None:
    repo = await demo_repo(host)
    started = (await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True))["run"]
    sandboxes = (await call(host, "mogplex_list_sandboxes", repoId=repo))["sandboxes"]
    assert [sandbox["repo_id"] for sandbox in sandboxes] == [repo]
    cancelled = await call(host, "mogplex_cancel_run", runId=started["runId"])
    assert cancelled["alreadyTerminal"] is False
    assert cancelled["status"] == "cancellation_requested"
    run, events = await until_terminal(host, started["runId"])
    assert run["status"] == "cancelled"
    assert {"cancel_requested", "cancelled"} <= {event["type"] for event in events}


async def test_the_same_key_never_starts_a_second_run(host: Host) -> None:
    repo = await demo_repo(host)
    arguments = {"repoId": repo, "prompt": "Repair it", "createBranch": True, "idempotencyKey": "one"}
    first = (await call(host, "mogplex_start_agent_run", **arguments))["run"]
    second = (await call(host, "mogplex_start_agent_run", **arguments))["run"]
    assert second["runId"] == first["runId"]
    assert second["replayed"] is True
    other = await call(host, "mogplex_start_agent_run", **{**arguments, "prompt": "Another"})
    assert other["error"]["code"] == "IDEMPOTENCY_CONFLICT"
    await call(host, "mogplex_cancel_run", runId=first["runId"])


async def test_an_unknown_run_is_not_found_and_the_model_learns_what_to_do(host: Host) -> None:
    for name in ("mogplex_get_run", "mogplex_get_run_events", "mogplex_cancel_run"):
        result = await host.tool(name, runId="00000000-0000-0000-0000-000000000000")
        error = structured(name, result)["error"]
        assert result["isError"] is True
        assert error["code"] == "NOT_FOUND"
        assert error["status"] == 404
        assert error["requestId"]
        assert error["suggestion"] in result["content"][0]["text"]


async def test_bad_arguments_are_named_one_by_one(host: Host) -> None:
    result = await host.tool("mogplex_start_agent_run", repo="x", prompt="", createBranch="maybe", harness="gpt")
    error = structured("mogplex_start_agent_run", result)["error"]
    assert result["isError"] is True
    assert error["code"] == "BAD_REQUEST"
    assert set(error["fields"]) == {"repo", "repoId", "prompt", "createBranch", "harness"}
    assert "not an argument" in error["fields"]["repo"]


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("mogplex_get_run", {"runId": ".."}, "runId"),
        ("mogplex_start_agent_run", {"prompt": "x", "idempotencyKey": "ké"}, "idempotencyKey"),
        ("mogplex_start_agent_run", {"prompt": "x", "createBranch": True, "workingBranch": "a..b"}, "workingBranch"),
        ("mogplex_start_agent_run", {"prompt": "x", "createBranch": True, "baseBranch": "no"}, "baseBranch"),
        ("mogplex_start_agent_run", {"prompt": "x", "createBranch": True, "rootDirectory": "../x"}, "rootDirectory"),
    ],
)
async def test_an_argument_that_mogplex_refuses_is_named_too(
    host: Host, name: str, arguments: Json, field: str
) -> None:
    if "start" in name:
        arguments = {"repoId": await demo_repo(host), **arguments}
    error = (await call(host, name, **arguments))["error"]
    assert (error["code"], error["status"]) == ("BAD_REQUEST", 400)
    assert set(error["fields"]) == {field}


async def test_an_event_of_another_run_is_named_as_the_fault(host: Host) -> None:
    repo = await demo_repo(host)
    started = (await call(host, "mogplex_start_agent_run", repoId=repo, prompt="x", createBranch=True))["run"]
    answer = await call(host, "mogplex_get_run_events", runId=started["runId"], sinceEventId="no-such-event")
    assert set(answer["error"]["fields"]) == {"sinceEventId"}
    await call(host, "mogplex_cancel_run", runId=started["runId"])


async def test_null_is_taken_as_left_out(host: Host) -> None:
    assert (await call(host, "mogplex_list_repos", query=None, limit=None))["repos"]


hostile_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=8,
)
argument_names = sorted({name for tool in TOOLS.values() for name in tool.arguments.model_json_schema()["properties"]})


@hypothesis_settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from([name for name in TOOLS if name != "mogplex_start_agent_run"]),
    arguments=st.dictionaries(st.sampled_from(argument_names) | st.text(max_size=10), hostile_json, max_size=5),
)
async def test_whatever_arguments_come_the_answer_is_a_result_that_fits_the_schema(
    host: Host, name: str, arguments: Json
) -> None:
    result = await host.tool(name, **{"runId": "r", **arguments} if "run" in name else arguments)
    data = structured(name, result)
    assert (
        len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")) <= MAX_RESULT_BYTES
    )
    if result["isError"]:
        assert data["error"]["code"] in {"BAD_REQUEST", "NOT_FOUND"}
