"""Refresh tokens, seen from outside."""

import pytest

from mogplex_mcp.store.credentials import refuse_credential
from mogplex_mcp.store.grants import set_scopes
from mogplex_mcp.store.tokens import note_use
from tests.oauth.site import Clock, Site
from tests.oauth.tokens import record, usable


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
