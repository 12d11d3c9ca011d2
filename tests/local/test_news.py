"""GET /runs/{id}/events with ``after`` and ``wait``: events as they come, and free of the request limit."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from mogplex_mcp.local import news as local_news
from mogplex_mcp.local.news import News
from tests.local.hosting import Host, hosting

QUIET = "import pathlib, time\nmessage('begun')\nwait_for({!r})\nmessage('more')\nwait_for({!r})"


async def timed(user: Host, run_id: str, **query: str | int) -> tuple[dict[str, Any], float]:
    started = time.monotonic()
    data = await user.data(f"/runs/{run_id}/events", **query)
    return data, time.monotonic() - started


async def read_on(user: Host, run_id: str, *, until: str, seen: list[dict[str, Any]]) -> None:
    """Wait for news until an event says so."""
    while not any(event["message"] == until or event["type"] == until for event in seen):
        after = {"after": seen[-1]["id"]} if seen else {}
        seen += (await user.data(f"/runs/{run_id}/events", wait=25, **after))["events"]


async def settle(user: Host, run_id: str, seen: list[dict[str, Any]]) -> None:
    """Wait until nothing comes by itself any more."""
    took = 0.0
    while took < 0.9:
        data, took = await timed(user, run_id, after=seen[-1]["id"], wait=1)
        seen += data["events"]


async def test_events_are_given_as_they_come_each_once_and_cost_nothing(data_dir: Path) -> None:
    first, second = str(data_dir / "first"), str(data_dir / "second")
    async with hosting(data_dir, local_rate_limit=4) as host:
        run = await host.start(QUIET.format(first, second), createBranch=True)
        seen: list[dict[str, Any]] = []
        await read_on(host, run["runId"], until="begun", seen=seen)
        await settle(host, run["runId"], seen)
        waiting = asyncio.create_task(timed(host, run["runId"], after=seen[-1]["id"], wait=25))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(Path(first).touch)
        data, took = await waiting
        assert [event["message"] for event in data["events"]] == ["more"]
        assert took < 10
        seen += data["events"]
        await asyncio.to_thread(Path(second).touch)
        await read_on(host, run["runId"], until="finished", seen=seen)
        assert [event["id"] for event in seen] == [event["id"] for event in await host.events(run["runId"])]


async def test_a_request_that_waits_is_answered_when_the_run_is_cancelled(host: Host) -> None:
    run = await host.start("wait_for('/nowhere')", createBranch=True)
    await host.until(run["runId"], "streaming")
    seen = await host.events(run["runId"])
    query: dict[str, str | int] = {"after": seen[-1]["id"]} if seen else {}
    waiting = asyncio.create_task(timed(host, run["runId"], wait=25, **query))
    await asyncio.sleep(0.1)
    await host.cancel(run["runId"])
    data, took = await waiting
    assert data["events"]
    assert took < 10


async def test_nobody_waits_for_a_run_that_has_ended_or_longer_than_asked(host: Host) -> None:
    run = await host.start("wait_for('/nowhere')", createBranch=True)
    await host.until(run["runId"], "streaming")
    await asyncio.sleep(0.5)
    seen = await host.events(run["runId"])
    query: dict[str, str | int] = {"after": seen[-1]["id"]} if seen else {}
    data, took = await timed(host, run["runId"], wait=1, **query)
    assert data["events"] == []
    assert 0.9 < took < 10
    await host.cancel(run["runId"])
    await host.ended(run["runId"])
    last = (await host.events(run["runId"]))[-1]["id"]
    data, took = await timed(host, run["runId"], after=last, wait=25)
    assert (data["events"], data["run"]["status"]) == ([], "cancelled")
    assert took < 10


async def test_past_two_hundred_events_the_rest_is_read_after_the_last(host: Host) -> None:
    run = await host.start("for n in range(450): message(f'message {n}')", createBranch=True)
    await host.ended(run["runId"])
    seen: list[dict[str, Any]] = []
    while page := await events_after(host, run["runId"], seen):
        assert len(page) <= 200
        seen += page
    messages = [event["message"] for event in seen if event["type"] == "assistant_message"]
    assert messages == [f"message {n}" for n in range(450)]
    assert len({event["id"] for event in seen}) == len(seen)


async def events_after(user: Host, run_id: str, seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    query: dict[str, str | int] = {"after": seen[-1]["id"]} if seen else {}
    found: list[dict[str, Any]] = (await user.data(f"/runs/{run_id}/events", limit=200, **query))["events"]
    return found


@pytest.mark.parametrize("query", [{"wait": "26"}, {"wait": "-1"}, {"wait": "1.5"}, {"wait": "x"}, {"after": "none"}])
async def test_what_makes_no_sense_is_refused(host: Host, query: dict[str, str]) -> None:
    run = await host.start("pass", createBranch=True)
    answer = await host.get(f"/runs/{run['runId']}/events", **query)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


async def test_an_event_of_another_run_is_none_to_read_on_from(host: Host) -> None:
    one, other = [await host.start("message('x')", createBranch=True) for _ in range(2)]
    await host.ended(one["runId"])
    event = (await host.events(one["runId"]))[0]
    answer = await host.get(f"/runs/{other['runId']}/events", after=event["id"])
    assert answer.status_code == 400


async def test_stopping_the_server_answers_everybody_who_waits(data_dir: Path) -> None:
    async with hosting(data_dir) as host:
        run = await host.start("wait_for('/nowhere')", createBranch=True)
        await host.until(run["runId"], "streaming")
        seen: list[dict[str, Any]] = []
        waiting = asyncio.create_task(read_on(host, run["runId"], until="failed", seen=seen))
        await asyncio.sleep(0.2)
        host.transport.begin_close()
        await asyncio.wait_for(waiting, 10)
    assert seen[-1]["type"] == "failed"


async def test_where_too_many_wait_one_more_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_news, "MAX_WAITING", 2)
    news = News()
    with news.listen("a") as first, news.listen("b") as second, news.listen("a") as third:
        assert (first.may_wait, second.may_wait, third.may_wait) == (True, True, False)
        news.tell("b")
        await second.wait(60)
    with news.listen("a") as again:
        assert again.may_wait
    news.close()
    with news.listen("a") as after:
        assert not after.may_wait
