"""Parameters of an OAuth request, from its query or form, and how Authlib reads them.

Source: RFC 6749, sections 3.1 and 3.2: each at most once, empty means absent, unknown ones are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import OAuth2Payload, OAuth2Request

MAX_QUERY_BYTES = 16 * 1024
MAX_FIELDS = 64
_REPEATABLE = frozenset({"resource"})
"""RFC 8707, section 2."""


class ParameterError(ValueError):
    """The request is malformed; the message says how and quotes nothing of it."""


@dataclass(frozen=True)
class Parameters:
    """Named values in order; never shown in logs, because some are secrets."""

    fields: Mapping[str, tuple[str, ...]] = field(repr=False)

    def one(self, name: str) -> str | None:
        """The value of a parameter that was sent once."""
        values = self.fields.get(name, ())
        return values[0] if len(values) == 1 else None

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a parameter."""
        return self.fields.get(name, ())

    def check(self) -> None:
        """Refuse what no client sends by accident.

        Raises:
            ParameterError: A parameter came twice, or holds control characters (RFC 6749, appendix A).
        """
        for name, values in self.fields.items():
            if len(values) > 1 and name not in _REPEATABLE:
                raise ParameterError("A parameter was sent more than once.")
            if any(char < " " or char == "\x7f" for value in (name, *values) for char in value):
                raise ParameterError("A parameter holds control characters.")


def parameters_of(fields: Mapping[str, tuple[str, ...]]) -> Parameters:
    """Parameters without the empty ones, which count as absent."""
    kept = {name: tuple(value for value in values if value) for name, values in fields.items()}
    return Parameters({name: values for name, values in kept.items() if values})


def read_query(query: bytes) -> Parameters:
    """The parameters of a query string.

    Raises:
        ParameterError: It is longer than 16 KiB, has more than 64 parameters, or is not UTF-8.
    """
    if len(query) > MAX_QUERY_BYTES:
        raise ParameterError("The request is too long.")
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        pairs = None
    if pairs is None:
        raise ParameterError("The request cannot be read.")
    fields: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        fields[name] = (*fields.get(name, ()), value)
    return parameters_of(fields)


class _Payload(OAuth2Payload):
    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters

    @property
    def data(self) -> Mapping[str, str]:
        return {name: values[0] for name, values in self._parameters.fields.items()}

    @property
    def datalist(self) -> Mapping[str, tuple[str, ...]]:
        return self._parameters.fields


class ProtocolRequest(OAuth2Request):
    """A request to the authorization or token endpoint, as Authlib asks it.

    Attributes:
        parameters: What was sent.
        issuer: The issuer by the name that was asked for.
        is_ours: Whether a resource indicator names this server's endpoint.
        address: Who sent it.
    """

    def __init__(
        self,
        method: str,
        path: str,
        parameters: Parameters,
        *,
        issuer: str,
        is_ours: Callable[[str], bool],
        address: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # Not the address on the socket: behind a proxy that one is plain http, and Authlib would refuse it.
        super().__init__(method, issuer + path, headers=headers)
        self.payload = _Payload(parameters)
        self.parameters = parameters
        self.issuer = issuer
        self.is_ours = is_ours
        self.address = address

    @property
    def form(self) -> Mapping[str, str]:
        """Authlib's name for the parameters of a token request."""
        return self.payload.data
