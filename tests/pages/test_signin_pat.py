"""Signing in with a pasted Mogplex token."""

import httpx2
import pytest

from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.store import Store
from tests.authorization_server import Mogplex
from tests.pages.hosting import Client, Site, Visitor, query_of

PAT = "/account/signin/pat"
TOKEN = "/account/token"
ADA = "mog_" + "A" * 32
BOB = "mog_" + "B" * 32


async def paste(visitor: Visitor, token: str) -> httpx2.Response:
    """Sign in with a token."""
    return await visitor.submit(await visitor.get("/account/signin"), PAT, token=token)


async def connect(site: Site, visitor: Visitor) -> dict[str, str]:
    """Connect a client to whoever is signed in; its tokens."""
    client = await Client.register(site)
    request = await client.begin(visitor)
    page = await visitor.get(f"/account/consent?request={request}")
    answer = await visitor.submit(page, "/account/consent", scope=["tools:read"], decision="allow")
    return await client.redeem(query_of(answer.headers["location"])["code"])


async def test_a_token_that_mogplex_accepts_signs_in(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access[ADA] = "ada"
    visitor = hosted.visitor()
    assert (await paste(visitor, f" {ADA}\n")).headers["location"] == "/account/connections"


@pytest.mark.parametrize("token", [BOB, "nonsense", "mog_", "mog_ü" * 8, "mog_" + "x" * 5000, "mog_a b"])
async def test_a_token_that_mogplex_refuses_does_not_and_is_not_echoed(hosted: Site, token: str) -> None:
    visitor = hosted.visitor()
    answer = await paste(visitor, token)
    assert answer.status_code == 400
    assert "refuses this token" in answer.text
    if token != "mog_":
        assert token not in answer.text
    assert (await visitor.get("/account/connections")).status_code == 303


async def test_mogplex_out_of_reach_is_said_and_nobody_is_signed_in(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.down = True
    visitor = hosted.visitor()
    answer = await paste(visitor, ADA)
    assert answer.status_code == 503
    assert "could not be checked" in answer.text


async def test_guessing_is_limited(hosted: Site) -> None:
    visitor = hosted.visitor()
    statuses = [(await paste(visitor, f"mog_{number:032}")).status_code for number in range(21)]
    assert statuses == [400] * 20 + [429]


async def test_no_page_ever_shows_the_token(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access[ADA] = "ada"
    visitor = hosted.visitor()
    await paste(visitor, ADA)
    for path in ("/account/connections", "/account/signin"):
        page = await visitor.get(path)
        assert ADA[4:] not in page.text
        assert ADA[:12] not in page.text


async def test_the_same_token_is_the_same_account_and_another_one_is_another(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access |= {ADA: "ada", BOB: "bob"}
    first, second, other = hosted.visitor(), hosted.visitor(), hosted.visitor()
    await paste(first, ADA)
    await connect(hosted, first)
    await paste(second, ADA)
    await paste(other, BOB)
    assert "Test host" in (await second.get("/account/connections")).text
    assert "Test host" not in (await other.get("/account/connections")).text


async def test_the_token_field_hides_what_is_typed(hosted: Site) -> None:
    page = (await hosted.visitor().get("/account/signin")).text
    field = page.partition('<input id="token"')[2].partition(">")[0]
    assert 'type="password"' in field
    assert 'autocomplete="off"' in field


async def test_a_replaced_token_serves_the_connected_agents(hosted: Site, mogplex: Mogplex, store: Store) -> None:
    mogplex.access |= {ADA: "ada", BOB: "ada"}
    visitor = hosted.visitor()
    await paste(visitor, ADA)
    tokens = await connect(hosted, visitor)
    page = await visitor.get("/account/connections")
    answer = await visitor.submit(page, TOKEN, token=BOB)
    assert answer.headers["location"] == "/account/connections?done=token"
    record = await hosted.access(tokens["access_token"])
    assert record is not None
    assert await hosted.credentials.token_for(record.account_id) == BOB
    later = hosted.visitor()
    await paste(later, BOB)
    assert "Test host" in (await later.get("/account/connections")).text


async def test_a_bad_replacement_leaves_the_former_token(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access[ADA] = "ada"
    visitor = hosted.visitor()
    await paste(visitor, ADA)
    tokens = await connect(hosted, visitor)
    answer = await visitor.submit(await visitor.get("/account/connections"), TOKEN, token=BOB)
    assert answer.status_code == 400
    assert BOB not in answer.text
    record = await hosted.access(tokens["access_token"])
    assert record is not None
    assert await hosted.credentials.token_for(record.account_id) == ADA


async def test_a_token_of_another_account_cannot_be_taken_over(hosted: Site, mogplex: Mogplex) -> None:
    mogplex.access |= {ADA: "ada", BOB: "bob"}
    bob, ada = hosted.visitor(), hosted.visitor()
    await paste(bob, BOB)
    await paste(ada, ADA)
    answer = await ada.submit(await ada.get("/account/connections"), TOKEN, token=BOB)
    assert answer.status_code == 409
    assert "Another account" in answer.text


async def test_a_refused_token_sends_the_person_to_sign_in_before_consent(
    hosted: Site, mogplex: Mogplex, store: Store
) -> None:
    mogplex.access[ADA] = "ada"
    visitor = hosted.visitor()
    await paste(visitor, ADA)
    tokens = await connect(hosted, visitor)
    record = await hosted.access(tokens["access_token"])
    assert record is not None
    assert await hosted.credentials.refused(record.account_id, ADA) is False
    credential = get_credential(store, record.account_id)
    assert credential is not None
    assert credential.refused
    client = await Client.register(hosted)
    request = await client.begin(visitor)
    answer = await visitor.get(f"/account/consent?request={request}")
    assert answer.headers["location"] == f"/account/signin?request={request}&why=credential"
    page = await visitor.get(answer.headers["location"])
    assert "no longer accepts" in page.text
    again = await visitor.submit(page, PAT, token=ADA)
    assert again.headers["location"] == f"/account/consent?request={request}"
    assert (await visitor.get(again.headers["location"])).status_code == 200
