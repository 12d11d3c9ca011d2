"""A task's state is its run's, whatever Mogplex says of the run."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text, update

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from mogplex_mcp.store import tasks as stored
from mogplex_mcp.store.tables import tasks
from mogplex_mcp.tools import run_tasks
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import RUN, ScriptedUpstream, error, hang, ok
from tests.mcp.conftest import Json, serving
from tests.mcp.test_tools import structured
from tests.tasks.client import START, TaskHost
from tests.tasks.conftest import TOKEN

EVENTS = [
    {"id": "e1", "type": "stream_started", "createdAt": "2026-01-01T00:00:00Z", "message": "on", "payload": None},
    {"id": "e2", "type": "finished", "createdAt": "2026-01-01T00:00:01Z", "message": "off", "payload": None},
]


def ends(upstream: ScriptedUpstream, status: str, **more: object) -> None:
    """The run has ended."""
    run = {**RUN, "status": status, **more}
    upstream.answers(ok({"run": run}), on="GET /runs/run-1")
    upstream.answers(ok({"run": run, "events": EVENTS}), on="GET /runs/run-1/events")


def asked(upstream: ScriptedUpstream) -> list[str]:
    """What Mogplex was asked of the run."""
    return [each.route for each in upstream.requests if "/runs/run-1" in each.route]


@pytest.mark.parametrize("status", ["pending", "streaming", "something_new"])
async def test_a_run_that_has_not_ended_is_working(agent: TaskHost, upstream: ScriptedUpstream, status: str) -> None:
    task = await agent.start("repo-1")
    upstream.answers(ok({"run": {**RUN, "status": status}}), on="GET /runs/run-1")
    shown = await agent.ask("tasks/get", taskId=task["taskId"])
    assert shown["status"] == "working"
    assert f"is {status}" in shown["statusMessage"]


@pytest.mark.parametrize("status", ["success", "failed"])
async def test_a_run_that_has_ended_is_a_completed_task_with_what_waiting_would_have_given(
    agent: TaskHost, upstream: ScriptedUpstream, status: str
) -> None:
    task = await agent.start("repo-1")
    ends(upstream, status, error={"message": "why"} if status == "failed" else None)
    shown = await agent.ask("tasks/get", taskId=task["taskId"])
    waited = await agent.declaring({}).start("repo-1")
    assert shown["status"] == "completed"
    assert shown["result"] == {name: value for name, value in waited.items() if name != "_meta"}
    data = structured(START, shown["result"])
    assert data["run"]["status"] == status
    assert [event["id"] for event in data["events"]] == ["e1", "e2"]
    assert (data["ended"], data["nextEventId"]) == (True, "e2")


async def test_a_cancelled_run_is_a_cancelled_task(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    task = await agent.start("repo-1")
    ends(upstream, "cancelled")
    shown = await agent.ask("tasks/get", taskId=task["taskId"])
    assert shown["status"] == "cancelled"
    assert not {"result", "error"} & set(shown)


async def test_an_ended_task_stays_as_it_is(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    task = await agent.start("repo-1")
    ends(upstream, "success", updatedAt="2026-01-01T00:00:01Z")
    first = await agent.ask("tasks/get", taskId=task["taskId"])
    assert await agent.ask("tasks/get", taskId=task["taskId"]) == first


async def test_its_times_are_the_runs(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    task = await agent.start("repo-1")
    for written, shown in (
        ("2099-01-01T01:00:00+01:00", "2099-01-01T00:00:00.000Z"),
        ("2099-01-01T00:00:00", "2099-01-01T00:00:00.000Z"),
        ("2000-01-01T00:00:00Z", task["createdAt"]),
        ("yesterday", task["createdAt"]),
        (None, task["createdAt"]),
    ):
        upstream.answers(ok({"run": {**RUN, "updatedAt": written}}), on="GET /runs/run-1")
        assert (await agent.ask("tasks/get", taskId=task["taskId"]))["lastUpdatedAt"] == shown
    assert datetime.fromisoformat(task["createdAt"]).tzinfo is not None


async def test_a_start_repeated_with_its_key_says_so_in_the_end(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({**RUN, "replayed": True}, 200), on="POST /runs")
    task = await agent.start("repo-1", idempotencyKey="one")
    ends(upstream, "success")
    shown = await agent.ask("tasks/get", taskId=task["taskId"])
    assert shown["result"]["structuredContent"]["run"]["replayed"] is True


async def test_a_run_that_mogplex_has_forgotten_ends_the_task_with_the_tools_error(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    task = await agent.start("repo-1")
    upstream.answers(error(404, "NOT_FOUND"), on="GET /runs/run-1")
    shown = await agent.ask("tasks/get", taskId=task["taskId"])
    assert shown["status"] == "completed"
    assert shown["result"]["isError"] is True
    assert shown["result"]["structuredContent"]["error"]["code"] == "NOT_FOUND"
    upstream.answers(error(404, "NOT_FOUND"), on="POST /runs/run-1/cancel")
    await agent.ask("tasks/cancel", taskId=task["taskId"])


@pytest.mark.parametrize("code", [(500, "INTERNAL_ERROR"), (403, "FORBIDDEN"), (401, "UNAUTHORIZED")])
async def test_while_mogplex_cannot_be_read_the_task_is_neither_lost_nor_ended(
    agent: TaskHost, upstream: ScriptedUpstream, code: tuple[int, str]
) -> None:
    task = await agent.start("repo-1")
    for route in ("GET /runs/run-1", "POST /runs/run-1/cancel"):
        upstream.answers(error(*code, retry_after="0"), on=route)
    for method in ("tasks/get", "tasks/cancel"):
        refused = await agent.refused(method, taskId=task["taskId"])
        assert (refused["code"], refused["data"]["code"]) == (-32603, code[1])
    upstream.answers(ok({"run": RUN}), on="GET /runs/run-1")
    assert (await agent.ask("tasks/get", taskId=task["taskId"]))["status"] == "working"


async def test_who_asks_while_mogplex_takes_no_requests_learns_when_to_come_again(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    task = await agent.start("repo-1")
    upstream.answers(error(429, "RATE_LIMITED", retry_after="40"), on="GET /runs/run-1")
    refused = await agent.refused("tasks/get", taskId=task["taskId"])
    assert refused["data"]["code"] == "RATE_LIMITED"
    assert 30 < refused["data"]["retryAfter"] <= 40


async def test_cancelling_asks_mogplex_and_may_be_repeated(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    task = await agent.start("repo-1")
    run = {**RUN, "status": "cancelled"}
    upstream.answers(ok({"run": run, "status": "cancelled", "alreadyTerminal": False}), on="POST /runs/run-1/cancel")
    for _ in range(2):
        taken = await agent.ask("tasks/cancel", taskId=task["taskId"])
        assert {name for name in taken if name != "_meta"} == {"resultType"}
    assert asked(upstream) == ["POST /runs/run-1/cancel"] * 2


async def test_the_state_of_a_run_that_is_followed_costs_nothing(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    task = await agent.start("repo-1")
    await agent.declaring({}).call("mogplex_follow_run", runId="run-1", timeoutSeconds=1)
    upstream.answers(error(500, "INTERNAL_ERROR"), on="GET /runs/run-1")
    for _ in range(3):
        assert (await agent.ask("tasks/get", taskId=task["taskId"]))["status"] == "working"


@pytest.mark.parametrize("obstacle", ["database", "full"])
async def test_a_run_whose_task_cannot_be_kept_was_started_all_the_same(
    agent: TaskHost, upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch, obstacle: str
) -> None:
    if obstacle == "full":
        monkeypatch.setattr(stored, "MAX_TASKS_PER_ACCOUNT", 0)
    else:
        with agent.host.store.db.write() as connection:
            connection.execute(text("DROP TABLE tasks"))
    started = await agent.start("repo-1")
    assert started["resultType"] == "complete"
    assert structured(START, {"isError": False, **started}) == {"run": {**RUN, "replayed": False}}


async def test_a_start_that_fails_makes_no_task(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(409, "IDEMPOTENCY_CONFLICT"), on="POST /runs")
    refused = await agent.start("repo-1")
    assert (refused["resultType"], refused["isError"]) == ("complete", True)
    with agent.host.store.db.read() as connection:
        assert connection.execute(tasks.select()).all() == []


async def test_after_its_time_a_task_is_unknown(agent: TaskHost) -> None:
    task = await agent.start("repo-1")
    with agent.host.store.db.write() as connection:
        connection.execute(update(tasks).values(expires_at=agent.host.store.now()))
    assert (await agent.refused("tasks/get", taskId=task["taskId"]))["code"] == -32602


async def test_how_often_to_ask_is_what_the_account_can_afford_for_all_its_tasks(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    names = [(await agent.start("repo-1"))["taskId"] for _ in range(8)]
    told = [(await agent.ask("tasks/get", taskId=name))["pollIntervalMs"] for name in names]
    # 60 requests a minute: a third for others, and what these calls have taken.
    assert all(8 * 60_000 / 40 <= interval <= 20_000 for interval in told)
    ends(upstream, "success")
    for name in names[1:]:
        await agent.ask("tasks/get", taskId=name)
    upstream.answers(ok({"run": RUN}), on="GET /runs/run-1")
    assert (await agent.ask("tasks/get", taskId=names[0]))["pollIntervalMs"] < 8 * 60_000 / 40


async def test_whoever_asks_too_often_leaves_room_for_calls_and_is_not_refused(
    upstream: ScriptedUpstream, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_tasks, "TURN_SECONDS", 0.1)
    settings = Settings(home=home, url=upstream.url, dev=True, api_rate_limit=12)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        agent = TaskHost(host)
        task = await agent.start("repo-1")
        shown = [await agent.ask("tasks/get", taskId=task["taskId"]) for _ in range(10)]
        assert {each["status"] for each in shown} == {"working"}
        assert len(asked(upstream)) == 8
        assert "read again soon" in shown[-1]["statusMessage"]
        assert structured("mogplex_get_run", await agent.call("mogplex_get_run", runId="run-1")) == {"run": RUN}


async def test_followed_runs_are_polled_too_and_make_the_interval_longer(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    task = await agent.start("repo-1")
    for number in range(2, 7):
        run = {**RUN, "runId": f"run-{number}"}
        upstream.answers(ok({"run": run, "events": []}), on=f"GET /runs/run-{number}/events")
        await agent.call("mogplex_export_run", runId=f"run-{number}")
    assert (await agent.ask("tasks/get", taskId=task["taskId"]))["pollIntervalMs"] > 6 * 1_500


async def test_without_a_limit_a_task_may_be_asked_for_as_often_as_a_run_is_read(
    upstream: ScriptedUpstream, home: Path
) -> None:
    settings = Settings(home=home, url=upstream.url, dev=True, api_rate_limit=0)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        assert (await TaskHost(host).start("repo-1"))["pollIntervalMs"] == 1_500


async def test_a_task_is_there_after_a_restart_and_in_every_process_that_shares_the_store(
    upstream: ScriptedUpstream, home: Path
) -> None:
    settings = Settings(home=home, url=upstream.url, dev=True)
    async with open_upstream(settings, embedded=no_embedded) as opened:
        async with AsyncExitStack() as stack:
            one, two = [TaskHost(await stack.enter_async_context(serving(settings, opened, TOKEN))) for _ in "12"]
            made = await one.start("repo-1")
            elsewhere: Json = await two.ask("tasks/get", taskId=made["taskId"])
            assert elsewhere == {**made, "resultType": "complete", "pollIntervalMs": elsewhere["pollIntervalMs"]}
        ends(upstream, "success")
        async with serving(settings, opened, TOKEN) as restarted:
            shown = await TaskHost(restarted).ask("tasks/get", taskId=made["taskId"])
    assert shown["status"] == "completed"


async def test_a_client_that_goes_away_while_a_task_is_read_leaves_it(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    task = await agent.start("repo-1")
    upstream.answers(hang(), on="GET /runs/run-1")
    before = len(upstream.requests)
    reading = asyncio.create_task(agent.ask("tasks/get", taskId=task["taskId"]))
    await upstream.received(before + 1)
    reading.cancel()
    await asyncio.wait({reading})
    upstream.answers(ok({"run": RUN}), on="GET /runs/run-1")
    assert (await agent.ask("tasks/get", taskId=task["taskId"]))["status"] == "working"
