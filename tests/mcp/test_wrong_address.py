"""What a wrong address or method is answered: never a bare word, always what there is instead."""

import pytest

from tests.mcp.conftest import Host


async def test_a_wrong_address_says_where_mcp_is(host: Host) -> None:
    for method, path, status in (
        ("POST", "", 405),
        ("POST", "/", 405),
        ("POST", "/sse", 404),
        ("GET", "/nope", 404),
        ("POST", "/mcp/", 404),
        ("PUT", "/account/connections", 405),
    ):
        answer = await host.http.request(method, host.url.removesuffix("/mcp") + path)
        assert answer.status_code == status
        assert host.url in answer.json()["error"]["message"]
        assert ("allow" in answer.headers) is (status == 405)
    only_read = await host.http.post(host.url.removesuffix("mcp"))
    assert set(only_read.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert "GET" in only_read.json()["error"]["message"]


async def test_a_wrong_oauth_address_says_where_the_right_ones_are(host: Host) -> None:
    base = host.url.removesuffix("/mcp")
    for method, path, status in (
        ("GET", "/oauth/token", 405),
        ("POST", "/oauth/authorize", 405),
        ("GET", "/oauth/nope", 404),
        ("GET", "/.well-known/nope", 404),
        ("POST", "/.well-known/oauth-protected-resource/mcp", 405),
    ):
        answer = await host.http.request(method, base + path)
        assert answer.status_code == status
        assert answer.json()["error"] == "invalid_request"
        assert f"{base}/.well-known/oauth-authorization-server" in answer.json()["error_description"]


async def test_a_browser_gets_a_page(host: Host) -> None:
    base, headers = host.url.removesuffix("/mcp"), {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path, status, kind in (("/nope", 404, "not_found"), ("/oauth/token", 405, "wrong_method")):
        answer = await host.http.get(base + path, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
        assert f"<code>{kind}</code>" in answer.text
        assert answer.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("method", "version", "allowed"),
    [
        ("PUT", "2025-11-25", "GET, POST, DELETE"),
        ("PATCH", None, "GET, POST, DELETE"),
        ("GET", "2026-07-28", "POST"),
        ("DELETE", "2026-07-28", "POST"),
        ("PUT", "2026-07-28", "POST"),
    ],
)
async def test_the_endpoint_says_by_which_methods_it_is_called(
    host: Host, method: str, version: str | None, allowed: str
) -> None:
    era = {} if version is None else {"MCP_Protocol_Version": version}
    answer = await host.http.request(method, host.url, headers=host.headers(**era))
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
    assert allowed in answer.json()["error"]["message"]


async def test_documents_for_pages_of_any_origin_are_kept_apart_by_origin(host: Host) -> None:
    address = host.url.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
    for headers in ({}, {"Origin": "https://client.example"}):
        answer = await host.http.get(address, headers=headers)
        assert answer.headers["vary"] == "Origin"
        assert answer.headers.get("access-control-allow-origin") == ("*" if headers else None)
