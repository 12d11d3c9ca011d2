"""The runs that an account has seen: listed, found again by how their ids begin, and nobody else's."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from mogplex_mcp.api import open_upstream
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import RUN, ScriptedUpstream, error, ok, scripted_upstream
from tests.mcp.conftest import Host, Json, serving
from tests.mcp.test_repo_names import asked
from tests.mcp.test_tools import call, demo_repo, structured

TOKEN = "mog_tests0123456789"
LIST = "mogplex_list_runs"
ID = "run-abcdefgh-1"


async def start(host: Host) -> str:
    repo = await demo_repo(host)
    started = await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
    run_id: str = started["run"]["runId"]
    return run_id


async def listed(host: Host, **arguments: object) -> list[str]:
    return [run["runId"] for run in (await call(host, LIST, **arguments))["runs"]]


async def test_runs_that_were_started_are_listed_fresh_the_latest_first(host: Host, other_token: str) -> None:
    assert await listed(host) == []
    first, second = await start(host), await start(host)
    assert await listed(host) == [second, first]
    for run_id in (first, second):
        await call(host, "mogplex_follow_run", runId=run_id)
    assert [run["status"] for run in (await call(host, LIST))["runs"]] == ["success", "success"]
    assert await listed(host, status="streaming") == []
    assert await listed(host, status="success", repoId="demo/hello") == [second, first]

    page = await call(host, LIST, limit=1)
    assert [run["runId"] for run in page["runs"]] == [second]
    last = await call(host, LIST, limit=1, cursor=page["nextCursor"])
    assert [run["runId"] for run in last["runs"]] == [first]
    assert last["nextCursor"] is None

    other = replace(host, token=other_token)
    assert await listed(other) == []
    assert (await call(other, "mogplex_get_run", runId=first[:13]))["error"]["code"] == "NOT_FOUND"
    assert (await call(host, "mogplex_get_run", runId=first[:13]))["run"]["runId"] == first
    await call(other, "mogplex_get_run", runId=first)
    assert await listed(other) == [first]


async def test_a_cursor_that_is_none_of_ours_is_named(host: Host) -> None:
    assert set((await call(host, LIST, cursor="e30"))["error"]["fields"]) == {"cursor"}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as scripted:
        scripted.answers(ok({"run": {**RUN, "runId": ID}}), on=f"GET /runs/{ID}")
        scripted.answers(error(404, "NOT_FOUND"), on="GET /runs/run-abcd")
        yield scripted


@pytest.fixture
async def agent(upstream: ScriptedUpstream, home: Path) -> AsyncIterator[Host]:
    settings = Settings(home=home, url=upstream.url, dev=True, api_rate_limit=0)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        yield host


async def test_an_unfinished_run_that_nobody_follows_is_asked_about(agent: Host, upstream: ScriptedUpstream) -> None:
    await agent.tool("mogplex_get_run", runId=ID)
    upstream.answers(ok({"run": {**RUN, "runId": ID, "status": "failed"}}), on=f"GET /runs/{ID}")
    assert await listed(agent, status="streaming") == []
    assert await listed(agent, status="failed") == [ID]
    before = len(upstream.requests)
    assert await listed(agent) == [ID]
    assert len(upstream.requests) == before


async def test_a_run_that_cannot_be_asked_about_is_shown_as_it_was_and_that_is_said(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    await agent.tool("mogplex_get_run", runId=ID)
    upstream.answers(error(404, "NOT_FOUND"), on=f"GET /runs/{ID}")
    answer = await call(agent, LIST)
    assert [run["status"] for run in answer["runs"]] == ["streaming"]
    assert "seen last: 1." in answer["notice"]


async def test_large_runs_come_in_pages_that_fit(agent: Host, upstream: ScriptedUpstream) -> None:
    ids = [f"run-{number}" for number in range(12)]
    for number, run_id in enumerate(ids):
        large = {**RUN, "runId": run_id, "status": "success", "createdAt": f"2026-01-{number + 1:02}T00:00:00Z"}
        upstream.answers(ok({"run": {**large, "error": "é" * 3000}}), on=f"GET /runs/{run_id}")
        await agent.tool("mogplex_get_run", runId=run_id)
    seen: list[str] = []
    cursor = None
    for _ in ids:
        page = await call(agent, LIST, cursor=cursor)
        assert len(json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode()) <= MAX_RESULT_BYTES
        seen += [run["runId"] for run in page["runs"]]
        cursor = page["nextCursor"]
        if cursor is None:
            break
    assert seen == ids[::-1]


async def test_the_beginning_of_an_id_is_enough_to_read_and_not_to_cancel(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    await agent.tool("mogplex_get_run", runId=ID)
    assert (await call(agent, "mogplex_get_run", runId="run-abcde"))["run"]["runId"] == ID
    assert (await call(agent, "mogplex_get_run", runId="run-abcd"))["run"]["runId"] == ID
    failed = (await call(agent, "mogplex_cancel_run", runId="run-abcde"))["error"]
    assert failed["code"] == "AMBIGUOUS_RUN"
    assert failed["candidates"] == [{"runId": ID}]
    assert not [each for each in upstream.requests if each.method == "POST"]


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_a_person_confirms_which_run_to_cancel(agent: Host, upstream: ScriptedUpstream, mode: str) -> None:
    await agent.tool("mogplex_get_run", runId=ID)
    cancelled: Json = {"run": {**RUN, "runId": ID}, "status": "cancellation_requested"}
    upstream.answers(ok(cancelled), on=f"POST /runs/{ID}/cancel")
    async with asked(agent, mode, choice=ID, argument="runId") as (client, questions):
        result = await client.call_tool("mogplex_cancel_run", {"runId": "run-abcde"})
    assert not result.is_error
    assert len(questions) == 1
    assert [each.route for each in upstream.requests if each.method == "POST"] == [f"POST /runs/{ID}/cancel"]


async def test_a_start_is_answered_although_it_cannot_be_remembered(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise OperationalError("insert", {}, Exception("disk full"))

    monkeypatch.setattr(KnownRuns, "note", full)
    repo = await demo_repo(host)
    result = await host.tool("mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
    assert structured("mogplex_start_agent_run", result)["run"]["runId"]
