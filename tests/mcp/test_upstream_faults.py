"""A Mogplex that hangs, breaks and lies: every call ends in time with an error that says what to do."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.bounds import MAX_RESULT_BYTES
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import (
    REPO,
    RUN,
    Answer,
    ScriptedUpstream,
    error,
    hang,
    html,
    http,
    ok,
    reset,
    scripted_upstream,
)
from tests.mcp.conftest import Host, Json, serving

SECRET = "mog_secret0123456789"


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as scripted:
        scripted.answers(ok({"repos": [REPO]}), on="GET /repos")
        yield scripted


@pytest.fixture
async def faulty(upstream: ScriptedUpstream, home: Path) -> AsyncIterator[Host]:
    """A host of a server whose Mogplex is the scripted one; calls end within two seconds."""
    settings = Settings(home=home, url=upstream.url, dev=True, mcp_call_timeout=2.0)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, SECRET) as host:
        yield host


async def failure(host: Host, name: str, **arguments: object) -> Json:
    result = await host.tool(name, **arguments)
    assert result["isError"] is True
    assert SECRET not in json.dumps(result)
    error: Json = result["structuredContent"]["error"]
    assert error["message"] in result["content"][0]["text"]
    return error


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (html(200), "INVALID_RESPONSE"),
        (html(502), "HTTP_ERROR"),
        (http(200, b""), "INVALID_RESPONSE"),
        (http(200, b'{"ok":true'), "INVALID_RESPONSE"),
        (ok({"run": {"status": "streaming"}}), "INVALID_RESPONSE"),
        (http(200, b" " * (8 * 1024 * 1024 + 1)), "INVALID_RESPONSE"),
        (error(404, "NOT_FOUND"), "NOT_FOUND"),
        (error(409, "BRAND_NEW_CODE"), "BRAND_NEW_CODE"),
    ],
)  # fmt: skip
async def test_a_broken_answer_is_an_error_with_its_reason(
    faulty: Host, upstream: ScriptedUpstream, answer: Answer, code: str
) -> None:
    upstream.answers(answer, on="GET /runs/run-1")
    assert (await failure(faulty, "mogplex_get_run", runId="run-1"))["code"] == code


async def test_a_call_that_hangs_ends_in_time(faulty: Host, upstream: ScriptedUpstream) -> None:
    upstream.answers(hang(), on="GET /runs/run-1")
    assert (await failure(faulty, "mogplex_get_run", runId="run-1"))["code"] == "TIMEOUT"


async def test_a_start_whose_answer_is_lost_is_repeated_with_the_same_key(
    faulty: Host, upstream: ScriptedUpstream
) -> None:
    upstream.answers(reset(), ok({**RUN, "replayed": True}, 202), on="POST /runs")
    result = await faulty.tool("mogplex_start_agent_run", repoId="repo-1", prompt="x", createBranch=True)
    assert result["structuredContent"]["run"]["runId"] == "run-1"
    keys = [received.headers["idempotency-key"] for received in upstream.requests if received.route == "POST /runs"]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert keys[0].startswith("mcp:")


async def test_a_start_whose_fate_is_unknown_hands_back_its_key_and_that_key_is_used(
    faulty: Host, upstream: ScriptedUpstream
) -> None:
    upstream.answers(hang(), on="POST /runs")
    arguments = {"repoId": "repo-1", "prompt": "x", "createBranch": True}
    error = await failure(faulty, "mogplex_start_agent_run", **arguments)
    assert error["code"] == "TIMEOUT"
    assert error["idempotencyKey"] in error["suggestion"]
    upstream.answers(ok({**RUN, "replayed": True}, 202), on="POST /runs")
    result = await faulty.tool("mogplex_start_agent_run", **arguments, idempotencyKey=error["idempotencyKey"])
    assert result["structuredContent"]["run"]["replayed"] is True
    starts = [received for received in upstream.requests if received.route == "POST /runs"]
    assert {received.headers["idempotency-key"] for received in starts} == {error["idempotencyKey"]}


async def test_a_wait_that_does_not_fit_is_handed_on_with_its_seconds(faulty: Host, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="60"), on="GET /runs/run-1")
    failed = await failure(faulty, "mogplex_get_run", runId="run-1")
    assert failed["code"] == "RATE_LIMITED"
    assert failed["retryAfter"] == 60


@pytest.mark.parametrize(
    ("wording", "status", "already"),
    [
        ({"run": RUN, "status": "cancellation_requested"}, "cancellation_requested", False),
        ({"run": RUN, "status": "streaming", "alreadyTerminal": False}, "cancellation_requested", False),
        ({"run": {**RUN, "status": "failed"}, "status": "already_terminal"}, "already_terminal", True),
        ({"run": {**RUN, "status": "failed"}, "status": "failed", "alreadyTerminal": True}, "already_terminal", True),
    ],
)
async def test_a_cancellation_has_one_shape_whichever_way_it_is_worded(
    faulty: Host, upstream: ScriptedUpstream, wording: Json, status: str, already: bool
) -> None:
    upstream.answers(ok(wording), on="POST /runs/run-1/cancel")
    data = (await faulty.tool("mogplex_cancel_run", runId="run-1"))["structuredContent"]
    assert (data["status"], data["alreadyTerminal"]) == (status, already)


async def test_an_upstream_of_tomorrow_passes_on_as_data(faulty: Host, upstream: ScriptedUpstream) -> None:
    events = [{"id": "e1", "type": "brand_new", "payload": {"deep": [{"x": None}]}, "extra": 1}]
    run = {**RUN, "status": "paused", "harness": "newer", "extra": {"a": None}}
    upstream.answers(ok({"run": run, "events": events, "cursor": "x"}), on="GET /runs/run-1/events")
    data = (await faulty.tool("mogplex_get_run_events", runId="run-1"))["structuredContent"]
    assert data["run"] == run
    assert data["events"] == events


async def test_all_two_hundred_events_are_read_whatever_the_caller_asks(
    faulty: Host, upstream: ScriptedUpstream
) -> None:
    events = [{"id": f"e{n}", "type": "log", "payload": {"text": "é" * 2000}} for n in range(200)]
    upstream.answers(ok({"run": RUN, "events": events}), on="GET /runs/run-1/events")
    result = await faulty.tool("mogplex_get_run_events", runId="run-1", tail=1)
    assert [event["id"] for event in result["structuredContent"]["events"]] == ["e199"]
    assert upstream.requests[-1].target.endswith("limit=200")
    whole = await faulty.tool("mogplex_get_run_events", runId="run-1", limit=200)
    assert len(whole["content"][0]["text"].encode()) <= MAX_RESULT_BYTES


async def test_an_id_cannot_leave_its_place_in_the_path(faulty: Host, upstream: ScriptedUpstream) -> None:
    upstream.answers(error(404, "NOT_FOUND"))
    await failure(faulty, "mogplex_get_run", runId="../../repos?x=1#y/%2e%2e")
    assert upstream.requests[-1].target == "/api/v1/mogplex/runs/..%2F..%2Frepos%3Fx%3D1%23y%2F%252e%252e"


async def test_when_the_check_itself_is_limited_the_host_is_told_to_wait(
    upstream: ScriptedUpstream, faulty: Host
) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="60"), on="GET /repos")
    answer = await faulty.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    assert answer.json()["error"]["code"] == -32002


@pytest.mark.parametrize("answer", [reset(), html(502), error(503, "SERVICE_UNAVAILABLE", retry_after="60")])
async def test_when_mogplex_is_down_nobody_is_told_that_their_token_is_bad(
    upstream: ScriptedUpstream, faulty: Host, answer: Answer
) -> None:
    upstream.answers(answer, on="GET /repos")
    refused = await faulty.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert SECRET not in refused.text
    upstream.answers(ok({"repos": []}), on="GET /repos")
    assert (await faulty.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})).status_code == 200
