"""Whatever arrives, the answer is the client's error and never the server's."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st

from mogplex_mcp.auth.authorization import create_authorization, routes
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from tests.oauth.site import CALLBACK, VERIFIER, Site, challenge_of, running

FUZZ = how(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TRICKY = st.sampled_from(
    [
        "\x00",
        "\ud7ff",
        "�",
        "\u202e",
        '"',
        "\\",
        "%",
        "%00",
        "%zz",
        "\r\n",
        "\t",
        "😀",
        "none",
        "code",
        "S256",
        "plain",
        CALLBACK,
        "https://evil.example",
        "javascript:alert(1)",
        "http://[",
        "//",
        "x" * 3000,
        "'; --",
    ]
)
VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | TRICKY
AUTHORIZE = st.sampled_from(
    [
        "client_id",
        "redirect_uri",
        "response_type",
        "scope",
        "state",
        "code_challenge",
        "code_challenge_method",
        "resource",
        "prompt",
        "response_mode",
        "request",
        "request_uri",
        "nonce",
        "max_age",
        "login_hint",
        "x",
    ]
)
TOKEN = st.sampled_from(
    [
        "grant_type",
        "code",
        "redirect_uri",
        "client_id",
        "client_secret",
        "code_verifier",
        "refresh_token",
        "scope",
        "resource",
        "token",
        "token_type_hint",
        "client_assertion",
        "client_assertion_type",
        "username",
        "x",
    ]
)

PATHS = st.sampled_from(["token", "revoke"])


@pytest.fixture
async def open_site(settings: Settings, store: Store, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A site without limits, because garbage comes in bulk."""
    for limit in (
        "REGISTRATIONS_PER_ADDRESS",
        "REGISTRATIONS_IN_ALL",
        "AUTHORIZATIONS_PER_ADDRESS",
        "AUTHORIZATIONS_IN_ALL",
    ):
        monkeypatch.setattr(routes, limit, 1_000_000)
    async with running(store, await asyncio.to_thread(create_authorization, settings, store), settings) as made:
        yield made


@pytest.fixture
async def client_id(open_site: Site) -> str:
    """A registered client."""
    return str((await open_site.register())["client_id"])


@FUZZ
@given(changes=st.lists(st.tuples(AUTHORIZE, VALUES), max_size=5), known=st.booleans())
async def test_no_parameters_break_the_authorization_endpoint(
    open_site: Site, client_id: str, changes: list[tuple[str, str]], known: bool
) -> None:
    """RFC 6749 §4.1.2.1: a page or our own consent page, whatever is asked."""
    good = {
        "client_id": client_id if known else "nobody",
        "response_type": "code",
        "redirect_uri": CALLBACK,
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
    }
    sent = [(name, value) for name, value in good.items() if name not in dict(changes)] + changes

    answer = await open_site.http.get(f"/oauth/authorize?{urlencode(sent)}")

    assert answer.status_code in {303, 400}, (answer.status_code, sent)
    if answer.status_code == 303:
        assert answer.headers["location"].startswith("/account/consent?request=")


@FUZZ
@given(query=st.binary(max_size=200))
async def test_no_query_breaks_the_authorization_endpoint(open_site: Site, query: bytes) -> None:
    """RFC 6749 §4.1.2.1: bytes that are no query."""
    raw = quote_from_bytes(query, safe="&=%+;/?:@!$'()*,")

    answer = await open_site.http.get(f"/oauth/authorize?{raw}")

    assert answer.status_code == 400


@FUZZ
@given(
    fields=st.lists(st.tuples(TOKEN, VALUES), max_size=6),
    known=st.booleans(),
    path=st.sampled_from(["token", "revoke"]),
)
async def test_no_form_breaks_token_and_revocation(
    open_site: Site, client_id: str, fields: list[tuple[str, str]], known: bool, path: str
) -> None:
    """RFC 6749 §5.2: a JSON error, whatever is sent."""
    sent = [("client_id", client_id), *fields] if known else fields
    kinds = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = await open_site.http.post(f"/oauth/{path}", content=urlencode(sent).encode(), headers=kinds)

    if answer.status_code != 200:
        assert answer.status_code in {400, 401}
        assert open_site.error(answer)
    else:
        assert path == "revoke"


@FUZZ
@given(
    body=st.binary(max_size=300),
    header=st.binary(min_size=1, max_size=60),
    path=st.sampled_from(["token", "revoke", "register"]),
)
async def test_no_bytes_break_the_endpoints(open_site: Site, body: bytes, header: bytes, path: str) -> None:
    """RFC 6749 §5.2, RFC 7591 §3.2.2: bodies and headers of any bytes."""
    for kind, authorization in (
        ("application/x-www-form-urlencoded", "Basic " + quote_from_bytes(header)),
        ("application/x-www-form-urlencoded", "Basic " + base64.b64encode(header).decode()),
        ("application/json", quote_from_bytes(header)),
    ):
        answer = await open_site.http.post(
            f"/oauth/{path}", content=body, headers={"Content-Type": kind, "Authorization": authorization}
        )
        assert answer.status_code in {400, 401}
        assert open_site.error(answer)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(VALUES, inner, max_size=3),
    max_leaves=6,
)


@FUZZ
@given(
    metadata=st.dictionaries(
        st.sampled_from(["redirect_uris", "client_name", "scope", "token_endpoint_auth_method", "jwks", "client_uri"]),
        JSON,
        max_size=6,
    ),
    good_uri=st.booleans(),
)
async def test_no_metadata_breaks_registration(open_site: Site, metadata: dict[str, object], good_uri: bool) -> None:
    """RFC 7591 §3.2.2: registered or refused."""
    sent = {**metadata, **({"redirect_uris": [CALLBACK]} if good_uri else {})}

    answer = await open_site.http.post("/oauth/register", content=json.dumps(sent).encode())

    assert answer.status_code in ({201, 413} if good_uri else {201, 400, 413})
