"""Signing in with a one-time code, on this computer."""

import asyncio
from pathlib import Path

import pytest

from mogplex_mcp.auth.signin.local import new_local_signin
from mogplex_mcp.local.database import open_database
from mogplex_mcp.local.tokens import list_tokens
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.store import Store
from tests.pages.conftest import local_site
from tests.pages.hosting import Client, Site

LOCAL = "/account/signin/local"
WRONG = "AAAAA-AAAAA"


async def test_the_code_signs_the_owner_in(site: Site) -> None:
    visitor = site.visitor()
    answer = await site.sign_in_locally(visitor)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/account/connections"
    assert "The owner of this computer" in (await visitor.get("/account/connections")).text


async def test_reaching_the_port_proves_nothing(site: Site) -> None:
    visitor = site.visitor()
    answer = await visitor.get("/account/connections")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/account/signin"


async def test_a_code_works_once(site: Site) -> None:
    code = await site.local_code()
    first, second = site.visitor(), site.visitor()
    assert (await first.submit(await first.get("/account/signin"), LOCAL, code=code)).status_code == 303
    answer = await second.submit(await second.get("/account/signin"), LOCAL, code=code)
    assert answer.status_code == 400
    assert "wrong, was used already" in answer.text
    assert code not in answer.text


async def test_few_tries_are_allowed_and_then_the_right_code_is_refused_too(site: Site) -> None:
    visitor = site.visitor()
    page = await visitor.get("/account/signin")
    for _ in range(5):
        assert (await visitor.submit(page, LOCAL, code=WRONG)).status_code == 400
    assert (await visitor.submit(page, LOCAL, code=await site.local_code())).status_code == 429


async def test_opening_the_link_signs_nobody_in_until_the_button_is_pressed(site: Site) -> None:
    link, _ = await asyncio.to_thread(new_local_signin, site.store, site.base)
    visitor = site.visitor()
    page = await visitor.get(link)
    assert page.status_code == 200
    assert (await visitor.get("/account/connections")).status_code == 303
    answer = await visitor.submit(page, LOCAL)
    assert answer.headers["location"] == "/account/connections"
    assert (await visitor.get("/account/connections")).status_code == 200


async def test_a_request_that_waits_goes_on_after_sign_in(site: Site, client: Client) -> None:
    visitor = site.visitor()
    request = await client.begin(visitor)
    answer = await site.sign_in_locally(visitor, request)
    assert answer.headers["location"] == f"/account/consent?request={request}"


@pytest.mark.parametrize(
    "header",
    ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "CF-Connecting-IP"],
)
async def test_a_request_that_a_proxy_forwarded_gets_no_local_sign_in(site: Site, header: str) -> None:
    visitor = site.visitor()
    page = await visitor.get("/account/signin", **{header: "for=203.0.113.9"})
    assert "One" not in page.text.partition("<h2")[2].partition("</h2>")[0]
    assert 'action="/account/signin/local"' not in page.text
    assert 'action="/account/signin/pat"' in page.text
    visitor.http.headers[header] = "for=203.0.113.9"
    plain = site.visitor()
    form = await plain.get("/account/signin")
    visitor.http.cookies = plain.http.cookies
    answer = await visitor.submit(form, LOCAL, code=await site.local_code())
    assert answer.status_code == 403
    assert "only for this computer" in answer.text


async def test_a_public_address_means_no_local_sign_in(home: Path, store: Store) -> None:
    async with local_site(home, store, mcp_public_url="https://mcp.example.com") as site:
        visitor = site.visitor()
        page = await visitor.get("/account/signin")
        assert 'action="/account/signin/local"' not in page.text
        assert 'action="/account/signin/pat"' in page.text
        assert "local tokens create" in page.text


async def test_local_alone_and_refused_is_a_clear_page(home: Path, store: Store) -> None:
    async with local_site(home, store, mcp_signin="local", mcp_public_url="https://mcp.example.com") as site:
        assert (await site.visitor().get("/account/signin")).status_code == 403


async def test_signing_in_again_replaces_the_token_and_revokes_the_former_one(site: Site, home: Path) -> None:
    database = open_database(Settings(home=home))
    try:
        await site.sign_in_locally(site.visitor())
        await site.sign_in_locally(site.visitor())
        usable = [token for token in list_tokens(database) if token.revoked_at is None]
        assert len(usable) == 1
    finally:
        database.close()


async def test_the_owner_is_one_account_however_often_he_signs_in(site: Site, store: Store) -> None:
    first, second = site.visitor(), site.visitor()
    await site.sign_in_locally(first)
    await site.sign_in_locally(second)
    with store.db.read() as conn:
        found = conn.exec_driver_sql("SELECT id, issuer, subject FROM accounts").all()
    assert [(row.issuer, row.subject) for row in found] == [("local", "owner")]
    credential = get_credential(store, found[0].id)
    assert credential is not None
    assert credential.kind == "local"
