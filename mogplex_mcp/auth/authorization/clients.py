"""One lookup for clients, however they came to be known: registered, by document, or configured.

Sources: RFC 6749, section 2; MCP authorization, "Client Registration Approaches".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from authlib.oauth2.rfc6749 import ClientMixin

from mogplex_mcp.auth.authorization.client_documents import ClientDocuments, client_of
from mogplex_mcp.auth.authorization.configured_clients import ConfiguredClients
from mogplex_mcp.auth.authorization.metadata import SHIM_DOCUMENT, MetadataDocuments
from mogplex_mcp.auth.authorization.redirect_uris import matches
from mogplex_mcp.auth.scopes import known_scopes
from mogplex_mcp.store.clients import StoredClient, get_client, put_client
from mogplex_mcp.store.errors import UnknownClientError
from mogplex_mcp.store.store import Store

MAX_CLIENT_ID = 1_024
_SECRET_METHODS = frozenset({"client_secret_basic", "client_secret_post"})


@dataclass(frozen=True)
class OAuthClient(ClientMixin):
    """A stored client as Authlib asks it.

    Attributes:
        stored: The client.
        redirect_uris: Its redirect URIs and those that the settings add.
    """

    stored: StoredClient
    redirect_uris: tuple[str, ...]

    def get_client_id(self) -> str:
        """Its identifier."""
        return self.stored.client_id

    def get_default_redirect_uri(self) -> str | None:
        """The only redirect URI of a client that has one (RFC 6749, section 3.1.2.3)."""
        return self.redirect_uris[0] if len(self.redirect_uris) == 1 else None

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        """Whether the answer may be sent there."""
        return matches(self.redirect_uris, redirect_uri)

    def get_allowed_scope(self, scope: str | None) -> str:
        """The scopes that a request asks for: unknown ones are dropped, none left means all that are served.

        What a client registered is no limit: hosts keep a registration for ever, also over step-ups and updates of
        this server, and the person ticks every scope at every authorization.
        """
        return " ".join(known_scopes(scope))

    def check_client_secret(self, client_secret: str) -> bool:
        """Whether this is the client's secret."""
        given = hashlib.sha256(client_secret.encode("utf-8", "surrogatepass")).hexdigest()
        return self.stored.secret_sha256 is not None and hmac.compare_digest(given, self.stored.secret_sha256)

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:  # noqa: ARG002 - Authlib's interface
        """Whether the client authenticates this way, at token and revocation endpoint alike."""
        if self.stored.auth_method == "any_secret":
            return method in _SECRET_METHODS
        return method == self.stored.auth_method

    def check_response_type(self, response_type: str) -> bool:
        """Every client may ask for a code, and nothing else is served."""
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        """Every client gets refresh tokens, whatever it registered."""
        return grant_type in {"authorization_code", "refresh_token"}


@dataclass(frozen=True)
class Clients:
    """Finds clients.

    Attributes:
        store: Where clients are kept.
        configured: What the settings say.
        documents: Fetches client documents; None when ``MOGPLEX_MCP_CIMD`` is off.
    """

    store: Store
    configured: ConfiguredClients
    documents: ClientDocuments | None

    def keep_configured(self) -> None:
        """Write the configured clients to the store, where grants refer to them."""
        for client in self.configured.clients.values():
            put_client(self.store, client)

    async def find(self, client_id: str, address: str) -> OAuthClient:
        """The client, its document fetched when that is due.

        Args:
            client_id: As the authorization request has it.
            address: Who asks, for the limit on fetches.

        Raises:
            UnknownClientError: There is none.
            ClientDocumentError: Its document cannot be fetched, or is not acceptable.
            TooManyError: This address, or all of them, made this server fetch too many documents.
        """
        found = await self.store.db.call(self.known, client_id)
        if found is not None and not self._is_stale(found.stored):
            return found
        if self.documents is None or not client_id.startswith(("https:", "http:")):
            raise UnknownClientError("This client is not known here.")
        fetched = await self.documents.fetch(client_id, address, now=self.store.now())
        return self._oauth_client(await self.store.db.call(put_client, self.store, fetched))

    async def find_own(self, client_id: str) -> OAuthClient:
        """The client whose document this server publishes: it need not be fetched from ourselves.

        Args:
            client_id: The document's address, found to be this server's.

        Raises:
            UnknownClientError: Documents are switched off.
        """
        if self.documents is None:
            raise UnknownClientError("This client is not known here.")
        document = MetadataDocuments(client_id.removesuffix(SHIM_DOCUMENT)).shim()
        client = client_of(client_id, json.dumps(document).encode(), cached_until=self.store.now())
        return self._oauth_client(await self.store.db.call(put_client, self.store, client))

    def known(self, client_id: str) -> OAuthClient | None:
        """The client as it is stored: enough wherever a code or token proves that it was accepted before."""
        if client_id in self.configured.clients:
            return self._oauth_client(self.configured.clients[client_id])
        found = get_client(self.store, client_id) if len(client_id) <= MAX_CLIENT_ID else None
        if found is None or found.kind == "configured" or (found.kind == "document" and self.documents is None):
            return None
        return self._oauth_client(found)

    def _is_stale(self, client: StoredClient) -> bool:
        return client.kind == "document" and (client.cached_until or 0) <= self.store.now()

    def _oauth_client(self, client: StoredClient) -> OAuthClient:
        further = self.configured.further_redirect_uris(client.client_id)
        return OAuthClient(client, tuple(dict.fromkeys((*client.redirect_uris, *further))))
