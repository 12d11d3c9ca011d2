"""Clients known beforehand, and further redirect URIs of others (docs/clients-file.md)."""

import asyncio
import hashlib
import json
import re
from pathlib import Path

import pytest

from mogplex_mcp.auth.authorization import ClientsFileError, create_authorization
from mogplex_mcp.auth.authorization.configured_clients import read_configured_clients
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from tests.oauth.site import Json, Site, running

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "clients-file.md"
CLIENT = {"client_id": "acme", "client_name": "Acme", "redirect_uris": ["https://acme.example/cb"]}


def write(path: Path, content: object) -> Path:
    """A clients file."""
    path.write_text(json.dumps(content))
    return path


async def site_with(tmp_path: Path, content: object) -> Settings:
    """Settings that name a clients file."""
    return Settings(home=tmp_path / "home", mcp_clients_file=write(tmp_path / "clients.json", content))


async def test_a_configured_client_connects_with_its_secret(tmp_path: Path, store: Store) -> None:
    """RFC 6749 §2.2, MCP authorization "Preregistration": known without registering."""
    secret = "a-long-secret"
    client = {
        **CLIENT,
        "token_endpoint_auth_method": "client_secret_post",
        "client_secret_sha256": hashlib.sha256(secret.encode()).hexdigest(),
    }
    settings = await site_with(tmp_path, {"clients": [client]})
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as site:
        code = await site.code("acme", redirect_uri="https://acme.example/cb")
        without = await site.redeem("acme", code, redirect_uri="https://acme.example/cb")
        answer = await site.redeem("acme", code, redirect_uri="https://acme.example/cb", client_secret=secret)

    assert (without.status_code, site.error(without)) == (401, "invalid_client")
    assert answer.status_code == 200


async def test_a_client_taken_from_the_file_is_unknown_again(tmp_path: Path, store: Store) -> None:
    """RFC 6749 §2: the file decides, not what was stored of it."""
    before = await site_with(tmp_path, {"clients": [CLIENT]})
    await asyncio.to_thread(create_authorization, before, store)
    after = Settings(home=tmp_path / "home")
    async with running(store, await asyncio.to_thread(create_authorization, after, store), after) as site:
        problem = await site.refused(await site.authorize("acme", redirect_uri="https://acme.example/cb"))

    assert problem.kind == "unknown_client"


async def test_another_client_may_get_further_redirect_uris(site: Site, tmp_path: Path) -> None:
    """RFC 6749 §3.1.2.2: for one client, whatever it registered."""
    client, other = await site.register(), await site.register()
    further = "https://further.example/cb"
    settings = await site_with(tmp_path, {"redirect_uris": {client["client_id"]: [further]}})
    made = await asyncio.to_thread(create_authorization, settings, site.store)
    async with running(site.store, made, settings) as changed:
        assert await changed.request_id(client["client_id"], redirect_uri=further)
        assert await changed.request_id(client["client_id"])
        problem = await changed.refused(await changed.authorize(other["client_id"], redirect_uri=further))

    assert problem.kind == "bad_redirect"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ([], "object"),
        ({"client": []}, "client"),
        ({"clients": [{"client_id": "a"}]}, "clients.0.client_name"),
        ({"clients": [{**CLIENT, "redirect_uris": ["javascript:/x"]}]}, "clients.0.redirect_uris.0"),
        ({"clients": [{**CLIENT, "redirect_uris": []}]}, "clients.0.redirect_uris"),
        ({"clients": [{**CLIENT, "client_secret": "hunter2-hunter2"}]}, "clients.0.client_secret"),
        ({"clients": [{**CLIENT, "token_endpoint_auth_method": "client_secret_post"}]}, "client_secret_sha256"),
        ({"clients": [{**CLIENT, "client_secret_sha256": "0" * 64}]}, "client_secret_sha256"),
        ({"clients": [CLIENT, CLIENT]}, "same client_id"),
        ({"redirect_uris": {"x": ["http://evil.example/cb"]}}, "redirect_uris.x.0"),
    ],
)
def test_a_wrong_file_says_what_to_mend(tmp_path: Path, content: object, says: str) -> None:
    """The message names the place and never the value, which may be a secret in the wrong one."""
    with pytest.raises(ClientsFileError) as refused:
        read_configured_clients(write(tmp_path / "clients.json", content))

    assert "MOGPLEX_MCP_CLIENTS_FILE" in str(refused.value)
    assert says in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", b" " * 1_100_000, None])
def test_an_unreadable_file_says_so(tmp_path: Path, content: bytes | None) -> None:
    """Start refuses with one sentence."""
    path = tmp_path / "clients.json"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(ClientsFileError, match="MOGPLEX_MCP_CLIENTS_FILE"):
        read_configured_clients(path)


def test_the_documented_file_works(tmp_path: Path) -> None:
    """docs/clients-file.md shows a file that is read as it stands."""
    found = re.search(r"```json\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found is not None
    example: Json = json.loads(found[1])

    configured = read_configured_clients(write(tmp_path / "clients.json", example))

    assert set(configured.clients) == {client["client_id"] for client in example["clients"]}
    assert set(configured.redirect_uris) == set(example["redirect_uris"])
