"""The Python SDK's own OAuth client, in both eras, against the real server and somebody who follows its links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any, Literal

import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

from mogplex_mcp.tools.registry import TOOLS
from tests.oauth.document_host import Certificate, document, document_host, make_certificate
from tests.pages.hosting import query_of
from tests.running_server import RunningServer, running_server
from tests.scripted_person import Person, person_at

pytestmark = pytest.mark.slow

REDIRECT = "http://localhost:49152/callback"
Era = Literal["2025-11-25", "2026-07-28"]


@dataclass
class Kept:
    """What a host keeps of its sign-in (the SDK's ``TokenStorage``)."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


@dataclass
class Host:
    """An agent host on the SDK's client.

    Attributes:
        person: Who sits before it.
        document_url: Its client document, unless it registers.
        kept: What it keeps.
        links: The links it has shown.
        tick: What the person ticks at the next one besides what is ticked.
    """

    person: Person
    document_url: str | None
    kept: Kept = field(default_factory=Kept)
    links: list[str] = field(default_factory=list)
    tick: Collection[str] = ()

    def __post_init__(self) -> None:
        self._callbacks: list[str] = []
        metadata = OAuthClientMetadata(redirect_uris=[AnyUrl(REDIRECT)], client_name="Python host")
        self.provider = OAuthClientProvider(
            self.person.server.url, metadata, self.kept, self._show, self._answer, client_metadata_url=self.document_url
        )

    @asynccontextmanager
    async def connected(self, era: Era) -> AsyncIterator[Client]:
        """A connection, which begins with a sign-in unless one is kept."""
        mode = "legacy" if era == "2025-11-25" else "auto"
        async with (
            httpx2.AsyncClient(auth=self.provider, timeout=60, trust_env=False) as http,
            Client(streamable_http_client(self.person.server.url, http_client=http), mode=mode) as client,
        ):
            assert client.protocol_version == era
            yield client

    def an_hour_passes(self) -> None:
        """Let the access token be as good as expired for the SDK."""
        self.provider.context.token_expiry_time = 1.0

    @property
    def tokens(self) -> OAuthToken:
        """The tokens it holds."""
        assert self.kept.tokens is not None
        return self.kept.tokens

    async def _show(self, link: str) -> None:
        self.links.append(link)
        self._callbacks.append(await self.person.decide(link, self.tick))

    async def _answer(self) -> AuthorizationCodeResult:
        given = query_of(self._callbacks.pop())
        return AuthorizationCodeResult(code=given["code"], state=given["state"], iss=given["iss"])


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def server(certificate: Certificate) -> Iterator[RunningServer]:
    with running_server(MOGPLEX_DEV="1", SSL_CERT_FILE=str(certificate.certificate)) as server:
        yield server


@pytest.fixture(scope="module")
def cookies() -> CookieJar:
    return CookieJar()


@pytest.fixture(params=["2025-11-25", "2026-07-28"])
def era(request: pytest.FixtureRequest) -> Era:
    found: Era = request.param
    return found


@pytest.fixture(params=["registration", "document"])
async def host(
    request: pytest.FixtureRequest, server: RunningServer, certificate: Certificate, cookies: CookieJar
) -> AsyncIterator[Host]:
    async with person_at(server, cookies) as person, document_host(certificate) as site:
        url = site.address(host="localhost")
        site.says(document(url, client_name="Python host", redirect_uris=[REDIRECT]))
        yield Host(person, url if request.param == "document" else None)


def error_code(result: Any) -> str:
    """The code of a tool's error."""
    assert result.is_error
    code: str = result.structured_content["error"]["code"]
    return code


async def test_a_host_signs_in_and_works(host: Host, era: Era) -> None:
    async with host.connected(era) as client:
        repos = await client.call_tool("mogplex_list_repos", {})
        tools = await client.list_tools()
    assert [repo["full_name"] for repo in repos.structured_content["repos"]] == ["demo/hello"]
    assert [tool.name for tool in tools.tools] == list(TOOLS)
    assert len(host.links) == 1
    asked = query_of(host.links[0])
    assert asked["resource"] == host.person.server.url
    assert asked["scope"].split() == ["tools:read", "agents:run", "offline_access"]
    assert host.tokens.scope == "tools:read"
    assert host.kept.client is not None
    assert asked["client_id"] == host.kept.client.client_id
    assert host.document_url in {None, asked["client_id"]}


async def test_an_expired_token_is_refreshed_without_the_person(host: Host, era: Era) -> None:
    async with host.connected(era) as client:
        seen = [host.tokens]
        for _ in range(2):
            host.an_hour_passes()
            assert not (await client.call_tool("mogplex_list_repos", {})).is_error
            seen.append(host.tokens)
    assert len(host.links) == 1
    assert len({tokens.access_token for tokens in seen}) == 3
    assert len({tokens.refresh_token for tokens in seen}) == 3


async def test_a_kept_sign_in_serves_the_next_start_of_the_host(host: Host, era: Era) -> None:
    async with host.connected(era):
        pass
    again = Host(host.person, host.document_url, host.kept)
    async with again.connected(era) as client:
        assert not (await client.call_tool("mogplex_list_repos", {})).is_error
    assert again.links == []


async def test_a_call_that_needs_more_asks_the_person_and_then_works(host: Host, era: Era) -> None:
    async with host.connected(era) as client:
        host.tick = ["agents:run"]
        refused = await client.call_tool("mogplex_cancel_run", {"runId": "no-such-run"})
        assert error_code(refused) == "NOT_FOUND"
        assert set((host.tokens.scope or "").split()) == {"tools:read", "agents:run"}
        assert not (await client.call_tool("mogplex_list_repos", {})).is_error
    assert len(host.links) == 2
    assert {"tools:read", "agents:run"} <= set(query_of(host.links[1])["scope"].split())


async def test_a_person_who_revokes_the_host_is_asked_again(host: Host, era: Era) -> None:
    async with host.connected(era) as client:
        await host.person.revoke_everything()
        assert not (await client.call_tool("mogplex_list_repos", {})).is_error
        assert len(host.links) == 2
        await host.person.revoke_everything()
        host.an_hour_passes()
        assert not (await client.call_tool("mogplex_list_repos", {})).is_error
    assert len(host.links) == 3


async def test_a_sign_in_that_mogplex_refuses_is_made_anew(host: Host, era: Era) -> None:
    async with host.connected(era) as client:
        for links in (2, 3):
            host.person.server.end_sign_ins()
            # The call that finds out still fails; from the next one on the person is asked.
            assert error_code(await client.call_tool("mogplex_list_repos", {})) == "UNAUTHORIZED"
            if links == 3:
                host.an_hour_passes()
            assert not (await client.call_tool("mogplex_list_repos", {})).is_error
            assert len(host.links) == links
