"""What lies between a browser's first visit and a grant: requests, sessions, codes, sign-ins at Mogplex."""

from __future__ import annotations

import pytest

from mogplex_mcp.store import requests, sessions, upstream_clients, upstream_signins
from mogplex_mcp.store.accounts import sign_in_account
from mogplex_mcp.store.errors import StoreFullError, TooManyTriesError, UnknownAccountError
from mogplex_mcp.store.requests import get_request, put_request, take_request
from mogplex_mcp.store.sessions import end_session, end_sessions_of, get_session, new_session, renew_session
from mogplex_mcp.store.signin_codes import new_signin_code, redeem_signin_code
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import sessions as sessions_table
from mogplex_mcp.store.upstream_clients import (
    UpstreamClient,
    find_upstream_client,
    forget_upstream_client,
    get_upstream_client,
    put_upstream_client,
)
from mogplex_mcp.store.upstream_signins import put_upstream_signin, take_upstream_signin
from tests.store.clock import HOUR, MINUTE, Clock

HOSTILE = ["", "x", "\0", "\ud800", "é" * 100_000]


def put(store: Store, state: str | None = "state") -> str:
    return put_request(
        store,
        client_id="client\0",
        redirect_uri="http://localhost/cb",
        redirect_uri_given=False,
        state=state,
        scopes=("tools:read",),
        code_challenge="challenge",
        resource="r",
    )


@pytest.mark.parametrize("state", [None, "", "nul \0 and half a pair \ud800", "é🙂"])
def test_a_request_comes_back_as_it_was_and_is_taken_once(store: Store, clock: Clock, state: str | None) -> None:
    request_id = put(store, state)
    found = get_request(store, request_id)
    assert found == requests.AuthorizationRequest(
        request_id, "client\0", "http://localhost/cb", False, state, ("tools:read",), "challenge", "r", clock.at
    )
    assert take_request(store, request_id) == found
    assert take_request(store, request_id) is None
    assert get_request(store, request_id) is None


def test_a_request_lapses_after_ten_minutes(store: Store, clock: Clock) -> None:
    request_id = put(store)
    clock.advance(10 * MINUTE - 1)
    assert get_request(store, request_id) is not None
    clock.advance(1)
    assert get_request(store, request_id) is None
    assert take_request(store, request_id) is None


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_request_is_none(store: Store, text: str) -> None:
    put(store)
    assert get_request(store, text) is None
    assert take_request(store, text) is None


def test_a_request_that_is_too_long_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="65536 may be kept"):
        put(store, "x" * 100_000)


def test_pending_requests_are_bounded_and_room_comes_back(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_REQUESTS", 3)
    for _ in range(3):
        put(store)
    with pytest.raises(StoreFullError, match="Too many authorizations are pending"):
        put(store)
    clock.advance(10 * MINUTE)
    put(store)


def test_a_session_is_found_by_its_id_until_it_ends(store: Store, clock: Clock) -> None:
    account = sign_in_account(store, issuer="i", subject="s", label="x")
    session_id, session = new_session(store, account.id)
    assert get_session(store, session_id) == session
    assert session.expires_at == clock.at + 8 * HOUR
    clock.advance(8 * HOUR)
    assert get_session(store, session_id) is None


def test_a_session_in_which_nobody_signed_in_lasts_an_hour(store: Store, clock: Clock) -> None:
    session_id, session = new_session(store, None)
    assert (session.account_id, session.expires_at) == (None, clock.at + HOUR)
    assert get_session(store, session_id) == session


def test_signing_in_changes_the_session_id(store: Store) -> None:
    account = sign_in_account(store, issuer="i", subject="s", label="x")
    before, _ = new_session(store, None)
    after, session = renew_session(store, before, account.id)
    assert after != before
    assert get_session(store, before) is None
    assert get_session(store, after) == session
    other, _ = renew_session(store, "a browser that had no session", account.id)
    assert get_session(store, other) is not None


def test_sessions_end_one_by_one_or_all_of_an_account(store: Store) -> None:
    account = sign_in_account(store, issuer="i", subject="s", label="x")
    other = sign_in_account(store, issuer="i", subject="t", label="x")
    ids = [new_session(store, account.id)[0] for _ in range(3)]
    kept, _ = new_session(store, other.id)
    end_session(store, ids[0])
    assert [get_session(store, each) is None for each in ids] == [True, False, False]
    assert end_sessions_of(store, account.id) == 2
    assert [get_session(store, each) for each in ids] == [None] * 3
    assert get_session(store, kept) is not None


def test_a_session_of_nobody_we_know_is_refused(store: Store) -> None:
    with pytest.raises(UnknownAccountError):
        new_session(store, "nobody")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_session_is_none(store: Store, text: str) -> None:
    new_session(store, None)
    assert get_session(store, text) is None
    end_session(store, text)
    assert end_sessions_of(store, text) == 0


def test_visits_are_bounded_and_people_who_signed_in_are_not_kept_out(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_VISITS", 3)
    for _ in range(3):
        new_session(store, None)
    with pytest.raises(StoreFullError):
        new_session(store, None)
    new_session(store, sign_in_account(store, issuer="i", subject="s", label="x").id)
    clock.advance(HOUR)
    new_session(store, None)


def test_of_too_many_sessions_of_one_account_the_oldest_ends(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS_PER_ACCOUNT", 2)
    account = sign_in_account(store, issuer="i", subject="s", label="x")
    ids = []
    for _ in range(3):
        ids.append(new_session(store, account.id)[0])
        clock.advance(1)
    assert [get_session(store, each) is not None for each in ids] == [False, True, True]


def test_a_sign_in_code_is_good_once_however_it_is_typed(store: Store) -> None:
    code = new_signin_code(store)
    assert len(code.replace("-", "")) == 10
    assert redeem_signin_code(store, f" {code.replace('-', ' ').lower()} ")
    assert not redeem_signin_code(store, code)


def test_a_sign_in_code_lapses_after_ten_minutes(store: Store, clock: Clock) -> None:
    code = new_signin_code(store)
    clock.advance(10 * MINUTE)
    assert not redeem_signin_code(store, code)


def test_after_five_wrong_codes_the_right_one_waits_ten_minutes(store: Store, clock: Clock) -> None:
    new_signin_code(store)
    for wrong in ("AAAAA-AAAAA", "\0", "\ud800", "", "x" * 100_000):
        assert not redeem_signin_code(store, wrong)
        clock.advance(MINUTE)
    code = new_signin_code(store)
    with pytest.raises(TooManyTriesError, match="wait 10 minutes"):
        redeem_signin_code(store, code)
    clock.advance(6 * MINUTE)
    assert redeem_signin_code(store, code), "the first wrong one is forgotten, and a refused try counts as none"


def test_only_the_latest_sign_in_codes_are_good(store: Store, clock: Clock) -> None:
    codes = []
    for _ in range(21):
        codes.append(new_signin_code(store))
        clock.advance(1)
    assert not redeem_signin_code(store, codes[0])
    assert all(redeem_signin_code(store, code) for code in codes[1:])


def test_a_sign_in_at_mogplex_comes_back_once_to_its_own_browser(store: Store, clock: Clock) -> None:
    state = put_upstream_signin(store, browser="mine", request_id="r", verifier="v", callback="c")
    assert take_upstream_signin(store, state, "another") is None
    found = take_upstream_signin(store, state, "mine")
    assert found == upstream_signins.UpstreamSignin(state, "mine", "r", "v", "c", clock.at)
    assert "'v'" not in repr(found)
    assert take_upstream_signin(store, state, "mine") is None


def test_a_sign_in_at_mogplex_lapses_and_their_number_is_bounded(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream_signins, "MAX_UPSTREAM_SIGNINS", 1)
    state = put_upstream_signin(store, browser="b", request_id=None, verifier="v", callback="c")
    with pytest.raises(StoreFullError):
        put_upstream_signin(store, browser="b", request_id=None, verifier="v", callback="c")
    clock.advance(10 * MINUTE)
    assert take_upstream_signin(store, state, "b") is None
    put_upstream_signin(store, browser="b", request_id=None, verifier="v", callback="c")


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_state_is_none(store: Store, text: str) -> None:
    assert take_upstream_signin(store, text, "b") is None
    assert get_upstream_client(store, text, text) is None
    assert find_upstream_client(store, text, text) is None
    forget_upstream_client(store, text, text)


def test_of_two_registrations_at_mogplex_the_first_counts_until_it_is_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = UpstreamClient("i", "c", "id-1", "upstream-secret")
    second = UpstreamClient("i", "c", "id-2")
    assert put_upstream_client(store, first) == first
    assert put_upstream_client(store, second) == first
    assert get_upstream_client(store, "i", "c") == find_upstream_client(store, "i", "id-1") == first
    assert "upstream-secret" not in repr(first)
    forget_upstream_client(store, "i", "id-2")
    assert get_upstream_client(store, "i", "c") == first
    forget_upstream_client(store, "i", "id-1")
    assert put_upstream_client(store, second) == second
    monkeypatch.setattr(upstream_clients, "MAX_UPSTREAM_CLIENTS", 1)
    with pytest.raises(StoreFullError):
        put_upstream_client(store, UpstreamClient("i", "other", "id-3"))


def test_nothing_of_signing_in_is_kept_in_plain(store: Store) -> None:
    session_id, _ = new_session(store, None)
    with store.db.read() as conn:
        assert session_id not in repr(conn.execute(sessions_table.select()).all())
