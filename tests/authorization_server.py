"""A Mogplex with an authorization server of its own, for tests: real HTTP on loopback, sharing nothing with us.

It behaves as Mogplex's does today: metadata (RFC 8414), open registration, codes with PKCE, exact redirect URIs (port
included), no ``iss`` in its answers, rotating refresh tokens, revocation; and its API takes the tokens it gave. Knobs
make it lie.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

Json = dict[str, Any]


@dataclass
class Mogplex:
    """What the server knows and how it behaves.

    Attributes:
        base: Its address, once it listens.
        metadata: Members that replace or, being None, remove those of its metadata.
        answer: Parameters that replace or, being None, remove those of its authorization answers.
        id_token: Claims that replace those of its ID tokens; None gives no ID tokens.
        subject: Who signs in there.
        userinfo: What the userinfo endpoint says; None has no such endpoint.
        lifetime: Seconds of an access token.
        public: It gives public clients no secret, and offers no other kind.
        hold: Awaited before a refresh is answered.
    """

    base: str = ""
    metadata: Json = field(default_factory=dict)
    answer: dict[str, str | None] = field(default_factory=dict)
    id_token: Json | None = None
    subject: str = "user-1"
    userinfo: Json | None = None
    lifetime: int = 3600
    public: bool = False
    clients: dict[str, Json] = field(default_factory=dict)
    codes: dict[str, Json] = field(default_factory=dict)
    access: dict[str, str] = field(default_factory=dict)
    refresh: dict[str, Json] = field(default_factory=dict)
    revoked: list[str] = field(default_factory=list)
    asked: list[Json] = field(default_factory=list)
    token_calls: list[Json] = field(default_factory=list)
    down: bool = False

    def app(self) -> Starlette:
        """The server as an ASGI application."""
        return Starlette(
            routes=[
                Route("/.well-known/oauth-authorization-server", self.describe),
                Route("/connect/register", self.register, methods=["POST"]),
                Route("/connect/authorize", self.authorize),
                Route("/connect/decide", self.decide, methods=["POST"]),
                Route("/connect/token", self.token, methods=["POST"]),
                Route("/connect/revoke", self.revoke, methods=["POST"]),
                Route("/connect/userinfo", self.tell),
                Route("/api/v1/mogplex/repos", self.repos),
            ]
        )

    async def describe(self, _: Request) -> Response:
        if self.down:
            return Response(status_code=503)
        methods = ["none"] if self.public else ["client_secret_basic", "client_secret_post", "none"]
        members: Json = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/connect/authorize",
            "token_endpoint": f"{self.base}/connect/token",
            "registration_endpoint": f"{self.base}/connect/register",
            "revocation_endpoint": f"{self.base}/connect/revoke",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": methods,
            "scopes_supported": ["read", "write", *(["openid"] if self.id_token is not None else [])],
        }
        if self.userinfo is not None:
            members["userinfo_endpoint"] = f"{self.base}/connect/userinfo"
        members |= self.metadata
        return JSONResponse({name: value for name, value in members.items() if value is not None})

    async def register(self, request: Request) -> Response:
        wanted = await request.json()
        client_id = secrets.token_hex(8)
        secret = None if wanted["token_endpoint_auth_method"] == "none" else secrets.token_urlsafe(24)
        self.clients[client_id] = {**wanted, "secret": secret}
        answer = {"client_id": client_id, **wanted, **({"client_secret": secret} if secret else {})}
        return JSONResponse(answer, 201)

    async def authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        self.asked.append(asked)
        client = self.clients.get(asked.get("client_id", ""))
        if client is None or asked.get("redirect_uri") not in client["redirect_uris"]:
            return HTMLResponse("unknown client or redirect URI", 400)
        if asked.get("code_challenge_method") != "S256" or asked.get("response_type") != "code":
            return HTMLResponse("bad request", 400)
        fields = "".join(f'<input type="hidden" name="{escape(k)}" value="{escape(v)}">' for k, v in asked.items())
        return HTMLResponse(
            '<!doctype html><html lang="en"><title>Mogplex</title>'
            f'<form method="post" action="/connect/decide">{fields}'
            '<button name="decision" value="allow">Sign in to Mogplex</button>'
            '<button name="decision" value="deny">Cancel</button></form></html>'
        )

    async def decide(self, request: Request) -> Response:
        async with request.form() as form:
            asked = {name: str(value) for name, value in form.items()}
        return RedirectResponse(self.answer_to(asked, allow=asked.pop("decision") == "allow"), 303)

    def answer_to(self, asked: dict[str, str], *, allow: bool = True) -> str:
        """Where the browser is sent after the person's decision."""
        if allow:
            code = secrets.token_urlsafe(16)
            self.codes[code] = asked
            given: dict[str, str | None] = {"code": code, "state": asked["state"]}
        else:
            given = {"error": "access_denied", "state": asked["state"]}
        given |= self.answer
        return f"{asked['redirect_uri']}?{urlencode({k: v for k, v in given.items() if v is not None})}"

    async def token(self, request: Request) -> Response:
        async with request.form() as form:
            sent = {name: str(value) for name, value in form.items()}
        self.token_calls.append(sent)
        if self.down:
            return Response(status_code=503)
        client_id = self._client(request, sent)
        if client_id is None:
            return JSONResponse({"error": "invalid_client"}, 401)
        if sent["grant_type"] == "authorization_code":
            asked = self.codes.pop(sent["code"], None)
            digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if (
                asked is None
                or asked["client_id"] != client_id
                or asked["redirect_uri"] != sent["redirect_uri"]
                or asked["code_challenge"] != challenge
            ):
                return JSONResponse({"error": "invalid_grant"}, 400)
            return JSONResponse(self._tokens(client_id, "openid" in asked["scope"].split()))
        held = self.refresh.pop(sent["refresh_token"], None)
        if held is None or held["client_id"] != client_id:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.access.pop(held["access"], None)
        return JSONResponse(self._tokens(client_id, openid=False))

    def _tokens(self, client_id: str, openid: bool) -> Json:
        access, refresh = f"mog_up_{secrets.token_hex(12)}", f"up_rt_{secrets.token_hex(12)}"
        self.access[access] = self.subject
        self.refresh[refresh] = {"client_id": client_id, "access": access}
        answer: Json = {
            "access_token": access,
            "refresh_token": refresh,
            "token_type": "bearer",
            "expires_in": self.lifetime,
        }
        if openid and self.id_token is not None:
            claims = {
                "iss": self.base,
                "aud": client_id,
                "sub": self.subject,
                "exp": int(time.time()) + 300,
                **self.id_token,
            }
            answer["id_token"] = ".".join(_encoded(part) for part in ({"alg": "RS256"}, claims, {}))
        return answer

    async def revoke(self, request: Request) -> Response:
        async with request.form() as form:
            sent = {name: str(value) for name, value in form.items()}
        if self._client(request, sent) is None:
            return JSONResponse({"error": "invalid_client"}, 401)
        self.revoked.append(sent["token"])
        held = self.refresh.pop(sent["token"], None)
        if held is not None:
            self.access.pop(held["access"], None)
        return Response()

    async def tell(self, request: Request) -> Response:
        if self._bearer(request) not in self.access:
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self.userinfo)

    async def repos(self, request: Request) -> Response:
        if self.down:
            return Response(status_code=503)
        if self._bearer(request) not in self.access:
            return JSONResponse({"ok": False, "error": {"code": "UNAUTHORIZED", "message": "Invalid token"}}, 401)
        return JSONResponse({"ok": True, "data": {"repos": []}})

    def _bearer(self, request: Request) -> str:
        return request.headers.get("authorization", "").removeprefix("Bearer ")

    def _client(self, request: Request, sent: dict[str, str]) -> str | None:
        header = request.headers.get("authorization", "")
        client_id, secret = sent.get("client_id", ""), sent.get("client_secret")
        if header.startswith("Basic "):
            client_id, _, secret = base64.b64decode(header[6:]).decode().partition(":")
        known = self.clients.get(client_id)
        return client_id if known is not None and known["secret"] == secret else None


def _encoded(part: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
