"""Whatever a client and an attacker do, in whatever order: one live refresh token, and a lost answer costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from mogplex_mcp.store.grants import Grant, set_scopes
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tables import refresh_tokens
from mogplex_mcp.store.tokens import (
    Refused,
    TokenAnswer,
    find_access_token,
    note_use,
    prune_tokens,
    rotate_refresh,
)
from tests.store.clock import DAY, HOUR, MINUTE, SECOND, Clock
from tests.store.people import CLIENT, connected, person

EXAMPLES = 30
STEPS = 25
SCOPE_SETS = [("tools:read",), ("tools:read", "agents:run"), ("agents:run",)]


@dataclass
class Answered:
    """What is expected of one refresh token."""

    token: str
    issued: int
    spent: int | None = None
    used: bool = False
    """Whether any token of this answer was used."""
    successor: Answered | None = None
    access: list[str] = field(default_factory=list)


class Refreshing(RuleBasedStateMachine):
    """One grant, one client that holds on to the last answer that reached it, and copies of all its former tokens."""

    def __init__(self, store: Store, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.store = store
        self.revoked = False
        self.grant: Grant
        self.held: Answered
        self.all: list[Answered] = []
        self.scopes: tuple[str, ...] = ()

    @initialize(scopes=st.sampled_from(SCOPE_SETS))
    def connect(self, scopes: tuple[str, ...]) -> None:
        self.grant, answer = connected(self.store, person(self.store, None), scopes)
        self.scopes = scopes
        self.held = self.remember(answer)

    def remember(self, answer: TokenAnswer) -> Answered:
        made = Answered(answer.refresh_token, self.clock.at, access=[answer.access_token])
        self.all.append(made)
        return made

    def present(self, known: Answered, *, lost: bool) -> None:
        """Presents a refresh token and compares with what the issue promises."""
        now = self.clock.at
        answer = rotate_refresh(self.store, known.token, CLIENT)
        expired = now >= known.issued + 30 * DAY
        if self.revoked or expired:
            assert isinstance(answer, Refused)
            assert answer.reason in {"revoked", "expired", "unknown"}
            return
        if known.spent is None:
            assert isinstance(answer, TokenAnswer)
            known.spent, known.used = now, True
            known.successor = self.remember(answer)
        elif known.successor is not None and (now < known.spent + 30 * SECOND or not known.successor.used):
            assert isinstance(answer, TokenAnswer)
            assert answer.refresh_token == known.successor.token, "the same successor"
            if answer.access_token not in known.successor.access:
                known.successor.access.append(answer.access_token)
        else:
            assert isinstance(answer, Refused)
            assert answer.reason == "reused"
            self.revoked = True
            return
        record = find_access_token(self.store, answer.access_token)
        assert record is not None
        assert record.is_usable(now), "what is given can be used"
        assert answer.scopes == record.scopes == self.scopes
        if not lost and known is self.held and known.successor is not None:
            self.held = known.successor

    @rule(lost=st.booleans())
    def refresh(self, lost: bool) -> None:
        before = self.revoked
        stolen = self.held.successor is not None and self.held.successor.used
        self.present(self.held, lost=lost)
        assert self.revoked == before or stolen, "lost answers sign nobody out: somebody else used what was lost"

    @rule(data=st.data())
    def somebody_presents_any_token(self, data: st.DataObject) -> None:
        self.present(data.draw(st.sampled_from(self.all)), lost=True)

    @rule()
    def call_with_the_access_token(self) -> None:
        record = find_access_token(self.store, self.held.access[-1])
        if record is None or not record.is_usable(self.clock.at):
            return
        assert not self.revoked
        note_use(self.store, record.grant_id, record.token_hash, self.clock.at, None)
        self.held.used = True

    @rule(ms=st.sampled_from([1, SECOND, 29 * SECOND, 31 * SECOND, 10 * MINUTE, 2 * HOUR, 6 * DAY]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule()
    def another_client_presents_it(self) -> None:
        answer = rotate_refresh(self.store, self.held.token, "another-client")
        assert isinstance(answer, Refused)
        assert answer.reason in {"wrong_client", "unknown"}

    @precondition(lambda self: not self.revoked)
    @rule(scopes=st.sampled_from(SCOPE_SETS))
    def change_scopes(self, scopes: tuple[str, ...]) -> None:
        if set_scopes(self.store, self.grant.id, scopes) is not None:
            self.scopes = scopes

    @rule()
    def keep_house(self) -> None:
        prune_tokens(self.store)

    @invariant()
    def one_refresh_token_is_live(self) -> None:
        if not self.all:
            return
        mine = (refresh_tokens.c.grant_id == self.grant.id, refresh_tokens.c.spent_at.is_(None))
        with self.store.db.read() as conn:
            live = conn.execute(select(refresh_tokens.c.token_hash).where(*mine)).all()
        assert len(live) <= 1

    @invariant()
    def an_answer_is_kept_only_while_it_may_be_asked_again(self) -> None:
        if not self.all:
            return
        prune_tokens(self.store)
        kept = select(refresh_tokens.c.token_hash).where(
            refresh_tokens.c.grant_id == self.grant.id, refresh_tokens.c.successor.is_not(None)
        )
        with self.store.db.read() as conn:
            count = len(conn.execute(kept).all())
        now = self.clock.at
        repeatable = [
            each
            for each in self.all
            if each.spent is not None
            and each.successor is not None
            and now < each.issued + 30 * DAY
            and (now < each.spent + 30 * SECOND or not each.successor.used)
        ]
        assert count == (0 if self.revoked else len(repeatable))


@pytest.mark.slow
def test_refreshing_keeps_its_promises_in_any_order(store: Store, clock: Clock) -> None:
    class Here(Refreshing):
        """One store for all examples: each has an account, a grant and a clock of its own."""

        def __init__(self) -> None:
            own = Clock(clock.at)
            super().__init__(replace(store, clock=own), own)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            # Shrinking takes minutes on real databases; twenty-five steps can be read as they are.
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
