"""Which client the shim is to an authorization server: registered beforehand, by a client document, or by itself.

Source: MCP specification 2026-07-28, "Client Registration"; RFC 7591.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from mogplex_mcp_shim.grant import Record, table, text
from mogplex_mcp_shim.oauth.discovery import AuthorizationServer
from mogplex_mcp_shim.oauth.errors import RefusedError, SignInError
from mogplex_mcp_shim.oauth.scopes import union
from mogplex_mcp_shim.oauth.wire import Wire, json_object
from mogplex_mcp_shim.urls import parse_url

NAME = "Mogplex MCP shim"
_METHODS = ("none", "client_secret_basic", "client_secret_post")
_CONFIRMED = 3600.0  # s after its last sign-in during which a registration is taken to be known there still


@dataclass(frozen=True)
class Client:
    """A client of one authorization server.

    Attributes:
        method: How it authenticates at the token endpoint: `none`, `client_secret_basic` or `client_secret_post`.
        kind: `configured`, `document` or `registered`.
        redirect_uri: Where it was registered for, if it registered itself.
        scope: The scopes it registered for; None for any.
        confirmed_at: When a sign-in last succeeded with it, in s since 1970.
    """

    client_id: str
    client_secret: str | None
    method: str
    kind: str
    redirect_uri: str | None = None
    scope: str | None = None
    secret_expires_at: float = 0.0
    confirmed_at: float = 0.0

    def is_confirmed(self) -> bool:
        """Whether the authorization server has known this client a short while ago."""
        return 0 <= time.time() - self.confirmed_at < _CONFIRMED

    def record(self) -> Record:
        """What is stored of it."""
        return {name: value for name, value in vars(self).items() if value is not None}

    @classmethod
    def from_record(cls, record: Record) -> Client | None:
        """The client as it was stored, or None if that is not one."""
        client_id, method = text(record, "client_id"), text(record, "method")
        if client_id is None or method not in _METHODS:
            return None
        return cls(
            client_id,
            text(record, "client_secret"),
            method,
            text(record, "kind") or "registered",
            text(record, "redirect_uri"),
            text(record, "scope"),
            _number(record, "secret_expires_at"),
            _number(record, "confirmed_at"),
        )


def configured_client(environ: Mapping[str, str], server: AuthorizationServer, section: Record) -> Client | None:
    """The client that the environment names, or None.

    Raises:
        SignInError: It belongs to another authorization server.
    """
    client_id = environ.get("MOGPLEX_OAUTH_CLIENT_ID")
    if client_id:
        # A client is known to one authorization server only: the first it was used at is where it belongs.
        issuer = text(table(section, "configured_clients"), client_id)
        if issuer is not None and issuer != server.issuer:
            raise SignInError(
                f"MOGPLEX_OAUTH_CLIENT_ID is a client of {issuer}, but this server's authorization server is "
                f"{server.issuer}: unset it or set the client of that one (--logout forgets where it belongs)"
            )
        secret = environ.get("MOGPLEX_OAUTH_CLIENT_SECRET") or None
        return Client(client_id, secret, _method(server, secret), "configured")
    document = environ.get("MOGPLEX_OAUTH_CLIENT_METADATA_URL")
    if document and server.flag("client_id_metadata_document_supported"):
        return Client(_document_url(document), None, "none", "document")
    return None


def stored_client(section: Record, server: AuthorizationServer) -> Client | None:
    """Our own registration at this authorization server, if it is still good."""
    client = Client.from_record(table(table(section, "clients"), server.issuer))
    if client is None or client.redirect_uri is None:
        return None
    expired = 0 < client.secret_expires_at <= time.time()
    return None if expired else client


def register(wire: Wire, server: AuthorizationServer, redirect_uri: str, scope: str | None) -> Client:
    """Register anew (RFC 7591, section 3), for every scope that this server may come to ask for.

    Raises:
        SignInError: It is refused, or there is no registration.
    """
    if server.registration_endpoint is None:
        raise SignInError(
            f"The authorization server {server.issuer} registers no clients: "
            "set MOGPLEX_OAUTH_CLIENT_ID to one that its administrator gives you"
        )
    scope = union(scope, server.resource_scopes)
    asked: Record = {
        "client_name": NAME,
        "redirect_uris": [redirect_uri],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": _method(server, None),
        "application_type": "native",
    }
    try:
        answer = _register(wire, server.registration_endpoint, asked | ({"scope": scope} if scope else {}))
    except RefusedError as error:
        if scope is None or error.status != 400:
            raise
        scope = None  # some refuse a scope that they do not know
        answer = _register(wire, server.registration_endpoint, asked)
    client_id = text(answer, "client_id")
    if client_id is None:
        raise SignInError(f"The authorization server {server.issuer} registered the shim without a client_id")
    secret = text(answer, "client_secret")
    method = text(answer, "token_endpoint_auth_method")
    if method not in _METHODS:
        method = str(asked["token_endpoint_auth_method"])
    return Client(
        client_id, secret, method, "registered", redirect_uri, scope, _number(answer, "client_secret_expires_at")
    )


def _register(wire: Wire, endpoint: str, asked: Record) -> Record:
    answer = wire.post_json(endpoint, "the registration endpoint", asked)
    body = json_object(answer) or {}
    if answer.status not in (200, 201):
        raise RefusedError("Registering the shim as a client", answer.status, text(body, "error"))
    return body


def _method(server: AuthorizationServer, secret: str | None) -> str:
    """How to authenticate: RFC 8414 says Basic where the metadata says nothing; a client without a secret cannot.

    Of several the first that the server lists is taken: the MCP SDK's revocation works with its first alone.
    """
    listed = server.listed("token_endpoint_auth_methods_supported") or []
    if secret is None and (not listed or "none" in listed):
        return "none"
    default = "none" if secret is None else "client_secret_basic"
    return next((method for method in listed if method in _METHODS and method != "none"), default)


def _document_url(document: str) -> str:
    try:
        parsed = parse_url(document)
    except ValueError as error:
        raise SignInError(f"MOGPLEX_OAUTH_CLIENT_METADATA_URL is not a usable URL: {error}") from error
    if parsed.scheme != "https" or parsed.target == "/":
        raise SignInError("MOGPLEX_OAUTH_CLIENT_METADATA_URL must be an https URL with a path")
    return document


def _number(record: Record, name: str) -> float:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
