"""Repositories named like a person names them, and the question that is asked when it is not clear which is meant."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import httpx2
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ElicitRequestFormParams, ElicitRequestParams, ElicitResult

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from mogplex_mcp.tools.repo_lists import PAGE
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import RUN, ScriptedUpstream, error, ok, scripted_upstream
from tests.mcp.conftest import Host, Json, serving
from tests.mcp.test_tools import structured

TOKEN = "mog_tests0123456789"
ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
REPOS = [
    {"id": f"repo-{number}", "full_name": name, "default_branch": "main", "root_directory": None}
    for number, name in enumerate(("acme/web", "acme/website", "acme/api", "beta/api"))
]
START = "mogplex_start_agent_run"
Action = Literal["accept", "decline", "cancel"]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as scripted:
        scripted.answers(ok({"repos": REPOS}), on="GET /repos")
        scripted.answers(ok({"sandboxes": []}), on="GET /sandboxes")
        scripted.answers(ok(RUN, 202), on="POST /runs")
        yield scripted


@pytest.fixture
async def agent(upstream: ScriptedUpstream, home: Path) -> AsyncIterator[Host]:
    settings = Settings(home=home, url=upstream.url, dev=True)
    async with open_upstream(settings, embedded=no_embedded) as opened, serving(settings, opened, TOKEN) as host:
        yield host


def started_in(upstream: ScriptedUpstream) -> list[str]:
    """The ids with which runs were started."""
    return [json.loads(each.body)["repoId"] for each in upstream.requests if each.route == "POST /runs"]


def listed(upstream: ScriptedUpstream) -> int:
    return sum(each.route == "GET /repos" for each in upstream.requests)


async def start(host: Host, repo: str) -> Json:
    return structured(START, await host.tool(START, repoId=repo, prompt="x", createBranch=True))


@pytest.mark.parametrize(("name", "meant"), [("acme/web", "repo-0"), ("WEB", "repo-0"), ("repo-3", "repo-3")])
async def test_a_run_starts_in_the_repository_that_a_name_says(
    agent: Host, upstream: ScriptedUpstream, name: str, meant: str
) -> None:
    assert "run" in await start(agent, name)
    assert started_in(upstream) == [meant]


async def test_an_exact_id_goes_upstream_as_it_is_and_needs_no_list(agent: Host, upstream: ScriptedUpstream) -> None:
    identifier = "8f3a2b1c-1234-4abc-9def-1234567890ab"
    await agent.tool("mogplex_list_repos")  # whatever the first use of a token costs
    before = listed(upstream)
    await start(agent, identifier)
    assert started_in(upstream) == [identifier]
    assert listed(upstream) == before


async def test_names_are_looked_up_once_a_minute(agent: Host, upstream: ScriptedUpstream) -> None:
    await start(agent, "acme/web")
    before = listed(upstream)
    await start(agent, "acme/api")
    await agent.tool("mogplex_list_sandboxes", repoId="beta/api")
    assert started_in(upstream) == ["repo-0", "repo-2"]
    assert listed(upstream) == before


async def test_a_name_that_may_mean_several_comes_back_with_the_candidates(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    failed = (await start(agent, "api"))["error"]
    assert failed["code"] == "AMBIGUOUS_REPO"
    assert failed["candidates"] == [
        {"id": "repo-2", "full_name": "acme/api"},
        {"id": "repo-3", "full_name": "beta/api"},
    ]
    assert "acme/api, beta/api" in failed["suggestion"]
    assert started_in(upstream) == []


async def test_the_beginning_of_a_name_is_enough_to_read_and_not_to_start(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    assert (await agent.tool("mogplex_list_sandboxes", repoId="acme/webs"))["isError"] is False
    assert upstream.requests[-1].target.endswith("repo_id=repo-1")
    failed = (await start(agent, "acme/webs"))["error"]
    assert failed["code"] == "AMBIGUOUS_REPO"
    assert [each["full_name"] for each in failed["candidates"]] == ["acme/website"]
    assert started_in(upstream) == []


async def test_a_name_that_means_none_comes_back_with_the_nearest(agent: Host) -> None:
    failed = (await start(agent, "acme/wbe"))["error"]
    assert (failed["code"], failed["status"]) == ("NOT_FOUND", 404)
    assert failed["candidates"][0] == {"id": "repo-0", "full_name": "acme/web"}
    assert "acme/web" in failed["suggestion"]


async def test_a_repository_connected_within_the_minute_is_found(agent: Host, upstream: ScriptedUpstream) -> None:
    assert (await start(agent, "acme/new"))["error"]["code"] == "NOT_FOUND"
    new = {**REPOS[0], "id": "repo-9", "full_name": "acme/new"}
    upstream.answers(ok({"repos": [*REPOS, new]}), on="GET /repos")
    assert "run" in await start(agent, "acme/new")
    assert started_in(upstream) == ["repo-9"]


async def test_of_more_repositories_than_mogplex_lists_a_name_is_asked_for_by_q(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    many = [{**REPOS[0], "id": f"many-{number}", "full_name": f"many/n{number}"} for number in range(PAGE)]
    await agent.tool("mogplex_list_repos")
    upstream.answers(ok({"repos": many}), ok({"repos": REPOS[2:3]}), on="GET /repos")
    assert "run" in await start(agent, "acme/api")
    assert started_in(upstream) == ["repo-2"]
    assert "q=acme%2Fapi" in next(each.target for each in reversed(upstream.requests) if each.route == "GET /repos")


async def test_an_id_that_looks_like_none_and_is_not_listed_is_mogplexs_to_judge(
    agent: Host, upstream: ScriptedUpstream
) -> None:
    many = [{**REPOS[0], "id": f"many-{number}", "full_name": f"many/n{number}"} for number in range(PAGE)]
    await agent.tool("mogplex_list_repos")
    upstream.answers(ok({"repos": many}), ok({"repos": []}), ok({"repos": many}), ok({"repos": []}), on="GET /repos")
    await start(agent, "far-away")
    assert started_in(upstream) == ["far-away"]


async def test_a_token_that_may_not_read_starts_by_id(agent: Host, upstream: ScriptedUpstream) -> None:
    await agent.tool("mogplex_list_repos")
    upstream.answers(error(403, "FORBIDDEN"), on="GET /repos")
    assert "run" in await start(agent, "repo-0")
    assert started_in(upstream) == ["repo-0"]


async def test_names_of_one_account_are_not_anothers(agent: Host, upstream: ScriptedUpstream) -> None:
    await start(agent, "acme/web")
    upstream.answers(ok({"repos": REPOS[3:]}), on="GET /repos")
    failed = (await start(replace(agent, token=TOKEN + "x"), "acme/web"))["error"]
    assert failed["code"] == "NOT_FOUND"
    assert "acme/web" not in json.dumps(failed["candidates"])


@asynccontextmanager
async def asked(
    agent: Host, mode: str, action: Action = "accept", choice: str = "", argument: str = "repoId"
) -> AsyncIterator[tuple[Client, list[ElicitRequestFormParams]]]:
    """The SDK's client with a person behind it who answers like this; and what they were asked."""
    questions: list[ElicitRequestFormParams] = []

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams)
        questions.append(params)
        content = {argument: choice} if action == "accept" else None
        return ElicitResult(action=action, content=content)

    headers = {"Authorization": f"Bearer {agent.token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(agent.url, http_client=http)
        async with Client(transport, mode=mode, elicitation_callback=answer) as client:
            yield client, questions


async def start_by(client: Client, repo: str) -> CallToolResult:
    result = await client.call_tool(START, {"repoId": repo, "prompt": "x", "createBranch": True})
    assert isinstance(result, CallToolResult)
    return result


@ERAS
async def test_a_person_who_can_be_asked_picks_the_repository(
    agent: Host, upstream: ScriptedUpstream, mode: str
) -> None:
    async with asked(agent, mode, choice="beta/api") as (client, questions):
        result = await start_by(client, "api")
    assert not result.is_error
    assert started_in(upstream) == ["repo-3"]
    (question,) = questions
    assert "'api'" in question.message
    assert question.requested_schema["properties"]["repoId"]["enum"] == ["acme/api", "beta/api"]


@ERAS
async def test_a_person_confirms_the_beginning_of_a_name(agent: Host, upstream: ScriptedUpstream, mode: str) -> None:
    async with asked(agent, mode, choice="acme/website") as (client, questions):
        assert not (await start_by(client, "webs")).is_error
    assert started_in(upstream) == ["repo-1"]
    assert "acme/website" in questions[0].message


@ERAS
@pytest.mark.parametrize(("action", "choice"), [("decline", ""), ("cancel", ""), ("accept", "acme/web")])
async def test_a_question_that_is_declined_or_answered_otherwise_starts_nothing(
    agent: Host, upstream: ScriptedUpstream, mode: str, action: Action, choice: str
) -> None:
    async with asked(agent, mode, action, choice) as (client, questions):
        result = await start_by(client, "api")
    assert result.is_error
    assert result.structured_content is not None
    assert result.structured_content["error"]["code"] == "AMBIGUOUS_REPO"
    assert len(questions) == 1
    assert started_in(upstream) == []


@ERAS
async def test_nothing_is_asked_when_the_name_is_clear_or_means_none(agent: Host, mode: str) -> None:
    async with asked(agent, mode, choice="acme/web") as (client, questions):
        assert not (await start_by(client, "acme/web")).is_error
        assert (await start_by(client, "nothing-like-it")).is_error
    assert questions == []


@ERAS
async def test_a_host_that_cannot_ask_is_not_asked_to(agent: Host, upstream: ScriptedUpstream, mode: str) -> None:
    headers = {"Authorization": f"Bearer {agent.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30) as http,
        Client(streamable_http_client(agent.url, http_client=http), mode=mode) as client,
    ):
        result = await start_by(client, "api")
    assert result.structured_content is not None
    assert result.structured_content["error"]["code"] == "AMBIGUOUS_REPO"
    assert started_in(upstream) == []
