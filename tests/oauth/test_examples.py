"""``.well-known-examples/`` shows what a server at https://mcp.example.com serves."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from tests.oauth.examples import DIRECTORY, ISSUER, examples
from tests.oauth.site import Site, running

SERVED = {
    "oauth-protected-resource.json": "/.well-known/oauth-protected-resource/mcp",
    "oauth-authorization-server.json": "/.well-known/oauth-authorization-server",
    "openid-configuration.json": "/.well-known/openid-configuration",
    "mogplex-mcp-shim.json": "/oauth/clients/mogplex-mcp-shim.json",
}


@pytest.fixture
async def public(tmp_path: Path, store: Store) -> AsyncIterator[Site]:
    """A server that people reach at https://mcp.example.com."""
    settings = Settings(home=tmp_path / "home", mcp_public_url=ISSUER)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as made:
        yield made


def test_every_example_is_there_and_no_other() -> None:
    """They are files as a web server would host them."""
    assert {path.name: path.read_text() for path in DIRECTORY.iterdir()} == examples(), "record it with: make tables"
    assert set(SERVED) == set(examples())


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("host", ["mcp.example.com", "127.0.0.1:8747", "evil.example"])
async def test_the_server_serves_the_examples(public: Site, name: str, host: str) -> None:
    """RFC 8414 §3.3, RFC 9728 §3.3: never from an unverified Host."""
    answer = await public.http.get(SERVED[name], headers={"Host": host})

    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == json.loads((DIRECTORY / name).read_text())


async def test_the_shims_document_is_a_client_here_without_being_fetched(public: Site) -> None:
    """draft-ietf-oauth-client-id-metadata-document §3: our own document is not fetched from ourselves."""
    client_id = json.loads((DIRECTORY / "mogplex-mcp-shim.json").read_text())["client_id"]

    assert await public.request_id(client_id, redirect_uri="http://127.0.0.1:50123/callback")
    problem = await public.refused(await public.authorize(client_id, redirect_uri="http://127.0.0.1:50123/other"))

    assert problem.kind == "bad_redirect"


async def test_elsewhere_the_shims_path_is_no_client(public: Site) -> None:
    """draft-ietf-oauth-client-id-metadata-document §4.1: another server's document is that server's."""
    problem = await public.refused(
        await public.authorize(
            "https://[::1]/oauth/clients/mogplex-mcp-shim.json", redirect_uri="http://127.0.0.1:50123/callback"
        )
    )

    assert problem.kind == "client_document"
