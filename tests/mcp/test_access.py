"""Our own access tokens at the endpoint: what they allow, and how soon a change is felt."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from mogplex_mcp.api import open_upstream
from mogplex_mcp.auth.access import AccessTokens
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.endings import Endings
from mogplex_mcp.auth.scopes import METHOD_SCOPES, SERVED, known_scopes
from mogplex_mcp.auth.streams import OpenStreams
from mogplex_mcp.local.embedded import embedded_transport
from mogplex_mcp.runs import Watchers
from mogplex_mcp.runs.known import KnownRuns
from mogplex_mcp.server import create_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.bounds import ACCESS_LIFE
from mogplex_mcp.store.pruning import Pruned
from mogplex_mcp.store.tables import grants
from mogplex_mcp.tools.registry import TOOL_SCOPES
from mogplex_mcp.tools.run_tasks import RunTasks
from tests.api.conftest import no_embedded
from tests.mcp.conftest import Host, new_token, serving
from tests.pages.hosting import Client, Site, Visitor, query_of

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
CONSENT = "/account/consent"
CONNECTIONS = "/account/connections"


class Person:
    """Somebody at a browser, and the agent that they connect."""

    def __init__(self, host: Host) -> None:
        base = host.url.removesuffix("/mcp")
        self.host = host
        self.site = Site(base, host.store, credentials=None)  # type: ignore[arg-type]
        self.visitor: Visitor = self.site.visitor()
        self.client: Client

    async def connect(self, *scopes: str) -> tuple[Host, dict[str, object]]:
        """Register an agent, sign in, tick these boxes; the agent as a host, and its tokens."""
        self.client = await Client.register(self.site)
        request = await self.client.begin(self.visitor)
        page = await self.visitor.get(f"{CONSENT}?request={request}")
        if page.status_code == 303:
            await self.site.sign_in_locally(self.visitor, request)
            page = await self.visitor.get(f"{CONSENT}?request={request}")
        answer = await self.visitor.submit(page, CONSENT, scope=list(scopes), decision="allow")
        tokens = await self.client.redeem(query_of(answer.headers["location"])["code"])
        return replace(self.host, token=str(tokens["access_token"])), tokens

    async def on_connections(self, action: str, **typed: Any) -> httpx2.Response:
        """Send one of the forms on the page of connected agents."""
        page = await self.visitor.get(CONNECTIONS)
        return await self.visitor.submit(page, f"{CONNECTIONS}/{action}", **typed)


@pytest.fixture
async def person(host: Host) -> AsyncIterator[Person]:
    made = Person(host)
    yield made
    for http in made.site.visitors:
        await http.aclose()


async def test_an_agent_that_was_allowed_works_without_any_mogplex_token(person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    repo = (await agent.tool("mogplex_list_repos"))["structuredContent"]["repos"][0]["id"]
    started = await agent.tool("mogplex_start_agent_run", repoId=repo, prompt="Repair it", createBranch=True)
    run_id = started["structuredContent"]["run"]["runId"]
    cancelled = await agent.tool("mogplex_cancel_run", runId=run_id)
    assert cancelled["isError"] is False


async def test_a_call_that_was_not_allowed_is_challenged_with_what_it_needs_and_the_box_to_tick(person: Person) -> None:
    agent, _ = await person.connect("tools:read")
    assert (await agent.tool("mogplex_list_repos"))["isError"] is False
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "mogplex_cancel_run"}}
    answer = await agent.post(body)
    challenge = answer.headers["www-authenticate"]
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="agents:run"' in challenge
    assert "resource_metadata=" in challenge
    assert answer.json()["error"]["code"] == -32003
    assert "Start agent runs" in answer.json()["error"]["message"]
    assert "/account/connections" in answer.json()["error"]["message"]


async def test_a_read_name_in_the_header_over_a_write_call_in_the_body_is_refused(person: Person) -> None:
    agent, _ = await person.connect("tools:read")
    body, headers = agent.modern("tools/call", {"name": "mogplex_cancel_run", "arguments": {"runId": "x"}})
    assert (await agent.post(body, **{**headers, "Mcp_Name": "mogplex_list_repos"})).status_code == 403


async def test_doubled_members_of_a_body_do_not_get_past_the_scopes(person: Person) -> None:
    agent, _ = await person.connect("tools:read")
    for name in (
        b'"name":"mogplex_list_repos","name":"mogplex_cancel_run"',
        b'"name":"mogplex_cancel_run","name":"mogplex_list_repos"',
    ):
        body = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{%s,"arguments":{"runId":"r"}}}' % name
        answer = await agent.http.post(agent.url, content=body, headers=agent.headers())
        executed = "result" in answer.json() and "NOT_FOUND" in answer.text
        assert not executed


async def test_a_batch_does_not_get_past_the_scopes(person: Person) -> None:
    agent, _ = await person.connect("tools:read")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "mogplex_cancel_run"}}
    assert (await agent.post([PING, call])).status_code == 400


async def test_a_box_that_is_ticked_later_is_felt_by_the_next_call(person: Person) -> None:
    agent, _ = await person.connect("tools:read")
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "mogplex_cancel_run"}}
    assert (await agent.post(body)).status_code == 403
    await person.on_connections("scopes", scope=list(SERVED))
    assert (await agent.post(body)).status_code == 200
    await person.on_connections("scopes", scope=["tools:read"])
    assert (await agent.post(body)).status_code == 403


async def test_revoking_is_felt_at_once_and_ends_the_open_stream(person: Person) -> None:
    agent, tokens = await person.connect(*SERVED)
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    opened = await agent.post({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client})
    session = opened.headers["mcp-session-id"]
    headers = agent.headers(Accept="text/event-stream", Mcp_Session_Id=session)
    async with agent.http.stream("GET", agent.url, headers=headers) as stream:
        assert stream.status_code == 200
        await person.on_connections("revoke")
        async with asyncio.timeout(5):
            async for _ in stream.aiter_bytes():
                pass
    assert (await agent.post(PING)).status_code == 401
    refreshed = await agent.http.post(
        agent.url.removesuffix("/mcp") + "/oauth/token",
        data={
            "grant_type": "refresh_token",
            "refresh_token": str(tokens["refresh_token"]),
            "client_id": person.client.client_id,
        },
    )
    assert refreshed.json()["error"] == "invalid_grant"


async def test_the_client_can_revoke_its_own_token(person: Person) -> None:
    agent, tokens = await person.connect(*SERVED)
    assert (await agent.post(PING)).status_code == 200
    form = {"token": str(tokens["access_token"]), "client_id": person.client.client_id}
    await agent.http.post(agent.url.removesuffix("/mcp") + "/oauth/revoke", data=form)
    assert (await agent.post(PING)).status_code == 401


async def test_an_expired_token_is_refused(host: Host, person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    later = host.store.now() + ACCESS_LIFE
    object.__setattr__(host.store, "clock", lambda: later)
    assert (await agent.post(PING)).status_code == 401


async def test_a_credential_that_mogplex_refuses_for_good_ends_the_agents_access(
    person: Person, settings: Settings
) -> None:
    agent, _ = await person.connect(*SERVED)
    await asyncio.to_thread(_revoke_all_local_tokens, settings)
    failed = await agent.tool("mogplex_list_repos")
    assert failed["structuredContent"]["error"]["code"] == "UNAUTHORIZED"
    assert "sign in" in failed["structuredContent"]["error"]["suggestion"]
    assert (await agent.post(PING)).status_code == 401


def _revoke_all_local_tokens(settings: Settings) -> None:
    from mogplex_mcp.local.database import open_database
    from mogplex_mcp.local.tokens import list_tokens, revoke_token

    database = open_database(settings)
    for row in list_tokens(database):
        if row.revoked_at is None:
            revoke_token(database, row.id)
    database.close()


@pytest.mark.parametrize("token", ["mgo_at_", "mgo_at_unknown", "mgo_at_" + "x" * 600, "mgo_rt_abc", "mgo_ac_abc"])
async def test_what_is_no_access_token_is_401(host: Host, token: str) -> None:
    assert (await replace(host, token=token).post(PING)).status_code == 401


async def test_a_token_of_ours_never_goes_upstream_and_a_mogplex_token_still_works(
    host: Host, settings: Settings
) -> None:
    token = await asyncio.to_thread(new_token, settings)
    assert (await replace(host, token=token).tool("mogplex_list_repos"))["isError"] is False


async def test_every_method_that_is_served_states_its_scopes(host: Host, settings: Settings) -> None:
    elsewhere = Settings(home=settings.home, url="https://mogplex.invalid")
    async with open_upstream(elsewhere, embedded=no_embedded) as upstream:
        known, tasks = KnownRuns(host.store), RunTasks(host.store)
        server = create_server(settings, upstream, Watchers(upstream), known, tasks)
    served = set(server._request_handlers) | {"initialize"}
    assert served - {"tools/call"} <= set(METHOD_SCOPES)
    assert {scope for scopes in TOOL_SCOPES.values() for scope in scopes} <= set(SERVED)


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        (None, SERVED),
        ("", SERVED),
        ("openid offline_access", SERVED),
        ("tools:read openid", ("tools:read",)),
        ("read", ("tools:read",)),
        ("write", ("agents:run",)),
        ("read write", SERVED),
        ("memories:read", SERVED),
    ],
)
def test_scopes_are_taken_as_hosts_mean_them(asked: str | None, known: tuple[str, ...]) -> None:
    assert known_scopes(asked) == known


async def test_a_token_is_good_at_the_address_it_was_issued_for_and_nowhere_else(
    person: Person, settings: Settings, host: Host
) -> None:
    agent, tokens = await person.connect(*SERVED)
    way = open_upstream(settings, embedded=lambda: embedded_transport(settings, may_own=True))
    async with way as upstream, serving(settings, upstream, "") as elsewhere:
        assert (await replace(elsewhere, token=agent.token).post(PING)).status_code == 401
        form = {
            "grant_type": "refresh_token",
            "refresh_token": str(tokens["refresh_token"]),
            "client_id": person.client.client_id,
        }
        refused = await elsewhere.http.post(elsewhere.url.removesuffix("/mcp") + "/oauth/token", data=form)
        assert refused.json()["error"] == "invalid_grant"
    assert (await agent.post(PING)).status_code == 200


async def test_an_attached_run_is_not_described_to_an_agent_that_may_not_read(person: Person) -> None:
    agent, _ = await person.connect("agents:run")
    client = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": client}
    answer = await agent.post(body, Mogplex_Attach_Run="run-1")
    assert answer.headers["mogplex-attach-run"] == "run-1"
    assert "tools:read is missing" in answer.text


async def test_an_attached_run_comes_first_in_the_instructions(person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    repo = (await agent.tool("mogplex_list_repos"))["structuredContent"]["repos"][0]["id"]
    start = {"repoId": repo, "prompt": "x", "createBranch": True}
    run_id = (await agent.tool("mogplex_start_agent_run", **start))["structuredContent"]["run"]["runId"]
    body, headers = agent.modern("server/discover")
    answer = await agent.post(body, **headers, Mogplex_Attach_Run=run_id)
    result = answer.json()["result"]
    assert result["instructions"].startswith(f"This host is attached to the Mogplex run {run_id}, status ")
    assert (result["cacheScope"], result["ttlMs"]) == ("private", 0)
    unknown = await agent.post(body, **headers, Mogplex_Attach_Run="00000000-0000-0000-0000-000000000000")
    assert "unknown to this account" in unknown.json()["result"]["instructions"]
    await agent.tool("mogplex_cancel_run", runId=run_id)


async def test_a_clock_that_is_set_back_does_not_make_a_memory_last(host: Host, person: Person) -> None:
    agent, _ = await person.connect(*SERVED)
    assert (await agent.post(PING)).status_code == 200
    earlier = host.store.now() - 3_600_000
    object.__setattr__(host.store, "clock", lambda: earlier)
    with host.store.db.write() as connection:
        connection.execute(update(grants).values(revoked_at=earlier))
    assert (await agent.post(PING)).status_code == 401


async def test_without_its_database_the_server_says_so_and_goes_on_afterwards(
    host: Host, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, _ = await person.connect(*SERVED)

    def broken(*_: object) -> None:
        raise OperationalError("secret statement", {}, Exception("secret host"))

    with monkeypatch.context() as broken_database:
        broken_database.setattr("mogplex_mcp.auth.access.find_access_token", broken)
        answer = await agent.post(PING)
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        assert "secret" not in answer.text
    assert (await agent.post(PING)).status_code == 200


async def test_housekeeping_and_watching_survive_a_database_that_fails(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed, went_on = asyncio.Event(), asyncio.Event()

    def prune(_: object) -> Pruned:
        if not failed.is_set():
            host_loop.call_soon_threadsafe(failed.set)
            raise OperationalError("", {}, Exception("gone"))
        host_loop.call_soon_threadsafe(went_on.set)
        return Pruned(())

    host_loop = asyncio.get_running_loop()
    monkeypatch.setattr("mogplex_mcp.auth.endings.prune", prune)
    monkeypatch.setattr("mogplex_mcp.auth.endings.HOUSEKEEPING_SECONDS", 0.05)
    credentials = Credentials(host.store, None)
    access, streams = AccessTokens(host.store, credentials), OpenStreams()
    keeping = asyncio.create_task(Endings(host.store, access, streams, credentials).keep())
    await asyncio.wait_for(went_on.wait(), 10)
    keeping.cancel()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
async def test_a_body_in_another_encoding_is_refused_before_anybody_reads_it(person: Person, encoding: str) -> None:
    agent, _ = await person.connect("tools:read")
    body = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"mogplex_cancel_run"}}'
    answer = await agent.http.post(agent.url, content=body.encode(encoding), headers=agent.headers())
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == -32700


@pytest.mark.parametrize("path", ["/mcp/", "/oauth/token/", "/account/connections/"])
async def test_an_address_with_another_slash_redirects_nowhere(host: Host, path: str) -> None:
    answer = await host.http.post(host.url.removesuffix("/mcp") + path, json={})
    assert not answer.is_redirect


@pytest.mark.parametrize("client_id", ["\0{}", " {}", "{}?", "{}/"])
async def test_only_the_exact_address_of_the_shims_document_is_the_shim(host: Host, client_id: str) -> None:
    base = host.url.removesuffix("/mcp")
    named = client_id.format(f"{base}/oauth/clients/mogplex-mcp-shim.json")
    answer = await host.http.get(f"{base}/oauth/authorize", params={"client_id": named, "response_type": "code"})
    assert answer.status_code < 500
    assert not answer.is_redirect
