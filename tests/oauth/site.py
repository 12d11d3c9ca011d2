"""The authorization server alone, on a real port, and a client that speaks to it as a stranger would."""

import asyncio
import base64
import hashlib
import secrets
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.auth.authorization import Authorization, Problem, oauth_routes
from mogplex_mcp.auth.field_values import FieldValueMiddleware
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.serving import listen, make_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.accounts import sign_in_account
from mogplex_mcp.store.credentials import Credential, put_credential
from mogplex_mcp.store.grants import Revoked
from mogplex_mcp.store.store import Store
from mogplex_mcp.web.pages import Pages

Json = dict[str, Any]

CALLBACK = "http://127.0.0.1:4711/callback"

VERIFIER = "v" * 43

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Reading the system's certificates takes longer than most tests."""


def challenge_of(verifier: str) -> str:
    """RFC 7636, section 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def answer_in(location: str) -> dict[str, str]:
    """The parameters of a redirect to a client, each there once."""
    found = parse_qs(urlsplit(location).query, keep_blank_values=True, strict_parsing=True)
    assert all(len(values) == 1 for values in found.values())
    return {name: values[0] for name, values in found.items()}


@dataclass
class Site:
    """A running authorization server, seen from a client; and what its person does, without the pages."""

    base: str
    issuer: str
    store: Store
    authorization: Authorization
    http: httpx2.AsyncClient
    account_id: str
    problems: list[Problem] = field(default_factory=list)
    ended: list[Revoked] = field(default_factory=list)

    @property
    def resource(self) -> str:
        """The endpoint that tokens are for."""
        return f"{self.issuer}/mcp"

    async def register(self, **metadata: object) -> Json:
        """Register a public client, unless the metadata says otherwise."""
        body = {"redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none", **metadata}
        answer = await self.http.post("/oauth/register", json=body)
        assert answer.status_code == 201, answer.text
        client: Json = answer.json()
        return client

    def parameters(self, client_id: str, /, **changes: str | None) -> dict[str, str]:
        """A good authorization request, changed; None leaves a parameter out."""
        given = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "state": "st-1",
            "code_challenge": challenge_of(VERIFIER),
            "code_challenge_method": "S256",
            "resource": self.resource,
            **changes,
        }
        return {name: value for name, value in given.items() if value is not None}

    async def authorize(self, client_id: str, /, **changes: str | None) -> httpx2.Response:
        """GET the authorization endpoint."""
        return await self.http.get("/oauth/authorize", params=self.parameters(client_id, **changes))

    async def request_id(self, client_id: str, /, **changes: str | None) -> str:
        """The id of a request that was accepted."""
        answer = await self.authorize(client_id, **changes)
        assert answer.status_code == 303, answer.text
        assert answer.headers["location"].startswith("/account/consent?request=")
        return answer_in(answer.headers["location"])["request"]

    async def refused(self, answer: httpx2.Response) -> Problem:
        """The problem that a page shows; it never redirects."""
        assert answer.is_client_error or answer.status_code == 502, answer.status_code
        assert "location" not in answer.headers
        assert answer.headers["content-type"].startswith("text/html")
        return self.problems[-1]

    async def code(self, client_id: str, /, *scopes: str, **changes: str | None) -> str:
        """A code that the person allowed, for everything asked for unless scopes are named."""
        request_id = await self.request_id(client_id, **changes)
        pending = await self.authorization.pending(request_id)
        assert pending is not None
        location = await self.authorization.approve(
            request_id, self.account_id, scopes or pending.request.scopes, issuer=self.issuer, address="127.0.0.1"
        )
        return answer_in(location)["code"]

    async def post_token(self, form: dict[str, str | list[str]], **options: Any) -> httpx2.Response:
        """POST the token endpoint."""
        return await self.http.post("/oauth/token", data=form, **options)

    async def redeem(self, client_id: str, code: str, /, **changes: str | None) -> httpx2.Response:
        """Exchange a code, as a public client unless changed; None leaves a parameter out."""
        given = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": client_id,
            "redirect_uri": CALLBACK,
            "code_verifier": VERIFIER,
            "resource": self.resource,
            **changes,
        }
        return await self.post_token({name: value for name, value in given.items() if value is not None})

    async def refresh(self, client_id: str, refresh_token: str, **more: str) -> httpx2.Response:
        """Exchange a refresh token, as a public client."""
        form: dict[str, str | list[str]] = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": client_id,
            **more,
        }
        return await self.post_token(form)

    async def tokens(self, client_id: str, /, *scopes: str, **changes: str | None) -> Json:
        """Tokens of a new grant."""
        answer = await self.redeem(client_id, await self.code(client_id, *scopes, **changes))
        assert answer.status_code == 200, answer.text
        tokens: Json = answer.json()
        return tokens

    def error(self, answer: httpx2.Response) -> str:
        """The error of a JSON endpoint, in the form that RFC 6749 section 5.2 gives it."""
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        body: Json = answer.json()
        assert set(body) == {"error", "error_description"}, body
        assert all(" " <= char <= "~" and char not in '"\\' for char in body["error_description"]), body
        error: str = body["error"]
        return error


@asynccontextmanager
async def running(store: Store, authorization: Authorization, settings: Settings, **client: Any) -> AsyncIterator[Site]:
    """Serve the authorization server on a free port until the block is left."""
    problems: list[Problem] = []
    ended: list[Revoked] = []
    pages = Pages()

    def problem_page(request: Request, problem: Problem) -> Response:
        problems.append(problem)
        return pages.error_page(request, problem)

    async def on_ended(revoked: Revoked) -> None:
        ended.append(revoked)

    def sign_in() -> str:
        account = sign_in_account(store, issuer="local", subject=secrets.token_hex(8), label="Ada")
        put_credential(store, account.id, Credential("local", "mog_test"))
        return account.id

    app = Starlette(
        routes=oauth_routes(authorization, PublicUrls.of(settings), problem_page, on_ended),
        middleware=[Middleware(FieldValueMiddleware)],
    )
    listening = listen("127.0.0.1", 0)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or each answer waits 40 ms under plain asyncio
    server = make_server(app)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    base = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        async with httpx2.AsyncClient(base_url=base, timeout=30, verify=NO_TLS, **client) as http:
            account_id = await asyncio.to_thread(sign_in)
            yield Site(base, settings.mcp_public_url or base, store, authorization, http, account_id, problems, ended)
    finally:
        server.should_exit = True
        await task


class Clock:
    """A store's time, in milliseconds."""

    def __init__(self, store: Store) -> None:
        self.now = store.now()

    def __call__(self) -> int:
        return self.now
