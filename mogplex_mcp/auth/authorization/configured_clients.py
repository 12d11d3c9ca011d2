"""Clients known beforehand, and further redirect URIs of others (MCP authorization, "Preregistration").

The file's format is described in ``docs/clients-file.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mogplex_mcp.auth.authorization.redirect_uris import MAX_URIS, check_redirect_uri
from mogplex_mcp.store.clients import StoredClient

MAX_FILE_BYTES = 1024 * 1024

_NONE: Mapping[str, tuple[str, ...]] = MappingProxyType({})
KNOWN_CORRECTIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    # Its document lists /callback; the program listens on, and sends, another path (anomalyco/opencode, issue 50510).
    {"https://opencode.ai/oauth/opencode/client.json": ("http://127.0.0.1/mcp/oauth/callback",)}
)
"""Redirect URIs that a well-known client sends and its own document forgets."""

RedirectUri = Annotated[str, AfterValidator(check_redirect_uri)]


class ClientsFileError(ValueError):
    """The clients file cannot be used; the message says what to mend."""


class _Client(BaseModel):
    model_config = ConfigDict(extra="forbid")

    client_id: str = Field(min_length=1, max_length=1024, pattern=r"^[\x21-\x7e]+$")
    client_name: str = Field(min_length=1, max_length=200)
    redirect_uris: tuple[RedirectUri, ...] = Field(min_length=1, max_length=MAX_URIS)
    token_endpoint_auth_method: Literal["none", "client_secret_basic", "client_secret_post"] = "none"  # noqa: S105
    client_secret_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")

    @model_validator(mode="after")
    def _secret_belongs_to_method(self) -> _Client:
        if (self.client_secret_sha256 is None) != (self.token_endpoint_auth_method == "none"):  # noqa: S105
            raise ValueError(
                "client_secret_sha256 belongs to a client that authenticates with a secret, and only there"
            )
        return self


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    clients: tuple[_Client, ...] = ()
    redirect_uris: dict[str, tuple[RedirectUri, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_client_once(self) -> _File:
        names = [client.client_id for client in self.clients]
        if len(names) != len(set(names)):
            raise ValueError("two clients have the same client_id")
        return self


@dataclass(frozen=True)
class ConfiguredClients:
    """What the settings say about clients.

    Attributes:
        clients: Clients known beforehand, by ``client_id``.
        redirect_uris: Further redirect URIs, by ``client_id``, of whatever kind that client is.
    """

    clients: Mapping[str, StoredClient] = field(default_factory=dict)
    redirect_uris: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def further_redirect_uris(self, client_id: str) -> tuple[str, ...]:
        """Redirect URIs that a client may use besides its own."""
        return self.redirect_uris.get(client_id, ()) + KNOWN_CORRECTIONS.get(client_id, ())


def read_configured_clients(path: Path | None) -> ConfiguredClients:
    """Read ``MOGPLEX_MCP_CLIENTS_FILE``.

    Args:
        path: The file; None when the setting is unset.

    Raises:
        ClientsFileError: It cannot be read, or does not follow the format.
    """
    if path is None:
        return ConfiguredClients()
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ClientsFileError(f"MOGPLEX_MCP_CLIENTS_FILE: {path} is larger than 1 MiB.")
        found = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ClientsFileError(f"MOGPLEX_MCP_CLIENTS_FILE: {path} cannot be read: {error.strerror}.") from None
    except ValidationError as error:
        raise ClientsFileError(f"MOGPLEX_MCP_CLIENTS_FILE: {path}: {_words(error)}") from None
    return ConfiguredClients(
        clients={client.client_id: _stored(client) for client in found.clients}, redirect_uris=found.redirect_uris
    )


def _stored(client: _Client) -> StoredClient:
    return StoredClient(
        client_id=client.client_id,
        kind="configured",
        name=client.client_name,
        redirect_uris=client.redirect_uris,
        auth_method=client.token_endpoint_auth_method,
        secret_sha256=client.client_secret_sha256,
    )


def _words(error: ValidationError) -> str:
    """The errors without the values, which may be secrets put in the wrong place."""
    lines = []
    for found in error.errors(include_url=False, include_context=False, include_input=False)[:5]:
        place = ".".join(str(part) for part in found["loc"])
        lines.append(f"{place}: {re.sub(r'^Value error, ', '', found['msg'])}" if place else found["msg"])
    return "; ".join(lines)
