"""One poller a run, at the right pace, with the right credential; what others see of it. In simulated time."""

from __future__ import annotations

import asyncio
import gc
from contextvars import ContextVar
from itertools import pairwise

import pytest

from mogplex_mcp.api import MogplexApi, MogplexError
from mogplex_mcp.runs import Change, Watchers, watcher
from mogplex_mcp.runs.history import History
from mogplex_mcp.runs.watched_run import HISTORY_FULL, WINDOW_FULL
from tests.runs.simulated import CREDENTIAL, TOKEN, Failure, Mogplex, follow_all, now, rest_of, simulated


def gaps(mogplex: Mogplex) -> list[float]:
    """Seconds between two requests."""
    times = [at for at, _ in mogplex.requests]
    return [later - earlier for earlier, later in pairwise(times)]


def test_however_many_follow_there_is_one_poller() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream())
        following = [asyncio.create_task(follow_all(watchers)) for _ in range(50)]
        for number in range(20):
            await asyncio.sleep(1)
            run.add(f"event-{number}")
        run.end()
        assert [await each for each in following] == [run.ids()] * 50
        assert len(mogplex.requests) < 20

    simulated(work)


def test_it_reads_often_while_something_happens_and_slower_while_nothing_does() -> None:
    async def work() -> None:
        mogplex = Mogplex(latency=0)
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream())
        following = asyncio.create_task(follow_all(watchers))
        for number in range(10):
            run.add(f"event-{number}")
            await asyncio.sleep(1.5)
        assert max(gaps(mogplex)) == pytest.approx(1.5)
        await asyncio.sleep(120)
        assert gaps(mogplex)[-1] == pytest.approx(10)
        run.add("news")
        await asyncio.sleep(10)
        run.add("more news")
        await asyncio.sleep(10)
        assert min(gaps(mogplex)[-5:]) == pytest.approx(1.5)
        run.end()
        await following

    simulated(work)


def test_a_nudge_reads_at_once() -> None:
    async def work() -> None:
        mogplex = Mogplex(latency=0)
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            await asyncio.sleep(200)
            run.end("cancelled")
            asked = now()
            watchers.nudge("ann", "run-1")
            assert await rest_of(follower) == ["run-1-end"]
            assert now() - asked < 0.1
        watchers.nudge("ann", "another")

    simulated(work)


def test_coming_back_within_half_a_minute_costs_nothing_and_later_it_is_watched_no_more() -> None:
    async def work() -> None:
        mogplex = Mogplex(latency=0)
        run = mogplex.run()
        run.add("event-0")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            await anext(follower)
        await asyncio.sleep(29)
        assert len(mogplex.requests) <= 5
        before = len(mogplex.requests)
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            assert (await anext(follower)).id == "event-0"
            assert len(mogplex.requests) == before
        await asyncio.sleep(31)
        assert watchers.snapshot("ann", "run-1") is None
        before = len(mogplex.requests)
        await asyncio.sleep(600)
        assert len(mogplex.requests) == before

    simulated(work)


def test_a_run_that_has_ended_is_read_no_more_and_replayed_from_memory() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        run.add("event-0")
        run.end()
        watchers = Watchers(mogplex.upstream())
        assert await follow_all(watchers) == await follow_all(watchers) == ["event-0", "run-1-end"]
        assert await follow_all(watchers, since="event-0") == ["run-1-end"]
        assert await follow_all(watchers, since="run-1-end") == []
        assert len(mogplex.requests) == 1

    simulated(work)


def test_a_run_that_is_not_there_is_said_so_to_whoever_asks_and_asked_about_anew() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        watchers = Watchers(mogplex.upstream())
        for _ in range(2):
            asked = [asyncio.create_task(follow_all(watchers)) for _ in range(3)]
            await asyncio.wait(asked)
            for each in asked:
                error = each.exception()
                assert isinstance(error, MogplexError)
                assert error.code == "NOT_FOUND"
        assert len(mogplex.requests) == 2
        mogplex.run().end()
        assert await follow_all(watchers) == ["run-1-end"]

    simulated(work)


def test_an_event_that_is_none_of_the_runs_cannot_be_followed_on_from() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run().add("event-0")
        with pytest.raises(MogplexError) as caught:
            await follow_all(Watchers(mogplex.upstream()), since="event-of-another-run")
        assert caught.value.code == "BAD_REQUEST"

    simulated(work)


def test_accounts_share_nothing() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run().add("event-0")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1"):
            assert watchers.snapshot("bob", "run-1") is None
            mogplex.failures.append(Failure(404, "NOT_FOUND"))
            with pytest.raises(MogplexError):
                async with watchers.follow("bob", CREDENTIAL, "run-1"):
                    pass
            assert watchers.snapshot("ann", "run-1") is not None

    simulated(work)


@pytest.mark.parametrize("code", ["NOT_FOUND", "FORBIDDEN", "UNAUTHORIZED"])
def test_a_run_that_can_be_read_no_more_ends_its_followers_after_what_is_there(code: str) -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run().add("event-0")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            mogplex.failures.extend([Failure(401, code)] * 10)
            assert (await anext(follower)).id == "event-0"
            with pytest.raises(MogplexError) as caught:
                await anext(follower)
            assert (caught.value.code, follower.ended) == (code, False)
        assert watchers.snapshot("ann", "run-1") is None

    simulated(work)


class Renewing:
    """A credential whose first token is refused in the middle, once."""

    def __init__(self) -> None:
        self.now = "mog_first"
        self.asked = 0

    async def token(self) -> str:
        return self.now

    async def refused(self, token: str) -> bool:
        self.asked += 1
        self.now = "mog_second"
        return token == "mog_first"


def test_a_token_that_is_renewed_in_the_middle_is_no_trouble() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        run.add("event-0")
        watchers, credential = Watchers(mogplex.upstream()), Renewing()
        async with watchers.follow("ann", credential, "run-1") as follower:
            mogplex.failures.append(Failure(401, "UNAUTHORIZED"))
            run.end()
            assert await rest_of(follower) == ["event-0", "run-1-end"]
        assert credential.asked == 1

    simulated(work)


def test_another_followers_credential_takes_over_when_the_first_is_revoked() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        run.add("event-0")
        watchers, revoked = Watchers(mogplex.upstream()), Renewing()
        revoked.now = "mog_second"
        async with (
            watchers.follow("ann", revoked, "run-1") as first,
            watchers.follow("ann", CREDENTIAL, "run-1") as second,
        ):
            mogplex.failures.append(Failure(401, "UNAUTHORIZED"))
            run.end()
            assert await rest_of(first) == await rest_of(second) == ["event-0", "run-1-end"]

    simulated(work)


def test_past_the_window_the_status_still_moves_and_followers_are_told_what_is_missing() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        run.add(*(f"event-{number}" for number in range(150)))
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            truncated = [follower.truncated]
            run.add(*(f"event-{number}" for number in range(150, 260)))
            seen = [(await anext(follower)).id for _ in range(200)]
            assert seen == run.ids()[:200]
            run.end("failed")
            assert await rest_of(follower) == []
            assert [*truncated, follower.truncated] == [None, WINDOW_FULL]
            assert (follower.run.status, follower.ended) == ("failed", True)
        # Late comers are told, too, and a full window is not read again and again.
        assert mogplex.requests[-1][1] == "/runs/run-1"
        assert len(await follow_all(watchers)) == 200

    simulated(work)


def test_a_mogplex_that_knows_how_to_wait_gives_all_events_at_once_as_they_come() -> None:
    async def work() -> None:
        mogplex = Mogplex(knows_wait=True, latency=0)
        run = mogplex.run()
        run.add(*(f"event-{number}" for number in range(450)))
        watchers = Watchers(mogplex.upstream("embedded", limit=2))
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            for _ in range(450):
                await anext(follower)
            assert now() < 1
            for number in range(450, 900):
                await asyncio.sleep(3)
                run.add(f"event-{number}")
                came = now()
                assert (await anext(follower)).id == f"event-{number}"
                assert now() - came < 0.05
            run.end()
            assert await rest_of(follower) == ["run-1-end"]
            assert follower.truncated is None

    simulated(work)


def test_a_hosted_mogplex_is_asked_once_whether_it_knows_how_to_wait() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        watchers = Watchers(mogplex.upstream())
        for run_id in ("run-1", "run-2"):
            run = mogplex.run(run_id)
            run.add("event-0")
            following = asyncio.create_task(follow_all(watchers, run_id))
            await asyncio.sleep(30)
            run.end()
            await following
        assert sum("wait=" in target for _, target in mogplex.requests) == 1

    simulated(work)


def test_a_mogplex_that_refuses_what_it_does_not_know_is_polled() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        run.add("event-0")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            mogplex.failures.append(Failure(400, "BAD_REQUEST"))
            await asyncio.sleep(20)
            run.end()
            assert await rest_of(follower) == ["event-0", "run-1-end"]

    simulated(work)


def test_an_embedded_one_of_an_older_version_is_polled_and_not_hammered() -> None:
    async def work() -> None:
        mogplex = Mogplex(knows_wait=False)
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream("embedded"))
        following = asyncio.create_task(follow_all(watchers))
        await asyncio.sleep(60)
        run.add("event-0")
        await asyncio.sleep(60)
        run.end()
        await following
        assert len(mogplex.requests) < 60

    simulated(work)


def test_errors_are_borne_with_growing_patience() -> None:
    async def work() -> None:
        mogplex = Mogplex(latency=0)
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            mogplex.failures.extend([Failure(500, "INTERNAL_ERROR")] * 8)
            await asyncio.sleep(20)
            known = watchers.snapshot("ann", "run-1")
            assert known is not None
            assert known.trouble is not None
            assert known.trouble.code == "INTERNAL_ERROR"
            run.end()
            assert await rest_of(follower) == ["run-1-end"]
        assert max(gaps(mogplex)) == pytest.approx(30)
        assert len(mogplex.requests) <= 11

    simulated(work)


def test_listeners_hear_of_every_change_and_a_broken_one_harms_nobody() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        run = mogplex.run()
        watchers = Watchers(mogplex.upstream())
        heard: list[tuple[str, str, Change]] = []

        def broken(*_: object) -> None:
            raise ValueError("a listener of somebody's")

        watchers.subscribe(broken)
        unsubscribe = watchers.subscribe(lambda *what: heard.append(what))
        following = asyncio.create_task(follow_all(watchers))
        await asyncio.sleep(5)
        run.add("event-0")
        await asyncio.sleep(15)
        run.end()
        await following
        changes: list[Change] = ["run", "events", "events", "run", "ended"]
        assert heard == [("ann", "run-1", change) for change in changes]
        unsubscribe()
        await watchers.close()

    simulated(work)


def test_who_is_stopped_with_the_server_is_told_so() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run()
        watchers = Watchers(mogplex.upstream())
        following = asyncio.create_task(follow_all(watchers))
        await asyncio.sleep(1)
        await watchers.close()
        with pytest.raises(MogplexError) as caught:
            await following
        assert caught.value.code == "SERVICE_UNAVAILABLE"
        assert len(asyncio.all_tasks()) == 1

    simulated(work)


def test_once_stopped_nothing_is_followed_any_more() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run()
        watchers = Watchers(mogplex.upstream())
        watchers.stop()
        with pytest.raises(MogplexError, match="stopping"):
            await follow_all(watchers)
        assert mogplex.requests == []

    simulated(work)


async def wait_for(watchers: Watchers, run_id: str) -> None:
    """Follow a run as one who only listens."""
    async with watchers.follow("ann", CREDENTIAL, run_id, kind="nudge") as follower:
        await follower.finished()


def test_whoever_only_listens_leaves_room_for_calls() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        ids = [mogplex.run(f"run-{number}").run_id for number in range(100)]
        upstream = mogplex.upstream(limit=60)
        watchers = Watchers(upstream)
        listening = [asyncio.create_task(wait_for(watchers, run_id)) for run_id in ids]
        await asyncio.sleep(1)
        assert len(mogplex.requests) == 40
        began = now()
        await MogplexApi(upstream, TOKEN).get_run(ids[0])
        # One that is in the queue of the listeners does not wait there.
        async with watchers.follow("ann", CREDENTIAL, ids[-1]) as follower:
            assert follower.run.run_id == ids[-1]
        assert now() - began < 1
        await asyncio.sleep(120)
        assert len({target for _, target in mogplex.requests}) > 100
        for each in listening:
            each.cancel()
        await watchers.close()

    simulated(work)


@pytest.mark.parametrize(
    "failure", [Failure(502, "SERVICE_UNAVAILABLE"), Failure(0), Failure(429, "RATE_LIMITED", "5")]
)
def test_whoever_only_listens_bears_a_first_read_that_fails(failure: Failure) -> None:
    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run().end()
        mogplex.failures.append(failure)
        await wait_for(Watchers(mogplex.upstream(limit=60)), "run-1")
        assert len(mogplex.requests) >= 2

    simulated(work)


def test_as_many_runs_as_there_may_be_make_room_for_others_when_nobody_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "MAX_RUNS", 2)

    async def work() -> None:
        mogplex = Mogplex()
        for number in range(4):
            mogplex.run(f"run-{number}")
        watchers = Watchers(mogplex.upstream())
        async with watchers.follow("ann", CREDENTIAL, "run-0"):
            async with watchers.follow("ann", CREDENTIAL, "run-1"):
                with pytest.raises(MogplexError) as caught:
                    await follow_all(watchers, "run-2")
                assert caught.value.code == "SERVICE_UNAVAILABLE"
            async with watchers.follow("ann", CREDENTIAL, "run-2"):
                assert watchers.snapshot("ann", "run-1") is None
                assert watchers.snapshot("ann", "run-0") is not None

    simulated(work)


def test_events_that_are_not_kept_are_read_again_for_who_comes_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(History.__init__, "__defaults__", (10, 10_000))

    async def work() -> None:
        for knows_wait in (True, False):
            mogplex = Mogplex(knows_wait=knows_wait)
            run = mogplex.run()
            run.add(*(f"event-{number}" for number in range(600 if knows_wait else 150)))
            watchers = Watchers(mogplex.upstream("embedded" if knows_wait else "hosted"))
            async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
                await asyncio.sleep(20)
                mogplex.failures.extend([Failure(500, "INTERNAL_ERROR")] * 4)
                run.end()
                assert await rest_of(follower) == run.ids()
            known = watchers.snapshot("ann", "run-1")
            assert known is not None
            assert (len(known.events), known.complete) == (10, False)

    simulated(work)


def test_more_events_than_are_taken_end_in_a_reason_and_not_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.runs.history.MAX_SEEN", 300)

    async def work() -> None:
        mogplex = Mogplex(knows_wait=True)
        run = mogplex.run()
        run.add(*(f"event-{number}" for number in range(500)))
        watchers = Watchers(mogplex.upstream("embedded"))
        async with watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            for _ in range(300):
                await anext(follower)
            await asyncio.sleep(60)
            assert len(mogplex.requests) < 20
            run.end()
            assert await rest_of(follower) == []
            assert follower.truncated == HISTORY_FULL

    simulated(work)


REQUEST: ContextVar[str] = ContextVar("REQUEST", default="none")


def test_the_poller_acts_outside_the_request_that_began_it() -> None:
    seen: list[str] = []

    class Asked:
        async def token(self) -> str:
            seen.append(REQUEST.get())
            return "mog_token"

        async def refused(self, token: str) -> bool:
            return token == ""

    async def work() -> None:
        mogplex = Mogplex()
        mogplex.run().end()
        REQUEST.set("somebody's request")
        async with Watchers(mogplex.upstream()).follow("ann", Asked(), "run-1") as follower:
            await rest_of(follower)

    simulated(work)
    assert set(seen) == {"none"}


def test_nothing_is_left_of_runs_that_were_followed() -> None:
    async def work() -> None:
        mogplex = Mogplex()
        watchers = Watchers(mogplex.upstream())
        for number in range(20):
            run = mogplex.run(f"run-{number}")
            run.end()
            await follow_all(watchers, run.run_id)
        await asyncio.sleep(60)
        gc.collect()
        assert not watchers._runs
        assert len(asyncio.all_tasks()) == 1

    simulated(work)
