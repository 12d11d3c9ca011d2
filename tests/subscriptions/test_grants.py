"""A listener of 2026-07-28 hears nothing once what allowed it has ended."""

import asyncio

import pytest
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.exceptions import MCPError

from mogplex_mcp.store.bounds import ACCESS_LIFE
from tests.mcp.conftest import Host
from tests.mcp.test_access import Person
from tests.subscriptions.hosting import PATIENCE, RUNS, modern

SERVED = ("tools:read", "agents:run")


@pytest.mark.parametrize(("action", "typed"), [("revoke", {}), ("scopes", {"scope": ["agents:run"]})])
async def test_a_grant_that_is_revoked_or_may_not_read_any_more_ends_the_stream(
    person: Person, action: str, typed: dict[str, list[str]]
) -> None:
    agent, _ = await person.connect(*SERVED)
    async with modern(agent) as client:
        async with client.listen(resources_list_changed=True, resource_subscriptions=[RUNS]) as heard:
            await person.on_connections(action, **typed)
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(SubscriptionLost):
                    await anext(heard)
        with pytest.raises(MCPError):
            async with client.listen(resources_list_changed=True):
                pass


async def test_a_token_that_expires_ends_the_stream(host: Host, person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    later = host.store.now() + ACCESS_LIFE - 1_000
    object.__setattr__(host.store, "clock", lambda: later)
    async with modern(agent) as client, client.listen(resources_list_changed=True) as heard:
        async with asyncio.timeout(10):
            with pytest.raises(SubscriptionLost):
                await anext(heard)


async def test_who_may_not_read_may_not_listen_or_subscribe(person: Person) -> None:
    agent, _ = await person.connect("agents:run")
    body, headers = agent.modern("subscriptions/listen", {"notifications": {"resourcesListChanged": True}})
    subscribe = {"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": RUNS}}
    for refused in (await agent.post(body, **headers), await agent.post(subscribe)):
        assert refused.status_code == 403
        assert 'scope="tools:read"' in refused.headers["www-authenticate"]
