from collections.abc import Awaitable, Mapping
from typing import Any

import httpx2

class AsyncOAuth2Client(httpx2.AsyncClient):
    def __init__(
        self,
        client_id: str | None = None,
        client_secret: str | None = None,
        token_endpoint_auth_method: str | None = None,
        revocation_endpoint_auth_method: str | None = None,
        scope: str | None = None,
        redirect_uri: str | None = None,
        token: Mapping[str, object] | None = None,
        **kwargs: Any,
    ) -> None: ...
    def create_authorization_url(
        self, url: str, state: str | None = None, code_verifier: str | None = None, **kwargs: str
    ) -> tuple[str, str]: ...
    def fetch_token(
        self, url: str | None = None, body: str = "", *, grant_type: str | None = None, **kwargs: str
    ) -> Awaitable[dict[str, object]]: ...
    def refresh_token(
        self, url: str | None = None, refresh_token: str | None = None, **kwargs: str
    ) -> Awaitable[dict[str, object]]: ...
    def revoke_token(
        self, url: str, token: str | None = None, token_type_hint: str | None = None
    ) -> Awaitable[httpx2.Response]: ...
