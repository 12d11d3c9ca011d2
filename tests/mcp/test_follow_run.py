"""Following a run: replay, then live, in pieces that fit together, and leaving without harm."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult

from mogplex_mcp.api import RunEvent, open_upstream
from mogplex_mcp.runs.event_words import MAX_WORDS, in_words
from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import RUN, ScriptedUpstream, error, ok, scripted_upstream
from tests.mcp.conftest import Host, Json, serving
from tests.mcp.test_tools import call, demo_repo, structured

TOKEN = "mog_tests0123456789"
ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
FOLLOW = "mogplex_follow_run"
EVENTS = "GET /runs/run-1/events"


async def start(host: Host) -> str:
    repo = await demo_repo(host)
    started = await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
    run_id: str = started["run"]["runId"]
    return run_id


async def all_events(host: Host, run_id: str) -> list[Json]:
    events: list[Json] = (await call(host, "mogplex_get_run_events", runId=run_id, limit=200))["events"]
    return events


async def test_following_gives_everything_from_the_beginning_to_the_end(host: Host) -> None:
    run_id = await start(host)
    first, second = await asyncio.gather(call(host, FOLLOW, runId=run_id), call(host, FOLLOW, runId=run_id))
    assert first["ended"] is True
    assert first["run"]["status"] == "success"
    assert first["eventsTruncated"] is False
    assert [event["id"] for event in first["events"]] == [event["id"] for event in await all_events(host, run_id)]
    assert second["events"] == first["events"]
    assert first["nextEventId"] == first["events"][-1]["id"]
    again = await call(host, FOLLOW, runId=run_id, sinceEventId=first["nextEventId"])
    assert (again["events"], again["ended"], again["nextEventId"]) == ([], True, first["nextEventId"])


async def test_pieces_of_a_second_fit_together(host: Host) -> None:
    run_id = await start(host)
    pieces: list[Json] = []
    since = None
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        began = time.monotonic()
        piece = await call(host, FOLLOW, runId=run_id, timeoutSeconds=1, sinceEventId=since)
        assert time.monotonic() - began < 15
        pieces += piece["events"]
        since = piece["nextEventId"]
        if piece["ended"]:
            break
    assert [event["id"] for event in pieces] == [event["id"] for event in await all_events(host, run_id)]


async def test_following_until_an_event_stops_there(host: Host) -> None:
    run_id = await start(host)
    piece = await call(host, FOLLOW, runId=run_id, until="tool_call")
    assert [event["type"] for event in piece["events"]].index("tool_call") == len(piece["events"]) - 1
    rest = await call(host, FOLLOW, runId=run_id, sinceEventId=piece["nextEventId"])
    both = [event["id"] for event in [*piece["events"], *rest["events"]]]
    assert both == [event["id"] for event in await all_events(host, run_id)]


@ERAS
async def test_every_event_is_told_in_words_as_it_happens(host: Host, mode: str) -> None:
    run_id = await start(host)
    told: list[tuple[float, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        assert total is None
        told.append((progress, message))

    headers = {"Authorization": f"Bearer {host.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(host.url, http_client=http), mode=mode) as client,
    ):
        result = await client.call_tool(FOLLOW, {"runId": run_id}, progress_callback=hear)
    assert isinstance(result, CallToolResult)
    assert result.structured_content is not None
    events = result.structured_content["events"]
    assert result.structured_content["ended"] is True
    assert told == [
        (float(number), in_words(RunEvent.model_validate(event))) for number, event in enumerate(events, start=1)
    ]
    assert told[0][1] is not None
    assert told[0][1].startswith("The agent has started")


@ERAS
async def test_leaving_leaves_the_run_as_it_is(host: Host, mode: str) -> None:
    run_id = await start(host)
    heard = asyncio.Event()

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.set()

    headers = {"Authorization": f"Bearer {host.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(host.url, http_client=http), mode=mode) as client,
    ):
        following = asyncio.create_task(client.call_tool(FOLLOW, {"runId": run_id}, progress_callback=hear))
        async with asyncio.timeout(30):
            await heard.wait()
        following.cancel()
        await asyncio.wait({following})
    rest = await call(host, FOLLOW, runId=run_id)
    assert rest["run"]["status"] == "success"
    assert "cancel_requested" not in {event["type"] for event in rest["events"]}


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as scripted:
        yield scripted


@pytest.fixture
async def agent(upstream: ScriptedUpstream, home: Path) -> AsyncIterator[Host]:
    settings = Settings(home=home, url=upstream.url, dev=True)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        yield host


def history(count: int, message: str = "said", **run: object) -> Json:
    made = [{"id": f"e{number}", "type": "log", "message": message, "payload": {}} for number in range(count)]
    return {"run": {**RUN, **run}, "events": made}


async def test_another_accounts_run_is_not_there_although_it_is_followed_here(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    upstream.answers(ok(history(3)), on=EVENTS)
    mine = await call(agent, FOLLOW, runId="run-1", timeoutSeconds=1)
    assert len(mine["events"]) == 3
    upstream.answers(error(404, "NOT_FOUND"), on=EVENTS)
    theirs = await replace(agent, token=TOKEN + "x").tool(FOLLOW, runId="run-1", timeoutSeconds=1)
    assert structured(FOLLOW, theirs)["error"]["code"] == "NOT_FOUND"


async def test_an_event_of_another_run_is_named_as_the_fault(agent: Host, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok(history(3, status="success")), on=EVENTS)
    failed = (await call(agent, FOLLOW, runId="run-1", sinceEventId="other"))["error"]
    assert failed["code"] == "BAD_REQUEST"
    assert set(failed["fields"]) == {"sinceEventId"}


async def test_past_mogplexs_window_the_run_still_ends_and_it_is_said_what_is_missing(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    upstream.answers(ok(history(200, status="success")), on=EVENTS)
    upstream.answers(ok({"run": {**RUN, "status": "success"}}), on="GET /runs/run-1")
    seen: list[str] = []
    since = None
    for _ in range(5):
        piece = await call(agent, FOLLOW, runId="run-1", sinceEventId=since)
        seen += [event["id"] for event in piece["events"]]
        since = piece["nextEventId"]
        if piece["ended"]:
            break
    assert seen == [f"e{number}" for number in range(200)]
    assert piece["ended"] is True
    assert piece["eventsTruncated"] is True
    assert "200 events" in piece["truncatedReason"]


async def test_events_too_large_for_one_answer_come_in_several(agent: Host, upstream: ScriptedUpstream) -> None:
    wide = {f"field{number}": "x" * 200 for number in range(25)}
    answer = history(40, "y" * 3000, status="success")
    for event in answer["events"]:
        event.update(wide)
    upstream.answers(ok(answer), on=EVENTS)
    seen: list[str] = []
    since = None
    for _ in range(40):
        piece = await call(agent, FOLLOW, runId="run-1", sinceEventId=since)
        assert len(json.dumps(piece, separators=(",", ":"), ensure_ascii=False).encode()) <= MAX_RESULT_BYTES
        assert piece["events"]
        assert piece["eventsTruncated"] is not piece["ended"]
        seen += [event["id"] for event in piece["events"]]
        since = piece["nextEventId"]
        if piece["ended"]:
            break
    assert seen == [f"e{number}" for number in range(40)]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"type": "stream_started"}, "The agent has started."),
        ({"type": "failed", "message": "No  agent\nhere"}, "The run failed: No agent here"),
        ({"type": "tool_call", "toolName": "shell", "message": "ls"}, "shell: ls"),
        ({"type": "tool_result", "toolName": "shell"}, "shell answered"),
        ({"type": "assistant_message", "message": "Done."}, "Done."),
        ({"type": "brand_new", "message": {"not": "text"}}, "brand_new"),
        ({"type": "log", "message": "\x1b[2Jred\u202eevil\r\nforged"}, "\ufffd[2Jredevil forged"),
    ],
)
def test_an_event_reads_like_a_sentence(event: Json, words: str) -> None:
    assert in_words(RunEvent.model_validate({"id": "e", **event})) == words


def test_words_are_bounded() -> None:
    assert len(in_words(RunEvent.model_validate({"id": "e", "type": "log", "message": "x" * 9999}))) == MAX_WORDS


async def test_a_slow_first_look_counts_in_what_the_host_waits(agent: Host, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(503, "SERVICE_UNAVAILABLE", retry_after="2"), ok({"run": RUN, "events": []}), on=EVENTS)
    began = time.monotonic()
    followed = await call(agent, FOLLOW, runId="run-1", timeoutSeconds=3)
    assert followed["ended"] is False
    assert 2 <= time.monotonic() - began < 4.5
