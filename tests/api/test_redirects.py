"""Redirects: within the origin only, and never with another method."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from mogplex_mcp.api import MogplexApi, MogplexError, StartRun
from tests.api.scripted_upstream import REPO, RUN, ScriptedUpstream, ok, redirect, scripted_upstream

START = StartRun(repo_id="repo-1", prompt="Fix the tests")


@pytest.fixture
async def elsewhere() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream() as server:
        yield server


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_read_follows_a_redirect_within_its_origin(
    api: MogplexApi, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.answers(redirect("/moved?limit=3", status), on="GET /repos")
    upstream.answers(ok({"repos": [REPO]}), on="GET /moved")
    assert len(await api.list_repos()) == 1
    assert upstream.requests[1].target == "/moved?limit=3"
    assert upstream.requests[1].headers["authorization"]


@pytest.mark.parametrize("status", [307, 308])
async def test_a_start_follows_a_redirect_that_keeps_the_method(
    api: MogplexApi, upstream: ScriptedUpstream, status: int
) -> None:
    upstream.answers(redirect(f"{upstream.url}/moved", status), on="POST /runs")
    upstream.answers(ok({**RUN, "replayed": False}, 202), on="POST /moved")
    await api.start_run(START)
    assert upstream.requests[1].body == upstream.requests[0].body


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_start_never_becomes_a_read(api: MogplexApi, upstream: ScriptedUpstream, status: int) -> None:
    upstream.answers(redirect("/moved", status))
    with pytest.raises(MogplexError, match="redirects a POST") as caught:
        await api.start_run(START)
    assert (caught.value.code, caught.value.status) == ("HTTP_ERROR", status)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_token_follows_a_redirect_to_another_origin(
    api: MogplexApi, upstream: ScriptedUpstream, elsewhere: ScriptedUpstream, status: int
) -> None:
    upstream.answers(redirect(f"{elsewhere.url}/api/v1/mogplex/repos?token=x#y", status))
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert (caught.value.code, caught.value.status) == ("HTTP_ERROR", status)
    assert f"redirects to {elsewhere.url}." in caught.value.message
    assert f"MOGPLEX_URL to {elsewhere.url} " in caught.value.suggestion
    assert (elsewhere.connections, len(upstream.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://user:pw@evil.example/x", "https://evil.example."),
        ("//evil.example:8443/x", "http://evil.example:8443."),
        ("https://127.0.0.1/", "https://127.0.0.1."),
    ],
)
async def test_scheme_host_and_port_make_another_origin(
    api: MogplexApi, upstream: ScriptedUpstream, location: str, shown: str
) -> None:
    upstream.answers(redirect(location))
    with pytest.raises(MogplexError) as caught:
        await api.list_repos()
    assert f"redirects to {shown}" in caught.value.message


@pytest.mark.parametrize("location", ["", "mailto:a@b", "javascript:x", "https:///x", "\x01"])
async def test_a_redirect_to_nowhere_is_an_error(api: MogplexApi, upstream: ScriptedUpstream, location: str) -> None:
    upstream.answers(redirect(location))
    with pytest.raises(MogplexError, match="no usable address") as caught:
        await api.list_repos()
    assert caught.value.code == "HTTP_ERROR"
    assert len(upstream.requests) == 1


async def test_a_redirect_that_goes_round_ends(api: MogplexApi, upstream: ScriptedUpstream) -> None:
    upstream.answers(redirect("/round"))
    with pytest.raises(MogplexError, match="more than 3 times"):
        await api.list_repos()
    assert len(upstream.requests) == 4
