"""Grants: made by a person's word, redeemed once, changed and ended at once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from mogplex_mcp.store import grants as grants_module
from mogplex_mcp.store.accounts import get_account, sign_in_account
from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.clients import get_client
from mogplex_mcp.store.credentials import delete_credential, get_credential, put_credential, refuse_credential
from mogplex_mcp.store.errors import NoCredentialError, StoreFullError, UnknownAccountError, UnknownClientError
from mogplex_mcp.store.grants import (
    ReusedCode,
    Revoked,
    create_grant_with_code,
    get_grant,
    grants_of,
    held_scopes,
    live_among,
    revoke_grant,
    revoke_grants_of,
    set_scopes,
    spend_code,
)
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import codes, refresh_tokens
from mogplex_mcp.store.tokens import AccessRecord, Refused, TokenAnswer, find_access_token, rotate_refresh
from tests.store.clock import DAY, SECOND, Clock
from tests.store.people import (
    CLIENT,
    CREDENTIAL,
    REDIRECT,
    RESOURCE,
    SCOPES,
    allowed,
    client,
    connected,
    person,
    redeemed,
    request,
)


def spent_again(store: Store, code: str) -> object:
    with store.db.write() as conn:
        return spend_code(store, conn, code)


def found(store: Store, answer: TokenAnswer) -> AccessRecord:
    record = find_access_token(store, answer.access_token)
    assert record is not None
    return record


def test_a_code_gives_the_tokens_of_its_grant(store: Store, clock: Clock) -> None:
    account = person(store)
    code = allowed(store, account, ("tools:read",))
    assert code.startswith("mgo_ac_")
    assert len(code) == len("mgo_ac_") + 43
    grant, answer = redeemed(store, code)
    assert (grant.account_id, grant.client_id, grant.redirect_uri, grant.resource) == (
        account.id,
        CLIENT,
        REDIRECT,
        RESOURCE,
    )
    assert (grant.requested, grant.scopes) == (SCOPES, ("tools:read",))
    assert answer.access_token.startswith("mgo_at_")
    assert answer.refresh_token.startswith("mgo_rt_")
    assert (answer.expires_in, answer.scopes) == (3600, ("tools:read",))
    assert "mgo_" not in repr(answer)
    record = found(store, answer)
    assert (record.grant_id, record.account_id, record.client_id) == (grant.id, account.id, CLIENT)
    assert (record.scopes, record.resource) == (("tools:read",), RESOURCE)
    assert record.expires_at == clock.at + 3600 * SECOND
    assert record.is_usable(clock.at)


def test_a_second_use_of_a_code_revokes_what_the_first_gave(store: Store) -> None:
    account = person(store)
    code = allowed(store, account)
    grant, answer = redeemed(store, code)
    assert spent_again(store, code) == ReusedCode(grant.id, CREDENTIAL)
    assert found(store, answer).revoked
    assert rotate_refresh(store, answer.refresh_token, CLIENT) == Refused("revoked", grant.id, account.id)
    assert spent_again(store, code) == ReusedCode(grant.id, None), "and a third use changes nothing more"
    assert get_credential(store, account.id) is None


def test_a_code_lapses_after_sixty_seconds(store: Store, clock: Clock) -> None:
    code = allowed(store, person(store))
    clock.advance(60 * SECOND)
    assert spent_again(store, code) is None
    assert redeemed(store, allowed(store, person(store)))


def test_a_code_is_still_good_in_its_last_millisecond(store: Store, clock: Clock) -> None:
    code = allowed(store, person(store))
    clock.advance(60 * SECOND - 1)
    redeemed(store, code)


@pytest.mark.parametrize("text", ["", "x", "mgo_ac_x", "mgo_ac_\0", "\ud800", "mgo_ac_" + "x" * 1_000_000])
def test_what_is_no_code_is_none(store: Store, text: str) -> None:
    allowed(store, person(store))
    assert spent_again(store, text) is None


def test_a_code_of_a_grant_that_was_revoked_meanwhile_gives_nothing(store: Store) -> None:
    account = person(store)
    code = allowed(store, account)
    assert len(revoke_grants_of(store, account.id).grant_ids) == 1
    person(store)
    assert spent_again(store, code) is None


def test_a_code_gives_nothing_once_mogplex_refused_the_credential(store: Store) -> None:
    account = person(store)
    code = allowed(store, account)
    refuse_credential(store, account.id, CREDENTIAL.token)
    assert spent_again(store, code) is None


def test_a_redemption_that_is_undone_leaves_the_code_unspent(store: Store) -> None:
    code = allowed(store, person(store))

    def fail() -> None:
        with store.db.write() as conn:
            spend_code(store, conn, code)
            raise RuntimeError("the process fails here")

    with pytest.raises(RuntimeError):
        fail()
    redeemed(store, code)


def test_nothing_is_granted_without_account_client_credential_or_scope(store: Store) -> None:
    account = person(store)
    client(store)
    wanted = request(store)
    with pytest.raises(UnknownAccountError):
        create_grant_with_code(store, "nobody", wanted, SCOPES)
    with pytest.raises(UnknownClientError):
        create_grant_with_code(store, account.id, request(store, "nobody"), SCOPES)
    with pytest.raises(ValueError, match="at least one scope"):
        create_grant_with_code(store, account.id, wanted, ())
    refuse_credential(store, account.id, CREDENTIAL.token)
    with pytest.raises(NoCredentialError, match="Sign in again"):
        create_grant_with_code(store, account.id, wanted, SCOPES)
    delete_credential(store, account.id)
    with pytest.raises(NoCredentialError):
        create_grant_with_code(store, account.id, wanted, SCOPES)
    assert grants_of(store, account.id) == []
    kept = get_client(store, CLIENT)
    assert kept is not None
    assert kept.authorized_at is None, "nothing was authorized"


def test_granting_keeps_the_client_for_good(store: Store, clock: Clock) -> None:
    allowed(store, person(store))
    first = clock.at
    clock.advance(DAY)
    allowed(store, person(store))
    kept = get_client(store, CLIENT)
    assert kept is not None
    assert kept.authorized_at == first


def test_live_grants_of_one_account_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants_module, "MAX_GRANTS_PER_ACCOUNT", 2)
    account = person(store)
    first, _ = connected(store, account)
    connected(store, account)
    with pytest.raises(StoreFullError, match="revoke some first"):
        connected(store, account)
    revoke_grant(store, first.id, "test")
    connected(store, account)
    connected(store, person(store, "bob"))


def test_every_authorization_is_its_own_grant(store: Store, clock: Clock) -> None:
    account = person(store)
    first, one = connected(store, account, ("tools:read",))
    clock.advance(SECOND)
    second, two = connected(store, account, ("agents:run",))
    other, _ = connected(store, account, ("skills:read",), "client-2")
    connected(store, person(store, "bob"))
    assert {agent.grant.id for agent in grants_of(store, account.id)} == {first.id, second.id, other.id}
    assert held_scopes(store, account.id, CLIENT) == ("agents:run", "tools:read")
    revoke_grant(store, first.id, "test")
    assert found(store, one).revoked
    assert not found(store, two).revoked
    assert held_scopes(store, account.id, CLIENT) == ("agents:run",)
    assert held_scopes(store, account.id, "nobody") == ()


def test_connected_agents_show_their_client_newest_first(store: Store, clock: Clock) -> None:
    account = person(store)
    connected(store, account)
    clock.advance(1)
    connected(store, account, client_id="client-2")
    agents = grants_of(store, account.id)
    assert [(agent.grant.client_id, agent.client_name, agent.client_kind) for agent in agents] == [
        ("client-2", "Cursor", "registered"),
        (CLIENT, "Cursor", "registered"),
    ]


def test_a_change_of_scopes_is_felt_at_once(store: Store) -> None:
    account = person(store)
    grant, answer = connected(store, account, ("tools:read", "agents:run"))
    changed = set_scopes(store, grant.id, ("tools:read",), account_id=account.id, address="192.0.2.1")
    assert changed is not None
    assert changed.scopes == found(store, answer).scopes == ("tools:read",)
    assert changed.requested == SCOPES
    set_scopes(store, grant.id, ("tools:read", "tools:execute", "tools:read"))
    assert found(store, answer).scopes == ("tools:read", "tools:execute")
    with pytest.raises(ValueError, match="revoke it instead"):
        set_scopes(store, grant.id, ())
    events = [event for event in audit_events(store) if event.event == "scopes_changed"]
    assert events[-1].detail == {"before": "tools:read agents:run", "after": "tools:read"}
    assert events[-1].address == "192.0.2.1"


def test_nobody_changes_or_revokes_another_persons_grant(store: Store) -> None:
    grant, answer = connected(store, person(store))
    bob = person(store, "bob")
    assert set_scopes(store, grant.id, ("skills:read",), account_id=bob.id) is None
    assert revoke_grant(store, grant.id, "test", account_id=bob.id) == Revoked()
    assert found(store, answer).scopes == SCOPES
    assert not found(store, answer).revoked


def test_only_live_grants_change(store: Store) -> None:
    grant, _ = connected(store, person(store))
    revoke_grant(store, grant.id, "test")
    assert set_scopes(store, grant.id, SCOPES) is None


@pytest.mark.parametrize("text", ["", "nobody", "\0", "\ud800", "x" * 1_000_000])
def test_what_is_no_grant_changes_nothing(store: Store, text: str) -> None:
    assert set_scopes(store, text, SCOPES) is None
    assert revoke_grant(store, text, "test") == Revoked()
    assert revoke_grants_of(store, text) == Revoked()
    assert get_grant(store, text) is None
    assert grants_of(store, text) == []


def test_with_its_last_grant_an_accounts_credential_goes(store: Store) -> None:
    account = person(store)
    first, _ = connected(store, account)
    second, answer = connected(store, account)
    assert revoke_grant(store, first.id, "test") == Revoked((first.id,), None)
    assert get_credential(store, account.id) == CREDENTIAL
    assert revoke_grant(store, second.id, "test", account_id=account.id) == Revoked((second.id,), CREDENTIAL)
    assert get_credential(store, account.id) is None
    assert revoke_grant(store, second.id, "test") == Revoked(), "once"
    assert found(store, answer).credential_refused
    assert get_account(store, account.id) is not None


def test_a_code_that_waits_keeps_the_credential(store: Store) -> None:
    account = person(store)
    grant, _ = connected(store, account)
    code = allowed(store, account)
    assert revoke_grant(store, grant.id, "test").credential is None
    redeemed(store, code)


def test_a_grant_that_lapsed_does_not_keep_the_credential(store: Store, clock: Clock) -> None:
    account = person(store)
    connected(store, account)
    clock.advance(30 * DAY)
    grant, _ = connected(store, account)
    assert revoke_grant(store, grant.id, "test").credential == CREDENTIAL


def test_all_grants_of_an_account_end_together(store: Store) -> None:
    account, bob = person(store), person(store, "bob")
    answers = [connected(store, account)[1] for _ in range(3)]
    _, kept = connected(store, bob)
    ended = revoke_grants_of(store, account.id, address="192.0.2.1")
    assert len(ended.grant_ids) == 3
    assert ended.credential == CREDENTIAL
    assert all(found(store, answer).revoked for answer in answers)
    assert not found(store, kept).revoked
    assert get_credential(store, bob.id) == CREDENTIAL
    assert revoke_grants_of(store, account.id) == Revoked()


def test_revoking_all_deletes_a_credential_that_has_no_grant(store: Store) -> None:
    account = person(store)
    assert revoke_grants_of(store, account.id) == Revoked((), CREDENTIAL)


def test_live_among_tells_what_the_live_ones_allow_and_leaves_out_the_others(store: Store, clock: Clock) -> None:
    account = person(store)
    lapsed, _ = connected(store, account)
    clock.advance(30 * DAY)
    live = [connected(store, account)[0].id for _ in range(3)]
    ended, _ = connected(store, account)
    revoke_grant(store, ended.id, "test")
    gone = {lapsed.id, ended.id, "never there", ""}
    set_scopes(store, live[0], ["tools:read"])
    assert {grant_id: set(scopes) for grant_id, scopes in live_among(store, [*live, *gone, *live]).items()} == {
        live[0]: {"tools:read"},
        **{grant_id: {"tools:read", "agents:run"} for grant_id in live[1:]},
    }
    assert live_among(store, []) == {}
    assert set(live_among(store, [f"{number}" for number in range(2000)] + live[:1])) == {live[0]}


def test_signing_in_again_after_a_refusal_brings_the_agents_back(store: Store) -> None:
    account = person(store)
    _, answer = connected(store, account)
    refuse_credential(store, account.id, CREDENTIAL.token)
    assert found(store, answer).credential_refused
    put_credential(store, account.id, CREDENTIAL)
    assert not found(store, answer).credential_refused
    again = sign_in_account(store, issuer="https://mogplex.example", subject="ann", label="Ann")
    assert again.id == account.id


def test_codes_and_tokens_are_kept_only_hashed(store: Store) -> None:
    code = allowed(store, person(store))
    _, answer = redeemed(store, code)
    successor = rotate_refresh(store, answer.refresh_token, CLIENT)
    assert isinstance(successor, TokenAnswer)
    with store.db.read() as conn:
        kept = repr([conn.execute(select(table)).all() for table in (codes, refresh_tokens)])
    for secret in (code, answer.refresh_token, successor.refresh_token, successor.access_token):
        assert secret not in kept
        assert secret[7:] not in kept


def test_what_happens_to_a_grant_is_written_down(store: Store) -> None:
    account = person(store)
    code = allowed(store, account)
    grant, _ = redeemed(store, code)
    spent_again(store, code)
    events = [event for event in reversed(audit_events(store)) if event.grant_id is not None]
    assert [event.event for event in events] == ["grant_created", "code_redeemed", "code_reused", "grant_revoked"]
    assert {(event.account_id, event.client_id, event.grant_id) for event in events} == {(account.id, CLIENT, grant.id)}
    assert "mgo_" not in repr(events)
