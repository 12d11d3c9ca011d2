"""The token endpoint: codes and refresh tokens become access tokens.

Sources: RFC 6749, sections 4.1.3, 4.1.4, 5 and 6; RFC 7636, section 4.6; RFC 8707, section 2.2; RFC 9700, sections
2.2.2 and 4.14.2.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import unquote

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidScopeError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant
from sqlalchemy import Connection

from mogplex_mcp.auth.authorization.authorization_server import Answer, AuthorizationServer, oauth_error
from mogplex_mcp.auth.authorization.authorize import CodeAuthorization, check_resources
from mogplex_mcp.auth.authorization.clients import OAuthClient
from mogplex_mcp.auth.authorization.metadata import AUTH_METHODS, TOKEN
from mogplex_mcp.auth.authorization.parameters import ParameterError, Parameters, ProtocolRequest
from mogplex_mcp.auth.scopes import SERVED, known_scopes
from mogplex_mcp.store import audit
from mogplex_mcp.store.grants import ReusedCode, Revoked, SpentCode, spend_code
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.tokens import Refused, TokenAnswer, issue_tokens, rotate_refresh


class TokenRequest(ProtocolRequest):
    """One request to the token endpoint and the transaction it may need.

    Attributes:
        store: Where codes and tokens are kept.
        begin: Opens the write transaction in which a code is spent; the same one each time.
        ended: What this request revoked, by reuse.
        known_code: Its code was one of ours.
        client: The authenticated client.
        authorization_code: The spent code, once it was found.
    """

    store: Store
    begin: Callable[[], Connection]
    ended: Revoked | None = None
    known_code: bool = False
    client: OAuthClient
    authorization_code: RedeemedCode


@dataclass(frozen=True)
class RedeemedCode:
    """A spent code as Authlib asks it."""

    spent: SpentCode

    @property
    def code_challenge(self) -> str:
        """The PKCE challenge of its authorization request."""
        return self.spent.code_challenge

    def get_redirect_uri(self) -> str | None:
        """The redirect URI that the token request has to repeat, when the authorization request named one."""
        return self.spent.grant.redirect_uri if self.spent.redirect_uri_given else None

    def get_scope(self) -> str:
        """The scopes that were granted."""
        return " ".join(self.spent.grant.scopes)


class CodeGrant(CodeAuthorization):
    """The whole authorization code grant."""

    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar[list[str]] = list(AUTH_METHODS)
    request: TokenRequest

    def query_authorization_code(self, code: str, client: OAuthClient) -> RedeemedCode | None:
        """Spend a code, by one statement, before anything is issued for it."""
        check_resources(self.request)
        spent = spend_code(self.request.store, self.request.begin(), code, address=self.request.address)
        self.request.known_code = spent is not None
        if isinstance(spent, ReusedCode):
            self.request.ended = Revoked((spent.grant_id,), spent.credential)
            return None
        if spent is None or spent.grant.client_id != client.get_client_id():
            return None
        if not self.request.is_ours(spent.grant.resource):
            return None
        sent = self.request.parameters.one("redirect_uri")
        if sent is not None and sent != spent.grant.redirect_uri:
            raise InvalidGrantError("The redirect_uri is another one than in the authorization request.")
        return RedeemedCode(spent)

    def authenticate_user(self, authorization_code: RedeemedCode) -> str:
        """Whose code it is."""
        return authorization_code.spent.grant.account_id

    def generate_token(self, **_: object) -> dict[str, object]:
        """Tokens, in the transaction that spent the code."""
        grant = self.request.authorization_code.spent.grant
        return _body(issue_tokens(self.request.store, self.request.begin(), grant))

    def save_token(self, token: Mapping[str, object]) -> None:
        """Saved where it was made."""

    def delete_authorization_code(self, authorization_code: RedeemedCode) -> None:
        """Spent codes are kept, to tell a second use."""


@dataclass(frozen=True)
class RotatedToken:
    """A refresh token that was exchanged, as Authlib asks it."""

    answer: TokenAnswer = field(repr=False)

    def check_client(self, client: OAuthClient) -> bool:  # noqa: ARG002 - Authlib's interface
        """The store gave the answer to this client alone."""
        return True


class RefreshGrant(RefreshTokenGrant):
    """Refreshing: rotation with a grace, all of it in the store."""

    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar[list[str]] = list(AUTH_METHODS)
    INCLUDE_NEW_REFRESH_TOKEN = True
    request: TokenRequest

    def authenticate_refresh_token(self, refresh_token: str) -> RotatedToken | None:
        """Exchange a refresh token, by one statement.

        Asking for more than was granted gives what was granted (RFC 6749, section 3.3, lets a server ignore part of
        what is asked): hosts repeat what they asked for first, whatever the person ticked.
        """
        check_resources(self.request)
        request = self.request
        scope = request.parameters.one("scope")
        wanted = None if scope is None else known_scopes(scope)
        found = rotate_refresh(
            request.store,
            refresh_token,
            request.client.get_client_id(),
            None if wanted == SERVED else wanted,
            address=request.address,
            is_ours=request.is_ours,
        )
        if isinstance(found, TokenAnswer):
            return RotatedToken(found)
        if found.reason == "scope":
            raise InvalidScopeError("None of these scopes was granted.")
        if found.reason == "reused" and found.grant_id is not None:
            request.ended = Revoked((found.grant_id,), found.credential)
        raise InvalidGrantError(_why(found))

    def _validate_token_scope(self, token: RotatedToken) -> None:
        """The store left out what was not granted."""

    def authenticate_user(self, refresh_token: RotatedToken) -> RotatedToken:
        """The store looked after the account."""
        return refresh_token

    def issue_token(self, user: object, refresh_token: RotatedToken) -> dict[str, object]:  # noqa: ARG002
        """The tokens that the exchange gave."""
        return _body(refresh_token.answer)

    def save_token(self, token: Mapping[str, object]) -> None:
        """Saved where it was made."""

    def revoke_old_credential(self, refresh_token: RotatedToken) -> None:
        """Spent where the new one was made."""


@dataclass(frozen=True)
class TokenResult:
    """What the token endpoint answers, and what it ended."""

    answer: Answer
    ended: Revoked | None = None


class _UndoneError(Exception):
    """Leaves the transaction undone."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("undone")
        self.answer = answer


@dataclass(frozen=True)
class TokenEndpoint:
    """Answers token requests.

    Attributes:
        store: Where codes and tokens are kept.
        server: Authlib's rules.
    """

    store: Store
    server: AuthorizationServer

    def answer(
        self,
        parameters: Parameters,
        headers: Mapping[str, str],
        *,
        issuer: str,
        is_ours: Callable[[str], bool],
        address: str,
    ) -> TokenResult:
        """Answer one request; synchronous, for a worker thread.

        A code stays good when the request around it is wrong: whoever sends a stolen one with another client, redirect
        URI or verifier can not use it up. A second use is never undone.
        """
        refused = check_client_authentication(parameters, headers)
        if refused is not None:
            return TokenResult(refused)
        request = TokenRequest(
            "POST", TOKEN, parameters, issuer=issuer, is_ours=is_ours, address=address, headers=headers
        )
        request.store = self.store
        try:
            answer = self._answer(request)
        except _UndoneError as undone:
            answer = undone.answer
            if request.known_code:
                # Of a code that exists only: otherwise anybody could wash the audit away.
                error = str(answer.body.get("error", ""))
                audit.record(
                    self.store, "code_refused", client_id=parameters.one("client_id"), address=address, error=error
                )
        return TokenResult(answer, request.ended)

    def _answer(self, request: TokenRequest) -> Answer:
        with ExitStack() as stack:
            opened: list[Connection] = []

            def begin() -> Connection:
                if not opened:
                    opened.append(stack.enter_context(self.store.db.write()))
                return opened[0]

            request.begin = begin
            answer: Answer = self.server.create_token_response(request)
            if opened and answer.status != 200 and request.ended is None:
                raise _UndoneError(answer)
        return answer


def check_client_authentication(parameters: Parameters, headers: Mapping[str, str]) -> Answer | None:
    """What Authlib would stumble over: repeated parameters, a header that is no text, two ways to authenticate at once
    (RFC 6749, sections 2.3 and 3.2)."""
    try:
        parameters.check()
    except ParameterError as error:
        return oauth_error("invalid_request", str(error))
    header = headers.get("authorization")
    if header is None:
        return None
    basic = _basic_client(header)
    challenge = {"WWW-Authenticate": 'Basic realm="oauth"'}
    if basic is None:
        return oauth_error("invalid_client", "The Authorization header is not HTTP Basic.", 401, challenge)
    if parameters.one("client_secret") is not None:
        return oauth_error("invalid_request", "The client authenticates in two ways at once.")
    if parameters.one("client_id") not in {None, basic}:
        return oauth_error("invalid_request", "The header and the body name two clients.")
    return None


def _basic_client(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        text = base64.b64decode(value.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return None
    name, colon, _ = text.partition(":")
    return unquote(name) if colon else None


def _body(answer: TokenAnswer) -> dict[str, object]:
    return {
        "access_token": answer.access_token,
        "token_type": "Bearer",
        "expires_in": answer.expires_in,
        "refresh_token": answer.refresh_token,
        "scope": " ".join(answer.scopes),
    }


def _why(refused: Refused) -> str:
    if refused.reason == "credential_refused":
        return "Mogplex no longer accepts what the person signed in with: connect again."
    return "The refresh token is unknown, expired, used, revoked, or another client's: connect again."
