"""The authorization endpoint: what a client may ask for, and the answer once the person has decided.

Sources: RFC 6749, sections 4.1.1 and 4.1.2; RFC 7636, section 4; RFC 8707, section 2; RFC 9207, section 2; RFC 9700,
sections 2.1.1 and 4.11 (nothing redirects before the person has acted).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from authlib.oauth2.rfc6749 import AccessDeniedError, InvalidRequestError, OAuth2Error
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, BaseGrant
from authlib.oauth2.rfc7636 import CodeChallenge

from mogplex_mcp.auth.authorization.authorization_server import AuthorizationServer, error_url
from mogplex_mcp.auth.authorization.client_documents import ClientDocumentError
from mogplex_mcp.auth.authorization.clients import Clients, OAuthClient
from mogplex_mcp.auth.authorization.metadata import AUTHORIZE, SHIM_DOCUMENT
from mogplex_mcp.auth.authorization.parameters import ParameterError, Parameters, ProtocolRequest
from mogplex_mcp.auth.authorization.problem import Problem, ProblemError
from mogplex_mcp.auth.authorization.response import answer_url
from mogplex_mcp.auth.urls import ENDPOINT
from mogplex_mcp.store import audit
from mogplex_mcp.store.clients import StoredClient
from mogplex_mcp.store.credentials import get_credential
from mogplex_mcp.store.errors import NoCredentialError, StoreFullError, UnknownAccountError, UnknownClientError
from mogplex_mcp.store.grants import create_grant_with_code
from mogplex_mcp.store.requests import AuthorizationRequest, get_request, put_request, take_request
from mogplex_mcp.store.store import Store

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
"""A SHA-256 in base64url (RFC 7636, section 4.2)."""
_PAGES = frozenset({"invalid_target", "interaction_required"})
"""Errors with a page of their own."""


class InvalidTargetError(OAuth2Error):
    """The ``resource`` is another server's (RFC 8707, section 2)."""

    error = "invalid_target"


class RequestGoneError(LookupError):
    """The authorization request was answered, or is older than ten minutes."""


@dataclass(frozen=True)
class Pending:
    """An authorization request that waits for the person.

    Attributes:
        request: What is asked for.
        client: Who asks; its name is untrusted text.
    """

    request: AuthorizationRequest
    client: StoredClient


def check_resources(request: ProtocolRequest) -> None:
    """Every ``resource`` that is named must be this endpoint; none means this one.

    Raises:
        InvalidTargetError: It is another one.
    """
    if not all(request.is_ours(resource) for resource in request.parameters.all("resource")):
        raise InvalidTargetError("The resource is not this server.")


class RequireS256(CodeChallenge):
    """PKCE with S256, of every client, confidential ones too (OAuth 2.1, section 4.1.1)."""

    SUPPORTED_CODE_CHALLENGE_METHOD: ClassVar[list[str]] = ["S256"]

    def validate_code_challenge(self, grant: AuthorizationCodeGrant, redirect_uri: str) -> None:
        """Check the challenge of an authorization request."""
        sent = grant.request.payload.data
        if sent.get("code_challenge_method") != "S256":
            raise InvalidRequestError("PKCE with code_challenge_method S256 is required.")
        if not _CHALLENGE.fullmatch(sent.get("code_challenge", "")):
            raise InvalidRequestError("PKCE needs a code_challenge of 43 base64url characters.")
        super().validate_code_challenge(grant, redirect_uri)

    def validate_code_verifier(self, grant: AuthorizationCodeGrant, result: object) -> None:
        """Check the verifier of a token request."""
        if not grant.request.payload.data.get("code_verifier"):
            raise InvalidRequestError("The code_verifier is missing.")
        super().validate_code_verifier(grant, result)

    def get_authorization_code_challenge_method(self, _: object) -> str:
        """There is one method; Authlib's default is ``plain``."""
        return "S256"


class RequireThisResource:
    """The ``resource`` of an authorization request."""

    def __call__(self, grant: BaseGrant) -> None:
        """Add the check to a grant."""
        grant.register_hook("after_validate_authorization_request_payload", self._check)

    def _check(self, grant: CodeAuthorization, _: str) -> None:
        check_resources(grant.request)


class CodeAuthorization(AuthorizationCodeGrant):
    """The authorization half of the code grant; the token half is in ``token``."""

    request: ProtocolRequest

    @staticmethod
    def validate_authorization_redirect_uri(request: ProtocolRequest, client: OAuthClient) -> str:
        """The redirect URI, asked for or the client's only one. Authlib's own repeats it in the error's words."""
        if len(request.parameters.all("redirect_uri")) > 1:
            raise InvalidRequestError("The request names two redirect URIs.")
        asked = request.parameters.one("redirect_uri")
        found = client.get_default_redirect_uri() if asked is None else asked
        if found is None or not client.check_redirect_uri(found):
            raise InvalidRequestError("The redirect URI is missing or not registered.")
        return found

    def create_authorization_response(
        self, redirect_uri: str, grant_user: str | None
    ) -> tuple[int, str, list[tuple[str, str]]]:
        """The redirect with the code, which the store made already (RFC 6749, section 4.1.2)."""
        if grant_user is None:
            raise AccessDeniedError("The person did not allow it.", redirect_uri=redirect_uri)
        state = self.request.parameters.one("state")
        return 303, "", [("Location", answer_url(redirect_uri, self.request.issuer, state, code=grant_user))]


def check_request(server: AuthorizationServer, request: ProtocolRequest, client: OAuthClient) -> str:
    """The redirect URI of a request that is valid in every part.

    Raises:
        ProblemError: It is not; with a way back once client and redirect URI are known to belong together.
    """
    name = client.stored.name
    try:
        redirect_uri = CodeAuthorization.validate_authorization_redirect_uri(request, client)
    except OAuth2Error as error:
        raise ProblemError(Problem("bad_redirect", detail=error.description, client_name=name)) from None
    try:
        _check_parameters(request.parameters)
        server.get_consent_grant(request)
    except OAuth2Error as error:
        kind = error.error if error.error in _PAGES else "invalid_request"
        back = error_url(redirect_uri, request, error)
        raise ProblemError(Problem(kind, detail=error.description, client_name=name, back=back)) from None
    return redirect_uri


def _check_parameters(parameters: Parameters) -> None:
    try:
        parameters.check()
    except ParameterError as error:
        raise InvalidRequestError(str(error)) from None
    if parameters.one("response_type") is None:
        raise InvalidRequestError("The response_type is missing.")
    if parameters.one("response_type") != "code":
        raise OAuth2Error("Only response_type code is served.", error="unsupported_response_type")
    if parameters.one("response_mode") not in {None, "query"}:
        raise InvalidRequestError("Only response_mode query is served.")
    for name in ("request", "request_uri"):  # OpenID Connect Core 1.0, sections 6.1 and 6.2; RFC 9101
        if parameters.one(name) is not None:
            raise OAuth2Error("Request objects are not served.", error=f"{name}_not_supported")
    if "none" in (parameters.one("prompt") or "").split():  # OpenID Connect Core 1.0, section 3.1.2.6
        raise OAuth2Error("The person is always asked.", error="interaction_required")


@dataclass(frozen=True)
class Authorization:
    """The authorization endpoint: takes authorization requests in, and gives the person's answers out.

    Attributes:
        store: Where requests and grants are kept.
        clients: Who may ask.
        server: Authlib's rules.
    """

    store: Store
    clients: Clients
    server: AuthorizationServer

    async def begin(self, request: ProtocolRequest) -> str:
        """Check an authorization request and keep it; the id under which the person finds it.

        Raises:
            ProblemError: It is answered by a page.
            TooManyError: Too many requests that made this server fetch documents.
        """
        client = await self._client(request)
        return await self.store.db.call(self._keep, request, client)

    async def _client(self, request: ProtocolRequest) -> OAuthClient:
        client_id = request.parameters.one("client_id")
        if client_id is None:
            raise ProblemError(Problem("invalid_request", detail="The request does not name one client."))
        try:
            # Exactly as this server publishes it: addresses that a parser makes equal are other clients.
            if client_id == request.issuer + SHIM_DOCUMENT:
                return await self.clients.find_own(client_id)
            return await self.clients.find(client_id, request.address)
        except UnknownClientError:
            raise ProblemError(Problem("unknown_client")) from None
        except ClientDocumentError as error:
            raise ProblemError(Problem("client_document", detail=str(error))) from None
        except StoreFullError as error:
            raise ProblemError(Problem("too_many", 429, str(error), retry_after=60)) from None

    def _keep(self, request: ProtocolRequest, client: OAuthClient) -> str:
        redirect_uri = check_request(self.server, request, client)
        sent = request.parameters
        try:
            return put_request(
                self.store,
                client_id=client.get_client_id(),
                redirect_uri=redirect_uri,
                redirect_uri_given=sent.one("redirect_uri") is not None,
                state=sent.one("state"),
                scopes=tuple(client.get_allowed_scope(sent.one("scope")).split()),
                code_challenge=sent.one("code_challenge") or "",
                resource=request.issuer + ENDPOINT,
            )
        except StoreFullError as error:
            raise ProblemError(Problem("too_many", 429, str(error), client.stored.name, retry_after=60)) from None

    async def pending(self, request_id: str) -> Pending | None:
        """A request that waits for the person; None when it was answered, lapsed, or its client is gone."""
        return await self.store.db.call(self._pending, request_id)

    def _pending(self, request_id: str) -> Pending | None:
        request = get_request(self.store, request_id)
        client = self.clients.known(request.client_id) if request is not None else None
        return Pending(request, client.stored) if request is not None and client is not None else None

    async def approve(
        self, request_id: str, account_id: str, scopes: Iterable[str], *, issuer: str, address: str
    ) -> str:
        """The redirect with a code for what the person ticked; nothing ticked is a denial.

        Args:
            request_id: The request, which is answered by this.
            account_id: Who allows it.
            scopes: What was ticked; what was not asked for is left out.
            issuer: The issuer by the name that the browser uses.
            address: Where the browser is.

        Raises:
            RequestGoneError: It was answered, or lapsed.
            NoCredentialError: The account has nothing that Mogplex accepts; the request still waits.
            StoreFullError: The account has too many grants.
        """
        return await self.store.db.call(self._approve, request_id, account_id, frozenset(scopes), issuer, address)

    def _approve(self, request_id: str, account_id: str, ticked: frozenset[str], issuer: str, address: str) -> str:
        waiting = self._pending(request_id)
        if waiting is None:
            raise RequestGoneError
        scopes = tuple(scope for scope in waiting.request.scopes if scope in ticked)
        if not scopes:
            return self._deny(request_id, account_id, issuer, address)
        credential = get_credential(self.store, account_id)
        if credential is None or credential.refused:
            raise NoCredentialError("Sign in again.")
        taken = self._take(request_id)
        try:
            code = create_grant_with_code(self.store, account_id, taken, scopes, address=address)
        except (UnknownAccountError, UnknownClientError):
            raise RequestGoneError from None
        return self._answer(taken, issuer, address, code)

    async def deny(self, request_id: str, account_id: str | None, *, issuer: str, address: str) -> str:
        """The redirect that tells the client of the person's no.

        Raises:
            RequestGoneError: It was answered, or lapsed.
        """
        return await self.store.db.call(self._deny, request_id, account_id, issuer, address)

    def _deny(self, request_id: str, account_id: str | None, issuer: str, address: str) -> str:
        taken = self._take(request_id)
        audit.record(self.store, "consent_denied", account_id=account_id, client_id=taken.client_id, address=address)
        return self._answer(taken, issuer, address, None)

    async def fail(self, request_id: str, error: str, *, issuer: str, address: str) -> str:
        """The redirect that tells the client of another error.

        Args:
            request_id: The request, which is answered by this.
            error: ``server_error`` or ``temporarily_unavailable``.
            issuer: The issuer by the name that the browser uses.
            address: Where the browser is.

        Raises:
            RequestGoneError: It was answered, or lapsed.
        """
        taken = await self.store.db.call(self._take, request_id)
        await self.store.db.call(
            audit.record, self.store, "consent_failed", client_id=taken.client_id, address=address, error=error
        )
        return answer_url(taken.redirect_uri, issuer, taken.state, error=error)

    def _take(self, request_id: str) -> AuthorizationRequest:
        taken = take_request(self.store, request_id)
        if taken is None:
            raise RequestGoneError
        return taken

    def _answer(self, taken: AuthorizationRequest, issuer: str, address: str, code: str | None) -> str:
        """Through Authlib once more, so that nothing leaves that would not be let in now."""
        fields = {
            "response_type": ("code",),
            "client_id": (taken.client_id,),
            "redirect_uri": (taken.redirect_uri,),
            "code_challenge": (taken.code_challenge,),
            "code_challenge_method": ("S256",),
            **({"state": (taken.state,)} if taken.state is not None else {}),
        }
        request = ProtocolRequest(
            "GET", AUTHORIZE, Parameters(fields), issuer=issuer, is_ours=lambda _: True, address=address
        )
        grant = self.server.get_authorization_grant(request)
        answer = self.server.create_authorization_response(request, grant_user=code, grant=grant)
        if answer.location is None:
            raise RequestGoneError  # the client, or its redirect URI, was withdrawn meanwhile
        return answer.location
