"""``notifications/tasks``: a host that listens hears of a task what ``tasks/get`` would show, and only of its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial

import pytest

from mogplex_mcp.runs import Pace, Watchers
from tests.api.scripted_upstream import RUN, ScriptedUpstream, error, ok
from tests.mcp.conftest import Json
from tests.mcp.test_tools import demo_repo
from tests.tasks.client import TaskHost
from tests.tasks.conftest import TOKEN
from tests.tasks.test_states import ends

PATIENCE = 30.0


@pytest.fixture(autouse=True)
def _read_fifty_times_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.app.Watchers", partial(Watchers, pace=Pace().scaled(0.02)))
    monkeypatch.setattr("mogplex_mcp.tools.run_tasks.RETRY_SECONDS", 0.1)


@dataclass
class Stream:
    """An open ``subscriptions/listen``.

    Attributes:
        messages: What comes.
        honoured: The filter as it was acknowledged.
    """

    messages: AsyncIterator[Json]
    honoured: Json

    async def next(self) -> Json:
        """The next task that is told of."""
        async with asyncio.timeout(PATIENCE):
            message = await anext(self.messages)
        assert message["method"] == "notifications/tasks"
        told: Json = message["params"]
        assert told["_meta"] == {"io.modelcontextprotocol/subscriptionId": 7}
        return {name: value for name, value in told.items() if name != "_meta"}

    async def until(self, status: str) -> Json:
        """The first that has this status."""
        while (told := await self.next())["status"] != status:
            pass
        return told


@asynccontextmanager
async def listening(host: TaskHost, *task_ids: str) -> AsyncIterator[Stream]:
    """Listen for these tasks until the block is left."""
    body, headers = host.message("subscriptions/listen", {"notifications": {"taskIds": list(task_ids)}})
    async with host.host.http.stream("POST", host.host.url, json=body, headers=host.host.headers(**headers)) as answer:
        messages = _messages(answer.aiter_lines())
        async with asyncio.timeout(PATIENCE):
            first = await anext(messages)
        assert first["method"] == "notifications/subscriptions/acknowledged"
        yield Stream(messages, first["params"]["notifications"])


async def _messages(lines: AsyncIterator[str]) -> AsyncIterator[Json]:
    async for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


async def shown(host: TaskHost, task_id: str) -> Json:
    """The task as ``tasks/get`` shows it, as a notification carries it."""
    task = await host.ask("tasks/get", taskId=task_id)
    return {name: value for name, value in task.items() if name not in {"resultType", "_meta"}}


def alike(told: Json, got: Json) -> bool:
    """Whether they say the same; how often to ask may change between the two."""
    return {**told, "pollIntervalMs": 0} == {**got, "pollIntervalMs": 0}


async def test_who_listens_hears_the_state_now_and_every_other_until_the_end(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    upstream.answers(ok({"run": {**RUN, "status": "pending"}, "events": []}), on="GET /runs/run-1/events")
    name = (await agent.start("repo-1"))["taskId"]
    async with listening(agent, name) as stream:
        assert stream.honoured == {"taskIds": [name]}
        assert "pending" in (await stream.next())["statusMessage"]
        upstream.answers(ok({"run": RUN, "events": []}), on="GET /runs/run-1/events")
        assert "streaming" in (await stream.next())["statusMessage"]
        ends(upstream, "success")
        ended = await stream.next()
        assert ended["status"] == "completed"
        assert alike(ended, await shown(agent, name))


@pytest.mark.parametrize(("status", "ended"), [("success", "completed"), ("cancelled", "cancelled")])
async def test_who_comes_after_the_end_hears_it_at_once(
    agent: TaskHost, upstream: ScriptedUpstream, status: str, ended: str
) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    ends(upstream, status)
    async with listening(agent, name) as stream:
        assert (await stream.next())["status"] == ended


async def test_several_tasks_are_heard_of_on_one_stream_and_one_by_several(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    names = [(await agent.start("repo-1"))["taskId"] for _ in range(2)]
    async with listening(agent, *names) as both, listening(agent, names[0]) as one:
        assert {(await both.next())["taskId"] for _ in names} == set(names)
        ends(upstream, "failed")
        assert (await one.until("completed"))["taskId"] == names[0]
        heard = {(await both.until("completed"))["taskId"]}
        while len(heard) < 2:
            heard.add((await both.until("completed"))["taskId"])


async def test_tasks_of_others_and_such_as_never_were_are_left_out_and_nothing_is_heard_of_them(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    stranger = replace(agent, host=replace(agent.host, token=TOKEN + "x"))
    mine, anothers = [(await each.start("repo-1"))["taskId"] for each in (agent, stranger)]
    async with listening(agent, anothers, mine, "0" * 32) as stream:
        assert stream.honoured == {"taskIds": [mine]}
        ends(upstream, "success")
        assert {(await stream.until("completed"))["taskId"]} == {mine}
    async with listening(agent, anothers) as nothing:
        assert nothing.honoured.get("taskIds", []) == []


async def test_an_account_listens_for_so_many_tasks_and_for_others_once_it_listens_no_more(
    agent: TaskHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mogplex_mcp.tools.run_tasks.LISTENED_PER_ACCOUNT", 2)
    stranger = replace(agent, host=replace(agent.host, token=TOKEN + "x"))
    names = [(await agent.start("repo-1"))["taskId"] for _ in range(3)]
    async with listening(agent, *names[:2]) as first:
        assert first.honoured == {"taskIds": names[:2]}
        async with listening(agent, names[2]) as second:
            assert second.honoured.get("taskIds", []) == []
        anothers = (await stranger.start("repo-1"))["taskId"]
        async with listening(stranger, anothers) as theirs:
            assert theirs.honoured == {"taskIds": [anothers]}
    async with asyncio.timeout(PATIENCE):
        while True:
            async with listening(agent, names[2]) as again:
                if again.honoured == {"taskIds": names[2:]}:
                    return


async def test_who_does_not_declare_the_extension_may_not_listen_for_tasks(agent: TaskHost) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    refused = await agent.declaring({}).post("subscriptions/listen", {"notifications": {"taskIds": [name]}})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, -32021)


async def test_a_run_that_cannot_be_read_for_a_while_is_heard_of_when_it_can(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    upstream.answers(error(500, "INTERNAL_ERROR", retry_after="0"), on="GET /runs/run-1/events")
    before = len(upstream.requests)
    async with listening(agent, name) as stream:
        await upstream.received(before + 1)
        ends(upstream, "success")
        assert (await stream.next())["status"] == "completed"


async def test_a_run_that_mogplex_has_forgotten_is_told_as_it_is_shown(
    agent: TaskHost, upstream: ScriptedUpstream
) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    for route in ("GET /runs/run-1/events", "GET /runs/run-1"):
        upstream.answers(error(404, "NOT_FOUND"), on=route)
    async with listening(agent, name) as stream:
        told = await stream.next()
    assert told["result"]["structuredContent"]["error"]["code"] == "NOT_FOUND"


@pytest.fixture
def _read_once_a_minute(monkeypatch: pytest.MonkeyPatch, _read_fifty_times_as_often: None) -> None:
    monkeypatch.setattr("mogplex_mcp.app.Watchers", partial(Watchers, pace=Pace(busy=60, idle=60)))


@pytest.mark.usefixtures("_read_once_a_minute")
async def test_a_cancelled_run_is_read_at_once(agent: TaskHost, upstream: ScriptedUpstream) -> None:
    name = (await agent.start("repo-1"))["taskId"]
    async with listening(agent, name) as stream:
        assert (await stream.next())["status"] == "working"
        ends(upstream, "cancelled")
        cancelled = {"run": {**RUN, "status": "cancelled"}, "status": "cancelled", "alreadyTerminal": False}
        upstream.answers(ok(cancelled), on="POST /runs/run-1/cancel")
        await agent.ask("tasks/cancel", taskId=name)
        assert (await stream.next())["status"] == "cancelled"


async def test_a_real_run_is_heard_of_until_it_ends(real: TaskHost) -> None:
    name = (await real.start(await demo_repo(real.host)))["taskId"]
    async with listening(real, name) as stream:
        ended = await stream.until("completed")
    assert alike(ended, await shown(real, name))
    assert ended["result"]["structuredContent"]["run"]["status"] == "success"
