"""The owner of a running server, at a browser without a screen: signs in with a code, ticks boxes, revokes agents."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar

import httpx2

from tests.pages.hosting import NO_TLS, Visitor
from tests.running_server import RunningServer

CONSENT = "/account/consent"
SIGNIN = "/account/signin/local"
CONNECTIONS = "/account/connections"

_TICKED = re.compile(r'<input type="checkbox" name="scope" value="([^"]+)" id="[^"]+" checked>')


@dataclass(frozen=True)
class Person:
    """The owner.

    Attributes:
        server: The server that is theirs.
        browser: Their browser, cookies included.
    """

    server: RunningServer
    browser: Visitor

    async def consent_page(self, link: str) -> httpx2.Response:
        """Open the link that a host shows and sign in when asked; the page that asks for consent."""
        page = await self._open(link)
        if SIGNIN in page.text:
            code = await asyncio.to_thread(self.server.signin_code)
            sent = await self.browser.submit(page, SIGNIN, code=code)
            page = await self._open(sent.headers["location"])
        assert CONSENT in str(page.url), page.text
        return page

    async def decide(self, link: str, tick: Collection[str] = (), *, decision: str = "allow") -> str:
        """Follow the link and press a button; the address at the host that the browser is sent to.

        Args:
            link: The authorization link.
            tick: Boxes to tick besides those that are ticked from the start.
            decision: ``allow`` or ``deny``.
        """
        page = await self.consent_page(link)
        ticked = {*_TICKED.findall(page.text), *tick}
        answer = await self.browser.submit(page, CONSENT, scope=sorted(ticked), decision=decision)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def tick_everywhere(self, scopes: Collection[str]) -> None:
        """Give every connected agent exactly these scopes, on the page of connections."""
        await self._change("scopes", scope=sorted(scopes))

    async def revoke_everything(self) -> None:
        """End every connected agent's access, one after the other, on the page of connections."""
        await self._change("revoke")

    async def _change(self, what: str, **typed: object) -> None:
        """Send the form of each agent."""
        page = await self._open(self.server.base + CONNECTIONS)
        action = f"{CONNECTIONS}/{what}"
        agents = re.findall(rf'<form method="post" action="{action}".*?</form>', page.text, re.DOTALL)
        assert agents, page.text
        for form in agents:
            hidden = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', form))
            answer = await self.browser.post(action, {**hidden, **typed})
            assert answer.status_code == 303, answer.text

    async def _open(self, address: str) -> httpx2.Response:
        """GET a page of the server, redirects within the server followed."""
        page = await self.browser.get(address)
        while page.status_code == 303:
            address = page.headers["location"]
            assert address.startswith(("/", self.server.base + "/")), f"sent away to {address}"
            page = await self.browser.get(address)
        assert page.status_code == 200, page.text
        return page


@asynccontextmanager
async def person_at(server: RunningServer, cookies: CookieJar | None = None) -> AsyncIterator[Person]:
    """Somebody with a browser, until the block is left.

    Args:
        server: The server that is theirs.
        cookies: What the browser keeps afterwards; None for a fresh browser.
    """
    async with httpx2.AsyncClient(timeout=30, trust_env=False, verify=NO_TLS, cookies=cookies) as http:
        yield Person(server, Visitor(server.base, http))
