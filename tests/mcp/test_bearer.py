"""Tokens: checked once, remembered for a while, forgotten when Mogplex refuses them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mogplex_mcp.api import MogplexError, Upstream, open_upstream
from mogplex_mcp.auth.caller import Caller, GivenToken, fingerprint
from mogplex_mcp.auth.pat import REFUSALS_PER_ADDRESS, TokenChecks, TooManyRefusalsError
from mogplex_mcp.local.database import open_database
from mogplex_mcp.local.tokens import list_tokens, revoke_token
from mogplex_mcp.settings import Settings
from tests.mcp.conftest import Host, new_token

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Mogplex:
    """A Mogplex that answers the check as told and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.status = 200
        self.code = ""
        self.headers: dict[str, str] = {}
        self.gate = asyncio.Event()
        self.gate.set()
        self.reached = asyncio.Event()

    async def repos(self, _: Request) -> Response:
        self.asked += 1
        self.reached.set()
        await self.gate.wait()
        if self.status == 200:
            return JSONResponse({"ok": True, "data": {"repos": []}})
        error = {"code": self.code, "message": "no"}
        return JSONResponse({"ok": False, "error": error}, self.status, headers=self.headers)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        self.status, self.code, self.headers = status, code, headers


@pytest.fixture
def mogplex() -> Mogplex:
    return Mogplex()


@pytest.fixture
async def upstream(mogplex: Mogplex) -> AsyncIterator[Upstream]:
    @asynccontextmanager
    async def answering() -> AsyncIterator[httpx2.AsyncBaseTransport]:
        yield httpx2.ASGITransport(Starlette(routes=[Route("/api/v1/mogplex/repos", mogplex.repos)]))

    async with open_upstream(Settings(transport="process"), embedded=answering) as opened:
        yield opened


async def test_a_valid_token_is_checked_once_a_minute(mogplex: Mogplex, upstream: Upstream) -> None:
    clock = Clock()
    checks = TokenChecks(upstream, clock=clock)
    for _ in range(3):
        assert await checks.check("mog_a", "here") is not None
    assert mogplex.asked == 1
    clock.now += 61
    await checks.check("mog_a", "here")
    assert mogplex.asked == 2


async def test_a_write_only_token_is_valid_although_the_check_is_forbidden(
    mogplex: Mogplex, upstream: Upstream
) -> None:
    mogplex.refuse(403, "FORBIDDEN")
    assert await TokenChecks(upstream).check("mog_a", "here") is not None


async def test_a_refusal_is_remembered_for_ten_seconds(mogplex: Mogplex, upstream: Upstream) -> None:
    clock = Clock()
    checks = TokenChecks(upstream, clock=clock)
    mogplex.refuse(401, "UNAUTHORIZED")
    assert await checks.check("mog_a", "here") is None
    assert await checks.check("mog_a", "here") is None
    assert mogplex.asked == 1
    clock.now += 11
    mogplex.status = 200
    assert await checks.check("mog_a", "here") is not None


async def test_guessing_is_limited_by_address_without_asking_mogplex(mogplex: Mogplex, upstream: Upstream) -> None:
    clock = Clock()
    checks = TokenChecks(upstream, clock=clock)
    mogplex.refuse(401, "UNAUTHORIZED")
    for number in range(REFUSALS_PER_ADDRESS):
        await checks.check(f"mog_{number}", "here")
    with pytest.raises(TooManyRefusalsError) as limited:
        await checks.check("mog_more", "here")
    assert 0 < limited.value.retry_after <= 60
    assert mogplex.asked == REFUSALS_PER_ADDRESS
    await checks.check("mog_more", "elsewhere")
    clock.now += 61
    assert await checks.check("mog_again", "here") is None


async def test_a_valid_token_still_works_from_an_address_that_guesses(mogplex: Mogplex, upstream: Upstream) -> None:
    checks = TokenChecks(upstream, clock=Clock())
    await checks.check("mog_good", "here")
    mogplex.refuse(401, "UNAUTHORIZED")
    for number in range(REFUSALS_PER_ADDRESS):
        await checks.check(f"mog_{number}", "here")
    assert await checks.check("mog_good", "here") is not None


async def test_a_token_that_was_valid_is_checked_anew_whatever_others_guess(
    mogplex: Mogplex, upstream: Upstream
) -> None:
    clock = Clock()
    checks = TokenChecks(upstream, clock=clock)
    await checks.check("mog_good", "here")
    clock.now += 61
    mogplex.refuse(401, "UNAUTHORIZED")
    for number in range(REFUSALS_PER_ADDRESS):
        await checks.check(f"mog_{number}", "here")
    mogplex.status = 200
    assert await checks.check("mog_good", "here") is not None


async def test_many_requests_at_once_share_one_check(mogplex: Mogplex, upstream: Upstream) -> None:
    checks = TokenChecks(upstream)
    mogplex.gate.clear()
    waiting = [asyncio.create_task(checks.check("mog_a", "here")) for _ in range(20)]
    await mogplex.reached.wait()
    waiting[0].cancel()
    mogplex.gate.set()
    users = await asyncio.gather(*waiting, return_exceptions=True)
    assert mogplex.asked == 1
    assert isinstance(users[0], asyncio.CancelledError)
    assert all(user is users[1] for user in users[1:])


async def test_a_check_that_cannot_be_made_is_not_remembered(mogplex: Mogplex, upstream: Upstream) -> None:
    checks = TokenChecks(upstream)
    mogplex.refuse(400, "SOMETHING_NEW")
    with pytest.raises(MogplexError):
        await checks.check("mog_a", "here")
    mogplex.status = 200
    assert await checks.check("mog_a", "here") is not None


async def test_memory_is_bounded(mogplex: Mogplex, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.auth.pat.REMEMBERED", 3)
    checks = TokenChecks(upstream)
    for number in range(5):
        await checks.check(f"mog_{number}", "here")
    await checks.check("mog_4", "here")
    assert mogplex.asked == 5
    await checks.check("mog_0", "here")
    assert mogplex.asked == 6


def test_a_caller_shows_no_credential() -> None:
    assert "mog_secret" not in repr(Caller("pat-1", GivenToken("mog_secret")))
    assert "mog_secret" not in fingerprint("mog_secret")


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Basic bW9n", "Bearer secret", "Bearer mog_", "Bearer mog_a b", "mog_abc",
     "Bearer mog_" + "x" * 600],
)  # fmt: skip
async def test_what_is_no_token_is_401_with_a_challenge(host: Host, header: str | None) -> None:
    headers = {name: value for name, value in host.headers().items() if name != "Authorization"}
    if header is not None:
        headers["Authorization"] = header
    answer = await host.http.post(host.url, json=PING, headers=headers)
    assert answer.status_code == 401
    challenge = answer.headers["www-authenticate"]
    metadata = host.url.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
    assert challenge == f'Bearer resource_metadata="{metadata}", scope="tools:read agents:run"'
    assert answer.json()["error"]["code"] == -32001


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS", "PUT"])
async def test_every_http_method_needs_a_token(host: Host, method: str) -> None:
    assert (await host.http.request(method, host.url)).status_code == 401


async def test_two_authorization_headers_are_none(host: Host) -> None:
    headers = [("Authorization", f"Bearer {host.token}"), ("Authorization", "Bearer mog_other")]
    assert (await host.http.post(host.url, json=PING, headers=headers)).status_code == 401


async def test_an_unknown_token_is_refused_as_invalid(host: Host) -> None:
    answer = await host.post(PING, Authorization="Bearer mog_unknown")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert "mog_unknown" not in answer.text


async def test_a_revoked_token_is_noticed_by_the_next_call_and_refused_from_then_on(
    host: Host, settings: Settings
) -> None:
    assert (await host.post(PING)).status_code == 200

    def revoke() -> None:
        database = open_database(settings)
        for row in list_tokens(database):
            revoke_token(database, row.id)

    await asyncio.to_thread(revoke)
    result = await host.tool("mogplex_list_repos")
    assert result["isError"] is True
    assert result["structuredContent"]["error"]["code"] == "UNAUTHORIZED"
    assert (await host.post(PING)).status_code == 401


async def test_a_read_only_token_cannot_start_a_run_and_learns_why(host: Host, settings: Settings) -> None:
    token = await asyncio.to_thread(new_token, settings, "read")
    reader = replace(host, token=token)
    repo = (await reader.tool("mogplex_list_repos"))["structuredContent"]["repos"][0]["id"]
    result = await reader.tool("mogplex_start_agent_run", repoId=repo, prompt="x")
    assert result["structuredContent"]["error"]["code"] == "FORBIDDEN"
    assert "write" in result["content"][0]["text"]
