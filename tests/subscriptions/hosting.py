"""Agent hosts that listen, in either protocol era."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import httpx2
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.session import MessageHandlerFnT
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated, ServerEvent

from bench.simulated_mogplex import PlannedRun, SimulatedMogplex
from mogplex_mcp.runs import Pace, Watchers
from mogplex_mcp.serving import listen
from mogplex_mcp.settings import Settings
from tests.mcp.conftest import Host, serving
from tests.mcp.test_tools import call, demo_repo
from tests.runs.hosting import over_http

PATIENCE = 30.0
PACE = Pace().scaled(0.02)
IDLE_SECONDS = 0.5
"""Sessions without a request under way end after so long, in tests with a private Mogplex."""
TOKEN = "mog_tests0123456789"
RUNS = "mogplex://runs"
UNKNOWN = f"{RUNS}/00000000-0000-0000-0000-000000000000"


@asynccontextmanager
async def modern(host: Host) -> AsyncIterator[Client]:
    """A client of 2026-07-28."""
    headers = {"Authorization": f"Bearer {host.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(host.url, http_client=http), mode="2026-07-28") as client,
    ):
        yield client


@dataclass
class Session:
    """A client of 2025-11-25, in a session, and what it was told of."""

    client: Client = field(init=False)
    told: list[ServerEvent] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def subscribe(self, uri: str) -> None:
        """``resources/subscribe``; the client's own method warns that the next revision has none."""
        params = types.SubscribeRequestParams(uri=uri)
        await self.client.session.send_request(types.SubscribeRequest(params=params), types.EmptyResult)

    async def unsubscribe(self, uri: str) -> None:
        """``resources/unsubscribe``."""
        params = types.UnsubscribeRequestParams(uri=uri)
        await self.client.session.send_request(types.UnsubscribeRequest(params=params), types.EmptyResult)

    async def until(self, is_there: Callable[[list[ServerEvent]], bool]) -> None:
        """Wait until what was told is as wanted."""
        async with asyncio.timeout(PATIENCE), self.news:
            await self.news.wait_for(lambda: is_there(self.told))


def hearing(heard: Session) -> MessageHandlerFnT:
    """What a client calls with what it is told."""

    async def hear(message: object) -> None:
        match message:
            case types.ResourceUpdatedNotification():
                event: ServerEvent = ResourceUpdated(str(message.params.uri))
            case types.ResourceListChangedNotification():
                event = ResourcesListChanged()
            case _:
                return
        async with heard.news:
            heard.told.append(event)
            heard.news.notify_all()

    return hear


@asynccontextmanager
async def session(host: Host) -> AsyncIterator[Session]:
    """A client of 2025-11-25 that hears what it is told."""
    headers = {"Authorization": f"Bearer {host.token}"}
    heard = Session()
    standing = asyncio.Event()

    async def note(response: httpx2.Response) -> None:
        if response.request.method == "GET":
            standing.set()

    hooks = {"response": [note]}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, event_hooks=hooks) as http,
        Client(
            streamable_http_client(host.url, http_client=http), mode="legacy", message_handler=hearing(heard)
        ) as client,
    ):
        heard.client = client
        async with asyncio.timeout(PATIENCE):
            # What is pushed before nobody hears.
            await standing.wait()
        yield heard


async def start(host: Host) -> str:
    """Start a run; its id."""
    repo = await demo_repo(host)
    started = await call(host, "mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
    run_id: str = started["run"]["runId"]
    return run_id


async def heard_until(subscription: Subscription, is_enough: Callable[[list[ServerEvent]], bool]) -> list[ServerEvent]:
    """What is told, until it is as wanted."""
    told: list[ServerEvent] = []
    async with asyncio.timeout(PATIENCE):
        async for event in subscription:
            told.append(event)
            if is_enough(told):
                return told
    raise AssertionError(f"the stream ended after {told}")


@dataclass
class PrivateMogplex(SimulatedMogplex):
    """A Mogplex that shows runs to one token alone."""

    def answer(self, path: str, token: str) -> tuple[int, dict[str, str], bytes]:
        """To others no run is there."""
        shown = self if token == f"Bearer {TOKEN}" else SimulatedMogplex(self.clock, limit=0)
        return SimulatedMogplex.answer(shown, path, token)


@dataclass(frozen=True)
class PrivateHost:
    """A host whose runs nobody else may read, and a stranger's host, on one server."""

    host: Host
    mogplex: PrivateMogplex

    @property
    def stranger(self) -> Host:
        """A host with another token."""
        return replace(self.host, token=TOKEN + "x")

    def run(self, *, events: int = 0, ends: float = float("inf"), padding: int = 0) -> str:
        """A run that began now.

        Args:
            events: How many it has, until it ends.
            ends: Seconds from now; it goes on for ever unless given.
            padding: Characters that make its id longer.
        """
        now = time.monotonic()
        run_id = f"run-{len(self.mogplex.runs) + 1}" + "x" * padding
        came = tuple(now + (number + 1) * ends / (events + 1) for number in range(events))
        self.mogplex.runs[run_id] = PlannedRun(run_id, came, now + ends)
        return run_id

    def go_on(self, run_id: str, *, ends: bool = False) -> None:
        """Something happens in a run, now; it may be its end."""
        run, now = self.mogplex.runs[run_id], time.monotonic()
        self.mogplex.runs[run_id] = replace(run, events=(*run.events, now), ends=now if ends else run.ends)


@asynccontextmanager
async def private_host(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateHost]:
    """A server over hosted Mogplex, which reads runs and tells of them many times as often as it should."""
    monkeypatch.setattr("mogplex_mcp.app.Watchers", partial(Watchers, pace=PACE))
    monkeypatch.setattr("mogplex_mcp.tools.subscriptions.PACE_SECONDS", 0.05)
    monkeypatch.setattr("mogplex_mcp.app.SESSION_IDLE_SECONDS", IDLE_SECONDS)
    mogplex = PrivateMogplex(time.monotonic, limit=0)
    settings = Settings(home=home, url="http://127.0.0.1:1", dev=True, api_rate_limit=0)
    async with over_http(mogplex) as upstream, serving(settings, upstream, TOKEN) as host:
        yield PrivateHost(host, mogplex)


def listen_with_small_buffers(host: str, port: int) -> socket.socket:
    """Like the server's own, but what the network takes off its hands is little."""
    listening = listen(host, port)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    return listening
