"""Signing in at Mogplex's own authorization server."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mogplex_mcp.store.store import Store
from tests.authorization_server import Mogplex
from tests.pages.conftest import hosted_site, serving_mogplex
from tests.pages.hosting import Client, Site, Visitor, query_of, until

MOGPLEX = "/account/signin/mogplex"
CALLBACK = f"{MOGPLEX}/callback"


async def press(site: Site, visitor: Visitor, request: str = "") -> str:
    """Press the button; where the browser is sent."""
    page = await visitor.get(f"/account/signin?request={request}" if request else "/account/signin")
    answer = await visitor.submit(page, MOGPLEX)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def sign_in(site: Site, mogplex: Mogplex, visitor: Visitor, request: str = "") -> httpx2.Response:
    """The whole way, with everybody saying yes."""
    asked = query_of(await press(site, visitor, request))
    return await visitor.get(mogplex.answer_to(asked))


async def accounts(store: Store) -> list[tuple[str, str | None]]:
    """Issuer and subject of every account."""

    def read() -> list[tuple[str, str | None]]:
        with store.db.read() as conn:
            rows = conn.exec_driver_sql("SELECT issuer, subject FROM accounts ORDER BY created_at").all()
        return [(row.issuer, row.subject) for row in rows]

    return await asyncio.to_thread(read)


async def test_the_person_comes_back_signed_in(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    answer = await sign_in(hosted, mogplex, visitor)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/account/connections"
    assert (await visitor.get("/account/connections")).status_code == 200


async def test_what_is_asked_for_is_bound_and_protected(hosted: Site, mogplex: Mogplex) -> None:
    address = await press(hosted, hosted.visitor())
    asked = query_of(address)
    assert address.startswith(f"{mogplex.base}/connect/authorize?")
    assert asked["scope"] == "read write"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == hosted.base + CALLBACK
    assert len(asked["state"]) >= 32


async def test_the_page_names_the_client_before_anything_leaves(hosted: Site) -> None:
    client = await Client.register(hosted, "Claude Code")
    visitor = hosted.visitor()
    request = await client.begin(visitor)
    page = await visitor.get(f"/account/signin?request={request}")
    assert "Claude Code" in page.text
    assert "client.example" in page.text


async def test_a_request_that_waits_goes_on_and_its_tokens_work(hosted: Site, mogplex: Mogplex) -> None:
    client = await Client.register(hosted)
    visitor = hosted.visitor()
    request = await client.begin(visitor)
    answer = await sign_in(hosted, mogplex, visitor, request)
    assert answer.headers["location"] == f"/account/consent?request={request}"
    page = await visitor.get(answer.headers["location"])
    allowed = await visitor.submit(page, "/account/consent", scope=["tools:read"], decision="allow")
    tokens = await client.redeem(query_of(allowed.headers["location"])["code"])
    record = await hosted.access(tokens["access_token"])
    assert record is not None
    assert await hosted.credentials.token_for(record.account_id) in mogplex.access


async def test_it_registers_once_for_each_callback(hosted: Site, mogplex: Mogplex) -> None:
    for host in (None, "localhost", None, "localhost"):
        await sign_in(hosted, mogplex, hosted.visitor(host))
    callbacks = sorted(client["redirect_uris"][0] for client in mogplex.clients.values())
    assert callbacks == sorted([hosted.base + CALLBACK, hosted.base.replace("127.0.0.1", "localhost") + CALLBACK])


async def test_presses_at_once_register_once(hosted: Site, mogplex: Mogplex) -> None:
    await asyncio.gather(*(press(hosted, hosted.visitor()) for _ in range(5)))
    assert len(mogplex.clients) == 1


async def test_a_registration_that_mogplex_forgot_is_made_anew(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    asked = query_of(await press(hosted, visitor))
    mogplex.clients.clear()
    answer = await visitor.get(mogplex.answer_to(asked))
    assert answer.status_code == 502
    assert (await sign_in(hosted, mogplex, visitor)).status_code == 303


async def test_a_server_of_public_clients_alone_is_enough(home: Path, store: Store) -> None:
    async with serving_mogplex(Mogplex(public=True)) as mogplex, hosted_site(home, store, mogplex) as site:
        assert (await sign_in(site, mogplex, site.visitor())).status_code == 303
        assert [client["secret"] for client in mogplex.clients.values()] == [None]


# State: made by the press, single use, bound to this browser.


async def test_the_answer_in_another_browser_signs_nobody_in(hosted: Site, mogplex: Mogplex) -> None:
    mine, theirs = hosted.visitor(), hosted.visitor()
    answer_address = mogplex.answer_to(query_of(await press(hosted, mine)))
    await theirs.get("/account/signin")
    answer = await theirs.get(answer_address)
    assert answer.status_code == 400
    assert "not started here" in answer.text
    assert (await theirs.get("/account/connections")).status_code == 303
    assert mogplex.token_calls == []
    assert (await mine.get(answer_address)).status_code == 303


async def test_a_replayed_answer_is_refused(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    asked = query_of(await press(hosted, visitor))
    assert (await visitor.get(mogplex.answer_to(asked))).status_code == 303
    replayed = await visitor.get(mogplex.answer_to(asked))
    assert replayed.status_code == 400
    assert len(mogplex.token_calls) == 1


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x&code=y", "?state=%00&code=y", "?state=" + "x" * 9000])
async def test_an_answer_that_nobody_asked_for_is_refused(hosted: Site, mogplex: Mogplex, query: str) -> None:
    visitor = hosted.visitor()
    await press(hosted, visitor)
    answer = await visitor.get(CALLBACK + query)
    assert answer.status_code == 400
    assert mogplex.token_calls == []


async def test_a_state_twice_in_the_address_is_refused(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    asked = query_of(await press(hosted, visitor))
    answer = await visitor.get(mogplex.answer_to(asked) + "&state=x")
    assert answer.status_code == 400


async def test_loading_a_page_starts_no_sign_in(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    await visitor.get("/account/signin")
    assert (await visitor.get(MOGPLEX)).status_code == 404
    assert mogplex.asked == []
    assert mogplex.clients == {}


async def test_the_session_gets_a_new_id_at_sign_in(hosted: Site, mogplex: Mogplex) -> None:
    visitor = hosted.visitor()
    await visitor.get("/account/signin")
    before = dict(visitor.http.cookies)
    await sign_in(hosted, mogplex, visitor)
    after = dict(visitor.http.cookies)
    assert before.keys() == after.keys()
    assert before != after
    fixed = hosted.visitor()
    fixed.http.cookies.update(before)
    assert (await fixed.get("/account/connections")).status_code == 303


# Issuer and identity.


@pytest.mark.parametrize(
    ("announced", "given", "status"),
    [
        (True, "right", 303),
        (True, None, 400),
        (True, "wrong", 400),
        (None, "right", 303),
        (None, "wrong", 400),
        (None, None, 303),
        (False, None, 303),
        (False, "wrong", 400),
    ],
)
async def test_iss_goes_by_the_table(
    hosted: Site, mogplex: Mogplex, announced: bool | None, given: str | None, status: int
) -> None:
    mogplex.metadata = {"authorization_response_iss_parameter_supported": announced}
    mogplex.answer = {"iss": {"right": mogplex.base, "wrong": "https://evil.example"}.get(given or "")}
    answer = await sign_in(hosted, mogplex, hosted.visitor())
    assert answer.status_code == status
    assert len(mogplex.token_calls) == (status == 303)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://mogplex.example/token"},
        {"token_endpoint": "http://user@127.0.0.1/token"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"code_challenge_methods_supported": ["plain"]},
        {"registration_endpoint": None},
        {"scopes_supported": ["x"] * 5000},
    ],
    ids=str,
)
async def test_metadata_that_cannot_be_trusted_sends_nobody_anywhere(
    hosted: Site, mogplex: Mogplex, metadata: dict[str, Any]
) -> None:
    mogplex.metadata = metadata
    visitor = hosted.visitor()
    answer = await visitor.submit(await visitor.get("/account/signin"), MOGPLEX)
    assert answer.status_code == 502
    assert "location" not in answer.headers


async def test_an_authorization_server_that_is_down_is_a_clear_page(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.down = True
    visitor = hosted.visitor()
    answer = await visitor.submit(await visitor.get("/account/signin"), MOGPLEX)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


async def test_a_no_at_mogplex_is_a_clear_page_that_leads_back_to_the_request(hosted: Site, mogplex: Mogplex) -> None:
    client = await Client.register(hosted)
    visitor = hosted.visitor()
    request = await client.begin(visitor)
    asked = query_of(await press(hosted, visitor, request))
    answer = await visitor.get(mogplex.answer_to(asked, allow=False))
    assert answer.status_code == 403
    assert f"/account/signin?request={request}" in answer.text


async def test_an_account_is_issuer_and_subject_of_the_id_token(hosted: Site, mogplex: Mogplex, store: Store) -> None:
    mogplex.id_token = {"email": "ada@example.com", "name": "Ada"}
    await sign_in(hosted, mogplex, hosted.visitor())
    mogplex.id_token = {"email": "somebody-else@example.com"}
    await sign_in(hosted, mogplex, hosted.visitor())
    mogplex.subject = "user-2"
    mogplex.id_token = {"email": "ada@example.com", "name": "Ada"}
    await sign_in(hosted, mogplex, hosted.visitor())
    assert sorted(await accounts(store)) == [(mogplex.base, "user-1"), (mogplex.base, "user-2")]


@pytest.mark.parametrize(
    "claims",
    [{"iss": "https://evil.example"}, {"aud": "another"}, {"azp": "another"}, {"exp": 1}, {"sub": ""}, {"sub": None},
     {"sub": 7}, {"sub": "x" * 256}],
    ids=str,
)  # fmt: skip
async def test_an_id_token_for_somebody_else_signs_nobody_in(
    hosted: Site, mogplex: Mogplex, store: Store, claims: dict[str, Any]
) -> None:
    mogplex.id_token = claims
    answer = await sign_in(hosted, mogplex, hosted.visitor())
    assert answer.status_code == 502
    assert await accounts(store) == []


async def test_userinfo_tells_who_it_is_where_there_is_no_id_token(home: Path, store: Store) -> None:
    mogplex = Mogplex(userinfo={"sub": "user-9", "email": "x@example.com"})
    async with serving_mogplex(mogplex), hosted_site(home, store, mogplex) as site:
        await sign_in(site, mogplex, site.visitor())
        await sign_in(site, mogplex, site.visitor())
        assert await accounts(store) == [(mogplex.base, "user-9")]


async def test_a_server_that_does_not_say_who_it_is_gives_an_account_per_sign_in(
    hosted: Site, mogplex: Mogplex, store: Store
) -> None:
    await sign_in(hosted, mogplex, hosted.visitor())
    await sign_in(hosted, mogplex, hosted.visitor())
    assert await accounts(store) == [(mogplex.base, None)] * 2


async def test_the_name_that_mogplex_gives_is_text_and_nothing_else(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.id_token = {"preferred_username": "<script>alert(1)</script>\u202e"}
    visitor = hosted.visitor()
    await sign_in(hosted, mogplex, visitor)
    page = (await visitor.get("/account/connections")).text
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert "\u202e" not in page


async def test_revoking_the_last_agent_revokes_at_mogplex(hosted: Site, mogplex: Mogplex) -> None:
    client = await Client.register(hosted)
    visitor = hosted.visitor()
    request = await client.begin(visitor)
    answer = await sign_in(hosted, mogplex, visitor, request)
    page = await visitor.get(answer.headers["location"])
    allowed = await visitor.submit(page, "/account/consent", scope=["tools:read"], decision="allow")
    await client.redeem(query_of(allowed.headers["location"])["code"])
    (refresh_token,) = mogplex.refresh
    await visitor.submit(await visitor.get("/account/connections"), "/account/connections/revoke")
    await until(lambda: mogplex.revoked == [refresh_token])
    assert mogplex.access == {}
