"""Our side as an OAuth client of Mogplex's own authorization server: what is said to it over HTTP.

Sources: RFC 8414 (metadata), RFC 7591 (registration), RFC 6749 sections 4.1.3 and 6, RFC 7636, RFC 7009. The messages
are Authlib's; this adds bounds: no redirects, no cookies, 64 KiB and 10 s an answer, TLS or loopback.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client

from mogplex_mcp import __version__
from mogplex_mcp.api import Upstream
from mogplex_mcp.auth.signin.identity import Identity, IdentityError, from_claims, from_id_token
from mogplex_mcp.auth.signin.server_metadata import MetadataError, ServerMetadata, metadata_url, read_metadata
from mogplex_mcp.settings import is_loopback

MAX_ANSWER_BYTES = 64 * 1024
ANSWER_SECONDS = 10.0
METADATA_SECONDS = 300.0
MAX_TOKEN = 8_192
MAX_LIFETIME_SECONDS = 10 * 365 * 86_400

T = TypeVar("T")


class AuthorizationServerError(Exception):
    """Mogplex's authorization server did not do what was asked.

    Attributes:
        kind: ``unreachable`` (nothing usable came; try again), ``refused`` (it refuses this grant for good),
            ``unknown_client`` (it has forgotten our registration), or ``failed``.
    """

    def __init__(self, kind: Literal["unreachable", "refused", "unknown_client", "failed"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True)
class Registration:
    """Ourselves, as registered at one issuer for one callback.

    Attributes:
        client_id: Given by the issuer.
        client_secret: None for a public client.
    """

    client_id: str
    client_secret: str | None = field(repr=False)


@dataclass(frozen=True)
class Tokens:
    """What the token endpoint gave.

    Attributes:
        access_token: To call Mogplex with.
        refresh_token: To get the next ones; None when none was given.
        expires_in: Seconds, or None when it was not said.
        id_token: As it came.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_in: int | None
    id_token: object = field(repr=False)


class AuthorizationClient:
    """Speaks to the authorization server of one Mogplex.

    Args:
        upstream: The way to Mogplex; its base URL is the issuer.
        dev: Allow ``http`` on loopback.
    """

    def __init__(self, upstream: Upstream, *, dev: bool) -> None:
        self.base = upstream.route.base_url
        self._transport = _BoundedTransport(upstream.transport)
        self._timeout = httpx2.Timeout(upstream.read_timeout, connect=upstream.connect_timeout)
        self._dev = dev
        self._metadata: tuple[float, ServerMetadata] | None = None

    async def metadata(self) -> ServerMetadata:
        """The server's metadata, at most five minutes old.

        Raises:
            AuthorizationServerError: It is not to be had.
        """
        if self._metadata is not None and self._metadata[0] > time.monotonic():
            return self._metadata[1]
        response = await self._bounded(self._http().get(metadata_url(self.base)))
        if response.status_code != 200:
            kind: Literal["unreachable", "failed"] = "unreachable" if response.status_code >= 500 else "failed"
            raise AuthorizationServerError(kind, f"No authorization server metadata: HTTP {response.status_code}.")
        try:
            found = read_metadata(response.content, self.base, dev=self._dev)
        except MetadataError as error:
            raise AuthorizationServerError("failed", f"Mogplex's authorization server: {error}.") from None
        self._metadata = (time.monotonic() + METADATA_SECONDS, found)
        return found

    async def register(self, callback: str) -> Registration:
        """Register ourselves for a callback (RFC 7591, section 3.1).

        Raises:
            AuthorizationServerError: It does not want to, or cannot be reached.
        """
        metadata = await self.metadata()
        if metadata.registration_endpoint is None:
            raise AuthorizationServerError("failed", "Mogplex's authorization server offers no registration.")
        native = is_loopback(urlsplit(callback).hostname or "")
        offered = metadata.token_endpoint_auth_methods_supported or ("client_secret_basic",)
        wanted = ("client_secret_basic", "client_secret_post", "none")
        document = {
            "client_name": "Mogplex MCP server",
            "redirect_uris": [callback],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": next((method for method in wanted if method in offered), "none"),
            "application_type": "native" if native else "web",
            "scope": metadata.scope(),
        }
        response = await self._bounded(self._http().post(metadata.registration_endpoint, json=document))
        if response.status_code not in {200, 201}:
            kind: Literal["unreachable", "failed"] = "unreachable" if response.status_code >= 500 else "failed"
            raise AuthorizationServerError(kind, f"Registration was refused: HTTP {response.status_code}.")
        answer = _object(response)
        client_id, secret = answer.get("client_id"), answer.get("client_secret")
        if not _is_text(client_id, 512) or not (secret is None or _is_text(secret, 1_024)):
            raise AuthorizationServerError("failed", "The answer to the registration is not usable.")
        # A secret that comes with the method none is not to be used (RFC 7591, section 2).
        public = secret is None or answer.get("token_endpoint_auth_method") == "none"
        return Registration(str(client_id), None if public else str(secret))

    async def authorization_url(self, registration: Registration, *, callback: str, state: str, verifier: str) -> str:
        """Where to send the browser (RFC 6749, section 4.1.1; RFC 7636, section 4.3)."""
        metadata = await self.metadata()
        client = self._client(metadata, registration, redirect_uri=callback, scope=metadata.scope())
        url, _ = client.create_authorization_url(metadata.authorization_endpoint, state=state, code_verifier=verifier)
        return str(url)

    async def exchange(self, registration: Registration, *, code: str, callback: str, verifier: str) -> Tokens:
        """Redeem a code (RFC 6749, section 4.1.3).

        Raises:
            AuthorizationServerError: It was refused, or cannot be.
        """
        metadata = await self.metadata()
        client = self._client(metadata, registration, redirect_uri=callback)
        asked = client.fetch_token(
            metadata.token_endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
        )
        return _tokens(await self._bounded(asked))

    async def refresh(self, registration: Registration, refresh_token: str) -> Tokens:
        """Get the next tokens (RFC 6749, section 6); an answer without a refresh token keeps the old one.

        Raises:
            AuthorizationServerError: It was refused, or cannot be.
        """
        metadata = await self.metadata()
        client = self._client(metadata, registration, token={"access_token": "", "token_type": "Bearer"})
        return _tokens(await self._bounded(client.refresh_token(metadata.token_endpoint, refresh_token=refresh_token)))

    async def revoke(self, registration: Registration, token: str, kind: str) -> None:
        """Revoke a token (RFC 7009, section 2.1).

        Args:
            registration: The one that it was given to.
            token: The refresh token where there is one: that ends its access tokens too.
            kind: ``refresh_token`` or ``access_token``.

        Raises:
            AuthorizationServerError: It was not done.
        """
        metadata = await self.metadata()
        if metadata.revocation_endpoint is None:
            return
        client = self._client(metadata, registration)
        asked = client.revoke_token(metadata.revocation_endpoint, token=token, token_type_hint=kind)
        response = await self._bounded(asked)
        if response.status_code != 200:
            raise AuthorizationServerError("failed", f"Revocation was refused: HTTP {response.status_code}.")

    async def identity(self, registration: Registration, tokens: Tokens) -> Identity | None:
        """Who signed in, or None where the server does not say.

        Raises:
            AuthorizationServerError: It says so in a way that cannot be believed.
        """
        metadata = await self.metadata()
        try:
            if tokens.id_token is not None:
                return from_id_token(tokens.id_token, issuer=metadata.issuer, client_id=registration.client_id)
            if metadata.userinfo_endpoint is None:
                return None
            headers = {"Authorization": f"Bearer {tokens.access_token}"}
            response = await self._bounded(self._http().get(metadata.userinfo_endpoint, headers=headers))
            if response.status_code != 200:
                raise AuthorizationServerError("failed", f"Userinfo was refused: HTTP {response.status_code}.")
            return from_claims(_object(response))
        except IdentityError as error:
            raise AuthorizationServerError("failed", f"Mogplex does not say who signed in: {error}.") from None

    def _http(self) -> httpx2.AsyncClient:
        # Never closed: that would close the shared connections. There is nothing else in it.
        return httpx2.AsyncClient(**self._options())

    def _client(self, metadata: ServerMetadata, registration: Registration, **options: Any) -> AsyncOAuth2Client:
        method = metadata.auth_method(has_secret=registration.client_secret is not None)
        return AsyncOAuth2Client(
            client_id=registration.client_id,
            client_secret=registration.client_secret,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            code_challenge_method="S256",
            **options,
            **self._options(),
        )

    def _options(self) -> dict[str, Any]:
        headers = {
            "Accept": "application/json",
            # What is compressed has no bounded size.
            "Accept-Encoding": "identity",
            "User-Agent": f"mogplex-mcp/{__version__}",
        }
        return {
            "transport": self._transport,
            "timeout": self._timeout,
            "headers": headers,
            "follow_redirects": False,
            "trust_env": False,
        }

    async def _bounded(self, asked: Awaitable[T]) -> T:
        """The answer, within ten seconds. What goes wrong is raised anew, because the causes quote the request."""
        error = AuthorizationServerError("failed", "The answer is not what the standard describes.")
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await asked
        except OAuthError as refused:
            error = _refusal(refused.error)
        except (httpx2.HTTPError, TimeoutError, OSError):
            error = AuthorizationServerError("unreachable", "Mogplex's authorization server did not answer.")
        except (httpx2.InvalidURL, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise error


class _BoundedTransport(httpx2.AsyncBaseTransport):
    """The shared connections, for answers of a bounded size alone."""

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await self._transport.handle_async_request(request)
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream)  # noqa: S101 - what an async transport gives
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            await stream.aclose()
            raise httpx2.DecodingError("The answer is compressed, though that was not offered.", request=request)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_BoundedStream(stream),
            extensions=response.extensions,
        )


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_ANSWER_BYTES:
                raise httpx2.ReadError("The answer is over 64 KiB.")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _refusal(code: object) -> AuthorizationServerError:
    """RFC 6749, section 5.2."""
    if code == "invalid_grant":
        return AuthorizationServerError("refused", "Mogplex refuses this grant.")
    if code in {"invalid_client", "unauthorized_client"}:
        return AuthorizationServerError("unknown_client", "Mogplex does not know this server's registration any more.")
    if code in {"temporarily_unavailable", "server_error", "slow_down"}:
        return AuthorizationServerError("unreachable", "Mogplex's authorization server cannot answer now.")
    return AuthorizationServerError("failed", "Mogplex's authorization server refused the request.")


def _tokens(answer: Mapping[str, object]) -> Tokens:
    """RFC 6749, section 5.1."""
    access, refresh, expires = answer.get("access_token"), answer.get("refresh_token"), answer.get("expires_in")
    if not _is_text(access, MAX_TOKEN) or not (refresh is None or _is_text(refresh, MAX_TOKEN)):
        raise AuthorizationServerError("failed", "The token endpoint gave no usable token.")
    if str(answer.get("token_type", "")).lower() != "bearer":
        raise AuthorizationServerError("failed", "The token endpoint gave a token that is not a bearer token.")
    if isinstance(expires, bool) or not isinstance(expires, int | float | str | None):
        expires = None
    try:
        seconds = None if expires is None else min(max(int(expires), 0), MAX_LIFETIME_SECONDS)
    except (ValueError, OverflowError):
        seconds = None
    return Tokens(str(access), None if refresh is None else str(refresh), seconds, answer.get("id_token"))


def _object(response: httpx2.Response) -> dict[str, object]:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise AuthorizationServerError("failed", "The answer is no JSON object.")
    return answer


def _is_text(value: object, longest: int) -> bool:
    """Whether it can be a client id, a secret or a token (RFC 6749, appendix A: visible ASCII characters)."""
    return isinstance(value, str) and 0 < len(value) <= longest and value.isascii() and value.isprintable()
