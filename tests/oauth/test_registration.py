"""Dynamic client registration."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mogplex_mcp.auth.authorization import create_authorization, routes
from mogplex_mcp.auth.authorization.client_metadata import clean_text, kept_metadata
from mogplex_mcp.auth.authorization.rate_limits import RateLimit, TooManyError
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.clients import StoredClient, get_client, put_client
from mogplex_mcp.store.store import Store
from tests.oauth.site import CALLBACK, Json, Site, running

CURSOR = {
    "client_name": "Cursor",
    "redirect_uris": [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ],
    "grant_types": ["authorization_code", "refresh_token"],
    "response_types": ["code"],
    "token_endpoint_auth_method": "none",
}
VS_CODE = {
    "client_name": "Visual Studio Code",
    "client_uri": "https://code.visualstudio.com",
    "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
    "response_types": ["code"],
    "redirect_uris": ["https://vscode.dev/redirect", "http://127.0.0.1/", "http://127.0.0.1:33418/"],
    "scope": "tools:read agents:run",
    "token_endpoint_auth_method": "none",
    "application_type": "native",
}


@pytest.mark.parametrize("metadata", [CURSOR, VS_CODE])
async def test_what_hosts_send_is_registered_as_a_public_client(site: Site, metadata: Json) -> None:
    """RFC 7591 §3.2.1: a public client gets no secret, and every client refresh tokens."""
    answer = await site.http.post("/oauth/register", json=metadata)

    client = answer.json()
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    assert "client_secret" not in client
    assert "client_secret_expires_at" not in client
    assert client["redirect_uris"] == metadata["redirect_uris"]
    assert client["grant_types"] == ["authorization_code", "refresh_token"]
    assert client["token_endpoint_auth_method"] == "none"
    assert client.get("application_type") == metadata.get("application_type")
    assert isinstance(client["client_id_issued_at"], int)
    assert "client_registered" in {event.event for event in audit_events(site.store)}


@pytest.mark.parametrize(
    ("asked", "given_back"),
    [
        ("none", "none"),
        ("client_secret_basic", "client_secret_basic"),
        ("client_secret_post", "client_secret_post"),
        (None, "client_secret_basic"),
        ("private_key_jwt", "client_secret_basic"),
        (["none"], "client_secret_basic"),
        (7, "client_secret_basic"),
    ],
)
async def test_an_auth_method_that_is_not_served_is_replaced(site: Site, asked: object, given_back: str) -> None:
    """RFC 7591 §2, §3.2.1: replaced, not refused; the answer says by what."""
    client = await site.register(token_endpoint_auth_method=asked)

    assert client["token_endpoint_auth_method"] == given_back
    assert ("client_secret" in client) == (given_back != "none")
    if "client_secret" in client:
        assert client["client_secret_expires_at"] == 0


async def test_unknown_and_null_members_are_ignored(site: Site) -> None:
    """RFC 7591 §2: unknown members are ignored, null counts as absent, malformed ones decide nothing."""
    client = await site.register(
        client_name=None,
        scope=None,
        contacts=None,
        jwks=None,
        foo={"bar": [1]},
        client_uri=5,
        logo_uri="javascript:alert(1)",
        grant_types="authorization_code",
        response_types=["token", "id_token"],
        application_type="desktop",
        software_id=["x"],
        software_statement="eyJ.x.y",
    )

    assert set(client) == {
        "client_id",
        "client_id_issued_at",
        "redirect_uris",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
    }
    assert client["response_types"] == ["code"]


async def test_a_client_that_registered_without_scope_may_ask_for_all(site: Site) -> None:
    """RFC 7591 §2: no scope is no limit; neither is an old one, because the person ticks each scope."""
    for scope in (None, "tools:read", "openid"):
        client = await site.register(scope=scope)
        pending = await site.authorization.pending(await site.request_id(client["client_id"], scope="agents:run"))
        assert pending is not None
        assert pending.request.scopes == ("agents:run",)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "invalid_client_metadata"),
        (b"{", "invalid_client_metadata"),
        (b"[]", "invalid_client_metadata"),
        (b"null", "invalid_client_metadata"),
        (b'"x"', "invalid_client_metadata"),
        (b"\xff\xfe", "invalid_client_metadata"),
        (b"[" * 10_000, "invalid_client_metadata"),
        (b"{}", "invalid_redirect_uri"),
        (b'{"redirect_uris": null}', "invalid_redirect_uri"),
        (b'{"redirect_uris": []}', "invalid_redirect_uri"),
        (b'{"redirect_uris": "https://a.example/cb"}', "invalid_redirect_uri"),
        (b'{"redirect_uris": [1]}', "invalid_redirect_uri"),
        (b'{"redirect_uris": [["https://a.example/cb"]]}', "invalid_redirect_uri"),
        (json.dumps({"redirect_uris": [f"https://a.example/{n}" for n in range(51)]}).encode(), "invalid_redirect_uri"),
    ],
)
async def test_a_malformed_registration_is_refused(site: Site, body: bytes, error: str) -> None:
    """RFC 7591 §3.2.2: invalid_client_metadata and invalid_redirect_uri."""
    answer = await site.http.post("/oauth/register", content=body)

    assert (answer.status_code, site.error(answer)) == (400, error)


async def test_a_registration_has_at_most_sixteen_kilobytes(site: Site) -> None:
    """RFC 7591 §5: bounded, also without a Content-Length."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 1024

    for content in (b" " * 16_385, chunks()):
        answer = await site.http.post("/oauth/register", content=content)
        assert (answer.status_code, site.error(answer)) == (413, "invalid_client_metadata")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("a\x00b\x1b[31m\r\nc", "a b [31m c"),
        ("x" * 500, "x" * 200),
        ("\u2028 \t ", None),
    ],
)
async def test_a_name_is_kept_on_one_line(site: Site, name: str, kept: str | None) -> None:
    """RFC 7591 §5: the name is untrusted text; pages escape it (stored XSS)."""
    client = await site.register(client_name=name)

    assert client.get("client_name") == kept


async def test_a_flood_of_registrations_has_to_wait(site: Site) -> None:
    """RFC 7591 §5: 60 per address in ten minutes, then 429 with Retry-After."""
    answers = await asyncio.gather(
        *(site.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]}) for _ in range(70))
    )

    statuses = [answer.status_code for answer in answers]
    assert (statuses.count(201), statuses.count(429)) == (60, 10)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert site.error(refused) == "temporarily_unavailable"
    assert 0 < int(refused.headers["retry-after"]) <= 600


async def test_registrations_are_bounded_over_all_addresses(
    settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7591 §5: a flood from many addresses is bounded too."""
    monkeypatch.setattr(routes, "REGISTRATIONS_IN_ALL", 2)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as site:
        for _ in range(2):
            await site.register()
        answer = await site.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})

    assert answer.status_code == 429


def test_a_limit_frees_itself_and_counts_a_home_network_as_one() -> None:
    """RFC 7591 §5: per address means an IPv4 address or an IPv6 /64."""
    now = [0.0]
    limit = RateLimit(2, 3, 60, clock=lambda: now[0])
    limit.admit("2001:db8::1")
    limit.admit("2001:db8::2")
    with pytest.raises(TooManyError) as refused:
        limit.admit("2001:db8::3")
    assert refused.value.retry_after == 60
    limit.admit("::ffff:192.0.2.1")
    with pytest.raises(TooManyError):
        limit.admit("192.0.2.2")  # over all
    now[0] = 60.0
    limit.admit("2001:db8::3")


async def test_clients_that_nobody_authorized_go_after_thirty_days(site: Site) -> None:
    """RFC 7591 §5: the ever-authorized stay, because hosts keep their client_id for ever."""
    month = 31 * 24 * 3_600_000
    used, unused = await site.register(), await site.register()
    await site.code(used["client_id"])
    old = get_client(site.store, unused["client_id"])
    assert old is not None
    with site.store.db.write() as connection:
        connection.exec_driver_sql("UPDATE clients SET created_at = created_at - ?", (month,))

    await site.register()

    assert get_client(site.store, unused["client_id"]) is None
    assert get_client(site.store, used["client_id"]) is not None
    problem = await site.refused(await site.authorize(unused["client_id"]))
    assert problem.kind == "unknown_client"


async def test_a_flood_does_not_lock_out_those_who_come_later(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 7591 §5: when too many wait, those that nobody authorized within an hour give way."""
    monkeypatch.setattr("mogplex_mcp.store.clients.MAX_UNAUTHORIZED_CLIENTS", 2)
    for _ in range(2):
        await site.register()
    full = await site.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})
    assert full.status_code == 429

    with site.store.db.write() as connection:
        connection.exec_driver_sql("UPDATE clients SET created_at = created_at - 3600001")

    assert (await site.http.post("/oauth/register", json={"redirect_uris": [CALLBACK]})).status_code == 201


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = st.sampled_from(
    [
        "client_name",
        "client_uri",
        "logo_uri",
        "scope",
        "contacts",
        "jwks",
        "jwks_uri",
        "software_id",
        "grant_types",
        "response_types",
        "token_endpoint_auth_method",
        "application_type",
        "tos_uri",
        "software_statement",
        "x",
    ]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(MEMBERS, JSON, max_size=8))
def test_no_metadata_breaks_what_is_kept(metadata: Json) -> None:
    """RFC 7591 §2: whatever the members hold, what is kept is text that any database takes."""
    kept = kept_metadata(metadata)

    assert all(isinstance(value, str | list) for value in kept.values())
    json.dumps(kept).encode()


@given(st.text(), st.integers(1, 50))
def test_no_text_breaks_the_cleaning(text: str, length: int) -> None:
    """RFC 7591 §2: one line, no control characters, bounded."""
    cleaned = clean_text(text, length)

    assert len(cleaned) <= length
    cleaned.encode()
    assert all(char.isprintable() or char == " " or ord(char) > 127 for char in cleaned)


async def test_a_client_cannot_choose_its_identifier(site: Site) -> None:
    """RFC 6749 §2.2: identifiers are made by this server, random and never chosen by the client."""
    await asyncio.to_thread(put_client, site.store, StoredClient("known", "registered", "Known", (CALLBACK,), "none"))

    client = await site.register(client_id="known")

    assert client["client_id"] != "known"
    assert len(client["client_id"]) >= 32
