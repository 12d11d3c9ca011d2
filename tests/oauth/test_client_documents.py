"""Client ID Metadata Documents: which are accepted, and that fetching them lends nobody our place in the network."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.auth.authorization.authorize import Authorization
from mogplex_mcp.auth.authorization.client_documents import (
    ClientDocumentError,
    ClientDocuments,
    cache_seconds,
    client_of,
    is_document_address,
)
from mogplex_mcp.auth.authorization.document_fetch import DocumentFetcher, FetchError, is_public
from mogplex_mcp.auth.authorization.rate_limits import RateLimit
from mogplex_mcp.auth.authorization.routes import create_authorization_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.clients import get_client
from mogplex_mcp.store.store import Store
from tests.oauth.conftest import Json, Site, answer_in, running
from tests.oauth.document_host import Certificate, DocumentHost, Names, document_host, make_certificate

PORTLESS = "http://localhost/callback"
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


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever proxy this machine uses, these hosts are on it."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate that the fetcher of these tests trusts."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
async def host(certificate: Certificate) -> AsyncIterator[DocumentHost]:
    """A host of documents."""
    async with document_host(certificate) as made:
        yield made


def document(client_id: str, /, **changes: object) -> bytes:
    """A good document, changed."""
    given = {"client_id": client_id, "client_name": "Agent", "redirect_uris": [PORTLESS], **changes}
    return json.dumps({name: value for name, value in given.items() if value is not None}).encode()


def fetcher(certificate: Certificate, names: Names, *, development: bool = True) -> DocumentFetcher:
    """A fetcher with its own resolver; development, because these hosts are on loopback."""
    return DocumentFetcher(development=development, resolve=names, context=certificate.trusting())


@asynccontextmanager
async def documented(
    settings: Settings, store: Store, fetch: DocumentFetcher, **more: RateLimit
) -> AsyncIterator[Site]:
    """A site that fetches documents this way."""
    made: Authorization = await asyncio.to_thread(create_authorization, settings, store)
    clients = replace(made.clients, documents=ClientDocuments(fetch, development=True, **more))
    async with running(store, Authorization(store, clients, create_authorization_server(clients)), settings) as site:
        yield site


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


async def test_the_connection_goes_to_the_address_that_was_checked(
    host: DocumentHost, certificate: Certificate
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: one look-up; Host and TLS carry the name (DNS rebinding)."""
    names = Names([["127.0.0.1"], ["192.0.2.1"]])
    client_id = host.address("/a/b.json?c=d%20e")
    host.says(document(client_id))

    fetched = await fetcher(certificate, names).fetch(client_id)

    assert json.loads(fetched.body)["client_id"] == client_id
    assert names.asked == [("client.example", host.port)]
    assert host.server_names == ["client.example"]
    assert host.requests[0].startswith("GET /a/b.json?c=d%20e HTTP/1.1\r\n")
    assert f"\r\nHost: client.example:{host.port}\r\n" in host.requests[0]
    assert "cookie" not in host.requests[0].lower()


async def test_the_certificate_must_be_for_the_name(host: DocumentHost, certificate: Certificate) -> None:
    """RFC 9110 §4.3.4: an address alone proves nothing about who answers."""
    client_id = host.address(host="other.example")
    host.says(document(client_id))

    with pytest.raises(FetchError, match="cannot be reached"):
        await fetcher(certificate, Names([["127.0.0.1"]])).fetch(client_id)


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["93.184.216.34", "127.0.0.1"],
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["::1"],
        ["::ffff:127.0.0.1"],
        ["64:ff9b::a9fe:a9fe"],
        ["2002:7f00:1::"],
        ["fd00:ec2::254"],
        [],
    ],
)
async def test_no_private_address_is_connected_to(
    settings: Settings, store: Store, host: DocumentHost, certificate: Certificate, addresses: list[str]
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: SSRF; one bad address among good ones is enough."""
    host.says(document(host.address()))
    fetch = fetcher(certificate, Names([addresses]), development=False)

    async with documented(settings, store, fetch) as site:
        problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert (problem.kind, problem.back) == ("client_document", None)
    assert host.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "https://127.0.0.1:{}/c",
        "https://2130706433:{}/c",
        "https://0x7f.1:{}/c",
        "https://0177.0.0.1:{}/c",
        "https://[::1]:{}/c",
        "https://[::ffff:7f00:1]:{}/c",
        "https://localhost:{}/c",
        "https://127.1:{}/c",
        "https://0:{}/c",
    ],
)
async def test_no_spelling_of_a_private_address_passes_the_systems_resolver(
    host: DocumentHost, certificate: Certificate, address: str
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: decimal, octal, hexadecimal, IPv6, mapped, names."""
    with pytest.raises(FetchError):
        await DocumentFetcher(context=certificate.trusting()).fetch(address.format(host.port))

    assert host.requests == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("0.0.0.0", False),
        ("10.1.2.3", False),
        ("100.64.0.1", False),
        ("100.100.100.200", False),
        ("127.0.0.1", False),
        ("168.63.129.16", False),
        ("169.254.169.254", False),
        ("172.16.0.1", False),
        ("192.0.0.192", False),
        ("192.168.1.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("::7f00:1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b:1::7f00:1", False),
        ("2002:a00:1::1", False),
        ("2001:0:0:0:0:0:80ff:fffe", False),
        ("2001:db8::5efe:7f00:1", False),
        ("2606:4700::200:5efe:a00:1", False),
        ("fc00::1", False),
        ("fe80::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
    ],
)
def test_what_counts_as_public(address: str, public: bool) -> None:
    """RFC 6890, RFC 6052 §2, RFC 4291 §2.5.5: special-purpose addresses, IPv4 inside IPv6 included."""
    assert is_public(ipaddress.ip_address(address)) is public


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


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "404 Not Found"},
        {"status": "500 Oops"},
        {"kind": "text/html"},
        {"kind": ""},
        {"status": "204 No Content"},
    ],
)
async def test_an_answer_that_is_no_document_gets_a_page(
    site: Site, host: DocumentHost, answer: dict[str, str]
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.2: 200 and JSON, nothing else."""
    host.says(document(host.address()), **answer)

    assert (await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))).kind == "client_document"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000,
    ],
)
async def test_an_answer_that_breaks_off_gets_a_page(site: Site, host: DocumentHost, answer: bytes) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.2: a broken host is the client's fault, not ours."""
    host.answer = answer

    assert (await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))).kind == "client_document"


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 4_000])
async def test_a_body_that_is_no_object_gets_a_page(site: Site, host: DocumentHost, body: bytes) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.1: a JSON object."""
    host.says(body)

    assert (await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))).kind == "client_document"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
async def test_redirects_are_not_followed(site: Site, host: DocumentHost, status: str) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.2, §8.6: a redirect would lead past the check."""
    host.says(document(host.address()), f"Location: https://client.example:{host.port}/other", status=status)

    problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert "redirects" in problem.detail
    assert len(host.requests) == 1


@pytest.mark.parametrize("size", [5 * 1024, 5 * 1024 + 1])
async def test_a_document_has_at_most_five_kilobytes(certificate: Certificate, host: DocumentHost, size: int) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.4: bounded size."""
    host.says(b" " * size)
    fetching = fetcher(certificate, Names([["127.0.0.1"]])).fetch(host.address())

    if size > 5 * 1024:
        with pytest.raises(FetchError, match="larger"):
            await fetching
    else:
        assert len((await fetching).body) == size


async def test_a_compressed_document_is_refused(site: Site, host: DocumentHost) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.4: no decompression bombs."""
    host.says(b"\x1f\x8b", "Content-Encoding: gzip")

    problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert "compressed" in problem.detail


async def test_a_slow_host_is_left_after_a_while(
    site: Site, host: DocumentHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: bounded time, in all."""
    monkeypatch.setattr("mogplex_mcp.auth.authorization.document_fetch.SECONDS", 0.3)
    host.says(document(host.address()))
    host.delay = 30

    problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert "did not answer" in problem.detail


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


async def test_one_address_causes_a_bounded_number_of_fetches(
    settings: Settings, store: Store, host: DocumentHost, certificate: Certificate
) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: we are no amplifier."""
    fetch = fetcher(certificate, Names([["127.0.0.1"]]))
    async with documented(settings, store, fetch, limit=RateLimit(2, 10, 600)) as site:
        host.says(b"{}")
        for _ in range(2):
            await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))
        answer = await site.authorize(host.address(), redirect_uri=PORTLESS)

    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert len(host.requests) == 2


async def test_documents_can_be_switched_off(tmp_path: Path, store: Store, host: DocumentHost) -> None:
    """draft-ietf-oauth-client-id-metadata-document §5: the metadata says so, and nothing is fetched."""
    settings = Settings(home=tmp_path / "home", mcp_cimd="off", dev=True)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as site:
        metadata = (await site.http.get("/.well-known/oauth-authorization-server")).json()
        problem = await site.refused(await site.authorize(host.address(), redirect_uri=PORTLESS))

    assert metadata["client_id_metadata_document_supported"] is False
    assert problem.kind == "unknown_client"
    assert host.requests == []


async def test_in_development_a_document_may_be_on_loopback(tmp_path: Path, store: Store) -> None:
    """draft-ietf-oauth-client-id-metadata-document §8.6: plain http on this machine, only under MOGPLEX_DEV."""
    async with document_host(None) as host:
        client_id = f"http://localhost:{host.port}/client.json"
        host.says(document(client_id))
        for dev in (True, False):
            settings = Settings(home=tmp_path / "home", dev=dev)
            made = await asyncio.to_thread(create_authorization, settings, store)
            async with running(store, made, settings) as site:
                if dev:
                    location = await site.authorization.deny(
                        await site.request_id(client_id, redirect_uri=PORTLESS),
                        None,
                        issuer=site.base,
                        address="127.0.0.1",
                    )
                    assert answer_in(location)["error"] == "access_denied"
                    with site.store.db.write() as connection:
                        connection.exec_driver_sql("DELETE FROM clients")
                else:
                    problem = await site.refused(await site.authorize(client_id, redirect_uri=PORTLESS))
                    assert problem.kind == "client_document"


async def test_a_proxy_of_the_environment_is_asked(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9110 §9.3.6: the proxy resolves the name; what is private by its form is never asked for."""
    async with document_host(None) as proxy:
        proxy.answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        names = Names([["127.0.0.1"]])
        fetch = fetcher(certificate, names, development=False)
        for private in (
            "127.0.0.1",
            "[::1]",
            "2130706433",
            "0x7f.1",
            "localhost",
            "a.internal",
            "a.localhost",
            "intranet",
        ):
            with pytest.raises(FetchError, match="not public"):
                await fetch.fetch(f"https://{private}/c")
        assert proxy.requests == []

        with pytest.raises(FetchError, match="cannot be reached"):
            await fetch.fetch("https://client.example/c")

    assert names.asked == []
    assert proxy.requests[0].startswith("CONNECT client.example:443 HTTP/1.1\r\n")


async def test_a_document_error_is_told_in_our_words() -> None:
    """RFC 9700 §4.11: the page quotes nothing of what a stranger's host said."""
    with pytest.raises(ClientDocumentError) as refused:
        client_of("https://a.example/c", b'{"client_id": "<script>"}', cached_until=0)

    assert "<" not in str(refused.value)
