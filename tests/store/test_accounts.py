"""Accounts and their credentials."""

from __future__ import annotations

import pytest

from mogplex_mcp.store.accounts import change_subject, get_account, sign_in_account
from mogplex_mcp.store.credentials import (
    Credential,
    delete_credential,
    get_credential,
    lease_refresh,
    put_credential,
    refuse_credential,
    release_refresh,
    replace_credential,
)
from mogplex_mcp.store.errors import UnknownAccountError
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import credentials
from tests.store.clock import SECOND, Clock
from tests.store.people import person


def test_who_signs_in_again_has_the_same_account(store: Store, clock: Clock) -> None:
    first = sign_in_account(store, issuer="i", subject="s", label="Ann")
    clock.advance(SECOND)
    again = sign_in_account(store, issuer="i", subject="s", label="Ann B.")
    assert (again.id, again.label, again.signed_in_at - again.created_at) == (first.id, "Ann B.", SECOND)
    assert get_account(store, first.id) == again


def test_issuer_and_subject_together_are_the_person(store: Store) -> None:
    names = [("i", "s"), ("i", "t"), ("j", "s"), ("i", ""), ("i", "S"), ("i", "s ")]
    assert len({sign_in_account(store, issuer=i, subject=s, label="x").id for i, s in names}) == len(names)


def test_without_a_subject_every_sign_in_is_another_account(store: Store) -> None:
    assert len({sign_in_account(store, issuer="local", subject=None, label="x").id for _ in range(3)}) == 3


@pytest.mark.parametrize("subject", ["a\0b", "\ud800", "x" * 3000])
def test_a_subject_that_cannot_be_kept_is_refused_rather_than_changed(store: Store, subject: str) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        sign_in_account(store, issuer="i", subject=subject, label="x")


def test_a_label_that_cannot_be_kept_is_made_so(store: Store) -> None:
    account = sign_in_account(store, issuer="i", subject="s", label="a\0b\ud800" + "x" * 5000)
    assert account.label.startswith("a\ufffdb")
    assert len(account.label) == 2048


@pytest.mark.parametrize("unknown", ["", "nobody", "a\0b", "\ud800", "x" * 1_000_000])
def test_an_unknown_account_is_none_whatever_it_is_called(store: Store, unknown: str) -> None:
    assert get_account(store, unknown) is None
    assert get_credential(store, unknown) is None
    assert delete_credential(store, unknown) is None
    with pytest.raises(UnknownAccountError):
        put_credential(store, unknown, Credential("pat", "t"))


def test_a_replaced_token_keeps_its_account_unless_another_has_that_token(store: Store) -> None:
    mine = sign_in_account(store, issuer="pat", subject="hash-1", label="x")
    other = sign_in_account(store, issuer="pat", subject="hash-2", label="x")
    assert not change_subject(store, mine.id, "hash-2", label="x")
    assert change_subject(store, mine.id, "hash-3", label="y")
    assert sign_in_account(store, issuer="pat", subject="hash-3", label="y").id == mine.id
    assert sign_in_account(store, issuer="pat", subject="hash-2", label="x").id == other.id


def test_a_credential_comes_back_as_it_was_put_and_replaces_the_former(store: Store) -> None:
    account = sign_in_account(store, issuer="i", subject="s", label="x")
    first = Credential("mogplex", "t1", "r1", expires_at=5, client_id="c")
    assert put_credential(store, account.id, first) is None
    assert get_credential(store, account.id) == first
    assert put_credential(store, account.id, first) is None, "the same token replaces nothing"
    assert put_credential(store, account.id, Credential("pat", "t2")) == first
    assert get_credential(store, account.id) == Credential("pat", "t2")
    assert delete_credential(store, account.id) == Credential("pat", "t2")
    assert get_credential(store, account.id) is None


def test_a_credential_is_encrypted_and_never_shown(store: Store) -> None:
    account = person(store)
    credential = get_credential(store, account.id)
    assert "mog_upstream" not in repr(credential)
    assert "refresh-of-ann" not in repr(credential)
    with store.db.read() as conn:
        row = conn.execute(credentials.select()).one()
    assert "upstream" not in repr(row)
    assert "refresh-of" not in repr(row)


def test_only_the_stored_token_can_be_refused(store: Store) -> None:
    account = person(store)
    assert not refuse_credential(store, account.id, "an older token")
    assert get_credential(store, account.id) is not None
    assert refuse_credential(store, account.id, "mog_upstream-of-ann")
    refused = get_credential(store, account.id)
    assert refused is not None
    assert refused.refused
    put_credential(store, account.id, Credential("mogplex", "anew"))
    assert get_credential(store, account.id) == Credential("mogplex", "anew")


def test_what_a_refresh_brought_is_kept_only_in_place_of_what_was_refreshed(store: Store) -> None:
    account = person(store)
    renewed = Credential("mogplex", "t2", "r2")
    assert replace_credential(store, account.id, "mog_upstream-of-ann", renewed)
    assert not replace_credential(store, account.id, "mog_upstream-of-ann", Credential("mogplex", "t3"))
    assert get_credential(store, account.id) == renewed
    delete_credential(store, account.id)
    assert not replace_credential(store, account.id, "t2", Credential("mogplex", "t3"))
    assert get_credential(store, account.id) is None


def test_one_process_refreshes_at_a_time(store: Store, clock: Clock) -> None:
    account = person(store)
    assert lease_refresh(store, account.id, "one", 10)
    assert not lease_refresh(store, account.id, "two", 10)
    assert lease_refresh(store, account.id, "one", 10), "its holder may extend it"
    release_refresh(store, account.id, "two")
    assert not lease_refresh(store, account.id, "two", 10)
    release_refresh(store, account.id, "one")
    assert lease_refresh(store, account.id, "two", 10)
    clock.advance(10 * SECOND)
    assert lease_refresh(store, account.id, "one", 10), "the lease of a process that died ends"
    assert not lease_refresh(store, "nobody", "one", 10)


def test_signing_in_anew_ends_a_lease(store: Store) -> None:
    account = person(store)
    assert lease_refresh(store, account.id, "one", 300)
    put_credential(store, account.id, Credential("mogplex", "t2", "r2"))
    assert lease_refresh(store, account.id, "two", 300)
