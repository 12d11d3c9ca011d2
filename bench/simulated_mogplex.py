"""A Mogplex whose runs do what a plan says, with the documented request limit, on whatever clock there is.

Source: Mogplex documentation, /web/api/runs and /web/api/authentication ("Rate limits").
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx2

PREFIX = "/api/v1/mogplex"
EVENTS_SHOWN = 200

_RUN = re.compile(PREFIX + r"/runs/([^/?]+)(/events)?")


@dataclass(frozen=True)
class PlannedRun:
    """One run.

    Attributes:
        run_id: Its id.
        events: When each event comes, ascending, on the clock.
        ends: When it ends, on the clock.
    """

    run_id: str
    events: tuple[float, ...]
    ends: float = float("inf")

    @classmethod
    def lively(cls, run_id: str, rng: random.Random, *, begins: float, ends: float, gap: float) -> PlannedRun:
        """One with events at random, ``gap`` seconds apart on average, that ends after the last of them."""
        events: list[float] = []
        at = begins + rng.expovariate(1 / gap)
        while at < ends and len(events) < EVENTS_SHOWN - 1:
            events.append(at)
            at += rng.expovariate(1 / gap)
        return cls(run_id, tuple(events), ends)

    def detail(self, now: float) -> dict[str, object]:
        """The run as the API shows it."""
        return {"runId": self.run_id, "status": "success" if now >= self.ends else "streaming", "repoId": "repo"}

    def shown(self, now: float) -> list[dict[str, object]]:
        """Its events so far, as the API shows them."""
        came = [at for at in self.events if at <= now]
        shown = [_event(f"{self.run_id}-{number}", "log", at) for number, at in enumerate(came)]
        if now >= self.ends:
            shown.append(_event(f"{self.run_id}-end", "finished", self.ends))
        return shown[:EVENTS_SHOWN]


def _event(event_id: str, kind: str, at: float) -> dict[str, object]:
    return {"id": event_id, "type": kind, "message": "", "payload": {"at": at}, "createdAt": "2026-11-21T00:00:00Z"}


@dataclass
class SimulatedMogplex:
    """The service.

    Attributes:
        clock: Seconds that only grow.
        limit: Requests per window and token; 0 is no limit.
        window: Seconds of the rolling window.
        retry_after: What a refusal asks to wait, in seconds; the documentation's is the whole window.
        runs: By id.
        answered: How many requests were answered.
        refused: How many were refused for the limit.
    """

    clock: Callable[[], float]
    limit: int = 60
    window: float = 60.0
    retry_after: float = 60.0
    runs: dict[str, PlannedRun] = field(default_factory=dict)
    answered: int = 0
    refused: int = 0
    _seen: dict[str, deque[float]] = field(default_factory=dict)

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer to a GET."""
        now = self.clock()
        if not self._admits(token, now):
            self.refused += 1
            error = {"code": "RATE_LIMITED", "message": "Rate limit exceeded."}
            return 429, {"retry-after": f"{self.retry_after:g}"}, _json({"ok": False, "error": error})
        self.answered += 1
        found = _RUN.match(path)
        if found is None:
            return 200, {}, _json({"ok": True, "data": {"repos": []}})
        run = self.runs.get(found[1])
        if run is None:
            return 404, {}, _json({"ok": False, "error": {"code": "NOT_FOUND", "message": "No such run."}})
        events = {"events": run.shown(now)} if found[2] else {}
        return 200, {}, _json({"ok": True, "data": {"run": run.detail(now), **events}})

    def _admits(self, token: str, now: float) -> bool:
        if not self.limit:
            return True
        seen = self._seen.setdefault(token, deque())
        while seen and seen[0] <= now - self.window:
            seen.popleft()
        if len(seen) >= self.limit:
            return False
        seen.append(now)
        return True


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


class SimulatedTransport(httpx2.AsyncBaseTransport):
    """The way to it, with a latency at random in both directions.

    Args:
        mogplex: The service.
        rng: Where chance comes from.
        latency: Seconds one way: the least and the most.
    """

    def __init__(
        self, mogplex: SimulatedMogplex, rng: random.Random, latency: tuple[float, float] = (0.02, 0.1)
    ) -> None:
        self._mogplex = mogplex
        self._rng = rng
        self._latency = latency

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        await asyncio.sleep(self._rng.uniform(*self._latency))
        status, headers, body = self._mogplex.answer(request.url.raw_path.decode(), request.headers["authorization"])
        await asyncio.sleep(self._rng.uniform(*self._latency))
        return httpx2.Response(status, headers={"content-type": "application/json", **headers}, content=body)
