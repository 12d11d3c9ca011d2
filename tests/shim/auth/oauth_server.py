"""A process that is an MCP server (2025-11-25, JSON only) and its own authorization server, strict or faulty as asked.

Run as a program with the behaviour as JSON in its only argument; prints its port. `POST /control` changes the behaviour
and the state, `GET /control` tells what has happened.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import socket
import sys
import time
from dataclasses import asdict, dataclass, field
from urllib.parse import parse_qs, urlencode, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send


@dataclass
class Behaviour:
    """How the server behaves. Times are in s."""

    exact_ports: bool = True
    sends_issuer: bool = False
    token_lifetime: float = 3600
    gives_refresh_tokens: bool = True
    refresh_grace: float = 0
    refresh_delay: float = 0
    lost_refresh_answers: int = 0
    failing_refreshes: int = 0
    discovery_delay: float = 0
    registers: bool = True
    known_client: str = ""
    denies: bool = False
    refuses_every_token: bool = False
    write_scope: str = ""
    withheld_scope: str = ""
    redirects_tokens_to: str = ""
    authorization_server: str = ""
    code_challenge_methods: list[str] = field(default_factory=lambda: ["S256"])


@dataclass
class Token:
    scope: str
    family: int
    expires_at: float
    client_id: str
    replacement: dict[str, object] | None = None
    used_at: float = 0


class Server:
    """The state of it all; everything runs in one thread."""

    def __init__(self, behaviour: Behaviour, port: int) -> None:
        self.behaviour = behaviour
        self.base = f"http://127.0.0.1:{port}"
        self.clients: dict[str, dict[str, object]] = {behaviour.known_client: {}} if behaviour.known_client else {}
        self.codes: dict[str, dict[str, str]] = {}
        self.access: dict[str, Token] = {}
        self.refresh: dict[str, Token] = {}
        self.log: list[dict[str, object]] = []
        self.families = 0

    def note(self, what: str, **details: object) -> None:
        self.log.append({"what": what, **details})

    async def control(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(self.log)
        for name, value in (await request.json()).items():
            if name == "expire_access":
                for token in self.access.values():
                    token.expires_at = 0
            elif name == "expire_refresh":
                for token in self.refresh.values():
                    token.expires_at = 0
            elif name == "forget_clients":
                self.clients.clear()
            else:
                setattr(self.behaviour, name, value)
        return JSONResponse(asdict(self.behaviour))

    async def resource_metadata(self, request: Request) -> Response:
        self.note("resource metadata", authorization=request.headers.get("authorization"))
        await asyncio.sleep(self.behaviour.discovery_delay)
        issuer = self.behaviour.authorization_server or self.base
        return JSONResponse({"resource": f"{self.base}/mcp", "authorization_servers": [issuer]})

    async def metadata(self, _request: Request) -> Response:
        self.note("metadata")
        found: dict[str, object] = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "revocation_endpoint": f"{self.base}/revoke",
            "code_challenge_methods_supported": self.behaviour.code_challenge_methods,
            "token_endpoint_auth_methods_supported": ["none"],
        }
        if self.behaviour.sends_issuer:
            found["authorization_response_iss_parameter_supported"] = True
        if self.behaviour.registers:
            found["registration_endpoint"] = f"{self.base}/register"
        return JSONResponse(found)

    async def register(self, request: Request) -> Response:
        asked = await request.json()
        client_id = f"client-{len(self.clients)}-{secrets.token_hex(4)}"
        self.clients[client_id] = asked
        self.note("registration", client_id=client_id, asked=asked)
        return JSONResponse({**asked, "client_id": client_id}, status_code=201)

    def matches(self, client: dict[str, object], redirect_uri: str) -> bool:
        if not client:
            return True
        registered = client.get("redirect_uris")
        known = [str(each) for each in registered] if isinstance(registered, list) else []
        if self.behaviour.exact_ports:
            return redirect_uri in known
        return any(urlsplit(each).path == urlsplit(redirect_uri).path for each in known)

    async def authorize(self, request: Request) -> Response:
        query = dict(request.query_params)
        client = self.clients.get(query.get("client_id", ""))
        self.note("authorization", query=query, agent=request.headers.get("user-agent"))
        redirect_uri = query.get("redirect_uri", "")
        if client is None or not self.matches(client, redirect_uri):
            return PlainTextResponse("unknown client or redirect", status_code=400)
        answer = {"state": query["state"]}
        if self.behaviour.sends_issuer:
            answer["iss"] = self.base
        if self.behaviour.denies:
            answer["error"] = "access_denied"
        else:
            answer["code"] = secrets.token_urlsafe(16)
            self.codes[answer["code"]] = query
        return RedirectResponse(f"{redirect_uri}?{urlencode(answer)}", status_code=302)

    async def token(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.note("token", grant_type=form.get("grant_type"), resource=form.get("resource"))
        if self.behaviour.redirects_tokens_to:
            return RedirectResponse(self.behaviour.redirects_tokens_to, status_code=307)
        if form.get("client_id") not in self.clients:
            return JSONResponse({"error": "invalid_client"}, status_code=401)
        if form.get("grant_type") == "refresh_token":
            return await self.refreshed(form)
        code = self.codes.pop(form.get("code", ""), None)
        if code is None or code["redirect_uri"] != form.get("redirect_uri"):
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code["code_challenge"]:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        self.families += 1
        scope = code.get("scope", "")
        self.note("code redeemed", scope=scope)
        scope = " ".join(each for each in scope.split() if each != self.behaviour.withheld_scope)
        return JSONResponse(self.issue(self.families, scope, form["client_id"]))

    async def refreshed(self, form: dict[str, str]) -> Response:
        if self.behaviour.failing_refreshes > 0:
            self.behaviour.failing_refreshes -= 1
            return PlainTextResponse("broken", status_code=503)
        token = self.refresh.get(form.get("refresh_token", ""))
        now = time.time()
        if token is None or token.expires_at < now:
            self.note("refresh refused")
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        if token.replacement is not None:
            if now - token.used_at > self.behaviour.refresh_grace:
                for each in [*self.refresh.values(), *self.access.values()]:
                    if each.family == token.family:
                        each.expires_at = 0
                self.note("refresh reused")
                return JSONResponse({"error": "invalid_grant"}, status_code=400)
            self.note("refresh repeated")
            return JSONResponse(token.replacement)
        token.used_at = now
        token.replacement = self.issue(token.family, token.scope, token.client_id)
        self.note("refreshed")
        await asyncio.sleep(self.behaviour.refresh_delay)
        if self.behaviour.lost_refresh_answers > 0:
            self.behaviour.lost_refresh_answers -= 1
            self.note("refresh answer lost")
            return CutResponse()
        return JSONResponse(token.replacement)

    def issue(self, family: int, scope: str, client_id: str) -> dict[str, object]:
        lifetime = self.behaviour.token_lifetime
        access, refresh = f"at-{secrets.token_urlsafe(16)}", f"rt-{secrets.token_urlsafe(16)}"
        self.access[access] = Token(scope, family, time.time() + lifetime, client_id)
        issued: dict[str, object] = {"access_token": access, "token_type": "Bearer", "expires_in": int(lifetime)}
        if scope:
            issued["scope"] = scope
        if self.behaviour.gives_refresh_tokens:
            self.refresh[refresh] = Token(scope, family, time.time() + 86400, client_id)
            issued["refresh_token"] = refresh
        return issued

    async def revoke(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        for tokens in (self.access, self.refresh):
            tokens.pop(form.get("token", ""), None)
        self.note("revoked", hint=form.get("token_type_hint"))
        return Response(status_code=200)

    async def mcp(self, request: Request) -> Response:
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        token = self.access.get(bearer) if scheme.lower() == "bearer" else None
        if token is None or token.expires_at < time.time() or self.behaviour.refuses_every_token:
            self.note("unauthorized", had_token=bool(bearer))
            return self.challenge(401, 'scope="read"')
        if request.method != "POST":
            return Response(status_code=405 if request.method == "GET" else 200)
        message = await request.json()
        method = message.get("method")
        wanted = self.behaviour.write_scope if method == "tools/call" else ""
        if wanted and wanted not in token.scope.split():
            self.note("insufficient scope", held=token.scope)
            return self.challenge(403, f'error="insufficient_scope", scope="{wanted}"')
        if "id" not in message:
            return Response(status_code=202)
        self.note("call", method=method, family=token.family)
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "result": result(method, message.get("params"))})

    def challenge(self, status: int, parameters: str) -> Response:
        named = f'resource_metadata="{self.base}/.well-known/oauth-protected-resource/mcp"'
        headers = {"WWW-Authenticate": f"Bearer {parameters}, {named}"}
        return PlainTextResponse("no", status_code=status, headers=headers)


class CutResponse(Response):
    """An answer that breaks off in the middle."""

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"access_token": "at-'})


def result(method: str, params: dict[str, object] | None) -> dict[str, object]:
    """What the MCP server answers."""
    if method == "initialize":
        version = (params or {}).get("protocolVersion", "2025-11-25")
        return {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "t", "version": "1"}}
    if method == "tools/list":
        return {"tools": [{"name": "write", "inputSchema": {"type": "object"}}]}
    return {"content": [{"type": "text", "text": "done"}]}


def main() -> None:
    listening = socket.create_server(("127.0.0.1", 0), backlog=256)
    server = Server(Behaviour(**json.loads(sys.argv[1])), listening.getsockname()[1])
    app = Starlette(
        routes=[
            Route("/control", server.control, methods=["GET", "POST"]),
            Route("/.well-known/oauth-protected-resource/mcp", server.resource_metadata),
            Route("/.well-known/oauth-authorization-server", server.metadata),
            Route("/register", server.register, methods=["POST"]),
            Route("/authorize", server.authorize),
            Route("/token", server.token, methods=["POST"]),
            Route("/revoke", server.revoke, methods=["POST"]),
            Route("/mcp", server.mcp, methods=["GET", "POST", "DELETE"]),
        ]
    )
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    config = uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=1)
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
