"""The documents that tell clients where to sign in."""

import pytest

from tests.oauth.site import Site

RESOURCE_PATHS = (
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/mcp/.well-known/oauth-protected-resource",
)
SERVER_PATHS = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-authorization-server/mcp",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/mcp",
    "/mcp/.well-known/openid-configuration",
)


@pytest.mark.parametrize("path", RESOURCE_PATHS)
async def test_the_resource_names_itself_and_its_authorization_server(site: Site, path: str) -> None:
    """RFC 9728 §2, §3.1: protected resource metadata, where hosts look for it."""
    document = (await site.http.get(path)).json()

    assert document["resource"] == f"{site.base}/mcp"
    assert document["authorization_servers"] == [site.base]
    assert document["scopes_supported"] == ["tools:read", "agents:run"]
    assert document["bearer_methods_supported"] == ["header"]


@pytest.mark.parametrize("path", SERVER_PATHS)
async def test_the_authorization_server_says_what_it_serves(site: Site, path: str) -> None:
    """RFC 8414 §2, RFC 9207 §3, RFC 7636 §6.2: S256, iss, client documents, registration, revocation."""
    document = (await site.http.get(path)).json()

    assert document["issuer"] == site.base
    assert document["authorization_endpoint"] == f"{site.base}/oauth/authorize"
    assert document["token_endpoint"] == f"{site.base}/oauth/token"
    assert document["registration_endpoint"] == f"{site.base}/oauth/register"
    assert document["revocation_endpoint"] == f"{site.base}/oauth/revoke"
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["client_id_metadata_document_supported"] is True
    assert document["grant_types_supported"] == ["authorization_code", "refresh_token"]
    assert set(document["token_endpoint_auth_methods_supported"]) == {
        "none",
        "client_secret_basic",
        "client_secret_post",
    }
    assert "offline_access" in document["scopes_supported"]


@pytest.mark.parametrize("path", [path for path in SERVER_PATHS if "openid" in path])
async def test_openid_clients_find_the_members_they_insist_on(site: Site, path: str) -> None:
    """OpenID Connect Discovery 1.0 §3: required members, and a key set without keys."""
    document = (await site.http.get(path)).json()

    assert document["subject_types_supported"] == ["public"]
    assert document["id_token_signing_alg_values_supported"] == ["RS256"]
    assert (await site.http.get(document["jwks_uri"])).json() == {"keys": []}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_on_loopback_the_documents_use_the_name_that_was_asked_for(site: Site, host: str) -> None:
    """RFC 8414 §3.3, RFC 9728 §3.3: clients compare issuer and resource with the URL they asked."""
    authority = f"{host}:{site.base.rpartition(':')[2]}"

    server = await site.http.get(SERVER_PATHS[0], headers={"Host": authority})
    resource = await site.http.get(RESOURCE_PATHS[0], headers={"Host": authority})

    assert server.json()["issuer"] == f"http://{authority}"
    assert server.json()["token_endpoint"] == f"http://{authority}/oauth/token"
    assert resource.json()["resource"] == f"http://{authority}/mcp"


@pytest.mark.parametrize("path", [*RESOURCE_PATHS, *SERVER_PATHS, "/oauth/jwks"])
async def test_pages_of_any_origin_may_read_the_documents(site: Site, path: str) -> None:
    """MCP authorization, Fetch standard §3.2: CORS for everybody, never with credentials."""
    answer = await site.http.get(path, headers={"Origin": "https://client.example"})

    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("path", ["/oauth/register", "/oauth/token", "/oauth/revoke"])
async def test_pages_of_any_origin_may_call_the_endpoints_without_cookies(site: Site, path: str) -> None:
    """MCP authorization, Fetch standard §3.2: preflight of registration, token and revocation."""
    asked = {"Origin": "https://client.example", "Access-Control-Request-Method": "POST"}
    preflight = await site.http.options(path, headers={**asked, "Access-Control-Request-Headers": "content-type"})
    answer = await site.http.post(path, headers={"Origin": "https://client.example"})

    assert preflight.status_code == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert "content-type" in preflight.headers["access-control-allow-headers"]
    for response in (preflight, answer):
        assert response.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in response.headers


async def test_no_page_of_another_origin_may_read_the_authorization_endpoint(site: Site) -> None:
    """RFC 9700 §2.6: the authorization endpoint supports no CORS."""
    client = await site.register()

    answer = await site.http.get(
        "/oauth/authorize",
        params=site.parameters(client["client_id"]),
        headers={"Origin": "https://client.example"},
    )

    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("path", "method"), [("/oauth/token", "GET"), ("/oauth/register", "GET"), ("/oauth/authorize", "POST")]
)
async def test_other_methods_are_refused(site: Site, path: str, method: str) -> None:
    """RFC 6749 §3.1, §3.2: GET to authorize, POST to everything else."""
    assert (await site.http.request(method, path)).status_code == 405
