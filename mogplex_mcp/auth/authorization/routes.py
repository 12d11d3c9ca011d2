"""The OAuth endpoints and documents as routes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy.exc import DBAPIError
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from mogplex_mcp.auth.authorization.authorization_server import Answer, AuthorizationServer, oauth_error
from mogplex_mcp.auth.authorization.authorize import Authorization, RequireS256, RequireThisResource
from mogplex_mcp.auth.authorization.client_documents import ClientDocuments
from mogplex_mcp.auth.authorization.clients import Clients
from mogplex_mcp.auth.authorization.configured_clients import read_configured_clients
from mogplex_mcp.auth.authorization.document_fetch import DocumentFetcher
from mogplex_mcp.auth.authorization.metadata import (
    AUTHORIZATION_SERVER_PATHS,
    AUTHORIZE,
    JWKS,
    OPENID_PATHS,
    PROTECTED_RESOURCE_PATHS,
    REGISTER,
    REVOKE,
    SHIM_DOCUMENT,
    TOKEN,
    MetadataDocuments,
)
from mogplex_mcp.auth.authorization.parameters import (
    ParameterError,
    Parameters,
    ProtocolRequest,
    parameters_of,
    read_query,
)
from mogplex_mcp.auth.authorization.problem import Problem, ProblemError
from mogplex_mcp.auth.authorization.rate_limits import RateLimit, TooManyError
from mogplex_mcp.auth.authorization.registration import (
    MAX_BODY_BYTES,
    REGISTRATION_WINDOW,
    REGISTRATIONS_IN_ALL,
    REGISTRATIONS_PER_ADDRESS,
    Registration,
    register,
)
from mogplex_mcp.auth.authorization.revocation import Revocation, RevocationEndpoint
from mogplex_mcp.auth.authorization.token import CodeGrant, RefreshGrant, TokenEndpoint, TokenResult
from mogplex_mcp.auth.form import FormError, read_form
from mogplex_mcp.auth.urls import PublicUrls, client_address
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.grants import Revoked
from mogplex_mcp.store.store import Store
from mogplex_mcp.store.vault import VaultError

CONSENT = "/account/consent"
AUTHORIZATIONS_PER_ADDRESS = 300
AUTHORIZATIONS_IN_ALL = 3_000
AUTHORIZATION_WINDOW = 600.0
READ_SECONDS = 10.0
METADATA_SECONDS = 300
"""How long clients may keep the documents."""

CROSS_ORIGIN_PATHS = frozenset(
    {
        *PROTECTED_RESOURCE_PATHS,
        *AUTHORIZATION_SERVER_PATHS,
        *OPENID_PATHS,
        JWKS,
        SHIM_DOCUMENT,
        REGISTER,
        TOKEN,
        REVOKE,
    }
)
"""What pages of any origin may call, without credentials: a client in a browser has no other way. They read no cookie;
the check of ``Host`` stays."""


ProblemPage = Callable[[Request, Problem], Response]
"""Shows a problem to a person (``web/pages.py``)."""


async def _end_nothing(_: Revoked) -> None:
    """For callers without streams or upstream credentials."""


def create_authorization(settings: Settings, store: Store) -> Authorization:
    """The authorization endpoint's rules, and who may come to it; synchronous, for a worker thread.

    Raises:
        ClientsFileError: ``MOGPLEX_MCP_CLIENTS_FILE`` cannot be used.
    """
    documents = None
    if settings.mcp_cimd == "on":
        documents = ClientDocuments(DocumentFetcher(development=settings.dev), development=settings.dev)
    clients = Clients(store, read_configured_clients(settings.mcp_clients_file), documents)
    clients.keep_configured()
    return Authorization(store, clients, create_authorization_server(clients))


def create_authorization_server(clients: Clients) -> AuthorizationServer:
    """Authlib's server with everything that is served."""
    server = AuthorizationServer(clients)
    server.register_grant(CodeGrant, [RequireS256(), RequireThisResource()])
    server.register_grant(RefreshGrant)
    server.register_endpoint(Registration())
    server.register_endpoint(RevocationEndpoint())
    return server


@dataclass(frozen=True)
class OAuthEndpoints:
    """The handlers.

    Attributes:
        authorization: Authorization requests, clients and store.
        urls: The names of this server.
        problem_page: Shows what went wrong to a person.
        ended: Told of every revocation: it ends streams and revokes upstream. It must not wait for the network.
        registrations: Limit on registrations.
        authorizations: Limit on authorization requests.
    """

    authorization: Authorization
    urls: PublicUrls
    problem_page: ProblemPage
    ended: Callable[[Revoked], Awaitable[None]]
    registrations: RateLimit
    authorizations: RateLimit

    async def protected_resource(self, request: Request) -> Response:
        """RFC 9728, section 3."""
        return _document(self._documents(request).protected_resource())

    async def authorization_server(self, request: Request) -> Response:
        """RFC 8414, section 3."""
        return _document(self._documents(request).authorization_server())

    async def openid_configuration(self, request: Request) -> Response:
        """OpenID Connect Discovery 1.0, section 4."""
        return _document(self._documents(request).openid_configuration())

    async def jwks(self, _: Request) -> Response:
        """An empty key set (RFC 7517, section 5): nothing here is signed."""
        return _document({"keys": []})

    async def shim(self, request: Request) -> Response:
        """The shim's client document."""
        return _document(self._documents(request).shim())

    async def register(self, request: Request) -> Response:
        """RFC 7591, section 3."""
        address = client_address(request)
        try:
            self.registrations.admit(address)
            body = await _read_body(request)
            if body is None:
                return oauth_error("invalid_client_metadata", "The body is larger than 16 KiB.", 413).response()
            store = self.authorization.store
            answer = await store.db.call(register, self.authorization.server, store, body, address)
        except TooManyError as error:
            return _too_many(error.retry_after).response()
        except StoreFullError:
            return _too_many(60).response()
        except (TimeoutError, ClientDisconnect):
            return oauth_error("invalid_client_metadata", "The body did not arrive in time.", 408).response()
        except DBAPIError:
            return _unavailable().response()
        return answer.response()

    async def authorize(self, request: Request) -> Response:
        """RFC 6749, section 4.1.1. It reads no cookie, and whatever is wrong is a page: nothing redirects to a client
        before the person has acted."""
        try:
            self.authorizations.admit(client_address(request))
            sent = self._protocol_request(request, AUTHORIZE, read_query(request.scope["query_string"]))
            request_id = await self.authorization.begin(sent)
        except ParameterError as error:
            return self.problem_page(request, Problem("invalid_request", detail=str(error)))
        except TooManyError as error:
            return self.problem_page(request, Problem("too_many", 429, retry_after=error.retry_after))
        except ProblemError as error:
            return self.problem_page(request, error.problem)
        except DBAPIError:
            return self.problem_page(request, Problem("server_error", 503, "The database does not answer."))
        return RedirectResponse(f"{CONSENT}?request={request_id}", 303, {"Cache-Control": "no-store"})

    async def token(self, request: Request) -> Response:
        """RFC 6749, section 3.2."""
        endpoint = TokenEndpoint(self.authorization.store, self.authorization.server)
        return await self._answer(
            request,
            lambda sent: endpoint.answer(
                sent,
                request.headers,
                issuer=self.urls.issuer(request),
                is_ours=partial(self.urls.same_resource, connection=request),
                address=client_address(request),
            ),
        )

    async def revoke(self, request: Request) -> Response:
        """RFC 7009, section 2."""
        endpoint = Revocation(self.authorization.store, self.authorization.server)
        return await self._answer(
            request,
            lambda sent: endpoint.answer(
                sent, request.headers, issuer=self.urls.issuer(request), address=client_address(request)
            ),
        )

    async def _answer(self, request: Request, answer: Callable[[Parameters], TokenResult]) -> Response:
        if len(request.headers.getlist("authorization")) > 1:
            return oauth_error("invalid_request", "The Authorization header came twice.").response()
        try:
            form = await read_form(request)
            result = await self.authorization.store.db.call(answer, parameters_of(form.fields))
        except FormError:
            words = "The body must be a form (application/x-www-form-urlencoded) of at most 16 KiB."
            return oauth_error("invalid_request", words).response()
        except (DBAPIError, VaultError):
            return _unavailable().response()
        if result.ended is not None:
            await self.ended(result.ended)
        return result.answer.response()

    def _protocol_request(self, request: Request, path: str, parameters: Parameters) -> ProtocolRequest:
        return ProtocolRequest(
            request.method,
            path,
            parameters,
            issuer=self.urls.issuer(request),
            is_ours=partial(self.urls.same_resource, connection=request),
            address=client_address(request),
        )

    def _documents(self, request: Request) -> MetadataDocuments:
        return MetadataDocuments(self.urls.issuer(request), self.authorization.clients.documents is not None)


def oauth_routes(
    authorization: Authorization,
    urls: PublicUrls,
    problem_page: ProblemPage,
    ended: Callable[[Revoked], Awaitable[None]] = _end_nothing,
) -> list[Route]:
    """The routes.

    Args:
        authorization: From ``create_authorization``.
        urls: The names of this server.
        problem_page: Shows what went wrong at the authorization endpoint.
        ended: Told of every revocation; it must not wait for the network.
    """
    endpoints = OAuthEndpoints(
        authorization,
        urls,
        problem_page,
        ended,
        RateLimit(REGISTRATIONS_PER_ADDRESS, REGISTRATIONS_IN_ALL, REGISTRATION_WINDOW),
        RateLimit(AUTHORIZATIONS_PER_ADDRESS, AUTHORIZATIONS_IN_ALL, AUTHORIZATION_WINDOW),
    )
    documents = (
        (PROTECTED_RESOURCE_PATHS, endpoints.protected_resource),
        (AUTHORIZATION_SERVER_PATHS, endpoints.authorization_server),
        (OPENID_PATHS, endpoints.openid_configuration),
        ((JWKS,), endpoints.jwks),
        ((SHIM_DOCUMENT,), endpoints.shim),
    )
    return [
        *(_cross_origin(path, handler, "GET") for paths, handler in documents for path in paths),
        _cross_origin(REGISTER, endpoints.register, "POST"),
        _cross_origin(TOKEN, endpoints.token, "POST"),
        _cross_origin(REVOKE, endpoints.revoke, "POST"),
        Route(AUTHORIZE, endpoints.authorize, methods=["GET"]),
    ]


def _cross_origin(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
    inner = Route(path, handler, methods=[method])
    allowed = CORSMiddleware(
        inner.handle,
        allow_origins=("*",),
        allow_methods=(method,),
        allow_headers=("*",),
        expose_headers=("Retry-After", "WWW-Authenticate"),
        max_age=3600,
    )
    return Route(path, endpoint=allowed)


async def _read_body(request: Request) -> bytes | None:
    """A body of at most 16 KiB, or None when it is larger; the rest is not read."""
    body = bytearray()
    async with asyncio.timeout(READ_SECONDS):
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return None
    return bytes(body)


def _document(members: dict[str, object]) -> Response:
    return JSONResponse(members, headers={"Cache-Control": f"public, max-age={METADATA_SECONDS}"})


def _too_many(seconds: int) -> Answer:
    return oauth_error(
        "temporarily_unavailable",
        f"Too many registrations. Try again in {seconds} s.",
        429,
        {"Retry-After": str(seconds)},
    )


def _unavailable() -> Answer:
    words = "The database does not answer. Try again."
    return oauth_error("temporarily_unavailable", words, 503, {"Retry-After": "5"})
