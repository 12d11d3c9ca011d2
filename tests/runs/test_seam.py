"""Replay and live are one: whoever follows, from whenever on, across whatever fails, sees the same events in order."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mogplex_mcp.api import MogplexError
from mogplex_mcp.runs import Watchers
from tests.runs.simulated import CREDENTIAL, Failure, Mogplex, RunScript, follow_all, rest_of, simulated

TROUBLE = (
    Failure(0),
    Failure(429, "RATE_LIMITED", "3"),
    Failure(500, "INTERNAL_ERROR"),
    Failure(502, "HTTP_ERROR"),
    Failure(503, "SERVICE_UNAVAILABLE", "60"),
    Failure(404, "NOT_FOUND"),
)

plans = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 100_000),
        "gaps": st.lists(st.floats(0, 12), max_size=40),
        "joins": st.lists(st.floats(0, 200), min_size=1, max_size=8),
        "knows_wait": st.booleans(),
        "torn": st.booleans(),
        "final_event": st.booleans(),
        "trouble": st.lists(st.one_of(st.none(), st.sampled_from(TROUBLE)), max_size=20),
    }
)


async def happen(run: RunScript, gaps: list[float], *, final_event: bool) -> None:
    """The run's life: after each gap an event; then it ends, with an event that says so or without."""
    for number, gap in enumerate(gaps):
        await asyncio.sleep(gap)
        run.add(f"event-{number}")
    await asyncio.sleep(1)
    run.end(event="finished" if final_event else None)


class Coming:
    """Somebody who follows, leaves in the middle, comes back where they were, and so on to the end."""

    def __init__(self, watchers: Watchers, rng: random.Random) -> None:
        self.seen: list[str] = []
        self._watchers = watchers
        self._rng = rng

    async def follow(self) -> None:
        while True:
            since = self.seen[-1] if self.seen else None
            try:
                async with self._watchers.follow("ann", CREDENTIAL, "run-1", since=since) as follower:
                    async with asyncio.timeout(self._rng.choice([0.1, 3, 30, 300])):
                        async for event in follower:
                            self.seen.append(event.id)
                    return
            except TimeoutError:
                await asyncio.sleep(self._rng.choice([0, 1, 40]))
            except MogplexError:
                await asyncio.sleep(5)  # the first read failed: as a host would, it comes again


@settings(max_examples=120, deadline=None)
@given(plan=plans)
def test_for_any_timing_every_follower_sees_the_same_sequence(plan: dict[str, object]) -> None:
    async def work() -> None:
        gaps, joins, trouble = plan["gaps"], plan["joins"], plan["trouble"]
        assert isinstance(gaps, list)
        assert isinstance(joins, list)
        assert isinstance(trouble, list)
        rng = random.Random(str(plan["seed"]))
        mogplex = Mogplex(knows_wait=plan["knows_wait"] is True, torn=plan["torn"] is True, rng=rng)
        mogplex.latency = 1.0 if mogplex.torn else 0.05  # so that runs end in the middle of an answer
        run = mogplex.run()
        mogplex.failures.extend(trouble)
        watchers = Watchers(mogplex.upstream("embedded" if mogplex.knows_wait else "hosted"))
        people = [Coming(watchers, rng) for _ in joins]

        async def join(person: Coming, at: float) -> None:
            await asyncio.sleep(at)
            await person.follow()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(happen(run, gaps, final_event=plan["final_event"] is True))
            for person, at in zip(people, joins, strict=True):
                tasks.create_task(join(person, at))
        await watchers.close()
        for person in people:
            assert person.seen == run.ids()

    simulated(work)


@settings(max_examples=60, deadline=None)
@given(gaps=st.lists(st.floats(0, 6), max_size=25), restart=st.floats(0, 60), knows_wait=st.booleans())
def test_after_a_restart_a_follower_goes_on_where_it_was(gaps: list[float], restart: float, knows_wait: bool) -> None:
    async def work() -> None:
        mogplex = Mogplex(knows_wait=knows_wait)
        run = mogplex.run()
        upstream = mogplex.upstream("embedded" if knows_wait else "hosted")
        before = Watchers(upstream)
        life = asyncio.create_task(happen(run, gaps, final_event=True))
        seen: list[str] = []

        async def first() -> None:
            async with before.follow("ann", CREDENTIAL, "run-1") as follower:
                async for event in follower:
                    seen.append(event.id)

        following = asyncio.create_task(first())
        await asyncio.wait({following}, timeout=restart)
        following.cancel()
        await asyncio.wait({following})
        await before.close()
        after = Watchers(upstream)
        seen += await follow_all(after, since=seen[-1] if seen else None)
        await life
        await after.close()
        assert seen == run.ids()

    simulated(work)


def test_a_run_that_ends_between_replay_and_live_is_told_to_its_end() -> None:
    async def work() -> None:
        mogplex = Mogplex(torn=True, latency=0)
        run = mogplex.run()
        run.add("event-0", "event-1")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            run.add("event-2")
            run.end()
            assert await rest_of(follower) == ["event-0", "event-1", "event-2", "run-1-end"]
            assert follower.run.status == "success"

    simulated(work)


def test_a_final_status_that_comes_before_the_last_event_does_not_cut_it_off() -> None:
    async def work() -> None:
        mogplex = Mogplex(latency=0)
        run = mogplex.run()
        run.add("event-0")
        run.end("success", event=None)
        watchers = Watchers(mogplex.upstream())

        async def late() -> None:
            await asyncio.sleep(0.3)
            run.add("event-1")

        writing = asyncio.create_task(late())
        assert await follow_all(watchers) == ["event-0", "event-1"]
        await writing

    simulated(work)


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.floats(0.01, 4), min_size=1, max_size=40))
def test_an_iteration_that_is_cancelled_loses_nothing(cuts: list[float]) -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        life = asyncio.create_task(happen(run, [0.7] * 30, final_event=True))
        watchers = Watchers(mogplex.upstream())
        seen: list[str] = []
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            for cut in cuts:
                try:
                    async with asyncio.timeout(cut):
                        while not follower.ended:
                            seen.append((await anext(follower)).id)
                except TimeoutError:
                    continue
            seen += await rest_of(follower)
        await life
        assert seen == run.ids()

    simulated(work)
