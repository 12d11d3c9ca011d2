"""Hosts of 2025-11-25 hear of what changes in their session, as long as it and what allows it last."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated

from mogplex_mcp.api import open_upstream
from mogplex_mcp.settings import Settings
from tests.api.conftest import no_embedded
from tests.api.scripted_upstream import RUN, hang, ok, scripted_upstream
from tests.mcp.conftest import Host, Json, serving
from tests.mcp.test_access import Person
from tests.mcp.test_bounds_of_connections import INITIALIZE
from tests.mcp.test_tools import call
from tests.subscriptions.hosting import IDLE_SECONDS, PACE, PATIENCE, RUNS, TOKEN, UNKNOWN, PrivateHost, session, start

SERVED = ("tools:read", "agents:run")


@dataclass(frozen=True)
class RawSession:
    """A session, request by request, and its standing stream."""

    host: Host
    session_id: str
    lines: AsyncIterator[str]
    close: Callable[[], Awaitable[None]]
    """Closes the stream; the session is left to itself."""

    async def ask(self, method: str, **params: object) -> Json:
        """One request; its result, or error."""
        body = {"jsonrpc": "2.0", "id": 2, "method": method, "params": params}
        answer = await self.host.post(body, Mcp_Session_Id=self.session_id)
        answer.raise_for_status()
        found: Json = json.loads(answer.text.split("data: ")[1])
        return found

    async def next_told(self, seconds: float = PATIENCE) -> Json:
        """The next message on the standing stream."""
        async with asyncio.timeout(seconds):
            async for line in self.lines:
                if line.startswith("data: "):
                    told: Json = json.loads(line.removeprefix("data: "))
                    return told
        raise AssertionError("the stream ended")


@asynccontextmanager
async def raw_session(host: Host) -> AsyncIterator[RawSession]:
    opened = await host.post(INITIALIZE)
    headers = {"Mcp_Session_Id": opened.headers["mcp-session-id"]}
    stream = host.http.stream("GET", host.url, headers=host.headers(Accept="text/event-stream", **headers))
    async with stream as standing:
        await host.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, **headers)
        yield RawSession(host, opened.headers["mcp-session-id"], standing.aiter_lines(), standing.aclose)


async def test_a_new_run_and_what_was_subscribed_to_is_told_of(host: Host) -> None:
    async with session(host) as heard:
        run_id = await start(host)
        await heard.until(lambda told: told == [ResourcesListChanged()])
        uris = [f"{RUNS}/{run_id}{part}" for part in ("", "/events", "/transcript")]
        for uri in [*uris, RUNS]:
            await heard.subscribe(uri)
        await heard.until(lambda told: set(told[1:]) >= {ResourceUpdated(uri) for uri in [*uris, RUNS]})
        assert (await call(host, "mogplex_follow_run", runId=run_id))["run"]["status"] == "success"


async def test_what_was_given_up_is_told_of_no_more(private: PrivateHost) -> None:
    run_id = private.run()
    events, state = f"{RUNS}/{run_id}/events", f"{RUNS}/{run_id}"
    async with session(private.host) as heard:
        for uri in (events, state):
            await heard.subscribe(uri)
        private.go_on(run_id)
        await heard.until(lambda told: ResourceUpdated(events) in told)
        await heard.unsubscribe(events)
        await heard.unsubscribe(f"{RUNS}/never-subscribed")
        told_before = len(heard.told)
        private.go_on(run_id, ends=True)
        await heard.until(lambda told: ResourceUpdated(state) in told)
        assert ResourceUpdated(events) not in heard.told[told_before + 1 :]


@pytest.mark.parametrize("part", ["", "/events", "/transcript"])
async def test_another_accounts_run_is_not_found_like_one_that_never_was(private: PrivateHost, part: str) -> None:
    run_id = private.run()
    errors = []
    async with session(private.stranger) as heard:
        for uri in (f"{RUNS}/{run_id}{part}", f"{UNKNOWN}{part}"):
            with pytest.raises(MCPError) as refused:
                await heard.subscribe(uri)
            error = refused.value.error
            errors.append((error.code, error.message, error.data == {"uri": uri}))
        assert errors == [(-32002, "Resource not found.", True)] * 2
        async with session(private.host) as owner:
            await owner.subscribe(f"{RUNS}/{run_id}{part}")
            private.go_on(run_id, ends=True)
            await owner.until(lambda told: ResourceUpdated(f"{RUNS}/{run_id}{part}") in told)
        assert heard.told == []


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("mogplex://guide", -32602),
        ("mogplex://repos", -32602),
        ("mogplex://repos/some-id", -32602),
        ("file:///etc/passwd", -32002),
        ("mogplex://runs/a/other", -32002),
    ],
)
async def test_of_what_is_not_told_no_subscription_is_taken(host: Host, uri: str, code: int) -> None:
    async with session(host) as heard:
        with pytest.raises(MCPError) as refused:
            await heard.subscribe(uri)
        assert refused.value.error.code == code


async def test_a_run_that_cannot_be_read_in_time_is_not_subscribed_to_and_can_be_later(home: Path) -> None:
    async with scripted_upstream() as mogplex:
        mogplex.answers(hang(), on="GET /runs/run-1/events")
        settings = Settings(home=home, url=mogplex.url, dev=True, mcp_call_timeout=0.3)
        async with (
            open_upstream(settings, embedded=no_embedded) as upstream,
            serving(settings, upstream, TOKEN) as host,
            session(host) as heard,
        ):
            with pytest.raises(MCPError) as refused:
                async with asyncio.timeout(5):
                    await heard.subscribe(f"{RUNS}/run-1")
            assert refused.value.error.data["code"] == "TIMEOUT"
            mogplex.answers(ok({"run": RUN, "events": []}), on="GET /runs/run-2/events")
            await heard.subscribe(f"{RUNS}/run-2")


async def test_without_a_session_there_is_nowhere_to_be_told(host: Host) -> None:
    refused = await host.rpc("resources/subscribe", {"uri": RUNS})
    assert refused["error"]["code"] == -32600
    assert "initialize" in refused["error"]["message"]


async def test_a_session_hears_of_a_hundred_resources_at_most(
    private: PrivateHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mogplex_mcp.tools.subscriptions.MAX_URIS", 2)
    run_id = private.run()
    async with session(private.host) as heard:
        await heard.subscribe(RUNS)
        await heard.subscribe(f"{RUNS}/{run_id}")
        await heard.subscribe(f"{RUNS}/{run_id}")
        with pytest.raises(MCPError, match="At most"):
            await heard.subscribe(f"{RUNS}/{run_id}/events")
        await heard.unsubscribe(RUNS)
        await heard.subscribe(f"{RUNS}/{run_id}/events")


@pytest.mark.parametrize("ended", ["by its host", "for a newer one", "idle"])
async def test_a_session_that_ends_leaves_the_run_unread(
    private: PrivateHost, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    monkeypatch.setattr("mogplex_mcp.sessions.SESSIONS_PER_CALLER", 1)
    run_id = private.run()
    async with raw_session(private.host) as heard:
        assert (await heard.ask("resources/subscribe", uri=f"{RUNS}/{run_id}"))["result"] == {}
        before = private.mogplex.answered
        await asyncio.sleep(PACE.idle * 2)
        assert private.mogplex.answered > before
        match ended:
            case "by its host":
                headers = private.host.headers(Mcp_Session_Id=heard.session_id)
                assert (await private.host.http.delete(private.host.url, headers=headers)).status_code == 200
            case "for a newer one":
                assert (await private.host.post(INITIALIZE)).status_code == 200
            case "idle":
                await heard.close()
        await asyncio.sleep(PACE.linger + PACE.idle + IDLE_SECONDS)
        before = private.mogplex.answered
        await asyncio.sleep(PACE.idle * 2)
        assert private.mogplex.answered == before


async def test_a_grant_that_may_not_read_any_more_is_told_nothing_until_it_may_again(person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    repo = (await agent.tool("mogplex_list_repos"))["structuredContent"]["repos"][0]["id"]
    begin = {"repoId": repo, "prompt": "Repair it", "createBranch": True}
    async with raw_session(agent) as heard:
        assert (await heard.ask("resources/subscribe", uri=RUNS))["result"] == {}
        await agent.tool("mogplex_start_agent_run", **begin)
        methods = {(await heard.next_told())["method"] for _ in range(2)}
        assert methods == {"notifications/resources/updated", "notifications/resources/list_changed"}

        await person.on_connections("scopes", scope=["agents:run"])
        started = await agent.tool("mogplex_start_agent_run", **begin)
        assert started["isError"] is False
        with pytest.raises(TimeoutError):
            # The stream itself goes on: it is the session's.
            await heard.next_told(1)

    await person.on_connections("scopes", scope=list(SERVED))
    async with raw_session(agent) as heard:
        await agent.tool("mogplex_start_agent_run", **begin)
        assert (await heard.next_told())["method"] == "notifications/resources/list_changed"


async def test_who_is_allowed_to_read_later_is_told_once_they_list(person: Person) -> None:
    agent, _ = await person.connect("agents:run")
    async with raw_session(agent) as heard:
        await person.on_connections("scopes", scope=list(SERVED))
        assert "resources" in (await heard.ask("resources/list"))["result"]
        repo = (await agent.tool("mogplex_list_repos"))["structuredContent"]["repos"][0]["id"]
        await agent.tool("mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
        assert (await heard.next_told())["method"] == "notifications/resources/list_changed"


async def test_a_revoked_grant_ends_what_is_told(person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    async with raw_session(agent) as heard:
        await person.on_connections("revoke")
        with pytest.raises(AssertionError, match="the stream ended"):
            await heard.next_told(10)


async def test_what_happens_before_a_session_hears_is_told_once_it_does(private: PrivateHost) -> None:
    host, uri = private.host, f"{RUNS}/{private.run()}"
    opened = await host.post(INITIALIZE)
    session_id = opened.headers["mcp-session-id"]
    await host.post({"jsonrpc": "2.0", "method": "notifications/initialized"}, Mcp_Session_Id=session_id)
    subscribe = {"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": uri}}
    await host.post(subscribe, Mcp_Session_Id=session_id)
    private.go_on(uri.rpartition("/")[2], ends=True)
    # Long enough for it to be told, to nobody.
    await asyncio.sleep(10 * PACE.busy)
    headers = host.headers(Accept="text/event-stream", Mcp_Session_Id=session_id)
    async with host.http.stream("GET", host.url, headers=headers) as standing:
        heard = RawSession(host, session_id, standing.aiter_lines(), standing.aclose)
        while (told := await heard.next_told())["method"] != "notifications/resources/updated":
            pass
        assert told["params"]["uri"] == uri


async def test_a_silent_standing_stream_is_kept_alive(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sse_starlette.sse.EventSourceResponse.DEFAULT_PING_INTERVAL", 0.05)
    async with raw_session(host) as heard, asyncio.timeout(10):
        while not (await anext(heard.lines)).startswith(": ping"):
            pass
