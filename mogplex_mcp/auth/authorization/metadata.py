"""The documents that tell clients where to sign in.

Sources: RFC 8414, section 2; RFC 9728, section 2; RFC 9207, section 3; OpenID Connect Discovery 1.0, section 3;
draft-ietf-oauth-client-id-metadata-document, section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mogplex_mcp.auth.scopes import SERVED
from mogplex_mcp.auth.urls import ENDPOINT

AUTHORIZE = "/oauth/authorize"
TOKEN = "/oauth/token"  # noqa: S105 - a path
REGISTER = "/oauth/register"
REVOKE = "/oauth/revoke"
JWKS = "/oauth/jwks"
SHIM_DOCUMENT = "/oauth/clients/mogplex-mcp-shim.json"

PROTECTED_RESOURCE_PATHS = (
    "/.well-known/oauth-protected-resource",
    f"/.well-known/oauth-protected-resource{ENDPOINT}",
    f"{ENDPOINT}/.well-known/oauth-protected-resource",
)
AUTHORIZATION_SERVER_PATHS = (
    "/.well-known/oauth-authorization-server",
    f"/.well-known/oauth-authorization-server{ENDPOINT}",
    f"{ENDPOINT}/.well-known/oauth-authorization-server",
)
OPENID_PATHS = (
    "/.well-known/openid-configuration",
    f"/.well-known/openid-configuration{ENDPOINT}",
    f"{ENDPOINT}/.well-known/openid-configuration",
)
"""Hosts probe at the issuer, behind it and below the endpoint; all get the same answer."""

AUTH_METHODS: Final = ("none", "client_secret_basic", "client_secret_post")
GRANT_TYPES = ("authorization_code", "refresh_token")
RESOURCE_METADATA = PROTECTED_RESOURCE_PATHS[1]
"""Where the challenge points (RFC 9728, section 3.1: the well-known part goes before the resource's path)."""


@dataclass(frozen=True)
class MetadataDocuments:
    """The documents for one issuer.

    Attributes:
        issuer: Base URL without a trailing slash, by the name that was asked for.
        client_documents: Whether clients may identify by a metadata document.
    """

    issuer: str
    client_documents: bool = True

    def protected_resource(self) -> dict[str, object]:
        """RFC 9728, section 2."""
        return {
            "resource": self.issuer + ENDPOINT,
            "authorization_servers": [self.issuer],
            "scopes_supported": list(SERVED),
            "bearer_methods_supported": ["header"],
            "resource_name": "Mogplex",
            "resource_documentation": f"{self.issuer}/",
        }

    def authorization_server(self) -> dict[str, object]:
        """RFC 8414, section 2. ``offline_access`` stands here alone: hosts that look for it then ask for refresh
        tokens, which every client gets; it is nothing that the resource needs."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + AUTHORIZE,
            "token_endpoint": self.issuer + TOKEN,
            "registration_endpoint": self.issuer + REGISTER,
            "revocation_endpoint": self.issuer + REVOKE,
            "scopes_supported": [*SERVED, "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": list(GRANT_TYPES),
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "revocation_endpoint_auth_methods_supported": list(AUTH_METHODS),
            "authorization_response_iss_parameter_supported": True,
            "client_id_metadata_document_supported": self.client_documents,
            "protected_resources": [self.issuer + ENDPOINT],
            "service_documentation": f"{self.issuer}/",
        }

    def openid_configuration(self) -> dict[str, object]:
        """The same, with the members that OpenID clients insist on. There are no ID tokens, so there are no keys."""
        return {
            **self.authorization_server(),
            "jwks_uri": self.issuer + JWKS,
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        }

    def shim(self) -> dict[str, object]:
        """The client document of the stdio shim (draft-ietf-oauth-client-id-metadata-document, section 4.1)."""
        return {
            "client_id": self.issuer + SHIM_DOCUMENT,
            "client_name": "Mogplex MCP shim",
            "client_uri": f"{self.issuer}/",
            "redirect_uris": ["http://127.0.0.1/callback", "http://localhost/callback"],
            "grant_types": list(GRANT_TYPES),
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "application_type": "native",
            "software_id": "mogplex-mcp-shim",
        }
