"""A Mogplex in simulated time whose runs do what a test says, and that fails when it is told to."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2

from bench.simulated_time import SimulatedLoop
from mogplex_mcp.api import Upstream
from mogplex_mcp.api.budget import Budgets
from mogplex_mcp.api.transport import Route
from mogplex_mcp.auth.caller import GivenToken
from mogplex_mcp.runs import Follower, Watchers

T = TypeVar("T")
TOKEN = "mog_AbCdEf1234567890aBcDeF1234567890"
CREDENTIAL = GivenToken(TOKEN)
SHOWN = 200


def simulated(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end on a clock that jumps."""
    with asyncio.Runner(loop_factory=SimulatedLoop) as runner:
        return runner.run(work())


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Failure:
    """An answer that is none: an error of Mogplex's, or (status 0) a connection that breaks."""

    status: int
    code: str = ""
    retry_after: str | None = None


@dataclass
class RunScript:
    """One run as it stands."""

    run_id: str
    status: str = "streaming"
    events: list[dict[str, object]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, *ids: str, kind: str = "log") -> None:
        """Events happen."""
        self.events += [{"id": each, "type": kind, "payload": {}} for each in ids]
        self._wake()

    def end(self, status: str = "success", event: str | None = "finished") -> None:
        """The run ends, by default with an event that says so."""
        self.status = status
        if event:
            self.events.append({"id": f"{self.run_id}-end", "type": event, "payload": {}})
        self._wake()

    def detail(self) -> dict[str, object]:
        return {"runId": self.run_id, "status": self.status}

    def ids(self) -> list[str]:
        return [str(event["id"]) for event in self.events]

    def _wake(self) -> None:
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass
class Mogplex(httpx2.AsyncBaseTransport):
    """The service and the way to it.

    Attributes:
        knows_wait: Whether it knows ``after`` and ``wait``, as the embedded one does.
        runs: By id.
        requests: Time and target of every request.
        failures: Given first, in this order; None lets a request through.
        torn: Read the events first and the run after that, with time in between, as a service without transactions.
    """

    knows_wait: bool = False
    runs: dict[str, RunScript] = field(default_factory=dict)
    requests: list[tuple[float, str]] = field(default_factory=list)
    failures: deque[Failure | None] = field(default_factory=deque)
    torn: bool = False
    latency: float = 0.05
    rng: random.Random = field(default_factory=lambda: random.Random(1))

    def run(self, run_id: str = "run-1") -> RunScript:
        return self.runs.setdefault(run_id, RunScript(run_id))

    def upstream(self, kind: str = "hosted", limit: int = 0) -> Upstream:
        assert kind in ("hosted", "embedded")
        route = Route("hosted" if kind == "hosted" else "embedded", "test", "http://mogplex")
        return Upstream(route, self, 5, 30, Budgets(limit))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        target = request.url.raw_path.decode()
        self.requests.append((now(), target.removeprefix("/api/v1/mogplex")))
        await asyncio.sleep(self.rng.uniform(0, self.latency))
        failure = self.failures.popleft() if self.failures else None
        if failure is not None:
            if failure.status == 0:
                raise httpx2.ReadError("the connection broke")
            headers = {} if failure.retry_after is None else {"retry-after": failure.retry_after}
            error = {"code": failure.code, "message": "So it goes."}
            return httpx2.Response(failure.status, headers=headers, json={"ok": False, "error": error})
        parts = urlsplit(target)
        status, answer = await self._answer(parts.path.removeprefix("/api/v1/mogplex/"), parse_qs(parts.query))
        await asyncio.sleep(self.rng.uniform(0, self.latency))
        return httpx2.Response(status, content=json.dumps(answer).encode())

    async def _answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, object]:
        _, run_id, *rest = path.split("/")
        run = self.runs.get(run_id)
        if run is None:
            return 404, {"ok": False, "error": {"code": "NOT_FOUND", "message": "No such run."}}
        if not rest:
            return 200, {"ok": True, "data": {"run": run.detail()}}
        events = await self._events(run, query)
        if self.torn:
            await asyncio.sleep(self.rng.uniform(0, self.latency))
        return 200, {"ok": True, "data": {"run": run.detail(), "events": events}}

    async def _events(self, run: RunScript, query: dict[str, list[str]]) -> list[dict[str, object]]:
        if not self.knows_wait:
            return run.events[:SHOWN]
        ends, status = now() + float(query.get("wait", ["0"])[0]), run.status
        while True:
            begin = run.ids().index(query["after"][0]) + 1 if "after" in query else 0
            events = run.events[begin : begin + SHOWN]
            if events or run.status != status or run.status != "streaming" or now() >= ends:
                return events
            try:
                async with asyncio.timeout(ends - now()):
                    await run.changed.wait()
            except TimeoutError:
                continue


async def follow_all(watchers: Watchers, run_id: str = "run-1", since: str | None = None) -> list[str]:
    """The ids of all events, until the run has ended."""
    async with watchers.follow("ann", CREDENTIAL, run_id, since=since) as follower:
        return await rest_of(follower)


async def rest_of(follower: Follower) -> list[str]:
    found = [event.id async for event in follower]
    assert follower.ended
    return found
