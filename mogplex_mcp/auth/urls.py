"""The addresses of this server, as callers know them: issuer, resource, and whether a name is ours.

They come from ``MOGPLEX_MCP_PUBLIC_URL``, else from the bind address. On loopback, ``localhost``, ``127.0.0.1`` and
``[::1]`` are one audience and the documents use the name that was asked for; the ``Host`` header was checked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from mogplex_mcp.settings import Settings, is_loopback

ENDPOINT: str = "/mcp"


class UnsafeAddressError(ValueError):
    """The server would be reached over plain HTTP from elsewhere; the message says what to set."""


@dataclass(frozen=True)
class PublicUrls:
    """Addresses of one server.

    Attributes:
        public: The configured public base URL without a trailing slash, or None on loopback.
        bind_host: Where it listens, for requests without a usable ``Host``.
    """

    public: str | None
    bind_host: str

    @classmethod
    def of(cls, settings: Settings) -> PublicUrls:
        """The addresses that the settings name.

        Raises:
            UnsafeAddressError: Neither an https address nor loopback: tokens would travel in the clear.
        """
        public = settings.mcp_public_url
        if public is not None:
            parts = urlsplit(public)
            if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
                raise UnsafeAddressError("MOGPLEX_MCP_PUBLIC_URL must be https:// unless it names this machine only.")
            if parts.path:
                raise UnsafeAddressError("MOGPLEX_MCP_PUBLIC_URL must be an address without a path.")
            return cls(_lowered(parts), settings.mcp_host)
        if not is_loopback(settings.mcp_host):
            raise UnsafeAddressError(
                f"On {settings.mcp_host} this server can be reached from elsewhere, where sign-in needs TLS: set "
                "MOGPLEX_MCP_PUBLIC_URL to its https:// address, or use --host 127.0.0.1."
            )
        return cls(None, settings.mcp_host)

    @property
    def is_loopback_only(self) -> bool:
        """Whether people reach it on this machine only."""
        return self.public is None or is_loopback(urlsplit(self.public).hostname or "")

    @property
    def secure(self) -> bool:
        """Whether people reach it over TLS."""
        return self.public is not None and self.public.startswith("https://")

    def base(self, connection: HTTPConnection) -> str:
        """The base URL by which this request came, without a trailing slash."""
        return self.base_for_host(Headers(scope=connection.scope).get("host", ""))

    def base_for_host(self, host: str) -> str:
        """The base URL for a ``Host`` header that has been checked."""
        if self.public is not None and not self.is_loopback_only:
            return self.public
        name = urlsplit(f"//{host}").hostname or ""
        if is_loopback(name):
            scheme = "https" if self.secure else "http"
            return f"{scheme}://{host.lower()}"
        return self.public or f"http://{self.bind_host}"

    def issuer(self, connection: HTTPConnection) -> str:
        """The authorization server's issuer identifier (RFC 8414, section 2)."""
        return self.base(connection)

    def resource(self, connection: HTTPConnection) -> str:
        """The protected resource's identifier (RFC 9728, section 1.2)."""
        return self.base(connection) + ENDPOINT

    def same_resource(self, value: str, connection: HTTPConnection) -> bool:
        """Whether a resource indicator (RFC 8707) names this endpoint.

        The case of scheme and host, a default port and one trailing slash are forgiven; on loopback, the name too.
        """
        try:
            given, ours = urlsplit(value), urlsplit(self.resource(connection))
            _ = given.port
        except ValueError:
            return False
        if given.query or given.fragment or "#" in value or "?" in value or given.username is not None:
            return False
        return given.path.removesuffix("/") == ENDPOINT and self._audience(given) == self._audience(ours)

    def _audience(self, parts: SplitResult) -> tuple[str, str, int | None]:
        name = (parts.hostname or "").lower()
        if self.is_loopback_only and is_loopback(name):
            name = "localhost"
        return parts.scheme.lower(), name, parts.port or {"https": 443, "http": 80}.get(parts.scheme.lower())


def client_address(connection: HTTPConnection) -> str:
    """The caller's address: the peer's, or, behind a configured proxy, the one that the proxy reports."""
    return connection.client.host if connection.client else ""


def _lowered(parts: SplitResult) -> str:
    netloc = parts.netloc.lower().removesuffix(":443" if parts.scheme == "https" else ":80")
    return f"{parts.scheme}://{netloc}"
