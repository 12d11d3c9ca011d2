"""The revocation endpoint (RFC 7009): either token ends its whole grant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint as AuthlibRevocation

from mogplex_mcp.auth.authorization.authorization_server import Answer, AuthorizationServer
from mogplex_mcp.auth.authorization.metadata import AUTH_METHODS, REVOKE
from mogplex_mcp.auth.authorization.parameters import Parameters, ProtocolRequest
from mogplex_mcp.auth.authorization.token import TokenResult, check_client_authentication
from mogplex_mcp.store.grants import Revoked
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import revoke_token


class RevocationRequest(ProtocolRequest):
    """One request to the revocation endpoint.

    Attributes:
        store: Where tokens are kept.
        ended: What was revoked.
    """

    store: Store
    ended: Revoked | None = None


class RevocationEndpoint(AuthlibRevocation):
    """Authenticates the client, then ends the grant of the token, should it be this client's.

    An unknown token is success (section 2.2), and so is another client's, which this tells nothing about. The hint is
    ignored: looking in both places costs nothing.
    """

    CLIENT_AUTH_METHODS: ClassVar[list[str]] = list(AUTH_METHODS)

    def create_endpoint_response(
        self, request: RevocationRequest
    ) -> tuple[int, dict[str, object], list[tuple[str, str]]]:
        """Answer one request."""
        client = self.authenticate_endpoint_client(request)
        token = request.parameters.one("token")
        if token is None:
            raise InvalidRequestError("The token is missing.")
        request.ended = revoke_token(request.store, token, client.get_client_id(), address=request.address)
        return 200, {}, []

    def create_endpoint_request(self, request: RevocationRequest) -> RevocationRequest:
        """Requests come here in Authlib's form already."""
        return request

    __call__ = create_endpoint_response


@dataclass(frozen=True)
class Revocation:
    """Answers revocation requests.

    Attributes:
        store: Where tokens are kept.
        server: Authlib's rules.
    """

    store: Store
    server: AuthorizationServer

    def answer(self, parameters: Parameters, headers: Mapping[str, str], *, issuer: str, address: str) -> TokenResult:
        """Answer one request; synchronous, for a worker thread."""
        refused = check_client_authentication(parameters, headers)
        if refused is not None:
            return TokenResult(refused)
        request = RevocationRequest(
            "POST", REVOKE, parameters, issuer=issuer, is_ours=lambda _: True, address=address, headers=headers
        )
        request.store = self.store
        answer: Answer = self.server.create_endpoint_response(RevocationEndpoint.ENDPOINT_NAME, request)
        return TokenResult(answer, request.ended)
