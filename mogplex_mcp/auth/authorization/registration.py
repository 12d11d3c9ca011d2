"""Dynamic client registration, open to everybody within bounds (RFC 7591, sections 2 and 3)."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import JsonPayload, JsonRequest
from authlib.oauth2.rfc7591 import (
    ClientMetadataClaims,
    ClientRegistrationEndpoint,
    InvalidClientMetadataError,
    InvalidRedirectURIError,
)

from mogplex_mcp.auth.authorization.authorization_server import Answer, AuthorizationServer, oauth_error
from mogplex_mcp.auth.authorization.client_metadata import (
    MetadataError,
    asked_auth_method,
    kept_metadata,
    read_json_object,
)
from mogplex_mcp.auth.authorization.metadata import GRANT_TYPES, REGISTER
from mogplex_mcp.auth.authorization.redirect_uris import RedirectUriError, check_redirect_uris
from mogplex_mcp.auth.scopes import known_scopes
from mogplex_mcp.store.bounds import UNAUTHORIZED_CLIENT_LIFE
from mogplex_mcp.store.clients import AuthMethod, StoredClient, prune_clients, put_client
from mogplex_mcp.store.opaque import digest
from mogplex_mcp.store.store import Store

MAX_BODY_BYTES = 16 * 1024
REGISTRATIONS_PER_ADDRESS = 60
"""Hosts in the cloud register for all their users from one address, and some twice per attempt."""
REGISTRATIONS_IN_ALL = 600
REGISTRATION_WINDOW = 600.0


class _Payload(JsonPayload):
    def __init__(self, data: Mapping[str, object]) -> None:
        self._data = dict(data)

    @property
    def data(self) -> dict[str, object]:
        return self._data


class RegistrationRequest(JsonRequest):
    """One request to the registration endpoint.

    Attributes:
        store: Where clients are kept.
        address: Who sent it.
        asked_method: The token endpoint authentication that the client names, when it is one that is served.
    """

    store: Store
    address: str
    asked_method: AuthMethod | None = None
    credential: object = None


class KeptClaims(ClientMetadataClaims):
    """Authlib's metadata, less what it would refuse or fill in that decides nothing here: members were made fit to keep
    before, and redirect URIs were checked by our rules (Authlib refuses ``com.example.app:/cb``)."""

    REGISTERED_CLAIMS: ClassVar[list[str]] = [*ClientMetadataClaims.REGISTERED_CLAIMS, "application_type"]

    def validate_redirect_uris(self) -> None:
        """Checked in ``redirect_uris``."""


class Registration(ClientRegistrationEndpoint):
    """Authlib's endpoint: anybody may register, public clients get no secret, every client gets refresh tokens."""

    def __init__(self) -> None:
        super().__init__(claims_classes=[KeptClaims])

    def authenticate_token(self, request: RegistrationRequest) -> bool:  # noqa: ARG002 - Authlib's interface
        """Registration is open (RFC 7591, section 3)."""
        return True

    def get_server_metadata(self) -> dict[str, object]:
        """Nothing that a client names is refused for not being served: it is replaced (section 3.2.1)."""
        return {}

    def generate_client_info(self, request: RegistrationRequest) -> dict[str, object]:
        """Identifier, and a secret for those that authenticate."""
        info: dict[str, object] = {
            "client_id": secrets.token_urlsafe(24),
            "client_id_issued_at": int(time.time()),
        }
        if request.asked_method != "none":
            info |= {"client_secret": secrets.token_urlsafe(32), "client_secret_expires_at": 0}
        return info

    def save_client(
        self, client_info: Mapping[str, Any], client_metadata: Mapping[str, Any], request: RegistrationRequest
    ) -> StoredClient:
        """Keep the client."""
        secret = client_info.get("client_secret")
        client = StoredClient(
            client_id=client_info["client_id"],
            kind="registered",
            name=str(client_metadata.get("client_name", "")),
            redirect_uris=tuple(client_metadata["redirect_uris"]),
            auth_method=request.asked_method or "any_secret",
            secret_sha256=None if secret is None else digest(secret),
            scope=client_metadata.get("scope"),
            metadata=dict(client_metadata),
        )
        return _put(request.store, client, request.address)


def _put(store: Store, client: StoredClient, address: str) -> StoredClient:
    prune_clients(store, store.now() - UNAUTHORIZED_CLIENT_LIFE)
    return put_client(store, client, address=address)


def register(server: AuthorizationServer, store: Store, body: bytes, address: str) -> Answer:
    """Answer one registration; synchronous, for a worker thread.

    Args:
        server: Has the endpoint.
        store: Where clients are kept.
        body: At most ``MAX_BODY_BYTES``.
        address: Who sent it.

    Raises:
        StoreFullError: Too many clients wait for their first authorization.
    """
    try:
        given = read_json_object(body)
    except MetadataError as error:
        return oauth_error(InvalidClientMetadataError.error, str(error))
    try:
        uris = check_redirect_uris(given.get("redirect_uris"))
    except RedirectUriError as error:
        return oauth_error(InvalidRedirectURIError.error, str(error))
    method = asked_auth_method(given)
    metadata: dict[str, object] = {
        **kept_metadata(given),
        "redirect_uris": list(uris),
        "grant_types": list(GRANT_TYPES),
        "response_types": ["code"],
        # RFC 7591's default; whoever gets it unasked may use the other one too.
        "token_endpoint_auth_method": method or "client_secret_basic",
    }
    if "scope" in metadata:
        metadata["scope"] = " ".join(known_scopes(str(metadata["scope"])))
    request = RegistrationRequest("POST", REGISTER)
    request.payload = _Payload(metadata)
    request.store = store
    request.address = address
    request.asked_method = method
    answer: Answer = server.create_endpoint_response(Registration.ENDPOINT_NAME, request)
    return answer
