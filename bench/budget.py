"""``python -m bench.budget``: agents that follow runs and call tools on one credential for five minutes.

The budget's scheduler and the shared watchers, and beside them naive polling: every agent reads every run by itself.
In simulated time, so that it takes seconds and gives the same figures everywhere.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import click

from bench.simulated_mogplex import PlannedRun, SimulatedMogplex, SimulatedTransport
from bench.simulated_time import SimulatedLoop
from mogplex_mcp.api import MogplexApi, MogplexError, Upstream
from mogplex_mcp.api.budget import Budgets
from mogplex_mcp.api.transport import Route
from mogplex_mcp.auth.caller import GivenToken
from mogplex_mcp.runs import Pace, Watchers

TOKEN = "mog_" + "B" * 32
NAIVE_SECONDS = 1.5


@dataclass(frozen=True)
class Scenario:
    """What is played. Times in seconds.

    Attributes:
        agents: How many there are.
        runs: How many runs each of them follows.
        seconds: How long.
        window: The rolling window of the limit; all other times follow from it.
        limit: Requests per window and token.
        calls: Tool calls per window, of all agents together.
        gap: Between two events of a run, on average.
        seed: Of chance.
    """

    agents: int = 8
    runs: int = 5
    seconds: float = 300.0
    window: float = 60.0
    limit: int = 60
    calls: int = 20
    gap: float = 5.0
    seed: int = 1

    def shortened(self, factor: float) -> Scenario:
        """The same, so many times faster."""
        return Scenario(
            self.agents,
            self.runs,
            self.seconds / factor,
            self.window / factor,
            self.limit,
            self.calls,
            self.gap / factor,
            self.seed,
        )

    def plan(self, begins: float) -> dict[str, PlannedRun]:
        """The runs."""
        rng = random.Random(self.seed)  # noqa: S311 - chance, not secrecy
        ids = [f"run-{number}" for number in range(self.runs)]
        ends = begins + self.seconds
        return {name: PlannedRun.lively(name, rng, begins=begins, ends=ends, gap=self.gap) for name in ids}


@dataclass
class Outcome:
    """What came of it. Times in seconds."""

    answered: int = 0
    refused: int = 0
    delays: list[float] = field(default_factory=list)
    call_seconds: list[float] = field(default_factory=list)
    failed_calls: int = 0
    missing: int = 0

    def row(self, name: str) -> str:
        """One line of the report."""
        delays, calls = sorted(self.delays), sorted(self.call_seconds)
        p99 = delays[len(delays) * 99 // 100]
        return (
            f"{name:<34}{self.answered:>9}{self.refused:>8}{median(delays):>10.1f}{p99:>9.1f}"
            f"{median(calls):>10.2f}{calls[-1]:>10.2f}{self.failed_calls:>8}{self.missing:>9}"
        )


HEADER = (
    f"{'':<34}{'answered':>9}{'429s':>8}{'median s':>10}{'p99 s':>9}{'call s':>10}{'slowest':>10}{'failed':>8}"
    f"{'missing':>9}"
)


async def play(scenario: Scenario, upstream: Upstream, mogplex: SimulatedMogplex, *, naive: bool = False) -> Outcome:
    """Have all agents follow and call until the runs have ended."""
    outcome = Outcome()
    watchers = Watchers(upstream, pace=Pace().scaled(scenario.window / 60))
    agents = [Agent(scenario, upstream, watchers, mogplex, outcome, number) for number in range(scenario.agents)]
    async with asyncio.TaskGroup() as tasks:
        for agent in agents:
            for run_id in mogplex.runs:
                tasks.create_task(agent.poll(run_id) if naive else agent.follow(run_id))
            tasks.create_task(agent.call())
    await watchers.close()
    outcome.answered, outcome.refused = mogplex.answered, mogplex.refused
    return outcome


@dataclass
class Agent:
    """One of them."""

    scenario: Scenario
    upstream: Upstream
    watchers: Watchers
    mogplex: SimulatedMogplex
    outcome: Outcome
    number: int

    async def follow(self, run_id: str) -> None:
        """Follow a run as this server does."""
        seen = 0
        async with self.watchers.follow("account", GivenToken(TOKEN), run_id) as follower:
            async for event in follower:
                seen += 1
                self._note(event.payload)
        self.outcome.missing += len(self.mogplex.runs[run_id].events) + 1 - seen

    async def poll(self, run_id: str) -> None:
        """Follow a run as everybody would who knows of nobody else."""
        api, seen = MogplexApi(self.upstream, TOKEN, kind="poll"), 0
        pause = NAIVE_SECONDS * self.scenario.window / 60
        ends = self.mogplex.runs[run_id].ends + self.scenario.window
        while self.mogplex.clock() < ends:
            try:
                answer = await api.list_run_events(run_id)
            except MogplexError:
                await asyncio.sleep(pause)
                continue
            for event in answer.events[seen:]:
                self._note(event.payload)
            seen = len(answer.events)
            if answer.run.terminal:
                break
            await asyncio.sleep(pause)
        self.outcome.missing += len(self.mogplex.runs[run_id].events) + 1 - seen

    async def call(self) -> None:
        """Call tools now and then."""
        rng = random.Random(f"{self.scenario.seed}-{self.number}")  # noqa: S311
        ends = self.mogplex.clock() + self.scenario.seconds
        every = self.scenario.window * self.scenario.agents / self.scenario.calls
        api = MogplexApi(self.upstream, TOKEN, deadline_seconds=25 * self.scenario.window / 60)
        while True:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * every)
            started = self.mogplex.clock()
            if started > ends:
                return
            try:
                await api.list_repos()
            except MogplexError:
                self.outcome.failed_calls += 1
            self.outcome.call_seconds.append(self.mogplex.clock() - started)

    def _note(self, payload: object) -> None:
        assert isinstance(payload, dict)  # noqa: S101 - our own events
        self.outcome.delays.append(self.mogplex.clock() - payload["at"])


def simulate(scenario: Scenario, *, naive: bool = False) -> Outcome:
    """Play it in simulated time."""

    async def work() -> Outcome:
        loop = asyncio.get_running_loop()
        mogplex = SimulatedMogplex(loop.time, scenario.limit, scenario.window, scenario.window)
        mogplex.runs = scenario.plan(loop.time())
        transport = SimulatedTransport(mogplex, random.Random(scenario.seed))  # noqa: S311
        budgets = Budgets(0 if naive else scenario.limit, window=scenario.window)
        upstream = Upstream(Route("hosted", "bench", "http://mogplex"), transport, 5, 30, budgets)
        return await play(scenario, upstream, mogplex, naive=naive)

    return in_simulated_time(work)


def in_simulated_time(work: Callable[[], Coroutine[Any, Any, Outcome]]) -> Outcome:
    """Run to the end on a clock that jumps."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work())


@click.command()
def main() -> None:
    """Play the five minutes with five runs and with two, and naive polling beside each.

    Fails when the scheduler meets a 429, loses an event, or is slower than it promises.
    """
    click.echo(HEADER)
    problems = []
    for runs, promised in ((5, 4.5), (2, 2.0)):
        found = simulate(Scenario(runs=runs))
        click.echo(found.row(f"8 agents, {runs} runs"))
        click.echo(simulate(Scenario(runs=runs), naive=True).row(f"8 agents, {runs} runs, naive polling"))
        if found.refused or found.missing or found.failed_calls or median(found.delays) > promised:
            problems.append(f"{runs} runs")
    if problems:
        raise click.ClickException(f"not as promised: {', '.join(problems)}")


if __name__ == "__main__":
    main()
