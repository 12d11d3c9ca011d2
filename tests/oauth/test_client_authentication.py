"""Clients authenticate at the token endpoint."""

import base64
from urllib.parse import quote

import httpx2
import pytest

from tests.oauth.site import Site


async def test_an_unknown_client_gets_401_without_a_challenge(site: Site) -> None:
    """RFC 6749 §5.2: invalid_client makes hosts register anew."""
    answer = await site.redeem("nobody", "mgo_ac_x")

    assert (answer.status_code, site.error(answer)) == (401, "invalid_client")
    assert "www-authenticate" not in answer.headers


def basic(client_id: str, secret: str) -> httpx2.Headers:
    """RFC 6749, section 2.3.1: both are form-encoded first."""
    text = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return httpx2.Headers({"Authorization": "Basic " + base64.b64encode(text.encode()).decode()})


@pytest.mark.parametrize(
    ("registered", "accepted"),
    [
        ("client_secret_basic", {"basic"}),
        ("client_secret_post", {"post"}),
        (None, {"basic", "post"}),
        ("private_key_jwt", {"basic", "post"}),
    ],
)
async def test_a_confidential_client_authenticates_as_it_registered(
    site: Site, registered: str | None, accepted: set[str]
) -> None:
    """RFC 6749 §2.3.1, RFC 7591 §2: basic and post; who named no method may use either, never none."""
    client = await site.register(token_endpoint_auth_method=registered)
    client_id, secret = client["client_id"], client["client_secret"]
    form: dict[str, str | list[str]] = {"grant_type": "refresh_token", "refresh_token": "mgo_rt_x"}

    answers = {
        "basic": await site.post_token(form, headers=basic(client_id, secret)),
        "post": await site.post_token({**form, "client_id": client_id, "client_secret": secret}),
        "none": await site.post_token({**form, "client_id": client_id}),
        "wrong": await site.post_token(form, headers=basic(client_id, secret + "x")),
        "empty": await site.post_token(form, headers=basic(client_id, "")),
    }

    errors = {name: (answer.status_code, site.error(answer)) for name, answer in answers.items()}
    assert errors == {name: (400, "invalid_grant") if name in accepted else (401, "invalid_client") for name in answers}


@pytest.mark.parametrize(
    "header",
    ["Basic", "Basic !", "Basic " + base64.b64encode(b"\xff\xfe:x").decode(), "Basic Og==", "Bearer x", "x"],
)
async def test_an_unreadable_authorization_header_gets_a_challenge(site: Site, header: str) -> None:
    """RFC 6749 §5.2, RFC 7617 §2: 401 with the scheme that was tried."""
    form: dict[str, str | list[str]] = {"grant_type": "refresh_token", "refresh_token": "x"}

    answer = await site.post_token(form, headers={"Authorization": header})

    assert (answer.status_code, site.error(answer)) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic ")


async def test_a_client_authenticates_in_one_way(site: Site) -> None:
    """RFC 6749 §2.3: not more than one method in a request, and for one client."""
    client = await site.register(token_endpoint_auth_method="client_secret_basic")
    headers = basic(client["client_id"], client["client_secret"])
    form: dict[str, str | list[str]] = {"grant_type": "refresh_token", "refresh_token": "x"}

    for more in ({"client_secret": client["client_secret"]}, {"client_id": "other"}):
        answer = await site.post_token({**form, **more}, headers=headers)
        assert (answer.status_code, site.error(answer)) == (400, "invalid_request")

    same = await site.post_token({**form, "client_id": client["client_id"]}, headers=headers)
    assert site.error(same) == "invalid_grant"


async def test_a_public_client_has_no_secret_to_send(site: Site) -> None:
    """RFC 6749 §2.3.1: a secret that was never issued authenticates nobody."""
    client = await site.register()

    answer = await site.redeem(client["client_id"], "mgo_ac_x", client_secret="guess")

    assert (answer.status_code, site.error(answer)) == (401, "invalid_client")
