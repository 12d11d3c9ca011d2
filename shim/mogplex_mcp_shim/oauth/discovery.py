"""Which authorization server protects an MCP server, and where its endpoints are (RFC 9728, 8414, OpenID).

Source: MCP specification 2026-07-28, "Authorization Server Discovery", and 2025-03-26, "Authorization" section 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from mogplex_mcp_shim.grant import Record, text
from mogplex_mcp_shim.http import Response
from mogplex_mcp_shim.oauth.errors import SignInError
from mogplex_mcp_shim.oauth.scopes import union
from mogplex_mcp_shim.oauth.wire import Wire, json_object
from mogplex_mcp_shim.urls import Url, parse_url


@dataclass(frozen=True)
class AuthorizationServer:
    """What a sign-in needs to know of the authorization server and of the resource.

    Attributes:
        resource: The resource identifier, letter for letter as its metadata publishes it.
        resource_scopes: The scopes that the resource's metadata names.
        metadata: The authorization server's own metadata (RFC 8414, section 2).
    """

    issuer: str
    resource: str
    resource_scopes: str | None
    authorization_endpoint: str
    token_endpoint: str
    registration_endpoint: str | None
    metadata: Record

    def flag(self, name: str) -> bool:
        """Whether the metadata says yes to this."""
        return self.metadata.get(name) is True

    def listed(self, name: str) -> list[str] | None:
        """A list of texts in the metadata; None when it is not there."""
        return _texts(self.metadata, name)


def discover(wire: Wire, server_url: str, resource_metadata: str | None) -> AuthorizationServer:
    """Find the authorization server.

    Args:
        wire: Reaches it.
        server_url: The MCP server's URL.
        resource_metadata: The challenge's parameter of this name.

    Raises:
        SignInError: There is none that may be used.
    """
    described = _resource_metadata(wire, server_url, resource_metadata)
    server = parse_url(server_url)
    issuers = _texts(described, "authorization_servers") if described is not None else None
    if described is None or not issuers:
        return _legacy(wire, server)
    issuer = issuers[0]
    metadata = _issuer_metadata(wire, issuer)
    if metadata is None:
        raise SignInError(f"The authorization server {issuer} publishes no metadata (RFC 8414)")
    if metadata.get("issuer") != issuer:
        raise SignInError(f"The metadata of the authorization server {issuer} names another issuer")
    if "S256" not in (_texts(metadata, "code_challenge_methods_supported") or []):
        raise SignInError(f"The authorization server {issuer} does not say that it supports PKCE with S256")
    resource = text(described, "resource") or canonical(server)
    return _described(wire, issuer, resource, union(*(_texts(described, "scopes_supported") or [])), metadata)


def canonical(server: Url) -> str:
    """The MCP server's URL as a resource identifier: without a trailing slash where there is no path."""
    return server.origin if server.target == "/" else str(server)


def _resource_metadata(wire: Wire, server_url: str, named: str | None) -> Record | None:
    server = parse_url(server_url)
    path = server.target.partition("?")[0]
    candidates = [f"{server.origin}/.well-known/oauth-protected-resource"]
    if path != "/":
        candidates.insert(0, f"{candidates[0]}{path.rstrip('/')}")
    if named:
        candidates.insert(0, named)
    for candidate in dict.fromkeys(candidates):
        found = _document(wire.get(candidate, "the protected resource metadata"))
        if found is not None:
            _check_resource(server, text(found, "resource"))
            return found
    return None


def _check_resource(server: Url, resource: str | None) -> None:
    """RFC 9728, section 3.3: what is described is what we asked for, or the part of the site that holds it."""
    if resource is None:
        return
    try:
        described = parse_url(resource)
    except ValueError as error:
        raise SignInError(f"The protected resource metadata has no usable resource: {error}") from error
    path, whole = described.target.partition("?")[0].rstrip("/"), server.target.partition("?")[0]
    if described.origin != server.origin or not (whole == path or whole.startswith(path + "/")):
        raise SignInError(
            f"The protected resource metadata describes {resource}, not {server}: connect to the URL it describes"
        )


def _issuer_metadata(wire: Wire, issuer: str) -> Record | None:
    parsed = wire.check(issuer, "the authorization server")
    path = parsed.target.rstrip("/")
    if path:
        candidates = [
            f"{parsed.origin}/.well-known/oauth-authorization-server{path}",
            f"{parsed.origin}/.well-known/openid-configuration{path}",
            f"{parsed.origin}{path}/.well-known/openid-configuration",
        ]
    else:
        candidates = [
            f"{parsed.origin}/.well-known/oauth-authorization-server",
            f"{parsed.origin}/.well-known/openid-configuration",
        ]
    for candidate in candidates:
        found = _document(wire.get(candidate, "the authorization server's metadata"))
        if found is not None:
            return found
    return None


def _legacy(wire: Wire, server: Url) -> AuthorizationServer:
    """MCP 2025-03-26: the server is its own authorization server; without metadata the endpoints have fixed paths."""
    metadata = _issuer_metadata(wire, server.origin)
    if metadata is not None and str(metadata.get("issuer")).rstrip("/") != server.origin:
        raise SignInError(f"The authorization server's metadata at {server.origin} names another issuer")
    if metadata is None:
        metadata = {
            "issuer": server.origin,
            "authorization_endpoint": f"{server.origin}/authorize",
            "token_endpoint": f"{server.origin}/token",
            "registration_endpoint": f"{server.origin}/register",
        }
    methods = _texts(metadata, "code_challenge_methods_supported")
    if methods is not None and "S256" not in methods:
        raise SignInError(f"The authorization server {server.origin} does not support PKCE with S256")
    return _described(wire, str(metadata["issuer"]), canonical(server), None, metadata)


def _described(wire: Wire, issuer: str, resource: str, scopes: str | None, metadata: Record) -> AuthorizationServer:
    authorize, token = text(metadata, "authorization_endpoint"), text(metadata, "token_endpoint")
    if authorize is None or token is None:
        raise SignInError(f"The authorization server {issuer} names no authorization or no token endpoint")
    register = text(metadata, "registration_endpoint")
    wire.check(authorize, "the authorization endpoint")
    wire.check(token, "the token endpoint")
    if register is not None:
        wire.check(register, "the registration endpoint")
    return AuthorizationServer(issuer, resource, scopes, authorize, token, register, metadata)


def _document(answer: Response) -> Record | None:
    return json_object(answer) if answer.status == 200 else None


def _texts(record: Record, name: str) -> list[str] | None:
    value = record.get(name)
    if not isinstance(value, list):
        return None
    return [each for each in value if isinstance(each, str) and each]
