"""The consent page: what a client asks for, and the person's answer."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.auth.authorization import RequestGoneError
from mogplex_mcp.auth.consent import chosen, question
from mogplex_mcp.auth.urls import client_address
from mogplex_mcp.store.accounts import Account
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.errors import NoCredentialError
from mogplex_mcp.store.grants import held_scopes
from mogplex_mcp.web.pages import see_other
from mogplex_mcp.web.signin_pages import CONSENT, signin_address
from mogplex_mcp.web.site import PageError, Site, request_id


@dataclass(frozen=True)
class ConsentPage:
    """The handlers."""

    site: Site

    async def show(self, request: Request) -> Response:
        """GET: the question, or the way to sign in first."""
        waiting = request_id(request.query_params.get("request", ""))
        pending = await self.site.authorization.pending(waiting) if waiting else None
        if pending is None:
            raise PageError("request_gone")
        browser = await self.site.sessions.browser(request)
        if browser.account is None:
            return see_other(signin_address(waiting))
        if not await self._has_credential(browser.account):
            return see_other(signin_address(waiting, why="credential"))
        held = await self.site.store.db.call(held_scopes, self.site.store, browser.account.id, pending.client.client_id)
        return self.site.page(
            request,
            browser,
            "consent",
            leaves=True,
            question=question(pending.request, pending.client, held),
            other=signin_address(waiting),
            action=CONSENT,
            csrf=self.site.form_token(browser, CONSENT, waiting),
        )

    async def answer(self, request: Request) -> Response:
        """POST: the answer goes to the client."""
        form = await self.site.own_form(request)
        waiting = request_id(form.one("request"))
        browser = await self.site.sessions.browser(request)
        if browser.account is None:
            return see_other(signin_address(waiting, why="ended"))
        self.site.check_token(request, browser, form, waiting)
        pending = await self.site.authorization.pending(waiting)
        if pending is None:
            raise PageError("request_gone")
        issuer, address = self.site.urls.issuer(request), client_address(request)
        scopes = chosen(form.all("scope"), pending.request.scopes)
        try:
            if form.one("decision") != "allow" or not scopes:
                back = await self.site.authorization.deny(waiting, browser.account.id, issuer=issuer, address=address)
            else:
                back = await self.site.authorization.approve(
                    waiting, browser.account.id, scopes, issuer=issuer, address=address
                )
        except RequestGoneError:
            raise PageError("request_gone") from None
        except NoCredentialError:
            return see_other(signin_address(waiting, why="credential"))
        return see_other(back)

    async def _has_credential(self, account: Account) -> bool:
        credential = await self.site.store.db.call(get_credential, self.site.store, account.id)
        return credential is not None and not credential.refused
