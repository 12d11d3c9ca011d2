"""The page of connected agents."""

from pathlib import Path

import httpx2

from mogplex_mcp.local.database import open_database
from mogplex_mcp.local.tokens import list_tokens
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import note_use
from tests.pages.hosting import Client, Site, Visitor, hidden_fields, query_of, until

PAGE = "/account/connections"
SCOPES = f"{PAGE}/scopes"
REVOKE = f"{PAGE}/revoke"
REVOKE_ALL = f"{PAGE}/revoke-all"


async def connect(site: Site, visitor: Visitor, name: str = "Test host", *scopes: str) -> str:
    """Connect a client; its access token."""
    client = await Client.register(site, name)
    request = await client.begin(visitor)
    page = await visitor.get(f"/account/consent?request={request}")
    answer = await visitor.submit(page, "/account/consent", scope=scopes or ("tools:read",), decision="allow")
    token: str = (await client.redeem(query_of(answer.headers["location"])["code"]))["access_token"]
    return token


async def owner(site: Site) -> Visitor:
    """Somebody who is signed in."""
    visitor = site.visitor()
    await site.sign_in_locally(visitor)
    return visitor


async def load(visitor: Visitor) -> httpx2.Response:
    """The page."""
    page = await visitor.get(PAGE)
    assert page.status_code == 200
    return page


async def test_every_agent_is_shown_with_what_it_asked_for_and_what_it_may_do(site: Site) -> None:
    visitor = await owner(site)
    await connect(site, visitor, "Alpha")
    await connect(site, visitor, "Beta", "tools:read", "agents:run")
    page = (await load(visitor)).text
    assert "Alpha" in page
    assert "Beta" in page
    assert page.count("never") == 2
    assert page.count('value="agents:run"') == 2
    assert page.count("<code>agents:run</code>") >= 2


async def test_last_use_is_shown_with_its_address(site: Site, store: Store) -> None:
    visitor = await owner(site)
    token = await connect(site, visitor)
    record = await site.access(token)
    assert record is not None
    await store.db.call(note_use, store, record.grant_id, record.token_hash, store.now(), "203.0.113.7")
    page = (await load(visitor)).text
    assert "203.0.113.7" in page
    assert "never" not in page


async def test_a_box_that_is_added_or_dropped_is_felt_at_once(site: Site) -> None:
    visitor = await owner(site)
    token = await connect(site, visitor)
    assert (await site.call(token, "mogplex_cancel_run", run_id="x")).status_code == 403
    answer = await visitor.submit(await load(visitor), SCOPES, scope=["tools:read", "agents:run"])
    assert answer.status_code == 303
    more = await site.access(token)
    assert (await site.call(token, "mogplex_cancel_run", run_id="x")).status_code == 200
    await visitor.submit(await load(visitor), SCOPES, scope=["agents:run"])
    less = await site.access(token)
    assert (await site.call(token, "mogplex_list_repos")).status_code == 403
    assert more is not None
    assert less is not None
    assert set(more.scopes) == {"tools:read", "agents:run"}
    assert set(less.scopes) == {"agents:run"}


async def test_no_box_at_all_changes_nothing_and_says_so(site: Site) -> None:
    visitor = await owner(site)
    token = await connect(site, visitor)
    answer = await visitor.submit(await load(visitor), SCOPES)
    assert "at least one box" in (await visitor.get(answer.headers["location"])).text
    record = await site.access(token)
    assert record is not None
    assert record.scopes == ("tools:read",)


async def test_a_scope_that_is_not_served_cannot_be_ticked(site: Site) -> None:
    visitor = await owner(site)
    token = await connect(site, visitor)
    await visitor.submit(await load(visitor), SCOPES, scope=["tools:read", "memories:write", "root"])
    record = await site.access(token)
    assert record is not None
    assert record.scopes == ("tools:read",)


async def test_revoking_one_agent_leaves_the_others(site: Site) -> None:
    visitor = await owner(site)
    stays = await connect(site, visitor, "Alpha")
    goes = await connect(site, visitor, "Beta")
    assert (await site.call(goes, "mogplex_list_repos")).status_code == 200
    page = await load(visitor)
    beta = page.text.partition("Beta")[2]
    await visitor.post(REVOKE, hidden_fields(beta, REVOKE))
    assert (await site.call(goes, "mogplex_list_repos")).status_code == 401
    assert (await site.call(stays, "mogplex_list_repos")).status_code == 200
    gone, kept = await site.access(goes), await site.access(stays)
    assert gone is None or gone.revoked
    assert kept is not None
    assert not kept.revoked
    assert "Beta" not in (await load(visitor)).text


async def test_revoking_all_ends_them_and_the_token_that_called_mogplex(site: Site, store: Store) -> None:
    visitor = await owner(site)
    tokens = [await connect(site, visitor, name) for name in ("Alpha", "Beta")]
    answer = await visitor.submit(await load(visitor), REVOKE_ALL)
    assert answer.status_code == 303
    for token in tokens:
        record = await site.access(token)
        assert record is None or record.revoked
    assert "No agent is connected" in (await load(visitor)).text
    with store.db.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM credentials").scalar() == 0


async def test_the_last_agent_takes_the_local_token_with_it(site: Site, home: Path) -> None:
    visitor = await owner(site)
    await connect(site, visitor)
    await visitor.submit(await load(visitor), REVOKE)
    database = open_database(Settings(home=home))
    try:
        await until(lambda: all(token.revoked_at is not None for token in list_tokens(database)))
    finally:
        database.close()


async def test_a_second_press_on_revoke_says_that_it_is_gone(site: Site) -> None:
    visitor = await owner(site)
    await connect(site, visitor)
    page = await load(visitor)
    await visitor.submit(page, REVOKE)
    again = await visitor.submit(page, REVOKE)
    assert again.headers["location"] == f"{PAGE}?done=gone"


async def test_signing_out_ends_the_session_and_no_agent(site: Site) -> None:
    visitor = await owner(site)
    token = await connect(site, visitor)
    cookies = dict(visitor.http.cookies)
    await visitor.submit(await load(visitor), "/account/signout")
    stolen = site.visitor()
    stolen.http.cookies.update(cookies)
    assert (await stolen.get(PAGE)).status_code == 303
    record = await site.access(token)
    assert record is not None
    assert not record.revoked


async def test_a_session_ends_after_eight_hours(site: Site, store: Store) -> None:
    visitor = await owner(site)
    with store.db.write() as conn:
        left = conn.exec_driver_sql("SELECT max(expires_at) FROM sessions").scalar_one() - store.now()
        conn.exec_driver_sql("UPDATE sessions SET expires_at = created_at")
    assert 0 < left <= 8 * 3600 * 1000
    assert (await visitor.get(PAGE)).headers["location"] == "/account/signin"
