from collections.abc import Callable, Mapping
from typing import ClassVar

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request

class BaseGrant:
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar[list[str]]
    GRANT_TYPE: str
    TOKEN_RESPONSE_HEADER: list[tuple[str, str]]
    request: OAuth2Request
    server: AuthorizationServer
    def __init__(self, request: OAuth2Request, server: AuthorizationServer) -> None: ...
    def register_hook(self, hook_type: str, hook: Callable[..., None]) -> None: ...

class AuthorizationCodeGrant(BaseGrant):
    redirect_uri: str | None
    def create_token_response(self) -> tuple[int, Mapping[str, object], list[tuple[str, str]]]: ...

class RefreshTokenGrant(BaseGrant):
    INCLUDE_NEW_REFRESH_TOKEN: bool
    def create_token_response(self) -> tuple[int, Mapping[str, object], list[tuple[str, str]]]: ...
    def _validate_request_client(self) -> ClientMixin: ...
