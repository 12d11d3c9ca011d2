"""Debian's Chromium, driven by Playwright, and a client that listens on loopback like a terminal program does."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from mogplex_mcp.serving import listen, make_server
from tests.pages import conftest as pages
from tests.pages.hosting import Client, Site

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

home, used_home, store, site, mogplex, hosted = (
    pages.home,
    pages.used_home,
    pages.store,
    pages.site,
    pages.mogplex,
    pages.hosted,
)


@dataclass
class Listener:
    """What a host's loopback listener received.

    Attributes:
        redirect_uri: Its callback.
        answers: The parameters of each callback.
        headers: The headers of every request, callbacks and others.
    """

    redirect_uri: str = ""
    answers: asyncio.Queue[Mapping[str, str]] = field(default_factory=asyncio.Queue)
    headers: list[Mapping[str, str]] = field(default_factory=list)

    async def answer(self) -> Mapping[str, str]:
        """The next answer, which has to come within 10 s."""
        return await asyncio.wait_for(self.answers.get(), 10)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    """A client's callback on 127.0.0.1."""
    found = Listener()

    async def callback(request: Request) -> Response:
        found.headers.append(dict(request.headers))
        found.answers.put_nowait(dict(request.query_params))
        return HTMLResponse('<!doctype html><html lang="en"><title>Done</title><h1>You can close this tab</h1></html>')

    listening = listen("127.0.0.1", 0)
    server = make_server(Starlette(routes=[Route("/callback", callback)]))
    task = asyncio.create_task(server.serve(sockets=[listening]))
    found.redirect_uri = f"http://127.0.0.1:{listening.getsockname()[1]}/callback"
    yield found
    server.should_exit = True
    await task


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """A browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
async def context(chromium: Browser, request: pytest.FixtureRequest) -> AsyncIterator[BrowserContext]:
    """A fresh profile, once with and once without JavaScript."""
    made = await chromium.new_context(java_script_enabled=request.param)
    made.set_default_timeout(15_000)
    yield made
    await made.close()


@pytest.fixture
async def page(context: BrowserContext) -> Page:
    """A tab."""
    return await context.new_page()


@pytest.fixture
async def agent(site: Site, listener: Listener) -> Client:
    """A host that registered its loopback callback."""
    return await Client.register(site, "Claude Code", listener.redirect_uri)
