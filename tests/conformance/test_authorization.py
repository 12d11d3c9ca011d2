"""The official conformance suite's `authorization` command against the real server, its link followed to the end."""

from __future__ import annotations

import re
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from anyio.abc import Process
from playwright.async_api import async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.conformance.expected import Check, Run, read_expectations
from tests.conformance.test_conformance import RUN_TIMEOUT, SUITE, results
from tests.node_runtime import node
from tests.running_server import RunningServer, running_server
from tests.scripted_person import person_at

pytestmark = pytest.mark.slow

EXPECTED = read_expectations(Path(__file__).with_name("expected_authorization.txt").read_text())
REVISIONS = sorted({run.revision for run in EXPECTED})
DONE = "You can close this page"
"""What the suite's own callback says."""

Follow = Callable[[RunningServer, str], Awaitable[None]]
"""Somebody who follows an authorization link to the end."""


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


async def without_a_screen(server: RunningServer, link: str) -> None:
    """The scripted person."""
    async with person_at(server) as person:
        callback = await person.decide(link)
        assert DONE in (await person.browser.get(callback)).text


async def in_a_browser(server: RunningServer, link: str) -> None:
    """Chromium, from the link to the suite's own page."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = await browser.new_page()
        await page.goto(link)
        await page.get_by_role("textbox", name="Code").fill(await anyio.to_thread.run_sync(server.signin_code))
        await page.get_by_role("button", name="Sign in").click()
        await page.get_by_role("button", name="Allow what is ticked").click()
        await page.get_by_text(DONE).wait_for()
        await browser.close()


@pytest.mark.parametrize(
    ("revision", "follow"),
    [*((revision, without_a_screen) for revision in REVISIONS), (REVISIONS[-1], in_a_browser)],
)
async def test_every_check_of_the_authorization_server_ends_as_expected(
    revision: str, follow: Follow, server: RunningServer, tmp_path: Path
) -> None:
    said = ""
    with anyio.fail_after(RUN_TIMEOUT):
        async with _suite(server, revision, tmp_path) as process:
            assert process.stdout is not None
            async for piece in process.stdout:
                waiting = "Waiting up to" in said
                said += piece.decode()
                link = re.search(r"^(http\S+/oauth/authorize\S+)$", said, re.MULTILINE)
                if link is not None and "Waiting up to" in said and not waiting:
                    await follow(server, link[1])
    runs = [run for run in EXPECTED if run.revision == revision]
    expected = sum((EXPECTED[run].checks for run in runs), Counter[Check]())
    checks = results(tmp_path)
    found = Counter(Check(check["id"], check["name"], check["status"]) for check in checks)
    assert sorted(found.elements()) == sorted(expected.elements()), said
    assert process.returncode == 0, said


@asynccontextmanager
async def _suite(server: RunningServer, revision: str, directory: Path) -> AsyncIterator[Process]:
    """The suite with a client of its own; both scenarios, for the second needs what the first finds."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wanted = {"redirect_uris": [f"http://127.0.0.1:{port}/callback"], "token_endpoint_auth_method": "none"}
    async with httpx2.AsyncClient(trust_env=False) as http:
        client_id = (await http.post(f"{server.base}/oauth/register", json=wanted)).json()["client_id"]
    options = ["--url", server.base, "--resource", server.url, "--client-id", client_id, "--port", str(port)]
    command = [node(), str(SUITE), "authorization", *options, "--spec-version", revision]
    async with await anyio.open_process([*command, "--output-dir", str(directory)], stderr=subprocess.STDOUT) as suite:
        yield suite
        await suite.wait()


def test_every_scenario_runs_in_every_revision_it_applies_to() -> None:
    listed = subprocess.run(
        [node(), str(SUITE), "list", "--authorization"], capture_output=True, text=True, check=True, timeout=RUN_TIMEOUT
    ).stdout
    found = re.findall(r"^ *- (\S+) \[([^\]]+)\]$", listed, re.MULTILINE)
    assert set(EXPECTED) == {Run(scenario, revision) for scenario, each in found for revision in each.split(",")}
    assert len(found) == 2


def test_no_check_of_the_authorization_server_is_expected_to_fail() -> None:
    assert {check.status for run in EXPECTED.values() for check in run.checks} == {"SUCCESS"}
