"""What a person sees and does, in a real browser."""

import asyncio
import re

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from mogplex_mcp.auth.signin.local import new_local_signin
from mogplex_mcp.store.store import Store
from tests.authorization_server import Mogplex
from tests.browser.conftest import Listener
from tests.pages.hosting import Client, Site

pytestmark = pytest.mark.slow

READ = re.compile("See repositories")
RUN = re.compile("Start agent runs")


async def sign_in(site: Site, page: Page) -> None:
    """Type the code from the terminal."""
    await page.get_by_role("textbox", name="Code").fill(await site.local_code())
    await page.get_by_role("button", name="Sign in").click()


async def connect(site: Site, page: Page, agent: Client, listener: Listener) -> str:
    """The whole way with what is ticked from the start; the access token."""
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    await page.get_by_role("button", name="Allow what is ticked").click()
    return str((await agent.redeem((await listener.answer())["code"]))["access_token"])


async def scopes(site: Site, token: str) -> set[str]:
    """What a token allows now; nothing when it is revoked."""
    record = await site.access(token)
    return set() if record is None or record.revoked else set(record.scopes)


async def test_the_whole_way_from_the_link_to_a_token(
    site: Site, page: Page, agent: Client, listener: Listener
) -> None:
    await page.goto(agent.authorize_url())
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await expect(page.locator("main")).to_contain_text("Claude Code")
    await sign_in(site, page)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Let Claude Code use Mogplex?")
    await expect(page.get_by_label(READ)).to_be_checked()
    await expect(page.get_by_label(RUN)).not_to_be_checked()
    await expect(page.locator("main")).to_contain_text("Any program on this computer")
    await page.get_by_label(RUN).check()
    await page.get_by_role("button", name="Allow what is ticked").click()
    answer = await listener.answer()
    await expect(page.get_by_role("heading", level=1)).to_have_text("You can close this tab")
    assert answer["state"] == agent.state
    assert answer["iss"] == site.base
    tokens = await agent.redeem(answer["code"])
    assert set(tokens["scope"].split()) == {"tools:read", "agents:run"}


async def test_the_clients_own_listener_on_this_computer_gets_no_cookie_and_no_address_of_ours(
    site: Site, page: Page, agent: Client, listener: Listener
) -> None:
    await connect(site, page, agent, listener)
    await page.goto(listener.redirect_uri)
    for headers in listener.headers:
        assert "cookie" not in headers
        assert "/account" not in headers.get("referer", "")


async def test_saying_no_tells_the_client(site: Site, page: Page, agent: Client, listener: Listener) -> None:
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    await page.get_by_role("button", name="Deny").click()
    answer = await listener.answer()
    assert answer["error"] == "access_denied"
    assert answer["state"] == agent.state
    assert answer["iss"] == site.base


async def test_unticking_everything_is_a_no(site: Site, page: Page, agent: Client, listener: Listener) -> None:
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    await page.get_by_label(READ).uncheck()
    await page.get_by_role("button", name="Allow what is ticked").click()
    assert (await listener.answer())["error"] == "access_denied"


async def test_asking_again_for_more_shows_what_is_held_and_what_is_new(
    site: Site, page: Page, agent: Client, listener: Listener
) -> None:
    await connect(site, page, agent, listener)
    await page.goto(agent.authorize_url(scope="tools:read agents:run"))
    await expect(page.get_by_label(READ)).to_be_checked()
    await expect(page.get_by_label(RUN)).not_to_be_checked()
    await page.get_by_label(RUN).check()
    await page.get_by_role("button", name="Allow what is ticked").click()
    tokens = await agent.redeem((await listener.answer())["code"])
    assert set(tokens["scope"].split()) == {"tools:read", "agents:run"}
    await page.goto(agent.authorize_url(scope="tools:read agents:run"))
    await expect(page.get_by_label(RUN)).to_be_checked()


async def test_a_box_that_is_ticked_later_is_felt_at_once(
    site: Site, page: Page, agent: Client, listener: Listener
) -> None:
    token = await connect(site, page, agent, listener)
    await page.goto(f"{site.base}/account/connections")
    card = page.get_by_role("region", name="Claude Code")
    refused = await site.call(token, "mogplex_cancel_run", run_id="x")
    assert refused.status_code == 403
    assert "agents:run" in refused.headers["www-authenticate"]
    await card.get_by_label(RUN).check()
    await card.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("status")).to_contain_text("Saved")
    assert (await site.call(token, "mogplex_cancel_run", run_id="x")).status_code == 200
    assert await scopes(site, token) == {"tools:read", "agents:run"}
    await expect(card.get_by_label(RUN)).to_be_checked()


async def test_revoking_is_felt_at_once(site: Site, page: Page, agent: Client, listener: Listener) -> None:
    token = await connect(site, page, agent, listener)
    assert (await site.call(token, "mogplex_list_repos")).status_code == 200
    await page.goto(f"{site.base}/account/connections")
    await page.get_by_role("button", name="Revoke Claude Code").click()
    await expect(page.get_by_role("status")).to_contain_text("Revoked")
    await expect(page.locator("main")).to_contain_text("No agent is connected")
    assert await scopes(site, token) == set()
    assert (await site.call(token, "mogplex_list_repos")).status_code == 401


async def test_a_sign_in_that_ended_is_asked_for_again_and_the_question_is_kept(
    site: Site, page: Page, agent: Client, listener: Listener, store: Store
) -> None:
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    with store.db.write() as conn:
        conn.exec_driver_sql("UPDATE sessions SET expires_at = created_at")
    await page.get_by_role("button", name="Allow what is ticked").click()
    await expect(page.get_by_role("status")).to_contain_text("Your sign-in has ended")
    assert listener.answers.empty()
    await sign_in(site, page)
    await page.get_by_role("button", name="Allow what is ticked").click()
    assert "code" in await listener.answer()


async def test_a_request_that_ended_is_a_clear_page(site: Site, page: Page, agent: Client, store: Store) -> None:
    await page.goto(agent.authorize_url())
    with store.db.write() as conn:
        conn.exec_driver_sql("DELETE FROM requests")
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("This request has ended")


async def test_the_link_from_the_terminal_needs_one_press(site: Site, page: Page) -> None:
    link, _ = await asyncio.to_thread(new_local_signin, site.store, site.base)
    await page.goto(link)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Connected agents")
    assert "code=" not in page.url
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("status")).to_contain_text("You are signed out")


async def test_signing_in_at_mogplex_and_back(hosted: Site, mogplex: Mogplex, page: Page, listener: Listener) -> None:
    mogplex.id_token = {"preferred_username": "ada"}
    agent = await Client.register(hosted, "Claude Code", listener.redirect_uri)
    await page.goto(agent.authorize_url())
    await expect(page.locator("main")).to_contain_text("Claude Code")
    await page.get_by_role("button", name="Continue with Mogplex").click()
    assert page.url.startswith(mogplex.base)
    await page.get_by_role("button", name="Sign in to Mogplex").click()
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Let Claude Code use Mogplex?")
    await expect(page.locator("main")).to_contain_text("ada")
    await page.get_by_role("button", name="Allow what is ticked").click()
    tokens = await agent.redeem((await listener.answer())["code"])
    record = await hosted.access(tokens["access_token"])
    assert record is not None
    assert await hosted.credentials.token_for(record.account_id) in mogplex.access


async def test_cancelling_at_mogplex_is_a_clear_page(hosted: Site, page: Page) -> None:
    await page.goto(f"{hosted.base}/account/signin")
    await page.get_by_role("button", name="Continue with Mogplex").click()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Mogplex did not let you in")
    await page.get_by_role("link", name="Start over").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_the_keyboard_alone_is_enough(site: Site, page: Page, agent: Client, listener: Listener) -> None:
    await page.goto(agent.authorize_url())
    await expect(page.get_by_role("textbox", name="Code")).to_be_focused()
    await page.keyboard.type(await site.local_code())
    await page.keyboard.press("Enter")
    await expect(page.get_by_label(READ)).to_be_checked()
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.get_by_label(RUN).evaluate("element => element === document.activeElement"):
            break
    await page.keyboard.press("Space")
    await expect(page.get_by_label(RUN)).to_be_checked()
    for _ in range(5):
        await page.keyboard.press("Tab")
        allow = page.get_by_role("button", name="Allow what is ticked")
        if await allow.evaluate("element => element === document.activeElement"):
            break
    await page.keyboard.press("Enter")
    assert "code" in await listener.answer()


async def test_no_site_can_frame_a_page(site: Site, page: Page, listener: Listener) -> None:
    await page.goto(listener.redirect_uri)
    await page.set_content(f'<iframe src="{site.base}/account/signin"></iframe>')
    frame = page.frames[-1]
    await frame.wait_for_load_state()
    assert "Sign in" not in await frame.content()


async def test_a_client_name_runs_nothing_in_the_page(site: Site, page: Page, listener: Listener) -> None:
    agent = await Client.register(site, '<img src=x onerror="document.title=1">', listener.redirect_uri)
    failures: list[str] = []
    page.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("<img src=x")
    await expect(page).to_have_title(re.compile("^Connect <img"))
    assert failures == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_can_be_read_on_its_ground_and_fits_a_phone(
    site: Site, chromium: Browser, agent: Client, scheme: str
) -> None:
    context: BrowserContext = await chromium.new_context(
        color_scheme="dark" if scheme == "dark" else "light", viewport={"width": 320, "height": 640}
    )
    page = await context.new_page()
    await page.goto(agent.authorize_url())
    await sign_in(site, page)
    for path in (None, "/account/connections", "/account/signin", "/"):
        if path is not None:
            await page.goto(site.base + path)
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, page.url
        worst = await page.evaluate(CONTRAST)
        assert worst[0] >= 4.5, (page.url, worst)
    await context.close()


CONTRAST = """() => {
  const parse = color => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let worst = [21, ""];
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim();
    if (!text) continue;
    const element = walker.currentNode.parentElement;
    const pair = [light(parse(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < worst[0]) worst = [ratio, text];
  }
  return worst;
}"""
"""The least contrast of any text with its ground (WCAG 2.2, 1.4.3: at least 4.5)."""
