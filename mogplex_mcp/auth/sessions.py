"""Sessions of browsers on our pages: a cookie that holds a random id, and what the store keeps under it.

The cookie's path is ``/account``: cookies know no ports, so a client's own listener on this computer would be sent
every cookie of the path ``/``. A ``__Host-`` name demands that path, so on https the name starts with ``__Secure-``,
which demands ``Secure`` and nothing that we do not want. Sources: RFC 6265, sections 4.1.2 and 8.5; RFC 6265bis,
section 4.1.3.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.store.accounts import Account, get_account
from mogplex_mcp.store.sessions import end_session, get_session, renew_session
from mogplex_mcp.store.store import Store

COOKIE_PATH = "/account"

_ID = re.compile(r"[A-Za-z0-9_-]{32,128}")


@dataclass(frozen=True)
class Browser:
    """The browser that a request comes from.

    Attributes:
        id: What its cookie holds, or a fresh random id when it sent none. Nothing is stored under it before somebody
            signs in, so that loading a page costs no row.
        account: Who is signed in, or None.
        known: It sent the cookie.
    """

    id: str = field(repr=False)
    account: Account | None
    known: bool


@dataclass(frozen=True)
class Sessions:
    """Finds, opens and ends sessions.

    Attributes:
        store: Where they are kept; they end there too, 8 h after sign-in.
        urls: Whether the cookie is for TLS, and its name on this port.
    """

    store: Store
    urls: PublicUrls

    async def browser(self, request: Request) -> Browser:
        """The browser that this request comes from."""
        value = request.cookies.get(self._cookie(request), "")
        if not _ID.fullmatch(value):
            return Browser(secrets.token_urlsafe(32), None, known=False)
        account = await self.store.db.call(self._account, value)
        return Browser(value, account, known=True)

    async def sign_in(self, browser: Browser, account_id: str) -> str:
        """Open a session under a new id, and end what was under the old one (session fixation)."""
        session_id, _ = await self.store.db.call(renew_session, self.store, browser.id, account_id)
        return session_id

    async def sign_out(self, browser: Browser) -> None:
        """End the session."""
        await self.store.db.call(end_session, self.store, browser.id)

    def remember(self, response: Response, request: Request, session_id: str) -> Response:
        """Give the browser its cookie; it forgets it when it is closed."""
        response.set_cookie(
            self._cookie(request),
            session_id,
            path=COOKIE_PATH,
            secure=self._secure(request),
            httponly=True,
            samesite="lax",
        )
        return response

    def forget(self, response: Response, request: Request) -> Response:
        """Take the cookie away."""
        response.delete_cookie(
            self._cookie(request), path=COOKIE_PATH, secure=self._secure(request), httponly=True, samesite="lax"
        )
        return response

    def _secure(self, request: Request) -> bool:
        return self.urls.base(request).startswith("https:")

    def _cookie(self, request: Request) -> str:
        if self._secure(request):
            return "__Secure-mogplex-mcp"
        # Several servers may run on one computer, and cookies know no ports.
        return f"mogplex-mcp-{urlsplit(self.urls.base(request)).port or 80}"

    def _account(self, session_id: str) -> Account | None:
        session = get_session(self.store, session_id)
        if session is None or session.account_id is None:
            return None
        return get_account(self.store, session.account_id)
