"""The token endpoint: codes and refresh tokens, from outside."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote

import httpx2
import pytest

from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.clients import get_client
from mogplex_mcp.store.credentials import refuse_credential
from mogplex_mcp.store.grants import get_grant, set_scopes
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import AccessRecord, find_access_token, note_use
from tests.oauth.conftest import CALLBACK, Json, Site, running

OTHER_CALLBACK = "http://127.0.0.1:4712/callback"


class Clock:
    """A store's time, in milliseconds."""

    def __init__(self, store: Store) -> None:
        self.now = store.now()

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(store: Store) -> Clock:
    """Time that passes when a test says so."""
    return Clock(store)


@pytest.fixture
async def timed(settings: Settings, store: Store, clock: Clock) -> AsyncIterator[Site]:
    """A site whose store goes by the test's clock."""
    at = replace(store, clock=clock)
    async with running(at, await asyncio.to_thread(create_authorization, settings, at), settings) as made:
        yield made


def record(site: Site, tokens: Json) -> AccessRecord | None:
    """What the access token of an answer may do now."""
    return find_access_token(site.store, tokens["access_token"])


def usable(site: Site, tokens: Json) -> bool:
    """Whether the access token of an answer works now."""
    found = record(site, tokens)
    return found is not None and found.is_usable(site.store.now())


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


async def test_refreshing_rotates_the_refresh_token(site: Site) -> None:
    """RFC 6749 §6, RFC 9700 §4.14.2: a new refresh token every time, for every client."""
    client = await site.register(grant_types=["authorization_code"])
    first = await site.tokens(client["client_id"])

    second = (await site.refresh(client["client_id"], first["refresh_token"])).json()

    assert second["refresh_token"] != first["refresh_token"]
    assert second["access_token"] != first["access_token"]
    assert (second["scope"], second["expires_in"]) == ("tools:read agents:run", 3600)
    assert usable(site, second)


async def test_a_repeat_within_the_grace_gets_the_same_successor(timed: Site, clock: Clock) -> None:
    """RFC 9700 §4.14.2: a lost answer signs nobody out, and a grant never has two live refresh tokens."""
    client = await timed.register()
    first = await timed.tokens(client["client_id"])
    second = (await timed.refresh(client["client_id"], first["refresh_token"])).json()

    clock.now += 29_000
    repeated = (await timed.refresh(client["client_id"], first["refresh_token"])).json()

    assert repeated["refresh_token"] == second["refresh_token"]
    assert usable(timed, repeated)


async def test_an_answer_that_was_never_used_is_repeated_after_the_grace(timed: Site, clock: Clock) -> None:
    """RFC 9700 §4.14.2: the previous refresh token works until either token of the new answer is first used."""
    client = await timed.register()
    first = await timed.tokens(client["client_id"])
    second = (await timed.refresh(client["client_id"], first["refresh_token"])).json()

    clock.now += 600_000
    repeated = (await timed.refresh(client["client_id"], first["refresh_token"])).json()

    assert repeated["refresh_token"] == second["refresh_token"]


async def test_a_later_use_of_a_spent_refresh_token_revokes_the_grant(timed: Site, clock: Clock) -> None:
    """RFC 9700 §4.14.2: refresh token reuse."""
    client = await timed.register()
    first = await timed.tokens(client["client_id"])
    second = (await timed.refresh(client["client_id"], first["refresh_token"])).json()
    found = record(timed, second)
    assert found is not None
    note_use(timed.store, found.grant_id, found.token_hash, clock.now, "127.0.0.1")

    clock.now += 31_000
    reused = await timed.refresh(client["client_id"], first["refresh_token"])

    assert (reused.status_code, timed.error(reused)) == (400, "invalid_grant")
    assert not usable(timed, second)
    assert timed.error(await timed.refresh(client["client_id"], second["refresh_token"])) == "invalid_grant"
    assert [ended.grant_ids for ended in timed.ended] == [(found.grant_id,)]
    credential = timed.ended[0].credential
    assert credential is not None, "the last grant's credential is handed over, to be revoked upstream"


async def test_a_refresh_token_is_bound_to_its_client(site: Site) -> None:
    """RFC 6749 §6, §10.4: refresh by another client."""
    client, other = await site.register(), await site.register()
    tokens = await site.tokens(client["client_id"])

    stolen = await site.refresh(other["client_id"], tokens["refresh_token"])

    assert (stolen.status_code, site.error(stolen)) == (400, "invalid_grant")
    assert (await site.refresh(client["client_id"], tokens["refresh_token"])).status_code == 200


async def test_a_refresh_token_ends_after_thirty_days(timed: Site, clock: Clock) -> None:
    """RFC 9700 §4.14.2: refresh tokens expire when they are not used."""
    client = await timed.register()
    tokens = await timed.tokens(client["client_id"])

    clock.now += 30 * 24 * 3_600_000

    assert timed.error(await timed.refresh(client["client_id"], tokens["refresh_token"])) == "invalid_grant"


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        ("tools:read", "tools:read"),
        ("tools:read openid offline_access", "tools:read"),
        ("read", "tools:read"),
        ("tools:read agents:run", "tools:read agents:run"),
    ],
)
async def test_a_refresh_may_ask_for_less(site: Site, scope: str, granted: str) -> None:
    """RFC 6749 §6: down-scoping; the refresh token keeps the whole grant."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"])

    less = (await site.refresh(client["client_id"], tokens["refresh_token"], scope=scope)).json()
    whole = (await site.refresh(client["client_id"], less["refresh_token"])).json()

    assert less["scope"] == granted
    found = record(site, less)
    assert found is not None
    assert found.scopes == tuple(granted.split())
    assert whole["scope"] == "tools:read agents:run"


async def test_a_refresh_never_gives_more_than_was_granted(site: Site) -> None:
    """RFC 6749 §3.3, §6: asking for more gives what was granted, asking for nothing of it is invalid_scope."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"], "tools:read")

    other = await site.refresh(client["client_id"], tokens["refresh_token"], scope="agents:run")
    more = (await site.refresh(client["client_id"], tokens["refresh_token"], scope="tools:read agents:run")).json()

    assert (other.status_code, site.error(other)) == (400, "invalid_scope")
    assert more["scope"] == "tools:read"
    found = record(site, more)
    assert found is not None
    assert found.scopes == ("tools:read",)


async def test_a_refresh_follows_what_the_person_allows_now(site: Site) -> None:
    """RFC 6749 §5.1: scope says what was granted, also after a change."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"])
    found = record(site, tokens)
    assert found is not None
    set_scopes(site.store, found.grant_id, ["tools:read"])

    assert (await site.refresh(client["client_id"], tokens["refresh_token"])).json()["scope"] == "tools:read"


async def test_a_refresh_for_another_resource_is_an_invalid_target(site: Site) -> None:
    """RFC 8707 §2.2: wrong audience; it does not use the token up."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"])

    wrong = await site.refresh(client["client_id"], tokens["refresh_token"], resource="https://other.example/")

    assert (wrong.status_code, site.error(wrong)) == (400, "invalid_target")
    assert (await site.refresh(client["client_id"], tokens["refresh_token"], resource=site.resource)).status_code == 200


async def test_a_credential_that_mogplex_refuses_ends_refreshing(site: Site) -> None:
    """RFC 6749 §5.2: invalid_grant, so that hosts ask the person to sign in again instead of trying for ever."""
    client = await site.register()
    tokens = await site.tokens(client["client_id"])
    refuse_credential(site.store, site.account_id, "mog_test")

    answer = await site.refresh(client["client_id"], tokens["refresh_token"])

    assert (answer.status_code, site.error(answer)) == (400, "invalid_grant")
    assert "connect again" in answer.json()["error_description"]


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
