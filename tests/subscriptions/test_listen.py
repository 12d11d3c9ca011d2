"""Hosts of 2026-07-28 hear of what changes, as long as they listen; and only of what is theirs."""

import asyncio
import json
import socket
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from mcp.client.subscriptions import Subscription
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp_types import SubscriptionFilter

from tests.mcp.conftest import Host
from tests.mcp.test_bounds_of_connections import INITIALIZE
from tests.mcp.test_tools import call
from tests.subscriptions.hosting import (
    PACE,
    PATIENCE,
    RUNS,
    UNKNOWN,
    PrivateHost,
    heard_until,
    listen_with_small_buffers,
    modern,
    private_host,
    start,
)


async def test_a_new_run_is_told_of_and_so_is_the_list(host: Host) -> None:
    async with (
        modern(host) as client,
        client.listen(resources_list_changed=True, resource_subscriptions=[RUNS]) as heard,
    ):
        assert heard.honored == SubscriptionFilter(resources_list_changed=True, resource_subscriptions=[RUNS])
        run_id = await start(host)
        told = await heard_until(heard, lambda told: len(told) == 2)
        assert set(told) == {ResourcesListChanged(), ResourceUpdated(RUNS)}
        # From now on the new run is followed: the list is told of again when it moves.
        assert await heard_until(heard, bool) == [ResourceUpdated(RUNS)]
        await call(host, "mogplex_cancel_run", runId=run_id)


async def test_a_run_is_told_of_until_its_end_and_nothing_that_was_not_asked_for(host: Host) -> None:
    run_id = await start(host)
    state, events, transcript = (f"{RUNS}/{run_id}{part}" for part in ("", "/events", "/transcript"))

    async def until_read_as_ended(heard: Subscription) -> set[object]:
        told: set[object] = set()
        async for event in heard:
            told.add(event)
            if (await call(host, "mogplex_get_run", runId=run_id))["run"]["status"] == "success":
                return told
        raise AssertionError("the stream ended")

    async with (
        modern(host) as client,
        client.listen(resource_subscriptions=[state]) as of_state,
        client.listen(resource_subscriptions=[events]) as of_events,
        client.listen(resource_subscriptions=[transcript, events]) as of_both,
        asyncio.timeout(40),
    ):
        told = await asyncio.gather(*(until_read_as_ended(heard) for heard in (of_state, of_events, of_both)))
    assert told == [
        {ResourceUpdated(state)},
        {ResourceUpdated(events)},
        {ResourceUpdated(transcript), ResourceUpdated(events)},
    ]


async def test_another_accounts_run_is_like_one_that_never_was(private: PrivateHost) -> None:
    run_id = private.run()
    uris = [f"{RUNS}/{run_id}{part}" for part in ("", "/events", "/transcript")]
    async with (
        modern(private.host) as owner,
        modern(private.stranger) as client,
        client.listen(resource_subscriptions=uris) as foreign,
        client.listen(resource_subscriptions=[UNKNOWN, RUNS], resources_list_changed=True) as unknown,
        owner.listen(resource_subscriptions=uris) as own,
    ):
        assert foreign.honored == SubscriptionFilter()
        assert unknown.honored == SubscriptionFilter(resources_list_changed=True, resource_subscriptions=[RUNS])
        assert own.honored == SubscriptionFilter(resource_subscriptions=uris)
        private.go_on(run_id, ends=True)
        await heard_until(own, lambda told: set(told) == {ResourceUpdated(uri) for uri in uris})
        for heard in (foreign, unknown):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await anext(heard)


async def test_however_many_listen_the_run_is_read_by_one_and_by_nobody_once_they_have_left(
    private: PrivateHost,
) -> None:
    run_id = private.run()
    state = f"{RUNS}/{run_id}"
    async with modern(private.host) as client:
        async with AsyncExitStack() as stack:
            for _ in range(20):
                heard = await stack.enter_async_context(client.listen(resource_subscriptions=[state]))
                assert heard.honored == SubscriptionFilter(resource_subscriptions=[state])
            before = private.mogplex.answered
            await asyncio.sleep(PACE.idle * 3)
            assert 0 < private.mogplex.answered - before <= 3 * PACE.idle / PACE.busy
        await asyncio.sleep(PACE.linger + PACE.idle)
        before = private.mogplex.answered
        await asyncio.sleep(PACE.idle * 2)
        assert private.mogplex.answered == before


async def test_a_client_that_takes_nothing_any_more_is_let_go(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mogplex_mcp.tools.listen.STUCK_SECONDS", 0.3)
    monkeypatch.setattr("mogplex_mcp.tools.subscriptions.PACE_SECONDS", 0)
    # What is on its way to a client fits into a few kilobytes.
    monkeypatch.setattr("tests.mcp.conftest.listen", listen_with_small_buffers)
    async with private_host(home, monkeypatch) as private:
        run_id = private.run(events=150, ends=6, padding=500)
        # One run under many names, so that there is much to tell.
        uris = [f"{RUNS}/{run_id[:place]}%78{run_id[place + 1 :]}/events" for place in range(10, 100)]
        body, headers = private.host.modern("subscriptions/listen", {"notifications": {"resourceSubscriptions": uris}})
        request = private.host.http.build_request(
            "POST", private.host.url, json=body, headers=private.host.headers(**headers)
        )
        address = httpx2.URL(private.host.url)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, (address.host, address.port))
            head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
            await loop.sock_sendall(client, f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + request.content)
            async with asyncio.timeout(PATIENCE):
                read = [-2, -1]
                while read[-1] != read[-2] or read[-1] < 5:
                    await asyncio.sleep(PACE.idle * 2)
                    read.append(private.mogplex.answered)
        # It was let go, not told everything.
        assert time.monotonic() < private.mogplex.runs[run_id].ends


async def test_a_new_run_of_somebody_else_is_not_told_of(host: Host, other_token: str) -> None:
    other = replace(host, token=other_token)
    async with (
        modern(other) as client,
        client.listen(resources_list_changed=True, resource_subscriptions=[RUNS]) as heard,
    ):
        run_id = await start(host)
        await call(host, "mogplex_follow_run", runId=run_id, until="assistant_message")
        await call(host, "mogplex_cancel_run", runId=run_id)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.6):
                await anext(heard)


async def test_what_never_changes_here_is_not_promised(host: Host) -> None:
    async with (
        modern(host) as client,
        client.listen(
            tools_list_changed=True,
            prompts_list_changed=True,
            resource_subscriptions=["mogplex://guide", "mogplex://repos", "file:///etc/passwd", RUNS, RUNS],
        ) as heard,
    ):
        assert heard.honored == SubscriptionFilter(resource_subscriptions=[RUNS])


async def test_each_era_is_told_what_can_change(host: Host) -> None:
    modern_era = (await host.post_modern("server/discover")).json()["result"]["capabilities"]
    opened = await host.post(INITIALIZE)
    in_a_session = json.loads(opened.text.split("data: ")[1])["result"]["capabilities"]
    for told in (modern_era, in_a_session):
        assert told["resources"] == {"subscribe": True, "listChanged": True}
        assert told["tools"] == told["prompts"] == {"listChanged": False}
    # Nothing can be told to a client that takes no streams.
    alone = (await host.post(INITIALIZE, Accept="application/json")).json()["result"]["capabilities"]
    assert alone["resources"] == {}


async def test_more_than_a_hundred_resources_are_refused(host: Host) -> None:
    uris = [f"{RUNS}/{number}" for number in range(101)]
    async with modern(host) as client:
        with pytest.raises(MCPError) as refused:
            async with client.listen(resource_subscriptions=uris):
                pass
    assert refused.value.error.code == -32602
    assert "100" in refused.value.error.message


async def test_there_is_room_for_so_many_and_again_once_one_is_closed(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mogplex_mcp.tools.subscriptions.SUBSCRIPTIONS_PER_ACCOUNT", 1)
    async with modern(host) as client:
        async with client.listen(resources_list_changed=True):
            with pytest.raises(MCPError, match="Too many"):
                async with client.listen(resources_list_changed=True):
                    pass
        async with asyncio.timeout(10):
            while True:
                try:
                    async with client.listen(resources_list_changed=True):
                        break
                except MCPError:
                    # The server notices that the first one is gone.
                    await asyncio.sleep(0.01)


async def test_a_silent_stream_is_kept_alive(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcp.server._streamable_http_modern._SSE_PING_INTERVAL", 0.05)
    body, headers = host.modern("subscriptions/listen", {"notifications": {"resourcesListChanged": True}})
    async with host.http.stream("POST", host.url, json=body, headers=host.headers(**headers)) as stream:
        lines = stream.aiter_lines()
        async with asyncio.timeout(10):
            assert "notifications/subscriptions/acknowledged" in [await anext(lines), await anext(lines)][1]
            while await anext(lines) != ": ping":
                pass
