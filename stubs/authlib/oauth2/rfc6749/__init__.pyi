from collections.abc import Callable, Iterable, Mapping, Sequence

from authlib.oauth2.rfc6749 import grants as grants

Answered = tuple[int, object, list[tuple[str, str]]]

class OAuth2Error(Exception):
    error: str
    description: str
    status_code: int
    state: str | None
    redirect_uri: str | None
    def __init__(
        self,
        description: str | None = None,
        uri: str | None = None,
        status_code: int | None = None,
        state: str | None = None,
        redirect_uri: str | None = None,
        redirect_fragment: bool = False,
        error: str | None = None,
    ) -> None: ...

class InvalidRequestError(OAuth2Error): ...
class InvalidClientError(OAuth2Error): ...
class InvalidGrantError(OAuth2Error): ...
class InvalidScopeError(OAuth2Error): ...
class AccessDeniedError(OAuth2Error): ...
class UnauthorizedClientError(OAuth2Error): ...

class ClientMixin:
    def get_client_id(self) -> str: ...

class OAuth2Payload:
    @property
    def client_id(self) -> str | None: ...
    @property
    def response_type(self) -> str | None: ...
    @property
    def grant_type(self) -> str | None: ...
    @property
    def redirect_uri(self) -> str | None: ...
    @property
    def scope(self) -> str | None: ...
    @property
    def state(self) -> str | None: ...
    @property
    def data(self) -> Mapping[str, str]: ...
    @property
    def datalist(self) -> Mapping[str, Sequence[str]]: ...

class OAuth2Request(OAuth2Payload):
    method: str
    uri: str
    headers: Mapping[str, str]
    payload: OAuth2Payload
    auth_method: str | None
    user: str | None
    def __init__(self, method: str, uri: str, body: None = None, headers: Mapping[str, str] | None = None) -> None: ...
    @property
    def form(self) -> Mapping[str, str]: ...

class JsonPayload:
    @property
    def data(self) -> Mapping[str, object]: ...

class JsonRequest:
    method: str
    uri: str
    headers: Mapping[str, str]
    payload: JsonPayload
    def __init__(self, method: str, uri: str, headers: Mapping[str, str] | None = None) -> None: ...

class AuthorizationServer:
    def __init__(self, scopes_supported: Iterable[str] | None = None) -> None: ...
    def register_grant(
        self,
        grant_cls: type[grants.BaseGrant],
        extensions: Sequence[Callable[[grants.BaseGrant], None]] | None = None,
    ) -> None: ...
    def register_endpoint(self, endpoint: object) -> None: ...
    def get_authorization_grant(self, request: OAuth2Request) -> grants.BaseGrant: ...
    def get_consent_grant(
        self, request: OAuth2Request | None = None, end_user: str | None = None
    ) -> grants.AuthorizationCodeGrant: ...
    def authenticate_client(
        self, request: OAuth2Request, methods: Sequence[str], endpoint: str = "token"
    ) -> ClientMixin: ...

class TokenEndpoint:
    server: AuthorizationServer
