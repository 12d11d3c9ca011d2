"""Housekeeping and the audit: every table stays bounded, and nothing that is needed goes."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from mogplex_mcp.store import audit
from mogplex_mcp.store.accounts import get_account, sign_in_account
from mogplex_mcp.store.audit import audit_events, prune_audit, record
from mogplex_mcp.store.credentials import Credential, get_credential
from mogplex_mcp.store.grants import ReusedCode, get_grant, revoke_grant, spend_code
from mogplex_mcp.store.known_runs import note_run
from mogplex_mcp.store.pruning import Pruned, prune
from mogplex_mcp.store.requests import get_request
from mogplex_mcp.store.sessions import get_session, new_session
from mogplex_mcp.store.signin_codes import new_signin_code, redeem_signin_code
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import metadata
from mogplex_mcp.store.tasks import put_task
from mogplex_mcp.store.tokens import TokenAnswer, rotate_refresh
from mogplex_mcp.store.upstream_signins import put_upstream_signin
from tests.store.clock import DAY, HOUR, MINUTE, Clock
from tests.store.people import CLIENT, CREDENTIAL, allowed, client, connected, pending, person, redeemed


def rows(store: Store) -> dict[str, int]:
    with store.db.read() as conn:
        return {
            name: conn.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in metadata.tables.items()
        }


def test_after_a_long_time_nothing_is_left_but_the_authorized_client(store: Store, clock: Clock) -> None:
    account = person(store)
    _, answer = connected(store, account)
    rotate_refresh(store, answer.refresh_token, CLIENT)
    allowed(store, account)
    client(store, "never authorized")
    pending(store)
    new_session(store, account.id)
    new_session(store, None)
    new_signin_code(store)
    redeem_signin_code(store, "wrong")
    put_upstream_signin(store, browser="b", request_id=None, verifier="v", callback="c")
    note_run(store, account.id, {"runId": "r", "status": "success"})
    put_task(store, account.id, "r", replayed=False)
    before = rows(store)
    assert all(count > 0 for name, count in before.items() if name != "upstream_clients"), before
    credentials: list[Credential] = []
    for _ in range(4):
        clock.advance(31 * DAY)
        credentials += prune(store).credentials
    assert credentials == [CREDENTIAL]
    assert {name: count for name, count in rows(store).items() if count} == {"keys": 1, "clients": 1}


def test_what_is_in_use_stays(store: Store, clock: Clock) -> None:
    account = person(store)
    code = allowed(store, account)
    grant, answer = redeemed(store, code)
    browser, _ = new_session(store, account.id)
    waiting = pending(store)
    signin_code = new_signin_code(store)
    before = rows(store)
    clock.advance(10 * MINUTE - 1)
    assert prune(store) == Pruned(())
    assert rows(store) == before
    assert get_request(store, waiting) is not None
    assert get_session(store, browser) is not None
    assert redeem_signin_code(store, signin_code)
    for _ in range(12):
        clock.advance(29 * DAY)
        assert prune(store).credentials == ()
        refreshed = rotate_refresh(store, answer.refresh_token, CLIENT)
        assert isinstance(refreshed, TokenAnswer), "whoever comes once a month stays connected for a year"
        answer = refreshed
    with store.db.write() as conn:
        assert isinstance(spend_code(store, conn, code), ReusedCode), "a code is recognised as long as its grant"
    kept = get_grant(store, grant.id)
    assert kept is not None
    assert kept.revoked_at == clock.at


def test_a_credential_that_leads_to_no_grant_goes_after_a_day_without_a_session(store: Store, clock: Clock) -> None:
    account = person(store)
    new_session(store, account.id)
    clock.advance(7 * HOUR)
    assert prune(store) == Pruned(())
    clock.advance(17 * HOUR)
    assert prune(store) == Pruned((CREDENTIAL,))
    assert get_credential(store, account.id) is None
    assert get_account(store, account.id) is not None
    clock.advance(30 * DAY)
    prune(store)
    assert get_account(store, account.id) is None


def test_a_grant_that_lapsed_takes_its_credential_along(store: Store, clock: Clock) -> None:
    connected(store, person(store))
    clock.advance(30 * DAY - 1)
    assert prune(store) == Pruned(())
    clock.advance(1)
    assert prune(store) == Pruned((CREDENTIAL,))


def test_accounts_without_a_name_do_not_pile_up(store: Store, clock: Clock) -> None:
    for _ in range(3):
        sign_in_account(store, issuer="local", subject=None, label="x")
    clock.advance(30 * DAY)
    prune(store)
    assert rows(store)["accounts"] == 0


def test_a_revoked_grant_is_forgotten_after_thirty_days(store: Store, clock: Clock) -> None:
    account = person(store)
    connected(store, account)
    grant, _ = connected(store, account)
    revoke_grant(store, grant.id, "test")
    clock.advance(30 * DAY - 1)
    prune(store)
    assert get_grant(store, grant.id) is not None
    clock.advance(1)
    prune(store)
    assert get_grant(store, grant.id) is None


def test_the_audit_keeps_what_it_was_told_newest_first(store: Store, clock: Clock) -> None:
    record(store, "consent_denied", account_id="a", client_id="c", address="192.0.2.1", scopes=2, asked=True, why=None)
    clock.advance(1)
    with store.db.write() as conn:
        record(store, "signin_failed", conn=conn)
    newest, oldest = audit_events(store)
    assert (newest.event, newest.at, newest.detail) == ("signin_failed", clock.at, {})
    assert (oldest.account_id, oldest.client_id, oldest.address) == ("a", "c", "192.0.2.1")
    assert oldest.detail == {"scopes": 2, "asked": True, "why": None}
    assert len(audit_events(store, limit=1)) == 1


def test_what_is_undone_is_not_in_the_audit(store: Store) -> None:
    def fail() -> None:
        with store.db.write() as conn:
            record(store, "something", conn=conn)
            raise RuntimeError("undone")

    with pytest.raises(RuntimeError):
        fail()
    assert audit_events(store) == []


def test_no_token_gets_into_the_audit(store: Store) -> None:
    secrets = [
        "mgo_at_" + "A" * 43,
        "mgo_rt_" + "b-_" * 14,
        "mog_" + "c" * 32,
        "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln",
    ]
    record(store, "x", client_id=secrets[0], address=secrets[1], why=f"got {secrets[2]}, and {secrets[3]}!")
    (event,) = audit_events(store)
    assert not any(secret in repr(event) for secret in secrets)
    assert event.detail["why"] == "got …, and …!"


def test_hostile_text_in_the_audit_is_cut_and_kept_storable(store: Store) -> None:
    facts: dict[str, Any] = {f"fact{number}": "x" * 10_000 for number in range(50)}
    record(store, "x", client_id="c\0\ud800" + "x" * 10_000, address="\0", **facts)
    (event,) = audit_events(store)
    assert event.client_id is not None
    assert len(event.client_id) == 200
    assert len(event.detail) == 20
    assert {len(str(value)) for value in event.detail.values()} == {200}


def test_the_audit_is_pruned_by_age(store: Store, clock: Clock) -> None:
    record(store, "old")
    clock.advance(90 * DAY + 1)
    record(store, "new")
    assert prune_audit(store) == 1
    assert [event.event for event in audit_events(store)] == ["new"]


def test_the_audit_is_bounded_by_count_without_housekeeping_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "MAX_AUDIT_ROWS", 5)
    monkeypatch.setattr(audit, "_TRIM_EVERY", 4)
    for _ in range(20):
        record(store, "x")
        assert rows(store)["audit"] <= 5 + 4
    prune_audit(store)
    assert rows(store)["audit"] == 5
