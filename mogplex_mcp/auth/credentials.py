"""What calls Mogplex for an account: kept in the vault, renewed by one process at a time, revoked in the end."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.caller import fingerprint
from mogplex_mcp.auth.signin.authorization_client import (
    AuthorizationClient,
    AuthorizationServerError,
    Registration,
    Tokens,
)
from mogplex_mcp.store.credentials import (
    Credential,
    get_credential,
    lease_refresh,
    put_credential,
    refuse_credential,
    release_refresh,
    replace_credential,
)
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.upstream_clients import find_upstream_client

EARLY_SECONDS = 60
"""How long before its end a token is renewed, so that none ends on the way."""
LEASE_SECONDS = 45
"""Longer than a renewal can take (metadata and token endpoint, 10 s each), so that no two overlap."""
WAIT_SECONDS = 20.0
"""How long a call waits for another process's renewal; a tool call has 25 s."""
POLL_SECONDS = 0.1
REMEMBERED = 10_000

_log = structlog.stdlib.get_logger(__name__)


class CredentialRefusedError(Exception):
    """Mogplex accepts nothing of what this account has; the person has to sign in again."""


def credential_of(tokens: Tokens, client_id: str, now: int) -> Credential:
    """Upstream tokens as the vault keeps them.

    Args:
        tokens: As the token endpoint gave them.
        client_id: The registration that they were given to; only that one can renew and revoke them.
        now: Milliseconds since 1970.
    """
    expires_at = None if tokens.expires_in is None else now + tokens.expires_in * 1000
    return Credential("mogplex", tokens.access_token, tokens.refresh_token, expires_at, client_id=client_id)


class Credentials:
    """The credentials of all accounts.

    Args:
        store: Where they are kept.
        client: Renews and revokes at Mogplex's authorization server; None where nobody signs in there.
        revoke_local: Revokes a token of the embedded Mogplex; None where there is none.
    """

    def __init__(
        self,
        store: Store,
        client: AuthorizationClient | None,
        revoke_local: Callable[[str], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._client = client
        self._revoke_local = revoke_local
        self._renewing: dict[str, asyncio.Task[str]] = {}
        self._forced: OrderedDict[str, str] = OrderedDict()

    async def token_for(self, account_id: str) -> str:
        """The token to call Mogplex with now.

        Raises:
            CredentialRefusedError: There is none that Mogplex accepts.
            MogplexError: UNREACHABLE: it has to be renewed, and that cannot be done now.
        """
        credential = await self._usable(account_id)
        ends_in = self._ends_in(credential)
        if ends_in > EARLY_SECONDS or credential.refresh_token is None:
            return credential.token
        try:
            return await self._renewed(account_id, credential.token)
        except MogplexError:
            if ends_in > 0:
                return credential.token
            raise

    async def refused(self, account_id: str, token: str) -> bool:
        """Note that Mogplex refused a token of this account.

        One that can be renewed is renewed, once: should Mogplex refuse what that gives, too, or the renewal itself, the
        credential is refused for good, and the person has to sign in again.

        Returns:
            Whether another token is worth a try.
        """
        credential = await self._store.db.call(get_credential, self._store, account_id)
        if credential is None or credential.refused:
            return False
        if credential.token != token:
            return True
        if credential.refresh_token is not None and self._forced.get(account_id) != fingerprint(token):
            try:
                renewed = await self._renewed(account_id, token)
            except CredentialRefusedError:
                return False
            except MogplexError:
                return False  # it stays as it is: the next call tries again
            self._forced[account_id] = fingerprint(renewed)
            self._forced.move_to_end(account_id)
            if len(self._forced) > REMEMBERED:
                self._forced.popitem(last=False)
            return True
        await self._store.db.call(refuse_credential, self._store, account_id, token)
        return False

    async def put(self, account_id: str, credential: Credential) -> None:
        """Keep what a sign-in gave, and revoke what it replaces."""
        self._forced.pop(account_id, None)
        former = await self._store.db.call(put_credential, self._store, account_id, credential)
        if former is not None and former.token != credential.token:
            await self.revoke(former)

    async def revoke(self, credential: Credential | None) -> None:
        """Revoke upstream what is no longer needed. Never raises: what it was for is gone here already.

        A pasted token is its owner's, who may use it elsewhere: it is only forgotten.
        """
        if credential is None or credential.kind == "pat":
            return
        try:
            if credential.kind == "local":
                if self._revoke_local is not None:
                    await self._revoke_local(credential.token)
            elif self._client is not None:
                registration = await self._registration(credential)
                if credential.refresh_token is not None:
                    await self._client.revoke(registration, credential.refresh_token, "refresh_token")
                else:
                    await self._client.revoke(registration, credential.token, "access_token")
        except (AuthorizationServerError, CredentialRefusedError, MogplexError) as error:
            _log.warning("upstream_revocation_failed", kind=credential.kind, reason=str(error))

    async def _usable(self, account_id: str) -> Credential:
        credential = await self._store.db.call(get_credential, self._store, account_id)
        if credential is None or credential.refused:
            raise CredentialRefusedError("This account has no credential that Mogplex accepts.")
        return credential

    def _ends_in(self, credential: Credential) -> float:
        return float("inf") if credential.expires_at is None else (credential.expires_at - self._store.now()) / 1000

    async def _renewed(self, account_id: str, stale: str) -> str:
        """The token that follows a stale one, whoever renews it. A caller that goes away does not end the renewal."""
        task = self._renewing.get(account_id)
        if task is None:
            task = asyncio.create_task(self._renew(account_id, stale))
            self._renewing[account_id] = task
            task.add_done_callback(lambda done: self._done(account_id, done))
        return await asyncio.shield(task)

    def _done(self, account_id: str, task: asyncio.Task[str]) -> None:
        self._renewing.pop(account_id, None)
        if not task.cancelled():
            task.exception()  # seen, should its callers have gone away

    async def _renew(self, account_id: str, stale: str) -> str:
        holder = secrets.token_hex(16)
        ends = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            credential = await self._usable(account_id)
            if credential.token != stale:
                return credential.token
            if await self._store.db.call(lease_refresh, self._store, account_id, holder, LEASE_SECONDS):
                try:
                    # Another process may have renewed it between the look above and the lease.
                    credential = await self._usable(account_id)
                    return credential.token if credential.token != stale else await self._ask(account_id, credential)
                finally:
                    await self._store.db.call(release_refresh, self._store, account_id, holder)
            if asyncio.get_running_loop().time() > ends:
                raise MogplexError("UNREACHABLE", "The access to Mogplex is being renewed by another process.")
            await asyncio.sleep(POLL_SECONDS)

    async def _ask(self, account_id: str, credential: Credential) -> str:
        """Renew at Mogplex, and keep the answer before anybody uses it."""
        if self._client is None or credential.refresh_token is None:
            raise await self._refuse(account_id, credential)
        registration = await self._registration(credential)
        try:
            tokens = await self._client.refresh(registration, credential.refresh_token)
        except AuthorizationServerError as error:
            if error.kind in {"refused", "unknown_client"}:
                raise await self._refuse(account_id, credential) from None
            raise MogplexError("UNREACHABLE", f"The access to Mogplex cannot be renewed. {error}") from None
        if tokens.refresh_token is None:
            tokens = Tokens(tokens.access_token, credential.refresh_token, tokens.expires_in, None)
        renewed = credential_of(tokens, registration.client_id, self._store.now())
        if not await self._store.db.call(replace_credential, self._store, account_id, credential.token, renewed):
            # Revoked or signed in anew meanwhile: what was just given must not outlive that.
            await self.revoke(renewed)
            return (await self._usable(account_id)).token
        return renewed.token

    async def _refuse(self, account_id: str, credential: Credential) -> CredentialRefusedError:
        await self._store.db.call(refuse_credential, self._store, account_id, credential.token)
        return CredentialRefusedError("Mogplex refuses to renew its access; sign in again.")

    async def _registration(self, credential: Credential) -> Registration:
        assert self._client is not None  # noqa: S101 - only a sign-in at Mogplex makes such a credential
        try:
            issuer = (await self._client.metadata()).issuer
        except AuthorizationServerError as error:
            raise MogplexError("UNREACHABLE", str(error)) from None
        found = await self._store.db.call(find_upstream_client, self._store, issuer, credential.client_id or "")
        if found is None:
            raise CredentialRefusedError("The registration that this access was given to is gone.")
        return Registration(found.client_id, found.client_secret)
