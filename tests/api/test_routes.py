"""What is sent on each documented route, and what comes back of the answer."""

from __future__ import annotations

import asyncio
import json

import pytest

from mogplex_mcp.api import MogplexApi, MogplexError, StartRun, new_idempotency_key
from tests.api.conftest import TOKEN, open_hosted
from tests.api.scripted_upstream import REPO, RUN, ScriptedUpstream, ok

SANDBOX = {"id": "sb-1", "sandbox_id": None, "repo_id": "repo-1", "status": "hibernating", "error": None}
EVENT = {"id": "e-1", "type": "something_new", "toolName": None, "payload": {"a": [1, 2.5, None]}, "createdAt": "now"}


async def test_repos_are_listed_with_the_filter_and_limit(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"repos": [REPO]}))
    repos = await api.list_repos(query="a&b=c /ü", limit=7)
    assert [repo.wire() for repo in repos] == [REPO]
    assert upstream.requests[0].method == "GET"
    assert upstream.requests[0].target == "/api/v1/mogplex/repos?q=a%26b%3Dc+%2F%C3%BC&limit=7"


async def test_what_is_not_asked_for_is_not_sent(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    await api.list_repos()
    assert upstream.requests[0].target == "/api/v1/mogplex/repos"


async def test_every_request_carries_the_token_and_wants_json(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    await api.list_repos()
    headers = upstream.requests[0].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert headers["accept"] == "application/json"
    assert headers["host"] == upstream.url.removeprefix("http://")
    assert headers["user-agent"].startswith("mogplex-mcp/")
    assert "cookie" not in headers


async def test_sandboxes_are_listed_by_repo_and_status(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"sandboxes": [SANDBOX]}))
    sandboxes = await api.list_sandboxes(repo_id="repo-1", status="hibernating", limit=200)
    assert upstream.requests[0].target == "/api/v1/mogplex/sandboxes?repo_id=repo-1&status=hibernating&limit=200"
    assert sandboxes[0].wire() == SANDBOX
    assert sandboxes[0].status == "hibernating"


async def test_a_start_sends_only_what_was_given_and_one_fresh_key(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({**RUN, "replayed": False}, status=202))
    started = await api.start_run(StartRun(repo_id="repo-1", prompt="Do ü", create_branch=True))
    request = upstream.requests[0]
    assert request.route == "POST /runs"
    assert json.loads(request.body) == {"repoId": "repo-1", "prompt": "Do ü", "createBranch": True}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"].startswith("mcp:")
    assert started.wire() == {**RUN, "replayed": False}
    assert (started.run_id, started.replayed) == ("run-1", False)


async def test_a_start_uses_the_key_that_it_is_given(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({**RUN, "replayed": True}, status=202))
    started = await api.start_run(StartRun(repo_id="repo-1", prompt="x"), idempotency_key="My-Key")
    assert upstream.requests[0].headers["idempotency-key"] == "My-Key"
    assert started.replayed is True


@pytest.mark.parametrize("key", ["", "x" * 201, "a\r\nX-Evil: 1", "ключ", " padded"])
async def test_a_key_that_cannot_be_sent_is_refused_here(api: MogplexApi, upstream: ScriptedUpstream, key: str) -> None:
    with pytest.raises(MogplexError) as caught:
        await api.start_run(StartRun(repo_id="repo-1", prompt="x"), idempotency_key=key)
    assert caught.value.code == "BAD_REQUEST"
    assert upstream.requests == []


def test_every_new_key_is_another() -> None:
    assert len({new_idempotency_key() for _ in range(100)}) == 100


async def test_a_run_is_read(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"run": {**RUN, "status": "reticulating", "novelty": {"deep": [True]}}}))
    run = await api.get_run("run-1")
    assert upstream.requests[0].target == "/api/v1/mogplex/runs/run-1"
    assert run.wire() == {**RUN, "status": "reticulating", "novelty": {"deep": [True]}}
    assert not run.terminal


async def test_events_come_with_their_run(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"run": RUN, "events": [EVENT]}))
    answer = await api.list_run_events("run-1")
    assert upstream.requests[0].target == "/api/v1/mogplex/runs/run-1/events?limit=200"
    assert (answer.run.wire(), [event.wire() for event in answer.events]) == (RUN, [EVENT])


async def test_mcp_servers_are_listed_and_their_secrets_stay_out_of_reprs(
    api: MogplexApi, upstream: ScriptedUpstream
) -> None:
    server = {"name": "linear", "enabled": False, "config": {"http_headers": {"Authorization": "Bearer lin_secret"}}}
    upstream.answers(ok({"servers": [server]}))
    servers = await api.list_mcp_servers()
    assert upstream.requests[0].target == "/api/v1/mogplex/mcp/servers"
    assert servers[0].wire() == server
    assert "lin_secret" not in repr(servers)


ENDED = {**RUN, "status": "success"}
CANCELLED = {**RUN, "status": "cancelled"}


@pytest.mark.parametrize(
    ("data", "status", "already"),
    [
        ({"run": RUN, "status": "cancellation_requested"}, "cancellation_requested", False),
        ({"run": ENDED, "status": "already_terminal"}, "already_terminal", True),
        ({"run": RUN, "status": "streaming", "alreadyTerminal": False}, "cancellation_requested", False),
        ({"run": CANCELLED, "status": "cancelled", "alreadyTerminal": False}, "cancellation_requested", False),
        ({"run": CANCELLED, "status": "cancelled", "alreadyTerminal": True}, "already_terminal", True),
        ({"run": ENDED, "status": "success"}, "already_terminal", True),
        ({"run": RUN, "status": 7, "alreadyTerminal": "perhaps"}, "cancellation_requested", False),
        ({"run": RUN}, "cancellation_requested", False),
    ],
)
async def test_both_wordings_of_a_cancellation_give_one_shape(
    api: MogplexApi, upstream: ScriptedUpstream, data: dict[str, object], status: str, already: bool
) -> None:
    upstream.answers(ok(data))
    result = await api.cancel_run("run-1")
    assert upstream.requests[0].route == "POST /runs/run-1/cancel"
    assert upstream.requests[0].headers["content-length"] == "0"
    assert (result.run.wire(), result.status, result.already_terminal) == (data["run"], status, already)


@pytest.mark.parametrize("run_id", ["", ".", "..", "a\nb", "a\x00b", "\u2028", "\ud800", "x" * 513])
async def test_an_id_that_is_no_path_segment_is_refused_here(
    api: MogplexApi, upstream: ScriptedUpstream, run_id: str
) -> None:
    for call in (api.get_run, api.list_run_events, api.cancel_run):
        with pytest.raises(MogplexError) as caught:
            await call(run_id)
        assert caught.value.code == "BAD_REQUEST"
    assert upstream.requests == []


async def test_a_filter_that_is_too_long_or_not_text_is_refused_here(
    api: MogplexApi, upstream: ScriptedUpstream
) -> None:
    for query in ("x" * 1001, "\ud83d"):
        with pytest.raises(MogplexError, match="`q`"):
            await api.list_repos(query=query)
    assert upstream.requests == []


@pytest.mark.parametrize("token", ["", "mog_a b", "mog_a\r\nX-Evil: 1", "mog_ü", "mog_\x7f"])
async def test_a_token_that_cannot_stand_in_a_header_is_refused_here(upstream: ScriptedUpstream, token: str) -> None:
    async with open_hosted(upstream.url) as way:
        with pytest.raises(MogplexError) as caught:
            await MogplexApi(way, token).list_repos()
    assert caught.value.code == "UNAUTHORIZED"
    assert upstream.requests == []


async def test_calls_in_a_row_share_one_connection(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    for _ in range(10):
        await api.list_repos()
    assert upstream.connections == 1


async def test_the_pool_is_no_larger_than_its_setting(upstream: ScriptedUpstream) -> None:
    async with open_hosted(upstream.url, api_max_connections=3) as way:
        await asyncio.gather(*(MogplexApi(way, TOKEN).list_repos() for _ in range(30)))
    assert len(upstream.requests) == 30
    assert upstream.connections <= 3


async def test_no_cookie_of_one_caller_reaches_another(upstream: ScriptedUpstream) -> None:
    upstream.answers(ok({"repos": []}, headers={"set-cookie": "session=first; Path=/"}))
    async with open_hosted(upstream.url) as way:
        await MogplexApi(way, TOKEN).list_repos()
        await MogplexApi(way, "mog_another").list_repos()
    assert [request.headers.get("cookie") for request in upstream.requests] == [None, None]
    assert upstream.requests[1].headers["authorization"] == "Bearer mog_another"
