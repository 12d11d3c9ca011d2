"""Several processes on one database: what may happen once happens once."""

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import psycopg
import pytest
from pydantic import SecretStr

from bench.processes import Running, running
from mogplex_mcp.auth.authorization import create_authorization
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store, open_store
from mogplex_mcp.store.tokens import find_access_token
from tests.oauth import site as sites
from tests.oauth.site import CALLBACK, VERIFIER, Json, Site

SERVER = os.environ.get("MOGPLEX_TEST_POSTGRES", "postgresql://127.0.0.1:5432/postgres")

PUBLIC_URL = "https://mcp.example.com"


@pytest.fixture(params=["sqlite", "postgresql"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """A database of its own, of either kind."""
    if request.param == "sqlite":
        yield Settings(home=tmp_path / "home", mcp_public_url=PUBLIC_URL)
        return
    name = f"mogplex_oauth_{secrets.token_hex(6)}"
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
        url = SERVER.rpartition("/")[0].replace("postgresql://", "postgresql+psycopg://") + f"/{name}"
        yield Settings(home=tmp_path / "home", mcp_public_url=PUBLIC_URL, mcp_database_url=SecretStr(url))
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """The database, seen from this process."""
    opened = await asyncio.to_thread(open_store, settings)
    yield opened
    await asyncio.to_thread(opened.close)


@pytest.fixture
async def site(settings: Settings, store: Store) -> AsyncIterator[Site]:
    """This process's server, which registers and asks the person."""
    made = await asyncio.to_thread(create_authorization, settings, store)
    async with sites.running(store, made, settings) as site:
        yield site


@pytest.fixture
async def others(settings: Settings, site: Site, tmp_path: Path) -> AsyncIterator[list[Running]]:
    """Two more processes on the same database."""
    variables = {"MOGPLEX_HOME": str(settings.home), "MOGPLEX_MCP_PUBLIC_URL": PUBLIC_URL}
    if settings.mcp_database_url is not None:
        variables["MOGPLEX_MCP_DATABASE_URL"] = settings.mcp_database_url.get_secret_value()
    command = [sys.executable, "-m", "tests.oauth.authorization_process"]
    with ExitStack() as stack:
        started = [
            await asyncio.to_thread(stack.enter_context, running(command, tmp_path / f"{number}.log", variables))
            for number in range(2)
        ]
        yield started
        await asyncio.to_thread(stack.close)


async def at_once(others: list[Running], form: dict[str, str], times: int) -> list[httpx2.Response]:
    """The same token request, many times at once, spread over the processes."""
    async with httpx2.AsyncClient(timeout=60, verify=sites.NO_TLS) as http:
        return list(
            await asyncio.gather(
                *(
                    http.post(f"http://127.0.0.1:{others[number % len(others)].port}/oauth/token", data=form)
                    for number in range(times)
                )
            )
        )


async def test_of_twenty_redemptions_at_once_one_gets_tokens(site: Site, others: list[Running]) -> None:
    """RFC 6749 §4.1.2, §10.5: one use, over two processes; the others revoke what it gave."""
    client = await site.register()
    form = {
        "grant_type": "authorization_code",
        "client_id": client["client_id"],
        "code": await site.code(client["client_id"]),
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }

    answers = await at_once(others, form, 20)

    given = [answer.json() for answer in answers if answer.status_code == 200]
    refused = {(answer.status_code, answer.json()["error"]) for answer in answers if answer.status_code != 200}
    assert len(given) == 1
    assert refused == {(400, "invalid_grant")}
    found = find_access_token(site.store, given[0]["access_token"])
    assert found is not None
    assert found.revoked


async def test_of_twenty_refreshes_at_once_all_get_the_same_successor(site: Site, others: list[Running]) -> None:
    """RFC 9700 §4.14.2: a host's processes refresh in parallel, and a grant never has two live refresh tokens."""
    client = await site.register()
    tokens: Json = await site.tokens(client["client_id"])
    form = {
        "grant_type": "refresh_token",
        "client_id": client["client_id"],
        "refresh_token": tokens["refresh_token"],
    }

    answers = await at_once(others, form, 20)

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
