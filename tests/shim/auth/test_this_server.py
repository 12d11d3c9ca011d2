"""The shim against this project's own server, with a person who signs in and consents."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from http.cookiejar import CookieJar

import httpx2
import pytest

from tests.running_server import RunningServer, running_server
from tests.scripted_person import Person, person_at
from tests.shim.auth.conftest import Json, Shim, World, get, until
from tests.shim.auth.test_many_shims import FIFTY, HELLO

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="module")
def cookies() -> CookieJar:
    """The person stays signed in from one test to the next."""
    return CookieJar()


@pytest.fixture
async def person(server: RunningServer, cookies: CookieJar) -> AsyncIterator[Person]:
    async with person_at(server, cookies) as person:
        yield person


def happened(server: RunningServer, event: str) -> int:
    """How often the server's audit log has this event."""
    [path] = server.home.rglob("store.db")
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        [[count]] = database.execute("SELECT count(*) FROM audit WHERE event = ?", (event,)).fetchall()
    return int(count)


async def signed_in(world: World, server: RunningServer, person: Person, *tick: str) -> Shim:
    """A shim whose person has just signed in."""
    world.browse("hold")
    shim = world.shim(server.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    assert "You are signed in" in page(await person.decide(world.opened()[-1], tick))
    assert "result" in in_time(shim, "initialize", HELLO)
    return shim


def in_time(shim: Shim, method: str, params: Json) -> Json:
    """The answer to a request that needed the person, asked again if they took more than eight seconds."""
    answer = shim.answer()
    if "then reconnect this server" in str(answer):
        shim.send(method, params)
        answer = shim.answer()
    return answer


def page(callback: str) -> str:
    answer = get(callback)
    return str(answer.text)  # type: ignore[attr-defined]


def call(shim: Shim, tool: str, **arguments: object) -> Json:
    shim.send("tools/call", {"name": tool, "arguments": arguments})
    return shim.answer()


async def test_a_person_signs_in_and_tools_are_called(world: World, server: RunningServer, person: Person) -> None:
    shim = await signed_in(world, server, person)
    assert "result" in call(shim, "mogplex_list_repos")


@pytest.mark.timeout(240)
async def test_fifty_open_one_page_and_all_connect(world: World, server: RunningServer, person: Person) -> None:
    redeemed = happened(server, "code_redeemed")
    world.browse("hold")
    shims = [world.shim(server.url) for _ in range(FIFTY)]
    for shim in shims:
        shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened", 60)
    assert "You are signed in" in page(await person.decide(world.opened()[0]))
    for shim in shims:
        assert "result" in in_time(shim, "initialize", HELLO)
    assert len(world.opened()) == 1
    assert happened(server, "code_redeemed") == redeemed + 1


@pytest.mark.timeout(240)
async def test_fifty_with_an_expired_token_refresh_once(world: World, server: RunningServer, person: Person) -> None:
    await signed_in(world, server, person)
    refreshed = happened(server, "token_refreshed")
    world.change_grant(access_token="expired")
    shims = [world.shim(server.url) for _ in range(FIFTY)]
    for shim in shims:
        shim.send("initialize", HELLO)
    assert all("result" in shim.answer() for shim in shims)
    assert happened(server, "token_refreshed") == refreshed + 1
    assert len(world.opened()) == 1


async def test_a_refresh_whose_answer_was_lost_recovers(world: World, server: RunningServer, person: Person) -> None:
    shim = await signed_in(world, server, person)
    grant = world.grant()
    client = grant["client"]
    assert isinstance(client, dict)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": grant["refresh_token"],
        "client_id": client["client_id"],
        "resource": server.url,
    }
    async with httpx2.AsyncClient(trust_env=False) as http:  # the refresh whose answer nobody got
        assert (await http.post(str(grant["token_endpoint"]), data=form)).status_code == 200
    world.change_grant(access_token="expired")
    assert "result" in call(shim, "mogplex_list_repos")
    assert len(world.opened()) == 1


async def test_a_revoked_agent_is_signed_in_anew_once(world: World, server: RunningServer, person: Person) -> None:
    shim = await signed_in(world, server, person)
    assert "result" in call(shim, "mogplex_list_repos")
    await person.revoke_everything()
    again: Json = {"name": "mogplex_list_repos", "arguments": {}}
    shim.send("tools/call", again)
    until(lambda: len(world.opened()) == 2, "the browser is opened again")
    assert "You are signed in" in page(await person.decide(world.opened()[1]))
    assert "result" in in_time(shim, "tools/call", again)
    assert len(world.opened()) == 2


async def test_what_was_not_ticked_is_asked_for_when_it_is_needed(
    world: World, server: RunningServer, person: Person
) -> None:
    shim = await signed_in(world, server, person)
    cancel: Json = {"name": "mogplex_cancel_run", "arguments": {"run_id": "run_unknown"}}
    shim.send("tools/call", cancel)
    until(lambda: len(world.opened()) == 2, "the browser is opened again")
    assert "agents%3Arun" in world.opened()[1]
    assert "tools%3Aread" in world.opened()[1]
    assert "You are signed in" in page(await person.decide(world.opened()[1], ["agents:run"]))
    assert "result" in in_time(shim, "tools/call", cancel)


async def test_a_declined_consent_is_said(world: World, server: RunningServer, person: Person) -> None:
    world.browse("hold")
    shim = world.shim(server.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    assert "You are not signed in" in page(await person.decide(world.opened()[0], decision="deny"))
    assert "declined" in str(in_time(shim, "initialize", HELLO))


async def test_logging_out_ends_the_grant_there(world: World, server: RunningServer, person: Person) -> None:
    await signed_in(world, server, person)
    token = world.grant()["access_token"]
    assert world.run("--logout", server.url).returncode == 0
    assert get(server.url, {"Authorization": f"Bearer {token}"}).status == 401


async def test_a_sign_in_process_that_dies_is_replaced(world: World, server: RunningServer, person: Person) -> None:
    world.browse("hold")
    shim = world.shim(server.url)
    shim.send("initialize", HELLO)
    until(world.opened, "the browser is opened")
    callback = await person.decide(world.opened()[0])
    [dead] = world.signin_processes()
    dead.kill()
    until(lambda: [each.pid for each in world.signin_processes()] not in ([], [dead.pid]), "another one takes over")
    until(lambda: world.pending() is not None and listens(callback), "it listens")
    assert "You are signed in" in page(callback)
    assert "result" in in_time(shim, "initialize", HELLO)
    assert len(world.opened()) == 1


def listens(callback: str) -> bool:
    try:
        return get(callback.partition("?")[0]).status == 400
    except OSError:
        return False
