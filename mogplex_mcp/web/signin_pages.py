"""Signing in and out: the page that offers the ways, and what answers each way's form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.api import MogplexError
from mogplex_mcp.auth.consent import Asker
from mogplex_mcp.auth.pat import TooManyRefusalsError
from mogplex_mcp.auth.sessions import Browser
from mogplex_mcp.auth.shown_text import destination
from mogplex_mcp.auth.signin import local as local_signin
from mogplex_mcp.auth.signin.mogplex import CALLBACK_PATH, MogplexSignIn, SignInError
from mogplex_mcp.auth.signin.pat import PatSignIn
from mogplex_mcp.auth.signin.ways import Way, offered
from mogplex_mcp.auth.urls import client_address
from mogplex_mcp.store.accounts import Account
from mogplex_mcp.web.pages import see_other
from mogplex_mcp.web.site import PageError, Site, request_id

SIGNIN = "/account/signin"
SIGNOUT = "/account/signout"
LOCAL = local_signin.PATH
PAT = f"{SIGNIN}/pat"
MOGPLEX = f"{SIGNIN}/mogplex"
CONSENT = "/account/consent"
CONNECTIONS = "/account/connections"


def signin_address(request: str = "", **more: str) -> str:
    """The sign-in page, for an authorization request or without one."""
    query = urlencode({**({"request": request} if request else {}), **more})
    return f"{SIGNIN}?{query}" if query else SIGNIN


def after_signin(request: str) -> str:
    """Where to go once somebody has signed in."""
    return f"{CONSENT}?{urlencode({'request': request})}" if request else CONNECTIONS


@dataclass(frozen=True)
class SignInPages:
    """The handlers.

    Attributes:
        site: What all pages share.
        ways: What this server offers.
        local: Makes a token of the embedded Mogplex; None where there is none.
        mogplex: Signs in at Mogplex's authorization server; None where that is not a way.
        pat: Signs in by a pasted token.
    """

    site: Site
    ways: tuple[Way, ...]
    local: local_signin.MintCredential | None
    mogplex: MogplexSignIn | None
    pat: PatSignIn

    async def show(self, request: Request) -> Response:
        """GET: the ways to sign in, and for which client."""
        browser = await self.site.sessions.browser(request)
        why = request.query_params.get("why", "")
        return await self._page(request, browser, request_id(request.query_params.get("request", "")), why=why)

    async def show_local(self, request: Request) -> Response:
        """GET of the link with a one-time code: a button. Mail and chat programs open links; only a press uses it."""
        self._require(request, "local")
        browser = await self.site.sessions.browser(request)
        code = request.query_params.get("code", "")[: local_signin.MAX_CODE]
        token = self.site.form_token(browser, LOCAL)
        return self.site.page(request, browser, "signin_link", code=code, csrf=token, action=LOCAL)

    async def sign_in_local(self, request: Request) -> Response:
        """POST of a one-time code."""
        form = await self.site.own_form(request)
        mint = self._require(request, "local")
        waiting = request_id(form.one("request"))
        browser = await self.site.sessions.browser(request)
        self.site.check_token(request, browser, form, waiting)
        assert mint is not None  # noqa: S101 - offered only where there is one
        account = await local_signin.sign_in_locally(
            self.site.store, self.site.credentials, form.one("code"), mint, address=client_address(request)
        )
        if account is None:
            return await self._page(request, browser, waiting, status=400, errors={"local": _WRONG_CODE})
        return await self._signed_in(request, browser, account, waiting)

    async def sign_in_pat(self, request: Request) -> Response:
        """POST of a Mogplex token."""
        form = await self.site.own_form(request)
        self._require(request, "pat")
        waiting = request_id(form.one("request"))
        browser = await self.site.sessions.browser(request)
        self.site.check_token(request, browser, form, waiting)
        try:
            account = await self.pat.sign_in(form.one("token"), client_address(request))
        except TooManyRefusalsError:
            raise PageError("too_many", again=signin_address(waiting)) from None
        except MogplexError as error:
            errors = {"pat": f"The token could not be checked. {error.message}"}
            return await self._page(request, browser, waiting, status=503, errors=errors)
        if account is None:
            return await self._page(request, browser, waiting, status=400, errors={"pat": _REFUSED_TOKEN})
        return await self._signed_in(request, browser, account, waiting)

    async def begin_mogplex(self, request: Request) -> Response:
        """POST of the button: the state is made now, for this browser."""
        form = await self.site.own_form(request)
        self._require(request, "mogplex")
        waiting = request_id(form.one("request"))
        browser = await self.site.sessions.browser(request)
        self.site.check_token(request, browser, form, waiting)
        assert self.mogplex is not None  # noqa: S101 - offered only where there is one
        try:
            address = await self.mogplex.begin(browser.id, waiting or None, self._callback(request))
        except SignInError as error:
            raise PageError(error.kind, str(error), again=signin_address(waiting)) from None
        return see_other(address)

    async def finish_mogplex(self, request: Request) -> Response:
        """GET: the browser comes back from Mogplex."""
        self._require(request, "mogplex")
        assert self.mogplex is not None  # noqa: S101 - offered only where there is one
        browser = await self.site.sessions.browser(request)
        names = request.query_params.keys()
        if any(len(request.query_params.getlist(name)) > 1 for name in names):
            raise PageError("mogplex_state", again=SIGNIN)
        try:
            done = await self.mogplex.finish(
                browser.id, dict(request.query_params), self._callback(request), address=client_address(request)
            )
        except SignInError as error:
            detail = "" if error.kind in str(error) else str(error)
            raise PageError(error.kind, detail, again=signin_address(error.request_id or "")) from None
        return await self._signed_in(request, browser, done.account, done.request_id or "")

    async def sign_out(self, request: Request) -> Response:
        """POST: end the session."""
        form = await self.site.own_form(request)
        browser = await self.site.sessions.browser(request)
        if browser.account is not None:
            self.site.check_token(request, browser, form)
            await self.site.sessions.sign_out(browser)
        return self.site.sessions.forget(see_other(signin_address(why="out")), request)

    def _ways(self, request: Request) -> tuple[Way, ...]:
        local = self.local is not None and local_signin.is_local(request, self.site.urls)
        return offered(self.site.settings, self.ways, local=local)

    def _require(self, request: Request, way: Way) -> local_signin.MintCredential | None:
        if way not in self._ways(request):
            raise PageError("local_refused" if way == "local" else "way_refused", again=SIGNIN)
        return self.local

    def _callback(self, request: Request) -> str:
        return self.site.urls.base(request) + CALLBACK_PATH

    async def _signed_in(self, request: Request, browser: Browser, account: Account, waiting: str) -> Response:
        session_id = await self.site.sessions.sign_in(browser, account.id)
        return self.site.sessions.remember(see_other(after_signin(waiting)), request, session_id)

    async def _page(
        self,
        request: Request,
        browser: Browser,
        waiting: str,
        *,
        why: str = "",
        status: int = 200,
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        pending = await self.site.authorization.pending(waiting) if waiting else None
        if waiting and pending is None:
            raise PageError("request_gone")
        client = None if pending is None else pending.client
        ways = self._ways(request)
        if not ways:
            raise PageError("local_refused")
        return self.site.page(
            request,
            browser,
            "signin",
            status=status,
            # The button for Mogplex ends there; Chromium checks form-action against redirects as well.
            leaves="mogplex" in ways,
            ways=ways,
            asker=None if client is None else Asker.of(client.client_id, client.name, client.kind),
            destination=None if pending is None else destination(pending.request.redirect_uri),
            waiting=waiting,
            onward=after_signin(waiting),
            notice=_NOTICES.get(why),
            errors=errors or {},
            embedded="local" in self.ways,
            csrf={path: self.site.form_token(browser, path, waiting) for path in (LOCAL, PAT, MOGPLEX)},
        )


_WRONG_CODE = "That code is wrong, was used already, or is older than ten minutes. Make another one."
_REFUSED_TOKEN = "Mogplex refuses this token: it is mistyped, expired or revoked."  # noqa: S105 - a sentence
_NOTICES = {
    "out": "You are signed out of these pages. Connected agents stay connected.",
    "ended": "Your sign-in has ended. Sign in again to go on.",
    "credential": "Mogplex no longer accepts what you signed in with. Sign in again to go on.",
}
