"""Authlib's authorization server, with what its defaults leave open closed.

Sources: RFC 6749, sections 3.2.1, 4.1.2.1 and 5.2; RFC 9207, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from authlib.oauth2 import rfc6749
from authlib.oauth2.rfc6749 import JsonRequest, OAuth2Error
from starlette.responses import JSONResponse, Response

from mogplex_mcp.auth.authorization.clients import Clients, OAuthClient
from mogplex_mcp.auth.authorization.parameters import ProtocolRequest
from mogplex_mcp.auth.authorization.response import answer_url

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
"""RFC 6749, section 5.1."""

_WORDS = {
    "unsupported_grant_type": "Use authorization_code or refresh_token.",
    "invalid_grant": "It is unknown, expired, used, revoked, or was issued to another client or redirect URI.",
    "invalid_client": "The client is unknown, or did not authenticate the way it registered.",
}
"""Where Authlib says nothing, or repeats what was sent."""


@dataclass(frozen=True)
class Answer:
    """What an endpoint answers: JSON, or an address to go back to.

    Attributes:
        status: HTTP status code.
        body: Members of the JSON object.
        headers: Further response headers.
        location: Where the browser is sent, or None.
    """

    status: int
    body: Mapping[str, object] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    location: str | None = field(default=None, repr=False)

    def response(self) -> Response:
        """The answer as Starlette sends it."""
        return JSONResponse(dict(self.body), self.status, {**NO_STORE, **self.headers})


def oauth_error(error: str, description: str, status: int = 400, headers: Mapping[str, str] | None = None) -> Answer:
    """A JSON error (RFC 6749, section 5.2)."""
    return Answer(status, {"error": error, "error_description": description}, headers or {})


class AuthorizationServer(rfc6749.AuthorizationServer):
    """Grants and endpoints over one client lookup; it keeps no state of a request."""

    def __init__(self, clients: Clients) -> None:
        super().__init__()
        self._clients = clients

    def query_client(self, client_id: str) -> OAuthClient | None:
        """The client of this id."""
        return self._clients.known(client_id)

    def create_oauth2_request(self, request: ProtocolRequest) -> ProtocolRequest:
        """Requests come here in Authlib's form already."""
        return request

    def create_json_request(self, request: JsonRequest) -> JsonRequest:
        """Requests come here in Authlib's form already."""
        return request

    def validate_requested_scope(self, scope: str | None) -> None:
        """No scope is refused: unknown ones are dropped where the client's are looked up."""

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: the store writes the audit in the transaction that it is about."""

    def handle_response(
        self, status: int, body: Mapping[str, object] | str, headers: Iterable[tuple[str, str]]
    ) -> Answer:
        """Authlib's answer as ours."""
        found = dict(headers)
        if "Location" in found:
            return Answer(303, location=found["Location"])
        return Answer(status, body if isinstance(body, Mapping) else {})

    def handle_error_response(self, request: ProtocolRequest | JsonRequest, error: OAuth2Error) -> Answer:
        """An error in the words and with the status that its endpoint gives it."""
        if error.redirect_uri and isinstance(request, ProtocolRequest):
            return Answer(303, location=error_url(error.redirect_uri, request, error))
        description = error.description or _WORDS.get(error.error, "")
        if error.error != "invalid_client":
            return oauth_error(error.error, description)
        # 401 also when the header was not used: section 5.2 allows it, and hosts register anew on it. The challenge
        # comes only then, or browsers would open a dialog.
        asked = "authorization" in {name.lower() for name in request.headers}
        challenge = {"WWW-Authenticate": 'Basic realm="oauth"'} if asked else {}
        return oauth_error("invalid_client", _WORDS["invalid_client"], 401, challenge)

    create_authorization_response: Callable[..., Answer]
    create_token_response: Callable[..., Answer]
    create_endpoint_response: Callable[..., Answer]


def error_url(redirect_uri: str, request: ProtocolRequest, error: OAuth2Error) -> str:
    """Where the browser goes back to with an error (RFC 6749, section 4.1.2.1; RFC 9207, section 2)."""
    words = {"error_description": error.description} if error.description else {}
    return answer_url(redirect_uri, request.issuer, request.parameters.one("state"), error=error.error, **words)
