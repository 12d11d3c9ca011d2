"""Browsers on configured origins: preflight without a token, headers of both protocol eras."""

import pytest

from mogplex_mcp.settings import Settings
from tests.mcp.conftest import Host

APP = "https://app.example.com"


@pytest.fixture
def settings(home: object) -> Settings:
    return Settings(
        home=home, transport="process", local_rate_limit=0, mcp_allowed_origins=(APP.replace("app", "App"),)
    )


async def test_a_preflight_of_an_allowed_origin_needs_no_token(host: Host) -> None:
    answer = await host.http.options(
        host.url,
        headers={
            "Origin": APP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, mcp-method, mcp-name, mcp-protocol-version",
        },
    )
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    allowed = answer.headers["access-control-allow-headers"].lower()
    for header in ("authorization", "content-type", "mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name"):
        assert header in allowed


async def test_a_preflight_of_a_foreign_origin_is_refused(host: Host) -> None:
    answer = await host.http.options(
        host.url, headers={"Origin": "https://evil.example.com", "Access-Control-Request-Method": "POST"}
    )
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


async def test_a_refused_token_shows_its_challenge_to_the_page(host: Host) -> None:
    answer = await host.post({}, Origin=APP, Authorization="Bearer mog_wrong")
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == APP
    assert "WWW-Authenticate" in answer.headers["access-control-expose-headers"]


async def test_a_page_gets_no_credentials_of_the_browser(host: Host) -> None:
    answer = await host.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}, Origin=APP)
    assert answer.status_code == 200
    assert "access-control-allow-credentials" not in answer.headers
