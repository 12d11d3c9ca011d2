"""Signing in to the embedded Mogplex: a one-time code proves that the browser is the server's owner's.

Reaching the port proves nothing: every program and every page on this computer can. The code is shown where only the
owner looks, in the terminal of ``serve`` or of ``mogplex-mcp local signin``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request

from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.settings import is_loopback
from mogplex_mcp.store.accounts import Account, sign_in_account
from mogplex_mcp.store.credentials import Credential
from mogplex_mcp.store.signin_codes import new_signin_code, redeem_signin_code
from mogplex_mcp.store.store import Store

PATH = "/account/signin/local"
MAX_CODE = 40
LABEL = "The owner of this computer's Mogplex"

MintCredential = Callable[[], Awaitable[str]]
"""Makes a token of the embedded Mogplex."""

_FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "x-real-ip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-original-host",
        "x-original-url",
        "true-client-ip",
        "cf-connecting-ip",
        "cf-ray",
        "fastly-client-ip",
        "fly-client-ip",
        "cdn-loop",
        "ngrok-skip-browser-warning",
        "tailscale-user-login",
    }
)
_FORWARDING_PREFIX = "x-forwarded"


def new_local_signin(store: Store, base: str) -> tuple[str, str]:
    """A new one-time code, for 10 minutes, and the link that carries it.

    Args:
        store: Where its hash is kept.
        base: The server's address as this computer's browser reaches it, ``http://127.0.0.1:8747``.
    """
    code = new_signin_code(store)
    return f"{base}{PATH}?{urlencode({'code': code})}", code


def is_local(request: Request, urls: PublicUrls) -> bool:
    """Whether this request can only have been made on this computer, as far as a server can tell.

    Bind address, public address, ``Host`` and peer have to be loopback, and nothing may say that a proxy forwarded it.
    """
    peer = request.client.host if request.client else ""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    names = {name.lower() for name in request.headers}
    forwarded = bool(names & _FORWARDING) or any(name.startswith(_FORWARDING_PREFIX) for name in names)
    addresses = (urls.bind_host, host, peer)
    return urls.is_loopback_only and not forwarded and all(is_loopback(address) for address in addresses)


async def sign_in_locally(
    store: Store, credentials: Credentials, code: str, mint: MintCredential, *, address: str
) -> Account | None:
    """The owner's account, when the code is right; None when it is wrong, used, or too old.

    Args:
        store: Where codes and accounts are kept.
        credentials: Where the new token goes; the one of an earlier sign-in is revoked.
        code: What was typed.
        mint: Makes the token.
        address: Where from, for the audit.

    Raises:
        TooManyTriesError: Too many wrong codes lately; nothing is tried for a while.
    """
    if not await store.db.call(redeem_signin_code, store, code, address=address):
        return None
    token = await mint()
    account = await store.db.call(sign_in_account, store, issuer="local", subject="owner", label=LABEL, address=address)
    await credentials.put(account.id, Credential("local", token))
    return account
