"""The addresses of the pages."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mogplex_mcp.api import Upstream
from mogplex_mcp.auth.authorization import Authorization
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.endings import Endings
from mogplex_mcp.auth.pat import TokenChecks
from mogplex_mcp.auth.sessions import Sessions
from mogplex_mcp.auth.signin import local as local_signin
from mogplex_mcp.auth.signin.authorization_client import AuthorizationClient
from mogplex_mcp.auth.signin.mogplex import CALLBACK_PATH, MogplexSignIn
from mogplex_mcp.auth.signin.pat import PatSignIn
from mogplex_mcp.auth.signin.ways import ways_to_sign_in
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from mogplex_mcp.web.connections_page import (
    REVOKE_ALL_PATH,
    REVOKE_PATH,
    SCOPES_PATH,
    TOKEN_PATH,
    ConnectionsPage,
)
from mogplex_mcp.web.consent_page import ConsentPage
from mogplex_mcp.web.landing import Landing
from mogplex_mcp.web.pages import STYLESHEET_PATH, Pages, see_other, stylesheet
from mogplex_mcp.web.signin_pages import (
    CONNECTIONS,
    CONSENT,
    LOCAL,
    MOGPLEX,
    PAT,
    SIGNIN,
    SIGNOUT,
    SignInPages,
)
from mogplex_mcp.web.site import Handler, PageError, Site


def account_routes(
    *,
    settings: Settings,
    urls: PublicUrls,
    store: Store,
    upstream: Upstream,
    pages: Pages,
    authorization: Authorization,
    credentials: Credentials,
    endings: Endings,
    authorization_client: AuthorizationClient | None,
    checks: TokenChecks,
    mint_local_credential: local_signin.MintCredential | None,
) -> list[Route]:
    """Every page: landing, sign-in, consent, connections.

    Args:
        settings: Ways to sign in.
        urls: This server's addresses.
        store: Accounts, sessions and grants.
        upstream: The way to Mogplex.
        pages: The templates.
        authorization: Pending authorizations and their answers.
        credentials: Where a sign-in's tokens go.
        endings: Told when grants change or end.
        authorization_client: Mogplex's authorization server; None where nobody can sign in there.
        checks: Asks Mogplex about pasted tokens.
        mint_local_credential: Makes a token of the embedded Mogplex; None where there is none.

    Raises:
        SignInSettingsError: MOGPLEX_MCP_SIGNIN names a way that cannot be.
    """
    site = Site(settings, urls, store, Sessions(store, urls), pages, authorization, credentials, endings)
    pat = PatSignIn(store, checks, credentials)
    mogplex = None if authorization_client is None else MogplexSignIn(store, authorization_client, credentials)
    signin = SignInPages(site, ways_to_sign_in(settings, upstream.route), mint_local_credential, mogplex, pat)
    consent = ConsentPage(site)
    connections = ConnectionsPage(site, pat)
    handlers: list[tuple[str, str, Handler]] = [
        ("GET", "/", Landing(pages, urls).show),
        ("GET", STYLESHEET_PATH, stylesheet),
        ("GET", SIGNIN, signin.show),
        ("GET", LOCAL, signin.show_local),
        ("POST", LOCAL, signin.sign_in_local),
        ("POST", PAT, signin.sign_in_pat),
        ("POST", MOGPLEX, signin.begin_mogplex),
        ("GET", CALLBACK_PATH, signin.finish_mogplex),
        ("POST", SIGNOUT, signin.sign_out),
        ("GET", CONSENT, consent.show),
        ("POST", CONSENT, consent.answer),
        ("GET", CONNECTIONS, connections.show),
        ("POST", SCOPES_PATH, connections.change_scopes),
        ("POST", REVOKE_PATH, connections.revoke),
        ("POST", REVOKE_ALL_PATH, connections.revoke_all),
        ("POST", TOKEN_PATH, connections.replace_token),
        ("GET", "/account", _to_connections),
        ("GET", "/account/{rest:path}", _nowhere),
    ]
    return [Route(path, site.handler(handle), methods=[method]) for method, path, handle in handlers]


async def _to_connections(_: Request) -> Response:
    return see_other(CONNECTIONS)


async def _nowhere(_: Request) -> Response:
    raise PageError("not_found", again=CONNECTIONS)
