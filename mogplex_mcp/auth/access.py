"""Our own access tokens: looked up once, remembered for a few seconds.

A token seen in the last 5 s needs no database read. What this process revokes is felt at once, because it says so here;
what another process revokes is felt when the memory ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy.exc import SQLAlchemyError

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.caller import Caller, fingerprint
from mogplex_mcp.auth.credentials import CredentialRefusedError, Credentials
from mogplex_mcp.auth.current_caller import CallerUser
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import AccessRecord, find_access_token, note_use
from mogplex_mcp.store.vault import VaultError

REMEMBERED_MS = 5_000
REMEMBERED = 10_000
"""Most tokens kept in memory; the oldest go first."""


@dataclass(frozen=True)
class Access:
    """One valid access token's caller.

    Attributes:
        user: The caller.
        grant_id: The grant it belongs to.
        resource: What it was issued for (RFC 8707).
        expires_at: Milliseconds since the epoch.
    """

    user: CallerUser
    grant_id: str
    resource: str
    expires_at: int


class AccountCredential:
    """The stored credential of an account, for as long as one look-up of an access token is remembered.

    Args:
        credentials: Where it is kept and renewed.
        account_id: Whose it is.
        forget: Looks the account's access tokens up anew: they are not accepted once its credential is refused.
    """

    def __init__(self, credentials: Credentials, account_id: str, forget: Callable[[], None]) -> None:
        self._credentials = credentials
        self._account_id = account_id
        self._forget = forget
        self._token: str | None = None

    async def token(self) -> str:
        """The stored token, refreshed when it is about to expire."""
        if self._token is not None:
            return self._token
        try:
            self._token = await self._credentials.token_for(self._account_id)
        except CredentialRefusedError:
            self._forget()
            raise MogplexError(
                "UNAUTHORIZED",
                "Mogplex no longer accepts this account's sign-in.",
                status=401,
                suggestion="Ask the person to reconnect this server and sign in again.",
            ) from None
        except VaultError:
            raise MogplexError(
                "UNAUTHORIZED",
                "This account's sign-in was stored under a key that this server does not have.",
                status=401,
                suggestion="Ask the person to reconnect this server and sign in again.",
            ) from None
        except SQLAlchemyError:
            raise MogplexError("SERVICE_UNAVAILABLE", "The database of sign-ins does not answer.", status=503) from None
        return self._token

    async def refused(self, token: str) -> bool:
        """Note the refusal. Asked again, ``token`` gives a renewed one, or says that the person must sign in."""
        self._token = None
        await self._credentials.refused(self._account_id, token)
        return True


class AccessTokens:
    """The access tokens seen lately, by hash.

    Args:
        store: Where tokens are.
        credentials: What Mogplex is called with for an account.
    """

    def __init__(self, store: Store, credentials: Credentials) -> None:
        self._store = store
        self._credentials = credentials
        self._seen: OrderedDict[str, tuple[Access, int]] = OrderedDict()
        self._forgotten = 0

    async def find(self, token: str, address: str) -> Access | None:
        """The caller whose token this is, or None: unknown, expired, revoked, or of an account that must sign in again.

        Args:
            token: The bearer token as presented.
            address: The peer's address, shown to the person as where the agent was last used from.
        """
        key = fingerprint(token)
        now = self._store.now()
        known = self._seen.get(key)
        # Both ways: a clock that was set back must not make a memory last.
        if known is not None and 0 < known[1] - now <= REMEMBERED_MS:
            return known[0]
        forgotten = self._forgotten
        record = await self._store.db.call(self._look, token, address, now)
        if record is None:
            return None
        access = self._access(record)
        if forgotten != self._forgotten:
            # Something was revoked or changed during the look-up: what it saw serves this request only.
            return access
        self._seen[key] = (access, min(now + REMEMBERED_MS, record.expires_at))
        self._seen.move_to_end(key)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return access

    def seconds_left(self, access: Access) -> float:
        """Seconds until the token expires."""
        return (access.expires_at - self._store.now()) / 1000

    def forget(self, grant_ids: Collection[str]) -> None:
        """Look these grants' tokens up anew: they were revoked, or their scopes changed."""
        self._forget(lambda access: access.grant_id in grant_ids)

    def _forget(self, which: Callable[[Access], bool]) -> None:
        self._forgotten += 1
        for key in [key for key, (access, _) in self._seen.items() if which(access)]:
            del self._seen[key]

    def _look(self, token: str, address: str, now: int) -> AccessRecord | None:
        record = find_access_token(self._store, token)
        if record is None or record.revoked or record.credential_refused or record.expires_at <= now:
            return None
        note_use(self._store, record.grant_id, record.token_hash, now, address)
        return record

    def _access(self, record: AccessRecord) -> Access:
        account = record.account_id
        caller = Caller(
            account=account,
            credential=AccountCredential(
                self._credentials, account, lambda: self._forget(lambda access: access.user.caller.account == account)
            ),
            scopes=frozenset(record.scopes),
            grant_id=record.grant_id,
        )
        user = CallerUser(caller, client_id=record.client_id, issuer="mogplex-mcp")
        return Access(user, record.grant_id, record.resource, record.expires_at)
