from collections.abc import Mapping, Sequence
from typing import ClassVar

from authlib.oauth2.rfc6749 import AuthorizationServer, JsonRequest, OAuth2Error

class InvalidRedirectURIError(OAuth2Error): ...
class InvalidClientMetadataError(OAuth2Error): ...

class ClientMetadataClaims(dict[str, object]):
    REGISTERED_CLAIMS: ClassVar[list[str]]

class ClientRegistrationEndpoint:
    ENDPOINT_NAME: str
    server: AuthorizationServer
    def __init__(
        self,
        server: AuthorizationServer | None = None,
        claims_classes: Sequence[type[ClientMetadataClaims]] | None = None,
    ) -> None: ...
    def create_registration_response(
        self, request: JsonRequest
    ) -> tuple[int, Mapping[str, object], list[tuple[str, str]]]: ...
