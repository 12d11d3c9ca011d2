"""Asking before a client may act."""

from typing import Any

import httpx2
import pytest

from tests.pages.hosting import Client, Site, Visitor, query_of

CONSENT = "/account/consent"


async def consent_page(site: Site, client: Client, visitor: Visitor, **asked: str) -> tuple[str, httpx2.Response]:
    """Sign in and see the question."""
    request = await client.begin(visitor, **asked)
    await site.sign_in_locally(visitor, request)
    page = await visitor.get(f"{CONSENT}?request={request}")
    assert page.status_code == 200, page.text
    return request, page


async def test_allowing_what_is_ticked_gives_a_code_that_becomes_a_token_with_just_that(
    site: Site, client: Client
) -> None:
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    answer = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    assert answer.status_code == 303
    given = query_of(answer.headers["location"])
    assert answer.headers["location"].startswith(client.redirect_uri)
    assert given["state"] == client.state
    assert given["iss"] == site.base
    tokens = await client.redeem(given["code"])
    assert tokens["scope"] == "tools:read"
    record = await site.access(tokens["access_token"])
    assert record is not None
    assert record.scopes == ("tools:read",)


async def test_reads_are_ticked_and_what_acts_is_not(site: Site, client: Client) -> None:
    _, page = await consent_page(site, client, site.visitor())
    assert 'value="tools:read" id="scope-1" checked' in page.text
    assert 'value="agents:run" id="scope-2">' in page.text


async def test_what_the_client_already_holds_is_ticked(site: Site, client: Client) -> None:
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    answer = await visitor.submit(page, CONSENT, scope=["tools:read", "agents:run"], decision="allow")
    await client.redeem(query_of(answer.headers["location"])["code"])
    request = await client.begin(visitor)
    again = await visitor.get(f"{CONSENT}?request={request}")
    assert 'value="agents:run" id="scope-2" checked' in again.text


async def test_every_authorization_asks_again(site: Site, client: Client) -> None:
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    request = await client.begin(visitor)
    assert (await visitor.get(f"{CONSENT}?request={request}")).status_code == 200


@pytest.mark.parametrize(
    "answer",
    [
        {"decision": "deny", "scope": ["tools:read"]},
        {"decision": "allow"},
        {"decision": "allow", "scope": ["tools:execute"]},
        {"scope": ["tools:read"]},
    ],
    ids=["deny", "nothing ticked", "only what was not asked for", "no decision"],
)
async def test_anything_but_a_clear_yes_tells_the_client_no(site: Site, client: Client, answer: dict[str, Any]) -> None:
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    back = await visitor.submit(page, CONSENT, **answer)
    given = query_of(back.headers["location"])
    assert back.status_code == 303
    assert given["error"] == "access_denied"
    assert given["state"] == client.state
    assert given["iss"] == site.base
    assert "code" not in given


async def test_a_request_is_answered_once(site: Site, client: Client) -> None:
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    first = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    second = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    assert first.status_code == 303
    assert second.status_code == 410
    assert "location" not in second.headers


async def test_nobody_is_asked_before_signing_in(site: Site, client: Client) -> None:
    visitor = site.visitor()
    request = await client.begin(visitor)
    answer = await visitor.get(f"{CONSENT}?request={request}")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/account/signin?request={request}"


async def test_a_sign_in_that_ended_between_question_and_answer_leads_back_to_the_question(
    site: Site, client: Client
) -> None:
    visitor = site.visitor()
    request, page = await consent_page(site, client, visitor)
    connections = await visitor.get("/account/connections")
    await visitor.submit(connections, "/account/signout")
    answer = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/account/signin?request={request}&why=ended"
    again = await site.sign_in_locally(visitor, request)
    assert again.headers["location"] == f"{CONSENT}?request={request}"


@pytest.mark.parametrize("request_id", ["", "nonsense", "a" * 5000, "%00", "%F0%9F"])
async def test_a_request_that_is_none_is_a_clear_page(site: Site, request_id: str) -> None:
    answer = await site.visitor().get(f"{CONSENT}?request={request_id}")
    assert answer.status_code == 410
    assert "connect again" in answer.text


@pytest.mark.parametrize(
    ("redirect_uri", "words"),
    [
        ("http://127.0.0.1:4711/callback", "Any program on this computer"),
        ("cursor://anysphere.cursor-mcp/oauth/callback", "Any app on this device"),
    ],
)
async def test_the_page_warns_of_places_that_others_may_hold(site: Site, redirect_uri: str, words: str) -> None:
    client = await Client.register(site, redirect_uri=redirect_uri)
    _, page = await consent_page(site, client, site.visitor())
    assert words in page.text


async def test_a_private_scheme_gets_its_answer_unchanged(site: Site) -> None:
    client = await Client.register(site, redirect_uri="cursor://anysphere.cursor-mcp/oauth/callback")
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    answer = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    assert answer.headers["location"].startswith("cursor://anysphere.cursor-mcp/oauth/callback?code=")


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{ 7 * 7 }}",
        "Claude\u202eedoC\u2066",
        "a\u0301" + "\u0301" * 200,
    ],
)
async def test_a_client_name_is_text_and_nothing_else(site: Site, name: str) -> None:
    client = await Client.register(site, name)
    visitor = site.visitor()
    _, page = await consent_page(site, client, visitor)
    answer = await visitor.submit(page, CONSENT, scope=["tools:read"], decision="allow")
    await client.redeem(query_of(answer.headers["location"])["code"])
    for shown in (page.text, (await visitor.get("/account/connections")).text):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "49" not in shown.replace(site.base, "").partition("Who asks")[2].partition("</dd>")[0]
        assert "\u202e" not in shown
        assert "\u2066" not in shown
        assert "\u0301" * 3 not in shown
