from typing import ClassVar

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientMixin, OAuth2Request, TokenEndpoint

class RevocationEndpoint(TokenEndpoint):
    ENDPOINT_NAME: str
    CLIENT_AUTH_METHODS: ClassVar[list[str]]
    def __init__(self, server: AuthorizationServer | None = None) -> None: ...
    def authenticate_endpoint_client(self, request: OAuth2Request) -> ClientMixin: ...
