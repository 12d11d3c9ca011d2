"""Tokens: refreshing with a grace that signs nobody out, reuse that revokes, revocation felt at once."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from mogplex_mcp.store.audit import audit_events
from mogplex_mcp.store.credentials import get_credential, put_credential, refuse_credential
from mogplex_mcp.store.grants import Revoked, get_grant, grants_of, revoke_grant, set_scopes
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import access_tokens, refresh_tokens
from mogplex_mcp.store.tokens import (
    AccessRecord,
    Refused,
    TokenAnswer,
    find_access_token,
    note_use,
    prune_tokens,
    revoke_token,
    rotate_refresh,
)
from tests.store.clock import DAY, HOUR, MINUTE, SECOND, Clock
from tests.store.people import CLIENT, CREDENTIAL, connected, person

HOSTILE = ["", "x", "mgo_at_", "mgo_rt_x", "mgo_at_\0", "mgo_rt_\ud800", "mgo_at_" + "x" * 1_000_000, "mog_pat"]


def refreshed(store: Store, answer: TokenAnswer, scopes: tuple[str, ...] | None = None) -> TokenAnswer:
    given = rotate_refresh(store, answer.refresh_token, CLIENT, scopes)
    assert isinstance(given, TokenAnswer), given
    return given


def found(store: Store, answer: TokenAnswer) -> AccessRecord:
    record = find_access_token(store, answer.access_token)
    assert record is not None
    return record


def use(store: Store, answer: TokenAnswer, address: str | None = "192.0.2.1") -> None:
    record = found(store, answer)
    note_use(store, record.grant_id, record.token_hash, store.now(), address)


def tokens_of(answer: TokenAnswer) -> tuple[str, str]:
    return answer.access_token, answer.refresh_token


def reason(store: Store, answer: TokenAnswer, client_id: str = CLIENT) -> str:
    refused = rotate_refresh(store, answer.refresh_token, client_id)
    assert isinstance(refused, Refused), refused
    return refused.reason


def live_refresh_tokens(store: Store, grant_id: str) -> int:
    live = (refresh_tokens.c.grant_id == grant_id, refresh_tokens.c.spent_at.is_(None))
    with store.db.read() as conn:
        return conn.execute(select(func.count()).select_from(refresh_tokens).where(*live)).scalar_one()


def kept_answers(store: Store) -> int:
    with store.db.read() as conn:
        kept = select(func.count()).select_from(refresh_tokens).where(refresh_tokens.c.successor.is_not(None))
        return conn.execute(kept).scalar_one()


def test_refreshing_gives_new_tokens_and_the_former_access_token_stays(store: Store) -> None:
    grant, first = connected(store, person(store))
    second = refreshed(store, first)
    assert not set(tokens_of(first)) & set(tokens_of(second))
    assert (second.expires_in, second.scopes) == (3600, first.scopes)
    assert found(store, first).is_usable(store.now())
    assert found(store, second).is_usable(store.now())
    assert live_refresh_tokens(store, grant.id) == 1


def test_a_repeat_within_thirty_seconds_gives_the_same_successor_even_when_it_was_used(
    store: Store, clock: Clock
) -> None:
    grant, first = connected(store, person(store))
    second = refreshed(store, first)
    use(store, second)
    third = refreshed(store, second)
    clock.advance(30 * SECOND - 1)
    assert tokens_of(refreshed(store, first)) == tokens_of(second)
    assert tokens_of(refreshed(store, second)) == tokens_of(third)
    assert live_refresh_tokens(store, grant.id) == 1


def test_a_repeat_after_thirty_seconds_revokes_the_grant_when_the_new_access_token_was_used(
    store: Store, clock: Clock
) -> None:
    account = person(store)
    grant, first = connected(store, account)
    second = refreshed(store, first)
    use(store, second)
    clock.advance(30 * SECOND)
    refused = rotate_refresh(store, first.refresh_token, CLIENT)
    assert refused == Refused("reused", grant.id, account.id, CREDENTIAL)
    assert found(store, second).revoked
    assert reason(store, second) == "revoked"
    assert reason(store, first) == "revoked"
    assert get_credential(store, account.id) is None


def test_a_repeat_after_thirty_seconds_revokes_the_grant_when_the_new_refresh_token_was_used(
    store: Store, clock: Clock
) -> None:
    _, first = connected(store, person(store))
    second = refreshed(store, first)
    refreshed(store, second)
    clock.advance(30 * SECOND)
    assert reason(store, first) == "reused"
    assert reason(store, second) == "revoked"


def test_only_the_grant_of_the_reused_token_is_revoked(store: Store, clock: Clock) -> None:
    account = person(store)
    _, first = connected(store, account)
    _, other = connected(store, account)
    use(store, refreshed(store, first))
    clock.advance(30 * SECOND)
    refused = rotate_refresh(store, first.refresh_token, CLIENT)
    assert isinstance(refused, Refused)
    assert refused.credential is None, "the account has another grant"
    assert not found(store, other).revoked
    refreshed(store, other)


@pytest.mark.parametrize("later", [MINUTE, HOUR, 2 * HOUR, 29 * DAY])
def test_a_lost_answer_signs_nobody_out_however_late_it_is_asked_again(store: Store, clock: Clock, later: int) -> None:
    grant, first = connected(store, person(store))
    lost = refreshed(store, first)
    clock.advance(later)
    prune_tokens(store)
    again = refreshed(store, first)
    assert again.refresh_token == lost.refresh_token
    assert found(store, again).is_usable(store.now()), "its access token is of use"
    assert again.expires_in == (found(store, again).expires_at - store.now()) // SECOND
    assert (again.access_token == lost.access_token) == (later < HOUR)
    assert live_refresh_tokens(store, grant.id) == 1
    use(store, again)
    assert reason(store, first) == "reused"


def test_the_old_access_token_in_use_does_not_end_the_grace_of_a_lost_answer(store: Store, clock: Clock) -> None:
    _, first = connected(store, person(store))
    lost = refreshed(store, first)
    clock.advance(10 * MINUTE)
    use(store, first)
    assert tokens_of(refreshed(store, first)) == tokens_of(lost)


def test_an_answer_is_kept_only_as_long_as_it_may_be_asked_again(store: Store, clock: Clock) -> None:
    _, first = connected(store, person(store))
    second = refreshed(store, first)
    assert kept_answers(store) == 1
    use(store, second)
    prune_tokens(store)
    assert kept_answers(store) == 1, "30 seconds are not over"
    clock.advance(30 * SECOND)
    prune_tokens(store)
    assert kept_answers(store) == 0
    third = refreshed(store, second)
    clock.advance(30 * SECOND)
    assert kept_answers(store) == 1
    use(store, third)
    assert kept_answers(store) == 0, "the first use ends it at once when the 30 s are over"
    grant, other = connected(store, person(store, "bob"))
    refreshed(store, other)
    revoke_grant(store, grant.id, "test")
    assert kept_answers(store) == 0


def test_another_client_gets_nothing_and_changes_nothing(store: Store, clock: Clock) -> None:
    _, first = connected(store, person(store))
    assert reason(store, first, "another") == "wrong_client"
    second = refreshed(store, first)
    use(store, second)
    clock.advance(MINUTE)
    assert reason(store, first, "another") == "wrong_client"
    assert not found(store, second).revoked


def test_a_refresh_token_lapses_thirty_days_after_it_was_issued(store: Store, clock: Clock) -> None:
    account = person(store)
    _, first = connected(store, account)
    clock.advance(30 * DAY - 1)
    second = refreshed(store, first)
    clock.advance(30 * DAY - 1)
    assert grants_of(store, account.id) != []
    clock.advance(1)
    assert reason(store, second) == "expired"
    assert grants_of(store, account.id) == []


def test_an_access_token_lapses_after_an_hour(store: Store, clock: Clock) -> None:
    _, answer = connected(store, person(store))
    clock.advance(HOUR - 1)
    assert found(store, answer).is_usable(clock.at)
    clock.advance(1)
    assert not found(store, answer).is_usable(clock.at)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_token_is_unknown(store: Store, text: str) -> None:
    _, answer = connected(store, person(store))
    assert find_access_token(store, text) is None
    assert rotate_refresh(store, text, CLIENT) == Refused("unknown")
    assert revoke_token(store, text, CLIENT) == Revoked()
    assert find_access_token(store, answer.refresh_token) is None
    assert rotate_refresh(store, answer.access_token, CLIENT) == Refused("unknown")
    note_use(store, "nobody", "nothing", 1, None)


def test_nothing_is_refreshed_while_mogplex_refuses_the_credential(store: Store) -> None:
    account = person(store)
    _, first = connected(store, account)
    refuse_credential(store, account.id, CREDENTIAL.token)
    assert reason(store, first) == "credential_refused"
    put_credential(store, account.id, CREDENTIAL)
    refreshed(store, first)


def test_down_scoping_limits_the_access_token_alone(store: Store) -> None:
    grant, first = connected(store, person(store), ("tools:read", "agents:run"))
    second = refreshed(store, first, ("agents:run", "never:granted"))
    assert second.scopes == found(store, second).scopes == ("agents:run",)
    assert found(store, first).scopes == ("tools:read", "agents:run")
    third = refreshed(store, second)
    assert third.scopes == found(store, third).scopes == ("tools:read", "agents:run")
    set_scopes(store, grant.id, ("tools:read",))
    assert found(store, second).scopes == ()
    assert found(store, third).scopes == ("tools:read",)
    set_scopes(store, grant.id, ("tools:read", "tools:execute", "agents:run"))
    assert found(store, second).scopes == ("agents:run",), "it was asked for no more"
    assert found(store, third).scopes == ("tools:read", "tools:execute", "agents:run")


def test_asking_for_nothing_that_is_granted_is_refused_and_spends_nothing(store: Store) -> None:
    _, first = connected(store, person(store), ("tools:read",))
    refused = rotate_refresh(store, first.refresh_token, CLIENT, ("agents:run",))
    assert isinstance(refused, Refused)
    assert refused.reason == "scope"
    refreshed(store, first, ("tools:read",))


def test_a_repeated_answer_says_what_its_token_may_do_now(store: Store) -> None:
    grant, first = connected(store, person(store), ("tools:read", "agents:run"))
    second = refreshed(store, first, ("agents:run", "tools:read"))
    set_scopes(store, grant.id, ("tools:read",))
    again = refreshed(store, first, ("agents:run",))
    assert tokens_of(again) == tokens_of(second)
    assert again.scopes == found(store, again).scopes == ("tools:read",)


def test_last_use_is_noted_at_most_once_a_minute(store: Store, clock: Clock) -> None:
    grant, answer = connected(store, person(store))

    def noted() -> tuple[int | None, str | None]:
        kept = get_grant(store, grant.id)
        assert kept is not None
        return kept.last_used_at, kept.last_used_from

    assert noted() == (None, None)
    start = clock.at
    use(store, answer)
    assert noted() == (start, "192.0.2.1")
    clock.advance(MINUTE - 1)
    use(store, answer, "192.0.2.2")
    assert noted() == (start, "192.0.2.1")
    clock.advance(1)
    use(store, answer, "\0" + "x" * 5000)
    assert noted()[0] == start + MINUTE
    use(store, refreshed(store, answer), None)
    assert noted() == (clock.at, None), "a token's first use is always noted"


@pytest.mark.parametrize("kind", ["access", "refresh", "spent refresh"])
def test_a_client_revokes_its_grant_by_either_token(store: Store, kind: str) -> None:
    account = person(store)
    grant, first = connected(store, account)
    second = refreshed(store, first)
    token = {"access": second.access_token, "refresh": second.refresh_token, "spent refresh": first.refresh_token}[kind]
    assert revoke_token(store, token, "another") == Revoked()
    assert not found(store, second).revoked
    assert revoke_token(store, token, CLIENT, address="192.0.2.1") == Revoked((grant.id,), CREDENTIAL)
    assert found(store, second).revoked
    assert revoke_token(store, token, CLIENT) == Revoked()
    assert audit_events(store, limit=1)[0].address == "192.0.2.1"


def test_lapsed_tokens_are_deleted_and_live_ones_are_not(store: Store, clock: Clock) -> None:
    _, first = connected(store, person(store))
    second = refreshed(store, first)
    clock.advance(HOUR)
    third = refreshed(store, second)
    assert prune_tokens(store) == 2
    with store.db.read() as conn:
        assert conn.execute(select(func.count()).select_from(access_tokens)).scalar_one() == 1
    assert find_access_token(store, first.access_token) is None
    assert found(store, third).is_usable(store.now())
    assert reason(store, first) == "reused", "its row is there until it would have lapsed"
    clock.advance(30 * DAY)
    prune_tokens(store)
    assert rotate_refresh(store, first.refresh_token, CLIENT) == Refused("unknown")


def test_what_happens_to_tokens_is_written_down(store: Store, clock: Clock) -> None:
    _, first = connected(store, person(store))
    second = refreshed(store, first)
    refreshed(store, first)
    use(store, second)
    clock.advance(MINUTE)
    rotate_refresh(store, first.refresh_token, CLIENT, address="192.0.2.9")
    events = audit_events(store, limit=4)
    assert [event.event for event in events] == [
        "grant_revoked",
        "refresh_refused",
        "token_repeated",
        "token_refreshed",
    ]
    assert events[1].detail == {"why": "reused"}
    assert events[1].address == "192.0.2.9"
    assert "mgo_" not in repr(events)
