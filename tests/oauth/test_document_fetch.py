"""Fetching a client's document lends nobody our place in the network."""

import asyncio
import ipaddress
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.auth.authorization.document_fetch import DocumentFetcher, FetchError, is_public
from mogplex_mcp.auth.authorization.rate_limits import RateLimit
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from tests.oauth.document_host import (
    PORTLESS,
    Certificate,
    DocumentHost,
    Names,
    document,
    document_host,
    documented,
    fetcher,
)
from tests.oauth.site import Site, answer_in, running


@pytest.fixture
async def site(settings: Settings, store: Store, certificate: Certificate) -> AsyncIterator[Site]:
    """A site for which every name is on loopback."""
    async with documented(settings, store, fetcher(certificate, Names([["127.0.0.1"]]))) as made:
        yield made


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
