"""Signing in with Mogplex: this server as an OAuth client of Mogplex's own authorization server.

``state`` is made by the press of a button on our page, works once, for ten minutes, and in the browser that pressed it:
an answer that somebody else began cannot sign anybody in here, nor hand a client what its person did not see (MCP,
security best practices, "Confused Deputy Problem"; RFC 9700, section 4.7).
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from mogplex_mcp.auth.credentials import Credentials, credential_of
from mogplex_mcp.auth.shown_text import shown_name
from mogplex_mcp.auth.signin.authorization_client import (
    AuthorizationClient,
    AuthorizationServerError,
    Registration,
    Tokens,
)
from mogplex_mcp.auth.signin.identity import Identity
from mogplex_mcp.auth.signin.server_metadata import ServerMetadata
from mogplex_mcp.store.accounts import Account, sign_in_account
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.upstream_clients import (
    UpstreamClient,
    forget_upstream_client,
    get_upstream_client,
    put_upstream_client,
)
from mogplex_mcp.store.upstream_signins import put_upstream_signin, take_upstream_signin

CALLBACK_PATH = "/account/signin/mogplex/callback"
MAX_PARAMETER = 4_096


class SignInError(Exception):
    """The sign-in did not happen.

    Attributes:
        kind: The kind of page to show.
        request_id: The authorization request that it was for, when that is known.
    """

    def __init__(self, kind: str, message: str = "", request_id: str | None = None) -> None:
        super().__init__(message or kind)
        self.kind = kind
        self.request_id = request_id


@dataclass(frozen=True)
class SignedIn:
    """Who signed in, and for which authorization request, if any."""

    account: Account
    request_id: str | None


class MogplexSignIn:
    """Signs people in at one Mogplex.

    Args:
        store: Where registrations and pending sign-ins are kept.
        client: Speaks to the authorization server.
        credentials: Where the tokens go.
    """

    def __init__(self, store: Store, client: AuthorizationClient, credentials: Credentials) -> None:
        self._store = store
        self._client = client
        self._credentials = credentials
        self._registering = asyncio.Lock()

    async def begin(self, browser_id: str, request_id: str | None, callback: str) -> str:
        """Where to send the browser whose person pressed the button.

        Args:
            browser_id: What the browser's cookie holds.
            request_id: The authorization request that waits for it.
            callback: Our own address to come back to.

        Raises:
            SignInError: Mogplex cannot be asked.
            StoreFullError: Too many sign-ins are pending.
        """
        try:
            metadata = await self._client.metadata()
            registration = _registration(await self._registered(metadata, callback))
            verifier = secrets.token_urlsafe(48)
            state = await self._store.db.call(
                put_upstream_signin,
                self._store,
                browser=_browser_hash(browser_id),
                request_id=request_id,
                verifier=verifier,
                callback=callback,
            )
            return await self._client.authorization_url(registration, callback=callback, state=state, verifier=verifier)
        except AuthorizationServerError as error:
            raise _failed(error, request_id) from None

    async def finish(self, browser_id: str, answer: Mapping[str, str], callback: str, *, address: str) -> SignedIn:
        """The person whom Mogplex's answer stands for; the tokens are in the vault when this returns.

        Args:
            browser_id: What the browser's cookie holds.
            answer: The parameters that the browser came back with.
            callback: The address that it came back to.
            address: The person's, for the audit.

        Raises:
            SignInError: The answer is not one that this browser asked for, or is of no use.
        """
        if any(len(value) > MAX_PARAMETER for value in answer.values()):
            raise SignInError("mogplex_state")
        pending = await self._store.db.call(
            take_upstream_signin, self._store, answer.get("state", ""), _browser_hash(browser_id)
        )
        if pending is None or pending.callback != callback:
            raise SignInError("mogplex_state")
        try:
            metadata = await self._client.metadata()
            code = _code(metadata, answer)
            registered = await self._registered(metadata, callback)
            tokens, identity = await self._redeem(registered, code, pending.verifier)
        except AuthorizationServerError as error:
            raise _failed(error, pending.request_id) from None
        except SignInError as error:
            error.request_id = pending.request_id
            raise
        account = await self._store.db.call(
            sign_in_account,
            self._store,
            issuer=metadata.issuer,
            subject=None if identity is None else identity.subject,
            label=shown_name(identity.name if identity else None, otherwise="Mogplex account"),
            address=address,
        )
        await self._credentials.put(account.id, credential_of(tokens, registered.client_id, self._store.now()))
        return SignedIn(account, pending.request_id)

    async def _redeem(self, registered: UpstreamClient, code: str, verifier: str) -> tuple[Tokens, Identity | None]:
        registration = _registration(registered)
        try:
            tokens = await self._client.exchange(
                registration, code=code, callback=registered.callback, verifier=verifier
            )
            return tokens, await self._client.identity(registration, tokens)
        except AuthorizationServerError as error:
            if error.kind == "unknown_client":
                await self._store.db.call(forget_upstream_client, self._store, registered.issuer, registered.client_id)
            raise

    async def _registered(self, metadata: ServerMetadata, callback: str) -> UpstreamClient:
        """Ourselves at that issuer, registered once for each callback; of several processes, the first one counts."""
        async with self._registering:
            found = await self._store.db.call(get_upstream_client, self._store, metadata.issuer, callback)
            if found is None:
                made = await self._client.register(callback)
                found = await self._store.db.call(
                    put_upstream_client,
                    self._store,
                    UpstreamClient(metadata.issuer, callback, made.client_id, made.client_secret),
                )
        return found


def _registration(client: UpstreamClient) -> Registration:
    return Registration(client.client_id, client.client_secret)


def _browser_hash(browser_id: str) -> str:
    return hashlib.sha256(browser_id.encode()).hexdigest()


def _code(metadata: ServerMetadata, answer: Mapping[str, str]) -> str:
    """The code in an answer whose issuer is the one that was asked.

    ``iss`` goes by the table of MCP authorization 2026-07-28 (RFC 9207, section 2.4), compared as strings, before
    anything else of the answer is looked at:

    | metadata announces it | the answer has it | then |
    | --- | --- | --- |
    | yes | yes | it must be the issuer |
    | yes | no | refused |
    | no | yes | it must be the issuer |
    | no | no | accepted |

    Raises:
        SignInError: Another issuer, or an error instead of a code.
    """
    given = answer.get("iss")
    if given != metadata.issuer and (given is not None or metadata.authorization_response_iss_parameter_supported):
        raise SignInError("mogplex_issuer")
    if "error" in answer or not answer.get("code"):
        raise SignInError("mogplex_denied" if answer.get("error") == "access_denied" else "mogplex_failed")
    return answer["code"]


def _failed(error: AuthorizationServerError, request_id: str | None) -> SignInError:
    kind = "mogplex_unreachable" if error.kind == "unreachable" else "mogplex_failed"
    return SignInError(kind, str(error), request_id)
