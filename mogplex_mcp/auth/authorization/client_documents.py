"""Client ID Metadata Documents: clients that are known by the address of a document about them.

Sources: draft-ietf-oauth-client-id-metadata-document, sections 3 to 5 and 8; MCP authorization, "Client ID Metadata
Documents".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mogplex_mcp.auth.authorization.client_metadata import MetadataError, kept_metadata, read_json_object
from mogplex_mcp.auth.authorization.document_fetch import DocumentFetcher, FetchError
from mogplex_mcp.auth.authorization.rate_limits import RateLimit
from mogplex_mcp.auth.authorization.redirect_uris import RedirectUriError, check_redirect_uris
from mogplex_mcp.store.clients import StoredClient

MAX_ADDRESS = 1_024
CACHE_MIN = 60
CACHE_MAX = 24 * 3600
CACHE_UNSTATED = 3600
"""Seconds for which a document is used without looking again: bounds, and where it says nothing."""

FETCHES_PER_ADDRESS = 30
FETCHES_IN_ALL = 300
FETCH_WINDOW = 600.0

_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LOOPBACK = re.compile(r"http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?/.+")
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age\s*=\s*\"?([0-9]{1,10})", re.IGNORECASE)
_NEVER = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,=])", re.IGNORECASE)
_SECRETS = ("client_secret", "client_secret_expires_at")


class ClientDocumentError(Exception):
    """A document that cannot be used; the message says why and quotes nothing of it."""


def is_document_address(client_id: str, *, development: bool = False) -> bool:
    """Whether a client identifier is the address of a document, in a form that has one spelling (section 3)."""
    if len(client_id) > MAX_ADDRESS or not _CHARACTERS.fullmatch(client_id):
        return False
    try:
        parts = urlsplit(client_id)
        _ = parts.port
    except ValueError:
        return False
    if parts.scheme not in {"https", "http"} or not _HOST.fullmatch(parts.netloc):
        return False
    if parts.path in {"", "/"} or _DOT_SEGMENT.search(parts.path):
        return False
    if client_id.startswith("https://"):
        return True
    return development and _LOOPBACK.fullmatch(client_id) is not None


def _fetch_limit() -> RateLimit:
    return RateLimit(FETCHES_PER_ADDRESS, FETCHES_IN_ALL, FETCH_WINDOW)


@dataclass(frozen=True)
class ClientDocuments:
    """Reads client documents.

    Attributes:
        fetcher: Fetches them.
        development: Documents on loopback are accepted.
        limit: How many fetches one address may cause.
    """

    fetcher: DocumentFetcher
    development: bool = False
    limit: RateLimit = field(default_factory=_fetch_limit)

    async def fetch(self, client_id: str, address: str, *, now: int) -> StoredClient:
        """The client that a document describes. Nothing that its text names is loaded, logos least of all.

        Args:
            client_id: The document's address.
            address: Who makes us fetch it.
            now: Milliseconds since 1970.

        Raises:
            ClientDocumentError: The address or the document is not acceptable, or it cannot be fetched.
            TooManyError: Too many fetches.
        """
        if not is_document_address(client_id, development=self.development):
            raise ClientDocumentError("Its address must be https, with a path, and without user, fragment or dots.")
        self.limit.admit(address)
        try:
            fetched = await self.fetcher.fetch(client_id)
        except FetchError as error:
            raise ClientDocumentError(str(error)) from None
        return client_of(client_id, fetched.body, cached_until=now + 1000 * cache_seconds(fetched.cache_control))


def client_of(client_id: str, body: bytes, *, cached_until: int) -> StoredClient:
    """The client that a document describes (section 4.1).

    Args:
        client_id: Where the document was found.
        body: The document.
        cached_until: Milliseconds since 1970.

    Raises:
        ClientDocumentError: It is not acceptable.
    """
    try:
        document = read_json_object(body)
        uris = check_redirect_uris(document.get("redirect_uris"))
    except (MetadataError, RedirectUriError) as error:
        raise ClientDocumentError(str(error)) from None
    if document.get("client_id") != client_id:
        raise ClientDocumentError("Its client_id is not its own address.")
    if any(member in document for member in _SECRETS):
        raise ClientDocumentError("It holds a secret, which would be public.")
    if not _is_public_client(document):
        raise ClientDocumentError("It does not offer token_endpoint_auth_method none, the only one for documents here.")
    metadata = kept_metadata(document)
    return StoredClient(
        client_id=client_id,
        kind="document",
        name=str(metadata.get("client_name") or urlsplit(client_id).hostname),
        redirect_uris=uris,
        auth_method="none",
        metadata=metadata,
        cached_until=cached_until,
    )


def cache_seconds(cache_control: str) -> int:
    """How long a document is used without looking again (RFC 9111, section 5.2.2), between a minute and a day."""
    if _NEVER.search(cache_control):
        return CACHE_MIN
    found = _MAX_AGE.search(cache_control)
    return min(max(int(found[1]), CACHE_MIN), CACHE_MAX) if found else CACHE_UNSTATED


def _is_public_client(document: Mapping[str, Any]) -> bool:
    """A shared secret is impossible, so a document that names no method means ``none``; one that prefers a key may
    offer ``none`` beside it."""
    method = document.get("token_endpoint_auth_method")
    if method is None or method == "none":
        return True
    offered = document.get("token_endpoint_auth_methods_supported")
    return isinstance(offered, list) and "none" in offered
