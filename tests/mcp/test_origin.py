"""Host and Origin, the first check, on every route."""

import httpx2
import pytest

from mogplex_mcp.auth.origin import Addresses
from mogplex_mcp.settings import Settings
from tests.mcp.conftest import Host

LOOPBACK = Addresses.of(Settings())
PUBLIC = Addresses.of(Settings(mcp_public_url="https://mcp.example.com"))


@pytest.mark.parametrize(
    "name", ["localhost:8747", "127.0.0.1:8747", "[::1]:8747", "localhost", "LOCALHOST:1", "127.1.2.3"]
)
def test_every_name_of_this_machine_is_served_on_loopback(name: str) -> None:
    assert LOOPBACK.serves_host(name)


@pytest.mark.parametrize(
    "name",
    ["evil.example.com", "localhost.evil.com", "127.0.0.1.evil.com", "", "user@localhost", "localhost/x", "localhost:x",
     "localhost,evil.com", "0.0.0.0", "[::1", "2130706433"],
)  # fmt: skip
def test_no_other_name_is(name: str) -> None:
    assert not LOOPBACK.serves_host(name)


def test_the_public_address_is_served_with_and_without_its_port() -> None:
    assert PUBLIC.serves_host("mcp.example.com")
    assert PUBLIC.serves_host("MCP.example.com:443")
    assert not PUBLIC.serves_host("mcp.example.com.evil.com")


def test_a_server_bound_to_every_address_still_wants_a_name_it_knows() -> None:
    everywhere = Addresses.of(Settings(mcp_host="0.0.0.0"))
    assert everywhere.serves_host("localhost:8747")
    assert not everywhere.serves_host("rebound.example.com")


def test_our_own_pages_may_call_and_foreign_ones_may_not() -> None:
    assert LOOPBACK.serves_origin("http://localhost:8747", "localhost:8747")
    assert not LOOPBACK.serves_origin("http://localhost:3000", "localhost:8747")
    assert not LOOPBACK.serves_origin("null", "localhost:8747")
    assert PUBLIC.serves_origin("https://mcp.example.com", "mcp.example.com")
    allowing = Addresses.of(Settings(mcp_allowed_origins=("https://app.example.com",)))
    assert allowing.serves_origin("https://app.example.com", "localhost:8747")


@pytest.mark.parametrize("path", ["/mcp", "/", "/nowhere", "/.well-known/oauth-protected-resource"])
async def test_a_foreign_host_is_refused_on_every_route(host: Host, path: str) -> None:
    url = host.url.removesuffix("/mcp") + path
    answer = await host.http.post(url, headers=host.headers(Host="evil.example.com"), json={})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == -32003


async def test_a_foreign_origin_is_refused_before_its_token_is_looked_at(host: Host) -> None:
    answer = await host.post({}, Origin="https://evil.example.com", Authorization="Bearer mog_wrong")
    assert answer.status_code == 403
    assert "MOGPLEX_MCP_ALLOWED_ORIGINS" in answer.json()["error"]["message"]


async def test_without_allowed_origins_nobody_gets_cors_headers(host: Host) -> None:
    answer: httpx2.Response = await host.post({"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("access-control")]
