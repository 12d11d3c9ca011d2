"""The pages and the OAuth endpoints of one server, on a port of its own, over a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2

from mogplex_mcp.api import Upstream
from mogplex_mcp.app import create_app
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.signin.authorization_client import AuthorizationClient
from mogplex_mcp.auth.signin.local import new_local_signin
from mogplex_mcp.embedded_tokens import EmbeddedTokens
from mogplex_mcp.serving import listen, make_server
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import AccessRecord, find_access_token

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Certificates take long to load, and there are none to check here."""
REDIRECT = "https://client.example/callback"


@dataclass
class Visitor:
    """A browser without a screen: cookies, forms, and no redirect followed unless asked."""

    base: str
    http: httpx2.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        """GET a page."""
        return await self.http.get(self._url(path), headers=headers)

    async def submit(
        self, page: httpx2.Response, action: str, origin: str | None = None, **typed: Any
    ) -> httpx2.Response:
        """Fill and send the form of a page that goes to an action; lists are several values."""
        fields = {**hidden_fields(page.text, action), **typed}
        return await self.post(action, fields, origin=origin)

    async def post(self, path: str, fields: Mapping[str, Any], origin: str | None = None) -> httpx2.Response:
        """POST a form."""
        headers = {
            "Origin": self.base if origin is None else origin,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = urlencode(fields, doseq=True)
        return await self.http.post(self._url(path), content=body, headers={k: v for k, v in headers.items() if v})

    def _url(self, path: str) -> str:
        return path if path.startswith("http") else self.base + path


@dataclass
class Site:
    """A served site.

    Attributes:
        base: Its address.
        store: Its database.
        credentials: The credentials in it, as another process of the same server sees them.
    """

    base: str
    store: Store
    credentials: Credentials
    visitors: list[httpx2.AsyncClient] = field(default_factory=list)

    def visitor(self, host: str | None = None) -> Visitor:
        """A browser of its own."""
        base = self.base if host is None else self.base.replace("127.0.0.1", host)
        http = httpx2.AsyncClient(timeout=30, trust_env=False, verify=NO_TLS)
        self.visitors.append(http)
        return Visitor(base, http)

    async def local_code(self) -> str:
        """A one-time code, as `serve` prints it."""
        _, code = await asyncio.to_thread(new_local_signin, self.store, self.base)
        return code

    async def sign_in_locally(self, visitor: Visitor, request: str = "") -> httpx2.Response:
        """Sign the owner in."""
        page = await visitor.get(f"/account/signin?request={request}" if request else "/account/signin")
        return await visitor.submit(page, "/account/signin/local", code=await self.local_code())

    async def call(self, token: str, tool: str, **arguments: object) -> httpx2.Response:
        """Call a tool over MCP, as a host with this token."""
        params = {"name": tool, "arguments": arguments}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
        return await self.visitor().http.post(f"{self.base}/mcp", json=body, headers=headers)

    async def access(self, token: str) -> AccessRecord | None:
        """What a token of ours allows now."""
        return await self.store.db.call(find_access_token, self.store, token)


@dataclass
class Client:
    """An OAuth client of the site."""

    site: Site
    http: httpx2.AsyncClient
    client_id: str
    redirect_uri: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    @classmethod
    async def register(cls, site: Site, name: str = "Test host", redirect_uri: str = REDIRECT) -> Client:
        """Register by RFC 7591."""
        http = site.visitor().http
        wanted = {"client_name": name, "redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none"}
        answer = await http.post(f"{site.base}/oauth/register", json=wanted)
        assert answer.status_code == 201, answer.text
        return cls(site, http, answer.json()["client_id"], redirect_uri)

    def authorize_url(self, **more: str) -> str:
        """The link that the host opens in the browser."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).decode().rstrip("=")
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "state": self.state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **more,
        }
        return f"{self.site.base}/oauth/authorize?{urlencode(asked)}"

    async def begin(self, visitor: Visitor, **more: str) -> str:
        """Open the link; the id of the authorization request."""
        answer = await visitor.get(self.authorize_url(**more))
        assert answer.status_code == 303, answer.text
        return query_of(answer.headers["location"])["request"]

    async def redeem(self, code: str) -> dict[str, Any]:
        """Exchange a code."""
        sent = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "client_id": self.client_id,
            "code_verifier": self.verifier,
        }
        answer: dict[str, Any] = (await self.http.post(f"{self.site.base}/oauth/token", data=sent)).json()
        return answer


@asynccontextmanager
async def serving_site(
    settings: Settings, store: Store, upstream: Upstream, local: EmbeddedTokens | None = None
) -> AsyncIterator[Site]:
    """Serve the whole application until the block is left."""
    app = await asyncio.to_thread(create_app, settings, upstream, store, local)
    client = AuthorizationClient(upstream, dev=settings.dev) if upstream.route.kind == "hosted" else None
    listening = listen("127.0.0.1", 0)
    server = make_server(app)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    site = Site(f"http://127.0.0.1:{listening.getsockname()[1]}", store, Credentials(store, client))
    try:
        yield site
    finally:
        for http in site.visitors:
            await http.aclose()
        server.should_exit = True
        await task


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that happens beside the answer."""
    ends = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < ends, "it did not happen in time"
        await asyncio.sleep(0.02)


def hidden_fields(html: str, action: str) -> dict[str, str]:
    """The hidden fields of the form that goes to an action."""
    forms = re.findall(r'<form method="post" action="([^"]*)".*?>(.*?)</form>', html, re.DOTALL)
    body = next(content for target, content in forms if unescape(target) == action)
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', body)
    return {name: unescape(value) for name, value in found}


def query_of(url: str) -> dict[str, str]:
    """The parameters of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
