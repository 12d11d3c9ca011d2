"""What one subscriber is told: each change, soon, not too often, and never more than was asked for."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from mogplex_mcp.api import MogplexApi, MogplexError
from mogplex_mcp.auth.caller import Caller
from mogplex_mcp.runs import Watchers
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import open_store
from mogplex_mcp.tools import subscriptions as module
from mogplex_mcp.tools.call import Call
from mogplex_mcp.tools.changes import Changes, RunsChanged, TaskChanged
from mogplex_mcp.tools.repo_lists import RepoLists
from mogplex_mcp.tools.subscriptions import MAX_LISTED, Notice, Subscription, Subscriptions
from tests.runs.simulated import CREDENTIAL, TOKEN, Failure, Mogplex
from tests.subscriptions.hosting import PACE, PATIENCE, RUNS

STATE, EVENTS, TRANSCRIPT = (f"{RUNS}/run-1{part}" for part in ("", "/events", "/transcript"))


async def _say_nothing(_: int, __: str) -> None: ...


class Desk:
    """A Mogplex, and what a subscription needs of this server."""

    def __init__(self, known: KnownRuns) -> None:
        self.mogplex = Mogplex(latency=0)
        upstream = self.mogplex.upstream()
        self.watchers = Watchers(upstream, pace=PACE)
        self.changes = Changes()
        self.watchers.subscribe(self.changes.tell_of_run)
        self.call = Call(
            api=MogplexApi(upstream, TOKEN),
            caller=Caller("ann", CREDENTIAL),
            repos=RepoLists(),
            watchers=self.watchers,
            known=known,
            changes=self.changes,
            start_task=None,
            report=_say_nothing,
        )


@pytest.fixture
def desk(home: Path) -> Iterator[Desk]:
    with desk_in(home) as made:
        yield made


@contextmanager
def desk_in(home: Path) -> Iterator[Desk]:
    with closing(open_store(Settings(home=home))) as store:
        yield Desk(KnownRuns(store))


async def next_of(subscription: Subscription) -> set[Notice]:
    async with asyncio.timeout(PATIENCE):
        return set(await subscription.news())


async def test_events_change_events_and_transcript_and_the_state_changes_itself_and_the_transcript(
    desk: Desk,
) -> None:
    run = desk.mogplex.run()
    with Subscriptions().open(desk.call) as subscription:
        for uri in (RUNS, STATE, EVENTS, TRANSCRIPT):
            assert await subscription.want(uri)
        # The run is new to the account, by having been looked at.
        assert await next_of(subscription) == {ResourceUpdated(RUNS)}
        run.add("event-1")
        assert await next_of(subscription) == {ResourceUpdated(EVENTS), ResourceUpdated(TRANSCRIPT)}
        run.status = "cancelling"
        assert await next_of(subscription) == {ResourceUpdated(uri) for uri in (STATE, TRANSCRIPT, RUNS)}
        run.end()
        assert await next_of(subscription) == {ResourceUpdated(uri) for uri in (STATE, EVENTS, TRANSCRIPT, RUNS)}
    await desk.watchers.close()


async def test_a_burst_is_told_once_at_once_and_once_later_and_its_last_change_is_not_lost(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACE_SECONDS", 0.3)
    with Subscriptions().open(desk.call) as subscription:
        subscription.list_changed = True
        began = time.monotonic()
        desk.changes.tell("ann", RunsChanged())
        assert await next_of(subscription) == {ResourcesListChanged()}
        assert time.monotonic() - began < 0.3
        for _ in range(1_000):
            desk.changes.tell("ann", RunsChanged())
        assert await next_of(subscription) == {ResourcesListChanged()}
        assert time.monotonic() - began >= 0.3
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await subscription.news()


async def test_whoever_reads_nothing_has_no_more_waiting_than_they_asked_for(desk: Desk) -> None:
    with Subscriptions().open(desk.call) as subscription:
        subscription.list_changed = True
        subscription.task_ids = frozenset({"task-1"})
        for number in range(10_000):
            desk.changes.tell("ann", RunsChanged())
            desk.changes.tell("ann", TaskChanged({"taskId": "task-1", "number": number}))
            desk.changes.tell("ann", TaskChanged({"taskId": "task-2"}))
            desk.changes.tell("bob", RunsChanged())
        told = await subscription.news()
        assert told == [ResourcesListChanged(), TaskChanged({"taskId": "task-1", "number": 9_999})]


async def test_a_run_that_has_ended_is_told_of_no_more_and_costs_nothing(desk: Desk) -> None:
    desk.mogplex.run().end()
    with Subscriptions().open(desk.call) as subscription:
        assert await subscription.want(STATE)
        assert await subscription.want(EVENTS)
        await asyncio.sleep(PACE.linger * 2)
        assert desk.watchers.snapshot("ann", "run-1") is None
        # Somebody looks at it anew: nothing of it has changed.
        async with desk.watchers.follow("ann", CREDENTIAL, "run-1") as follower:
            await follower.finished()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await subscription.news()
    await desk.watchers.close()


async def test_a_run_that_cannot_be_read_any_more_is_told_of_and_breaks_what_was_promised(desk: Desk) -> None:
    desk.mogplex.run()
    with Subscriptions().open(desk.call) as subscription:
        assert await subscription.want(EVENTS)
        del desk.mogplex.runs["run-1"]
        assert await next_of(subscription) == {ResourceUpdated(EVENTS)}
        assert subscription.broken
        with pytest.raises(MogplexError) as gone:
            await subscription.want(EVENTS)
        assert gone.value.code == "NOT_FOUND"
    await desk.watchers.close()


async def test_a_run_that_cannot_be_read_at_all_is_not_promised(desk: Desk) -> None:
    desk.mogplex.failures.append(Failure(403, "FORBIDDEN"))
    desk.mogplex.run()
    with Subscriptions().open(desk.call) as subscription:
        with pytest.raises(MogplexError):
            await subscription.want(STATE)
        assert not subscription.broken
        assert await subscription.want(STATE)
    await desk.watchers.close()


async def test_the_list_of_runs_follows_the_unfinished_ones_and_only_so_many(desk: Desk) -> None:
    for number in range(MAX_LISTED + 5):
        run = desk.mogplex.run(f"run-{number}")
        await desk.call.known.note("ann", run.detail())
    with Subscriptions().open(desk.call) as subscription:
        assert await subscription.want(RUNS)
        for _ in range(1_000):
            if len(watched(desk)) == MAX_LISTED:
                break
            await asyncio.sleep(0.01)
        followed = next(iter(watched(desk)))
        desk.mogplex.run(followed).end()
        assert await next_of(subscription) == {ResourceUpdated(RUNS)}
        assert len(watched(desk)) == MAX_LISTED
        subscription.unwant(RUNS)
        await asyncio.sleep(PACE.linger * 2)
        assert watched(desk) == set()
    await desk.watchers.close()


def watched(desk: Desk) -> set[str]:
    return {run_id for run_id in desk.mogplex.runs if desk.watchers.snapshot("ann", run_id) is not None}


async def test_nobody_is_followed_for_a_request_that_was_given_up(desk: Desk) -> None:
    desk.mogplex.latency = 5
    desk.mogplex.run()
    with Subscriptions().open(desk.call) as subscription:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await subscription.want(STATE)
        await asyncio.sleep(PACE.linger * 2)
        assert desk.watchers._runs == {}
    await desk.watchers.close()


async def test_requests_under_way_count_as_resources(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_URIS", 3)
    desk.mogplex.latency = 0.2
    desk.mogplex.run()
    desk.mogplex.run("run-2")
    with Subscriptions().open(desk.call) as subscription:
        uris = (STATE, EVENTS, STATE, f"{RUNS}/run-2", TRANSCRIPT)
        answers = await asyncio.gather(*(subscription.want(uri) for uri in uris), return_exceptions=True)
        assert answers[:4] == [True] * 4
        assert isinstance(answers[4], ValueError)
    await desk.watchers.close()


async def test_an_account_follows_so_many_runs_and_again_when_one_is_given_up(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUNS_PER_ACCOUNT", 2)
    for number in range(1, 4):
        desk.mogplex.run(f"run-{number}")
    subscriptions = Subscriptions()
    with subscriptions.open(desk.call) as first, subscriptions.open(desk.call) as second:
        assert await first.want(STATE)
        assert await first.want(EVENTS)
        assert await second.want(STATE)
        for subscription in (first, second):
            with pytest.raises(MogplexError) as refused:
                await subscription.want(f"{RUNS}/run-2")
            assert refused.value.code == "SERVICE_UNAVAILABLE"
        second.unwant(STATE)
        assert await first.want(f"{RUNS}/run-2")
    await desk.watchers.close()


async def test_closing_gives_what_is_left_and_then_ends(desk: Desk) -> None:
    subscriptions = Subscriptions()
    with subscriptions.open(desk.call) as subscription:
        subscription.list_changed = True
        desk.changes.tell("ann", RunsChanged())
        subscriptions.close()
        assert await subscription.news() == [ResourcesListChanged()]
        assert await subscription.news() == []
        assert await subscription.news() == []
    with subscriptions.open(desk.call) as late:
        assert await late.news() == []
