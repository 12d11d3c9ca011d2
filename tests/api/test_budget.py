"""What a credential may ask: never more than Mogplex takes, calls before polls, true waits. In simulated time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.simulated_mogplex import SimulatedMogplex, SimulatedTransport
from bench.simulated_time import SimulatedLoop
from mogplex_mcp.api import MogplexApi, MogplexError, StartRun, Upstream
from mogplex_mcp.api import budget as budgets
from mogplex_mcp.api.budget import Budget, Budgets, Kind
from mogplex_mcp.api.start_budget import HOSTED_STARTS
from mogplex_mcp.api.transport import Route
from tests.api.conftest import open_hosted
from tests.api.scripted_upstream import ScriptedUpstream, error, ok

T = TypeVar("T")
TOKEN = "mog_AbCdEf1234567890aBcDeF1234567890"


def simulated(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work())


def now() -> float:
    return asyncio.get_running_loop().time()


def upstream_of(mogplex: SimulatedMogplex, made: Budgets, latency: tuple[float, float] = (0.01, 0.2)) -> Upstream:
    transport = SimulatedTransport(mogplex, random.Random(1), latency)
    return Upstream(Route("hosted", "test", "http://mogplex"), transport, 5, 30, made)


async def spend(budget: Budget, kind: Kind = "call", *, deadline: float = float("inf"), seconds: float = 0.0) -> float:
    """Make one request that takes so long. Returns when it was let go."""
    await budget.admit(kind, deadline=deadline)
    admitted = now()
    await asyncio.sleep(seconds)
    budget.release(kind)
    return admitted


requests = st.lists(
    st.tuples(
        st.sampled_from(["call", "call", "poll", "poll", "nudge"]),
        st.floats(0, 150),
        st.floats(0, 1),
        st.floats(0, 30),
    ),
    min_size=1,
    max_size=250,
)


@settings(max_examples=60, deadline=None)
@given(plan=requests, limit=st.integers(1, 60), patience=st.floats(0.1, 25))
def test_whatever_is_asked_whenever_mogplex_never_refuses(
    plan: list[tuple[Kind, float, float, float]], limit: int, patience: float
) -> None:
    async def work() -> None:
        mogplex = SimulatedMogplex(now, limit)
        budget = Budget(limit)
        refusals: list[tuple[str, str, bool]] = []

        async def request(kind: Kind, at: float, there: float, back: float) -> None:
            await asyncio.sleep(at)
            deadline = now() + patience if kind == "call" else float("inf")
            try:
                await budget.admit(kind, deadline=deadline)
            except MogplexError as error:
                refusals.append((kind, error.code, now() <= deadline + 0.001))
                return
            try:
                await asyncio.sleep(there)
                mogplex.answer("/", TOKEN)
                await asyncio.sleep(back)
            finally:
                budget.release(kind)

        async with asyncio.TaskGroup() as tasks:
            for each in plan:
                tasks.create_task(request(*each))
        assert mogplex.refused == 0
        assert set(refusals) <= {("call", "RATE_LIMITED", True)}
        assert budget.idle

    simulated(work)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), limit=st.integers(3, 60))
def test_whoever_goes_away_while_waiting_leaves_nothing_behind(seed: int, limit: int) -> None:
    async def work() -> None:
        rng, budget = random.Random(seed), Budget(limit)

        async def one() -> None:
            kind: Kind = rng.choice(["call", "poll", "nudge"])
            waiting = asyncio.create_task(budget.admit(kind))
            await asyncio.sleep(rng.uniform(0, 200))
            waiting.cancel()
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                budget.release(kind)

        await asyncio.gather(*(one() for _ in range(3 * limit)))
        await asyncio.sleep(budgets.WINDOW * 2)
        assert budget.idle
        started = now()
        await asyncio.gather(*(spend(budget) for _ in range(limit)))
        assert now() == started

    simulated(work)


def test_a_call_goes_before_polls_that_have_waited_longer() -> None:
    async def work() -> None:
        budget, order = Budget(6), []

        async def noted(kind: Kind, name: str) -> None:
            await spend(budget, kind)
            order.append(name)

        await asyncio.gather(*(spend(budget) for _ in range(6)))
        polls = [asyncio.create_task(noted("poll", f"poll {number}")) for number in range(2)]
        await asyncio.sleep(50)
        nudge = asyncio.create_task(noted("nudge", "nudge"))
        await asyncio.sleep(1)
        call = asyncio.create_task(noted("call", "call"))
        await asyncio.gather(*polls, nudge, call)
        assert order == ["call", "nudge", "poll 0", "poll 1"]

    simulated(work)


def test_polls_take_at_most_two_thirds_so_a_call_goes_at_once() -> None:
    async def work() -> None:
        budget = Budget(60)
        polled: list[float] = []

        async def poll() -> None:
            while now() < 300:
                polled.append(await spend(budget, "poll"))

        pollers = [asyncio.create_task(poll()) for _ in range(10)]
        for _ in range(25):
            await asyncio.sleep(10)
            asked = now()
            assert await spend(budget) == asked
        await asyncio.gather(*pollers)
        most = max(sum(at < each <= at + 60 for each in polled) for at in polled)
        assert most <= 40
        assert len(polled) > 300 / 60 * 40 * 0.95

    simulated(work)


def test_polls_are_spaced_evenly_over_the_window() -> None:
    async def work() -> None:
        budget = Budget(60)
        polled = [await spend(budget, "poll") for _ in range(100)]
        gaps = [later - earlier for earlier, later in pairwise(polled)]
        # Two went at once in the beginning; where they leave the window, so do two again.
        assert sorted(gaps)[-3] < 1.6
        assert max(gaps) < 3.1

    simulated(work)


def test_polls_share_what_calls_leave() -> None:
    async def work() -> None:
        budget = Budget(60)
        polled: list[float] = []

        async def poll() -> None:
            while now() < 240:
                polled.append(await spend(budget, "poll"))

        poller = asyncio.create_task(poll())
        while now() < 240:
            await spend(budget)
            await asyncio.sleep(1.2)  # 50 calls a minute
        await poller
        assert 5 <= len([at for at in polled if 120 < at <= 180]) <= 25

    simulated(work)


def test_a_call_at_the_limit_waits_when_its_deadline_allows() -> None:
    async def work() -> None:
        budget = Budget(3)
        for _ in range(3):
            await spend(budget)
            await asyncio.sleep(10)
        assert await spend(budget, deadline=now() + 40) == pytest.approx(60.5)

    simulated(work)


def test_a_call_that_cannot_be_in_time_is_refused_at_once_with_a_true_time_to_wait() -> None:
    async def work() -> None:
        budget = Budget(3)
        await asyncio.gather(*(spend(budget) for _ in range(3)))
        await asyncio.sleep(10)
        asked = now()
        with pytest.raises(MogplexError) as caught:
            await budget.admit("call", deadline=now() + 25)
        assert (caught.value.code, now()) == ("RATE_LIMITED", asked)
        assert caught.value.retry_after == pytest.approx(50.5)
        await asyncio.sleep(caught.value.retry_after or 0)
        asked = now()
        assert await spend(budget, deadline=now() + 1) == asked

    simulated(work)


def test_calls_that_wait_keep_their_order() -> None:
    async def work() -> None:
        budget, order = Budget(2), []

        async def noted(name: int) -> None:
            await spend(budget)
            order.append(name)

        await asyncio.gather(*(noted(number) for number in range(9)))
        assert order == list(range(9))

    simulated(work)


def test_a_429_that_others_caused_is_learned_from_and_forgotten_in_time() -> None:
    async def work() -> None:
        mogplex = SimulatedMogplex(now)
        api = MogplexApi(upstream_of(mogplex, Budgets(60)), TOKEN)
        for _ in range(60):
            mogplex.answer("/", f"Bearer {TOKEN}")  # another program of the same person
        with pytest.raises(MogplexError) as caught:
            await api.list_repos()
        assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("RATE_LIMITED", 429, 60)
        refused = mogplex.refused
        with pytest.raises(MogplexError) as again:
            await api.list_repos()
        assert mogplex.refused == refused, "it was asked again although it had said when"
        assert again.value.retry_after is not None
        assert 55 < again.value.retry_after <= 60
        await asyncio.sleep(again.value.retry_after)
        budget = Budgets(60).of(TOKEN)
        assert budget.poll_interval(1) == pytest.approx(1.5, rel=0.01)
        await api.list_repos()
        await asyncio.sleep(400)
        started = now()
        await asyncio.gather(*(api.list_repos() for _ in range(60)))
        assert now() - started < 1
        assert mogplex.refused == refused

    simulated(work)


def test_beside_another_program_polls_find_what_it_leaves() -> None:
    async def work() -> None:
        mogplex = SimulatedMogplex(now, retry_after=5)
        api = MogplexApi(upstream_of(mogplex, Budgets(60)), TOKEN, kind="poll")

        async def other() -> None:
            while now() < 1800:
                mogplex.answer("/", f"Bearer {TOKEN}")
                await asyncio.sleep(1.5)  # 40 a minute

        async def poll() -> None:
            while now() < 1800:
                try:
                    await api.list_repos()
                except MogplexError as error:
                    codes.add(error.code)

        codes: set[str] = set()
        beside = asyncio.create_task(other())
        await asyncio.gather(poll(), poll(), poll())
        await beside
        assert codes <= {"RATE_LIMITED"}
        # Naive polling beside the same program meets one at every second request.
        assert mogplex.refused < mogplex.answered / 10

    simulated(work)


def test_credentials_do_not_share_and_no_limit_is_none() -> None:
    async def work() -> None:
        made = Budgets(1)
        await spend(made.of("one"))
        assert await spend(made.of("another"), deadline=now()) == now()
        assert made.of("one") is made.of("one")
        free = Budgets().of("one")
        await asyncio.gather(*(spend(free, kind) for kind in ("call", "poll", "nudge") for _ in range(500)))
        assert now() == 0

    simulated(work)


def test_credentials_are_forgotten_when_there_are_too_many_but_not_while_they_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(budgets, "MAX_CREDENTIALS", 10)

    async def work() -> None:
        made = Budgets(1)
        used, idle = made.of("used"), made.of("idle")
        await used.admit("call")
        for number in range(10):
            made.of(str(number))
        assert made.of("used") is used
        assert made.of("idle") is not idle

    simulated(work)


@pytest.mark.parametrize(("starts", "gap", "wait"), [(10, 1, 50), (30, 61, 1770), (150, 300, 41_400)])
def test_a_start_too_many_is_refused_before_it_is_sent(starts: int, gap: float, wait: float) -> None:
    async def work() -> None:
        budget = Budgets(0, HOSTED_STARTS).of(TOKEN).starts
        for _ in range(starts):
            budget.admit()
            await asyncio.sleep(gap)
        with pytest.raises(MogplexError) as caught:
            budget.admit()
        assert caught.value.code == "RATE_LIMITED"
        assert caught.value.retry_after == pytest.approx(wait)
        await asyncio.sleep(caught.value.retry_after or 0)
        budget.admit()

    simulated(work)


START = StartRun(repo_id="repo-1", prompt="Do it.")
STARTED = {"runId": "run-1", "status": "pending"}


async def test_an_eleventh_start_in_a_minute_is_refused_without_asking(upstream: ScriptedUpstream) -> None:
    upstream.answers(ok(STARTED, 202))
    async with open_hosted(upstream.url) as way:
        api = MogplexApi(way, TOKEN)
        for _ in range(10):
            await api.start_run(START)
        with pytest.raises(MogplexError) as caught:
            await api.start_run(START)
    assert (caught.value.code, caught.value.outcome_unknown) == ("RATE_LIMITED", False)
    assert caught.value.retry_after is not None
    assert 50 < caught.value.retry_after <= 60
    assert len(upstream.requests) == 10


async def test_starts_that_make_no_run_are_not_counted(upstream: ScriptedUpstream) -> None:
    async with open_hosted(upstream.url) as way:
        api = MogplexApi(way, TOKEN)
        upstream.answers(error(409, "CONFLICT"))
        for _ in range(11):
            with pytest.raises(MogplexError):
                await api.start_run(START)
        upstream.answers(ok({**STARTED, "replayed": True}, 202))
        for _ in range(11):
            await api.start_run(START)
        for _ in range(11):
            await api.start_run(START, idempotency_key="the key of before")


async def test_a_refused_start_holds_back_starts_and_nothing_else(upstream: ScriptedUpstream) -> None:
    upstream.answers(error(429, "RATE_LIMITED", retry_after="1800"), on="POST /runs")
    async with open_hosted(upstream.url) as way:
        api = MogplexApi(way, TOKEN)
        for _ in range(2):
            with pytest.raises(MogplexError) as caught:
                await api.start_run(START)
            assert caught.value.retry_after == pytest.approx(1800, abs=30)
        await api.list_repos()
    assert [request.route for request in upstream.requests] == ["POST /runs", "GET /repos"]
