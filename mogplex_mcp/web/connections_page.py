"""The account page: every connected agent, what it may do, and the ways to end that."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.consent import Asker, Choice, choices, chosen
from mogplex_mcp.auth.form import Form
from mogplex_mcp.auth.pat import TooManyRefusalsError
from mogplex_mcp.auth.scopes import SERVED
from mogplex_mcp.auth.sessions import Browser
from mogplex_mcp.auth.shown_text import Destination, destination
from mogplex_mcp.auth.signin.pat import ISSUER, PatSignIn
from mogplex_mcp.auth.urls import client_address
from mogplex_mcp.store.accounts import Account
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.grants import ConnectedAgent, grants_of, revoke_grant, revoke_grants_of, set_scopes
from mogplex_mcp.web.pages import see_other
from mogplex_mcp.web.signin_pages import CONNECTIONS, SIGNOUT, signin_address
from mogplex_mcp.web.site import PageError, Site

SCOPES_PATH = f"{CONNECTIONS}/scopes"
REVOKE_PATH = f"{CONNECTIONS}/revoke"
REVOKE_ALL_PATH = f"{CONNECTIONS}/revoke-all"
TOKEN_PATH = "/account/token"  # noqa: S105 - an address

_NOTICES = {
    "saved": "Saved. It holds from the agent's next call.",
    "revoked": "Revoked. That agent is signed out.",
    "revoked-all": "All agents are signed out.",
    "token": "Your new token is in use.",
    "none": "Nothing was changed: an agent needs at least one box. To end its access, revoke it.",
    "gone": "That agent was no longer connected.",
}


@dataclass(frozen=True)
class Connection:
    """One connected agent as the page shows it. Times in milliseconds since 1970."""

    id: str
    asker: Asker
    destination: Destination
    choices: tuple[Choice, ...]
    requested: tuple[str, ...]
    created_at: int
    last_used_at: int | None
    last_used_from: str | None
    csrf_scopes: str
    csrf_revoke: str


@dataclass(frozen=True)
class ConnectionsPage:
    """The handlers.

    Attributes:
        site: What all pages share.
        pat: Checks a token that replaces another one.
    """

    site: Site
    pat: PatSignIn

    async def show(self, request: Request) -> Response:
        """GET: the account and its connected agents."""
        browser = await self.site.sessions.browser(request)
        if browser.account is None:
            return see_other(signin_address())
        return await self._page(request, browser, browser.account, notice=request.query_params.get("done", ""))

    async def change_scopes(self, request: Request) -> Response:
        """POST: what one agent may do, from now on."""
        account, form = await self._own(request, about="grant")
        if account is None:
            return see_other(signin_address(why="ended"))
        wanted = chosen(form.all("scope"), SERVED)
        if not wanted:
            return _done("none")
        changed = await self.site.store.db.call(
            set_scopes,
            self.site.store,
            form.one("grant"),
            wanted,
            account_id=account.id,
            address=client_address(request),
        )
        if changed is not None:
            self.site.endings.changed(changed)
        return _done("gone" if changed is None else "saved")

    async def revoke(self, request: Request) -> Response:
        """POST: end one agent's access."""
        account, form = await self._own(request, about="grant")
        if account is None:
            return see_other(signin_address(why="ended"))
        revoked = await self.site.store.db.call(
            revoke_grant,
            self.site.store,
            form.one("grant"),
            "revoked on the account page",
            account_id=account.id,
            address=client_address(request),
        )
        await self.site.endings.ended(revoked)
        return _done("revoked" if revoked.grant_ids else "gone")

    async def revoke_all(self, request: Request) -> Response:
        """POST: end every agent's access."""
        account, _ = await self._own(request)
        if account is None:
            return see_other(signin_address(why="ended"))
        revoked = await self.site.store.db.call(
            revoke_grants_of, self.site.store, account.id, address=client_address(request)
        )
        await self.site.endings.ended(revoked)
        return _done("revoked-all")

    async def replace_token(self, request: Request) -> Response:
        """POST: another Mogplex token for this account."""
        account, form = await self._own(request)
        if account is None:
            return see_other(signin_address(why="ended"))
        if account.issuer != ISSUER:
            raise PageError("way_refused", again=CONNECTIONS)
        browser = await self.site.sessions.browser(request)
        try:
            replaced = await self.pat.replace(account, form.one("token"), client_address(request))
        except TooManyRefusalsError:
            raise PageError("too_many", again=CONNECTIONS) from None
        except MogplexError as error:
            message = f"The token could not be checked. {error.message}"
            return await self._page(request, browser, account, status=503, token_error=message)
        if replaced is None:
            message = "Mogplex refuses this token: it is mistyped, expired or revoked. The former one stays."
            return await self._page(request, browser, account, status=400, token_error=message)
        if not replaced:
            message = "Another account here signs in with this token already. Sign in with it instead."
            return await self._page(request, browser, account, status=409, token_error=message)
        return _done("token")

    async def _own(self, request: Request, *, about: str = "") -> tuple[Account | None, Form]:
        form = await self.site.own_form(request)
        browser = await self.site.sessions.browser(request)
        if browser.account is not None:
            self.site.check_token(request, browser, form, form.one(about) if about else "")
        return browser.account, form

    async def _page(
        self,
        request: Request,
        browser: Browser,
        account: Account,
        *,
        notice: str = "",
        status: int = 200,
        token_error: str = "",
    ) -> Response:
        granted = await self.site.store.db.call(grants_of, self.site.store, account.id)
        credential = await self.site.store.db.call(get_credential, self.site.store, account.id)
        return self.site.page(
            request,
            browser,
            "connections",
            status=status,
            connections=[self._connection(browser, agent) for agent in granted],
            refused=credential is not None and credential.refused,
            missing=credential is None,
            pasted=account.issuer == ISSUER,
            notice=_NOTICES.get(notice),
            token_error=token_error,
            paths={"scopes": SCOPES_PATH, "revoke": REVOKE_PATH, "all": REVOKE_ALL_PATH, "token": TOKEN_PATH},
            csrf={path: self.site.form_token(browser, path) for path in (REVOKE_ALL_PATH, TOKEN_PATH, SIGNOUT)},
        )

    def _connection(self, browser: Browser, agent: ConnectedAgent) -> Connection:
        grant = agent.grant
        # Every served scope has its box: a call that was refused for one says to tick it here, asked for or not.
        return Connection(
            grant.id,
            Asker.of(grant.client_id, agent.client_name, agent.client_kind),
            destination(grant.redirect_uri),
            choices(SERVED, grant.scopes),
            grant.requested,
            grant.created_at,
            grant.last_used_at,
            grant.last_used_from,
            self.site.form_token(browser, SCOPES_PATH, grant.id),
            self.site.form_token(browser, REVOKE_PATH, grant.id),
        )


def _done(what: str) -> Response:
    return see_other(f"{CONNECTIONS}?{urlencode({'done': what})}")
