"""What Mogplex's authorization server says of itself (RFC 8414), checked.

Its ``issuer`` must be the configured address, by simple string comparison (RFC 8414, section 3.3; MCP authorization,
2026-07-28), and no endpoint may be one that a secret would travel to in the clear.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mogplex_mcp.settings import is_loopback

WELL_KNOWN = "/.well-known/oauth-authorization-server"
MAX_URL = 2_000
MAX_LIST = 100

Words = Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=MAX_LIST)]
Url = Annotated[str, Field(max_length=MAX_URL)]


class MetadataError(ValueError):
    """The document cannot be used; the message says why and holds nothing of the document."""


class ServerMetadata(BaseModel):
    """The members that a client needs (RFC 8414, section 2; RFC 9207, section 3; OpenID Connect Discovery 1.0)."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    issuer: Url
    authorization_endpoint: Url
    token_endpoint: Url
    registration_endpoint: Url | None = None
    revocation_endpoint: Url | None = None
    userinfo_endpoint: Url | None = None
    scopes_supported: Words | None = None
    code_challenge_methods_supported: Words | None = None
    token_endpoint_auth_methods_supported: Words | None = None
    authorization_response_iss_parameter_supported: bool | None = None

    def auth_method(self, *, has_secret: bool) -> str:
        """How a client authenticates when its registration does not say (RFC 8414: without a list, basic)."""
        offered = self.token_endpoint_auth_methods_supported or ("client_secret_basic",)
        if not has_secret:
            return "none"
        return "client_secret_post" if "client_secret_basic" not in offered else "client_secret_basic"

    def scope(self) -> str:
        """What to ask for: Mogplex's own two scopes, and who the person is where that is offered."""
        return "read write openid" if "openid" in (self.scopes_supported or ()) else "read write"


def metadata_url(base: str) -> str:
    """Where the document is: the well-known name goes between host and path (RFC 8414, section 3.1)."""
    parts = urlsplit(base)
    return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"


def read_metadata(document: bytes, base: str, *, dev: bool) -> ServerMetadata:
    """The metadata in a document.

    Args:
        document: What was fetched.
        base: The configured address of Mogplex, without a trailing slash.
        dev: Allow ``http`` on loopback.

    Raises:
        MetadataError: It is not the metadata of that server, or names an endpoint that cannot be used.
    """
    try:
        found = ServerMetadata.model_validate_json(document)
    except ValidationError:
        found = None
    if found is None:
        raise MetadataError("its metadata is not what RFC 8414 describes")
    if found.issuer not in {base, f"{base}/"} or (found.issuer.endswith("/") and urlsplit(base).path):
        # With an empty path, both are the same address; anything else is somebody else.
        raise MetadataError("its metadata names another issuer than the configured address")
    if found.code_challenge_methods_supported is not None and "S256" not in found.code_challenge_methods_supported:
        raise MetadataError("it does not offer PKCE with S256")
    for endpoint in (
        found.authorization_endpoint,
        found.token_endpoint,
        found.registration_endpoint,
        found.revocation_endpoint,
        found.userinfo_endpoint,
    ):
        if endpoint is not None and not _usable(endpoint, dev=dev):
            raise MetadataError("its metadata names an endpoint that is not https")
    return found


def _usable(url: str, *, dev: bool) -> bool:
    if not url.isascii() or not url.isprintable() or any(char in url for char in " \\#"):
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and dev and is_loopback(parts.hostname))
