"""Renewing what calls Mogplex: by one at a time, kept before use, and refused for good when Mogplex says so."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mogplex_mcp.api import MogplexError, Upstream, open_upstream
from mogplex_mcp.auth.credentials import CredentialRefusedError, Credentials
from mogplex_mcp.auth.signin.authorization_client import AuthorizationClient, Registration, Tokens
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.credentials import Credential, delete_credential, get_credential, lease_refresh, put_credential
from mogplex_mcp.store.store import Store
from tests.authorization_server import Mogplex
from tests.pages.hosting import Site
from tests.pages.test_signin_mogplex import sign_in

SOON = 30


@dataclass
class Person:
    """Somebody who signed in at Mogplex."""

    id: str
    store: Store
    mogplex: Mogplex
    upstream: Upstream

    def process(self) -> Credentials:
        """The credentials as another process of the same server sees them."""
        return Credentials(self.store, AuthorizationClient(self.upstream, dev=True))

    async def kept(self) -> Credential:
        """What the vault holds."""
        found = await self.store.db.call(get_credential, self.store, self.id)
        assert found is not None
        return found

    @property
    def refreshes(self) -> int:
        """How often tokens were renewed at Mogplex."""
        return sum(call["grant_type"] == "refresh_token" for call in self.mogplex.token_calls)


@pytest.fixture
async def person(hosted: Site, mogplex: Mogplex, store: Store, home: Path) -> AsyncIterator[Person]:
    """Somebody whose access token is about to end."""
    mogplex.lifetime = SOON
    await sign_in(hosted, mogplex, hosted.visitor())
    mogplex.lifetime = 3600
    with store.db.read() as conn:
        account_id = conn.exec_driver_sql("SELECT id FROM accounts").scalar_one()
    settings = Settings(home=home, url=mogplex.base, dev=True)
    async with open_upstream(settings, embedded=NotImplemented) as upstream:
        yield Person(account_id, store, mogplex, upstream)


async def test_a_token_that_is_about_to_end_is_renewed_first(person: Person) -> None:
    before = await person.kept()
    token = await person.process().token_for(person.id)
    assert token != before.token
    assert token in person.mogplex.access
    assert (await person.kept()).token == token
    assert person.refreshes == 1


async def test_a_token_with_time_left_is_used_as_it_is(person: Person) -> None:
    credentials = person.process()
    first = await credentials.token_for(person.id)
    assert await credentials.token_for(person.id) == first
    assert person.refreshes == 1


async def test_many_calls_in_several_processes_renew_once(person: Person) -> None:
    processes = [person.process() for _ in range(4)]
    tokens = await asyncio.gather(*(process.token_for(person.id) for process in processes for _ in range(5)))
    assert len(set(tokens)) == 1
    assert person.refreshes == 1


async def test_a_caller_that_goes_away_does_not_lose_the_renewed_token(person: Person) -> None:
    credentials = person.process()
    call = asyncio.create_task(credentials.token_for(person.id))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await credentials.token_for(person.id) in person.mogplex.access
    assert person.refreshes == 1


async def test_a_renewal_that_mogplex_refuses_is_for_good_and_asked_once(person: Person) -> None:
    person.mogplex.refresh.clear()
    credentials = person.process()
    for _ in range(3):
        with pytest.raises(CredentialRefusedError):
            await credentials.token_for(person.id)
    assert person.refreshes == 1
    assert (await person.kept()).refused


async def test_mogplex_out_of_reach_keeps_a_token_that_is_still_good(person: Person) -> None:
    before = await person.kept()
    person.mogplex.down = True
    assert await person.process().token_for(person.id) == before.token
    assert not (await person.kept()).refused


async def test_mogplex_out_of_reach_with_nothing_left_is_an_error_and_not_a_sign_out(person: Person) -> None:
    kept = await person.kept()
    ended = Credential("mogplex", kept.token, kept.refresh_token, person.store.now() - 1, client_id=kept.client_id)
    await person.store.db.call(put_credential, person.store, person.id, ended)
    person.mogplex.down = True
    with pytest.raises(MogplexError) as raised:
        await person.process().token_for(person.id)
    assert raised.value.code == "UNREACHABLE"
    person.mogplex.down = False
    assert await person.process().token_for(person.id) in person.mogplex.access


async def test_a_token_refused_before_its_end_is_renewed_once_and_then_given_up(person: Person) -> None:
    credentials = person.process()
    first = await credentials.token_for(person.id)
    assert await credentials.refused(person.id, first) is True
    second = await credentials.token_for(person.id)
    assert second != first
    assert await credentials.refused(person.id, first) is True, "the call began before the renewal"
    assert await credentials.refused(person.id, second) is False
    with pytest.raises(CredentialRefusedError):
        await credentials.token_for(person.id)


async def test_signing_in_again_ends_a_refusal(person: Person) -> None:
    credentials = person.process()
    kept = await person.kept()
    person.mogplex.refresh.clear()
    with pytest.raises(CredentialRefusedError):
        await credentials.token_for(person.id)
    await credentials.put(person.id, Credential("mogplex", "mog_up_new", "up_rt_new", client_id=kept.client_id))
    assert await credentials.token_for(person.id) == "mog_up_new"


async def test_a_pasted_token_that_is_refused_has_no_second_chance(person: Person) -> None:
    credentials = person.process()
    await credentials.put(person.id, Credential("pat", "mog_pasted"))
    assert await credentials.refused(person.id, "mog_pasted") is False
    with pytest.raises(CredentialRefusedError):
        await credentials.token_for(person.id)


async def test_a_process_that_died_while_renewing_is_waited_for_no_longer_than_its_lease(person: Person) -> None:
    assert await person.store.db.call(lease_refresh, person.store, person.id, "dead", 1)
    assert await person.process().token_for(person.id) in person.mogplex.access
    assert person.refreshes == 1


async def test_what_a_renewal_brings_after_the_grant_ended_is_revoked(person: Person) -> None:
    class RevokedMeanwhile(AuthorizationClient):
        async def refresh(self, registration: Registration, refresh_token: str) -> Tokens:
            tokens = await super().refresh(registration, refresh_token)
            await person.store.db.call(delete_credential, person.store, person.id)
            return tokens

    with pytest.raises(CredentialRefusedError):
        await Credentials(person.store, RevokedMeanwhile(person.upstream, dev=True)).token_for(person.id)
    assert person.mogplex.access == {}
    assert len(person.mogplex.revoked) == 1


async def test_nothing_that_is_logged_or_raised_holds_a_token(
    person: Person, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = await person.kept()
    person.mogplex.refresh.clear()
    credentials = person.process()
    with pytest.raises(CredentialRefusedError) as raised:
        await credentials.token_for(person.id)
    await credentials.revoke(kept)
    person.mogplex.down = True
    await person.process().revoke(kept)
    printed = capsys.readouterr()
    seen = f"{raised.value!r} {raised.value.__context__!r} {printed.out} {printed.err} {kept!r}"
    assert kept.token not in seen
    assert str(kept.refresh_token) not in seen
