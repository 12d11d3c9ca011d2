"""Client ID Metadata Documents: which are accepted, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.auth.authorization.client_documents import (
    ClientDocumentError,
    cache_seconds,
    client_of,
    is_document_address,
)
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.clients import get_client
from mogplex_mcp.store.store import Store
from tests.oauth.document_host import (
    PORTLESS,
    Certificate,
    DocumentHost,
    Names,
    document,
    documented,
    fetcher,
)
from tests.oauth.site import Json, Site, running

CHATGPT = {
    "redirect_uris": ["https://chatgpt.com/connector_platform_oauth_redirect"],
    "token_endpoint_auth_method": "private_key_jwt",
    "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "client_name": "ChatGPT",
    "token_endpoint_auth_signing_alg": "RS256",
    "jwks_uri": "https://chatgpt.com/oauth/jwks.json",
}


@pytest.fixture
async def site(settings: Settings, store: Store, certificate: Certificate) -> AsyncIterator[Site]:
    """A site for which every name is on loopback."""
    async with documented(settings, store, fetcher(certificate, Names([["127.0.0.1"]]))) as made:
        yield made


async def test_a_client_that_is_a_document_connects(site: Site, host: DocumentHost) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3, §4: no registration; the document names the client."""
    client_id = host.address()
    host.says(document(client_id, logo_uri="https://logo.example/x.png"))

    sent = "http://localhost:53211/callback"
    tokens = (await site.redeem(client_id, await site.code(client_id, redirect_uri=sent), redirect_uri=sent)).json()

    assert tokens["scope"] == "tools:read agents:run"
    stored = get_client(site.store, client_id)
    assert stored is not None
    assert (stored.kind, stored.name, stored.auth_method) == ("document", "Agent", "none")
    assert len(host.requests) == 1, "nothing else is loaded, logos least of all"


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("https://client.example/c", True),
        ("https://client.example:8443/a/b.json?x=1", True),
        ("https://client.example/.well-known/c", True),
        ("https://client.example", False),
        ("https://client.example/", False),
        ("https://client.example?x", False),
        ("https://client.example/c#f", False),
        ("https://user@client.example/c", False),
        ("https://user:pw@client.example/c", False),
        ("https://client.example/a/../c", False),
        ("https://client.example/./c", False),
        ("https://client.example/a/%2e%2E/c", False),
        ("https://client.example/..", False),
        ("https://client.example\\@evil.example/c", False),
        ("https://client%2eexample/c", False),
        ("https://cli\u00ebnt.example/c", False),
        ("https://client.example/c d", False),
        ("https://client.example:x/c", False),
        ("https://client.example:99999/c", False),
        ("https:client.example/c", False),
        ("https:///c", False),
        ("http://client.example/c", False),
        ("http://localhost:3000/c", False),
        ("ftp://client.example/c", False),
        ("https://client.example/" + "x" * 1_100, False),
    ],
)
def test_the_form_of_an_address(address: str, good: bool) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3: https, a path, no fragment, userinfo or dot segments."""
    assert is_document_address(address) is good


@pytest.mark.parametrize(
    "client_id",
    [
        "https://client.example",
        "https://client.example/a/../b",
        "http://client.example/c",
        "https://u@client.example/c",
    ],
)
async def test_a_malformed_address_is_not_fetched(
    settings: Settings, store: Store, certificate: Certificate, client_id: str
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3: refused before any look-up."""
    names = Names([["127.0.0.1"]])

    async with documented(settings, store, fetcher(certificate, names)) as site:
        problem = await site.refused(await site.authorize(client_id, redirect_uri=PORTLESS))

    assert problem.kind == "client_document"
    assert names.asked == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"client_id": "https://other.example/c"}, "not its own address"),
        ({"client_id": None}, "not its own address"),
        ({"client_secret": "s"}, "secret"),
        ({"client_secret_expires_at": 0}, "secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "none"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "none"),
        ({"token_endpoint_auth_method": 3}, "none"),
        ({"redirect_uris": None}, "redirect_uris"),
        ({"redirect_uris": []}, "redirect_uris"),
        ({"redirect_uris": ["javascript:/alert(1)"]}, "scheme"),
    ],
)
async def test_a_document_that_is_not_acceptable_gets_a_page(
    site: Site, host: DocumentHost, changes: Json, why: str
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.1: own address, no secrets, no shared-secret method."""
    host.says(document(host.address(), **changes))

    problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert problem.kind == "client_document"
    assert why in problem.detail


def test_a_document_that_offers_none_is_public() -> None:
    """RFC 7591 §2: ChatGPT's document prefers a key and offers none beside it."""
    client_id = "https://chatgpt.com/oauth/client.json"

    client = client_of(client_id, document(client_id, **CHATGPT), cached_until=0)

    assert (client.auth_method, client.name) == ("none", "ChatGPT")


async def test_opencodes_document_forgets_the_path_that_opencode_sends(settings: Settings, store: Store) -> None:
    """RFC 8252 §7.3: a well-known client's own mistake is corrected for that client alone."""
    made = await asyncio.to_thread(create_authorization, settings, store)
    sent = "http://127.0.0.1:19876/mcp/oauth/callback"
    listed = {"redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"]}
    opencode = "https://opencode.ai/oauth/opencode/client.json"
    other = "https://other.example/client.json"

    found = [
        made.clients._oauth_client(client_of(client_id, document(client_id, **listed), cached_until=0))
        for client_id in (opencode, other)
    ]

    assert [client.check_redirect_uri(sent) for client in found] == [True, False]


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 4_000])
async def test_a_body_that_is_no_object_gets_a_page(site: Site, host: DocumentHost, body: bytes) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.1: a JSON object."""
    host.says(body)

    assert (await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))).kind == "client_document"


@pytest.mark.parametrize(
    ("cache_control", "seconds"),
    [
        ("", 3_600),
        ("max-age=5", 60),
        ("public, max-age=600", 600),
        ("MAX-AGE=600", 600),
        ("max-age=99999999999999", 86_400),
        ("max-age=999999", 86_400),
        ("no-store", 60),
        ("max-age=600, no-cache", 60),
        ("s-max-age=5", 3_600),
        ("max-age=x", 3_600),
    ],
)
def test_how_long_a_document_is_kept(cache_control: str, seconds: int) -> None:
    """RFC 9111 §5.2.2: between a minute and a day."""
    assert cache_seconds(cache_control) == seconds


async def test_a_document_is_kept_and_then_fetched_again(
    settings: Settings, store: Store, host: DocumentHost, certificate: Certificate
) -> None:
    """RFC 9111 §4.2: fetched again when it is due; what changed counts from then on, failures are never kept."""
    now = [store.now()]
    timed = replace(store, clock=lambda: now[0])
    client_id = host.address()
    async with documented(settings, timed, fetcher(certificate, Names([["127.0.0.1"]]))) as site:
        host.says(b"", status="503 Later")
        await site.refused(await site.authorize(client_id, redirect_uri=PORTLESS))
        host.says(document(client_id), "Cache-Control: max-age=120")
        await site.request_id(client_id, redirect_uri=PORTLESS)
        await site.request_id(client_id, redirect_uri=PORTLESS)
        assert len(host.requests) == 2

        now[0] += 120_000
        host.says(document(client_id, redirect_uris=["https://new.example/cb"]))
        problem = await site.refused(await site.authorize(client_id, redirect_uri=PORTLESS))

    assert problem.kind == "bad_redirect"
    assert len(host.requests) == 3


async def test_tokens_outlive_the_documents_host(
    settings: Settings, store: Store, host: DocumentHost, certificate: Certificate
) -> None:
    """RFC 6749 §6: refreshing needs no fetch, so a host that is down signs nobody out."""
    now = [store.now()]
    timed = replace(store, clock=lambda: now[0])
    host.says(document(host.address()))
    async with documented(settings, timed, fetcher(certificate, Names([["127.0.0.1"]]))) as site:
        code = await site.code(host.address(), redirect_uri=PORTLESS)
        tokens = (await site.redeem(host.address(), code, redirect_uri=PORTLESS)).json()
        now[0] += 2 * 86_400_000
        host.says(b"", status="503 Later")

        assert (await site.refresh(host.address(), tokens["refresh_token"])).status_code == 200


async def test_documents_can_be_switched_off(tmp_path: Path, store: Store, host: DocumentHost) -> None:
    """draft-ietf-oauth-client-id-metadata-document §5: the metadata says so, and nothing is fetched."""
    settings = Settings(home=tmp_path / "home", mcp_cimd="off", dev=True)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as site:
        metadata = (await site.http.get("/.well-known/oauth-authorization-server")).json()
        problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert metadata["client_id_metadata_document_supported"] is False
    assert problem.kind == "unknown_client"
    assert host.requests == []


async def test_a_document_error_is_told_in_our_words() -> None:
    """RFC 9700 §4.11: the page quotes nothing of what a stranger's host said."""
    with pytest.raises(ClientDocumentError) as refused:
        client_of("https://a.example/c", b'{"client_id": "<script>"}', cached_until=0)

    assert "<" not in str(refused.value)
