"""Revocation, seen from outside."""

import pytest

from tests.oauth.site import Site
from tests.oauth.tokens import usable


async def test_every_authorization_is_its_own_grant(site: Site) -> None:
    """RFC 6749 §1.3: revoking one connection of a client leaves its others."""
    client = await site.register()
    one, two = await site.tokens(client["client_id"]), await site.tokens(client["client_id"])

    await site.http.post("/oauth/revoke", data={"client_id": client["client_id"], "token": one["access_token"]})

    assert not usable(site, one)
    assert usable(site, two)


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", None])
async def test_either_token_revokes_the_grant(site: Site, kind: str, hint: str | None) -> None:
    """RFC 7009 §2.1, §2.2: whatever the hint says."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"])
    form = {
        "client_id": client["client_id"],
        "token": tokens[kind],
        **({} if hint is None else {"token_type_hint": hint}),
    }

    answer = await site.http.post("/oauth/revoke", data=form)

    assert answer.status_code == 200
    assert not usable(site, tokens)
    assert site.error(await site.refresh(client["client_id"], tokens["refresh_token"])) == "invalid_grant"
    assert len(site.ended[0].grant_ids) == 1


@pytest.mark.parametrize("token", ["mgo_at_unknown", "x", "mog_" + "a" * 32, "\u20ac"])
async def test_revoking_an_unknown_token_succeeds(site: Site, token: str) -> None:
    """RFC 7009 §2.2: invalid tokens do not cause an error response."""
    client = await site.register()

    answer = await site.http.post("/oauth/revoke", data={"client_id": client["client_id"], "token": token})

    assert answer.status_code == 200


async def test_another_clients_token_is_not_revoked(site: Site) -> None:
    """RFC 7009 §2.1: only the client that it was issued to may revoke a token."""
    client, other = await site.register(), await site.register()
    tokens = await site.tokens(client["client_id"])

    await site.http.post("/oauth/revoke", data={"client_id": other["client_id"], "token": tokens["access_token"]})

    assert usable(site, tokens)


async def test_revocation_needs_the_client(site: Site) -> None:
    """RFC 7009 §2.1, §2.2.1: the client authenticates first."""
    client = await site.register(token_endpoint_auth_method="client_secret_post")

    for form in (
        {"token": "x"},
        {"token": "x", "client_id": "nobody"},
        {"token": "x", "client_id": client["client_id"]},
    ):
        answer = await site.http.post("/oauth/revoke", data=form)
        assert (answer.status_code, site.error(answer)) == (401, "invalid_client")


async def test_revocation_needs_a_token(site: Site) -> None:
    """RFC 7009 §2.1: the token is required."""
    client = await site.register()

    answer = await site.http.post("/oauth/revoke", data={"client_id": client["client_id"]})

    assert (answer.status_code, site.error(answer)) == (400, "invalid_request")
