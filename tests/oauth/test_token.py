"""Codes become tokens, seen from outside."""

import pytest

from mogplex_mcp.settings import Settings
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.clients import get_client
from mogplex_mcp.store.grants import get_grant
from tests.oauth.site import CALLBACK, Clock, Site
from tests.oauth.tokens import record, usable

OTHER_CALLBACK = "http://127.0.0.1:4712/callback"


async def test_a_code_gives_tokens(site: Site) -> None:
    """RFC 6749 §5.1: access token for an hour, refresh token, and the scopes that were granted."""
    client = await site.register()

    answer = await site.redeem(client["client_id"], await site.code(client["client_id"], "tools:read"))

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    tokens = answer.json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 3600, "tools:read")
    assert tokens["access_token"].startswith("mgo_at_")
    assert tokens["refresh_token"].startswith("mgo_rt_")
    found = record(site, tokens)
    assert found is not None
    assert (found.resource, found.scopes, found.client_id) == (site.resource, ("tools:read",), client["client_id"])


async def test_a_code_works_once_and_its_second_use_revokes_what_the_first_gave(site: Site) -> None:
    """RFC 6749 §4.1.2, §10.5, OAuth 2.1 §4.1.3: code replay."""
    client = await site.register()
    code = await site.code(client["client_id"])
    tokens = (await site.redeem(client["client_id"], code)).json()
    assert usable(site, tokens)

    again = await site.redeem(client["client_id"], code)

    assert (again.status_code, site.error(again)) == (400, "invalid_grant")
    assert not usable(site, tokens)
    assert site.error(await site.refresh(client["client_id"], tokens["refresh_token"])) == "invalid_grant"
    assert [len(ended.grant_ids) for ended in site.ended] == [1]
    assert "code_reused" in {event.event for event in audit_events(site.store)}


async def test_a_code_ends_after_a_minute(timed: Site, clock: Clock) -> None:
    """RFC 6749 §4.1.2: codes are short-lived."""
    client = await timed.register()
    code = await timed.code(client["client_id"])

    clock.now += 60_000

    assert timed.error(await timed.redeem(client["client_id"], code)) == "invalid_grant"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_request"),
        ({"code_verifier": "v" * 43 + "\n"}, "invalid_request"),
        ({"code_verifier": "\u00e4" * 43}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": OTHER_CALLBACK}, "invalid_grant"),
        ({"redirect_uri": CALLBACK + "/"}, "invalid_grant"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
    ],
)
@pytest.mark.parametrize("method", ["none", "client_secret_post"])
async def test_a_code_is_bound_to_challenge_redirect_and_resource(
    site: Site, method: str, changes: dict[str, str | None], error: str
) -> None:
    """RFC 7636 §4.6, RFC 6749 §4.1.3, RFC 8707 §2.2: confidential clients too; a wrong request keeps it good."""
    client = await site.register(token_endpoint_auth_method=method)
    secret = client.get("client_secret")
    code = await site.code(client["client_id"])

    wrong = await site.redeem(client["client_id"], code, client_secret=secret, **changes)

    assert (wrong.status_code, site.error(wrong)) == (400, error)
    assert (await site.redeem(client["client_id"], code, client_secret=secret)).status_code == 200


async def test_a_code_is_bound_to_its_client(site: Site) -> None:
    """RFC 6749 §4.1.3: a code for another client."""
    client, other = await site.register(), await site.register()
    code = await site.code(client["client_id"])

    stolen = await site.redeem(other["client_id"], code)

    assert (stolen.status_code, site.error(stolen)) == (400, "invalid_grant")
    assert (await site.redeem(client["client_id"], code)).status_code == 200


async def test_a_redirect_uri_that_was_not_named_need_not_be_repeated(site: Site) -> None:
    """RFC 6749 §4.1.3: it has to be repeated when the authorization request named it."""
    client = await site.register()
    code = await site.code(client["client_id"], redirect_uri=None)

    assert (await site.redeem(client["client_id"], code, redirect_uri=None)).status_code == 200


@pytest.mark.parametrize(
    "garbage", ["", "x", "mgo_ac_", "mgo_ac_" + "x" * 9_000, "mog_" + "a" * 32, "\u20ac", "' OR 1=1 --", "a\tb"]
)
async def test_garbage_is_no_code_and_no_refresh_token(site: Site, garbage: str) -> None:
    """RFC 6749 §5.2: garbage, huge and foreign tokens are errors of the client."""
    client = await site.register()

    for answer in (
        await site.redeem(client["client_id"], garbage),
        await site.refresh(client["client_id"], garbage),
    ):
        assert answer.status_code == 400
        assert site.error(answer) in {"invalid_grant", "invalid_request"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"grant_type=%FF",
        b"grant_type=authorization_code&code=%00&client_id=x",
        b"grant_type=authorization_code&grant_type=refresh_token",
        b"%",
        b"=" * 100,
        b"a=" + b"x" * 20_000,
        b"&".join(b"p%d=1" % number for number in range(100)),
        b'{"grant_type": "authorization_code"}',
    ],
)
@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/revoke"])
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", ""])
async def test_an_unreadable_body_is_an_invalid_request(site: Site, path: str, body: bytes, kind: str) -> None:
    """RFC 6749 §3.2, §5.2: malformed, repeated and oversized parameters."""
    answer = await site.http.post(path, content=body, headers={"Content-Type": kind})

    assert answer.status_code in {400, 401}
    assert site.error(answer) in {"invalid_request", "unsupported_grant_type", "invalid_client"}


@pytest.mark.parametrize("grant_type", ["password", "client_credentials", "implicit", '"\\\u20ac', None])
async def test_other_grants_are_not_served(site: Site, grant_type: str | None) -> None:
    """RFC 6749 §5.2, OAuth 2.1 §10: unsupported_grant_type, whatever is in it."""
    client = await site.register()

    answer = await site.redeem(client["client_id"], "x", grant_type=grant_type)

    assert (answer.status_code, site.error(answer)) == (400, "unsupported_grant_type")


async def test_nothing_of_a_token_is_kept_readable(site: Site, settings: Settings) -> None:
    """RFC 6749 §10.3, §10.4, RFC 9700 §4.14: tokens and secrets are stored hashed, and never audited."""
    client = await site.register(token_endpoint_auth_method="client_secret_post")
    secret = client["client_secret"]
    code = await site.code(client["client_id"])
    tokens = (await site.redeem(client["client_id"], code, client_secret=secret)).json()
    refreshed = await site.post_token(
        {
            "grant_type": "refresh_token",
            "refresh_token": tokens["refresh_token"],
            "client_id": client["client_id"],
            "client_secret": secret,
        }
    )
    assert refreshed.status_code == 200

    kept = b"".join(path.read_bytes() for path in settings.data_dir.iterdir() if path.name.startswith("store.db"))

    for value in (secret, code, *tokens.values(), *refreshed.json().values()):
        if str(value).startswith("mgo_") or value == secret:
            assert str(value).encode() not in kept
    stored = get_client(site.store, client["client_id"])
    assert stored is not None
    assert stored.authorized_at is not None


async def test_the_grant_is_for_the_endpoint_by_the_name_that_was_asked_for(site: Site) -> None:
    """RFC 8707 §2: the audience of a token is this endpoint."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"], resource=None)
    found = record(site, tokens)
    assert found is not None

    grant = get_grant(site.store, found.grant_id)

    assert grant is not None
    assert grant.resource == site.resource
