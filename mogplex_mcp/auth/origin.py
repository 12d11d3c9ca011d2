"""Host and Origin: the first check of every request on every route, against DNS rebinding and foreign pages.

Source: MCP specification 2026-07-28 and 2025-11-25, transports, "Security Warning".
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from mogplex_mcp.auth.rpc_errors import FORBIDDEN, refusal
from mogplex_mcp.settings import Settings, is_loopback


@dataclass(frozen=True)
class Addresses:
    """The names under which this server may be called.

    Attributes:
        bind_host: The address it listens on.
        public: Authority (``host[:port]``) of the public address, lower case, or None.
        public_origin: Origin of the public address, or None.
        allowed_origins: Further browser origins that may call it.
    """

    bind_host: str
    public: str | None
    public_origin: str | None
    allowed_origins: frozenset[str]

    @classmethod
    def of(cls, settings: Settings) -> Addresses:
        """The addresses that the settings name."""
        public = urlsplit(settings.mcp_public_url) if settings.mcp_public_url else None
        return cls(
            bind_host=settings.mcp_host,
            public=_authority(public.scheme, public.netloc) if public else None,
            public_origin=f"{public.scheme}://{_authority(public.scheme, public.netloc)}" if public else None,
            allowed_origins=frozenset(settings.mcp_allowed_origins),
        )

    def serves_host(self, host: str) -> bool:
        """Whether a ``Host`` header names this server."""
        name = _hostname(host)
        if name is None:
            return False
        if self.public is not None and host.lower() in {self.public, f"{self.public}:443", f"{self.public}:80"}:
            return True
        if is_loopback(self.bind_host) or self.bind_host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
            # A rebound name is never one of these, and the port cannot be forged by a browser.
            return is_loopback(name)
        return name == self.bind_host.strip("[]").lower()

    def serves_origin(self, origin: str, host: str) -> bool:
        """Whether a browser page of this origin may call: our own pages and the configured ones."""
        origin = origin.lower()
        if origin in self.allowed_origins or origin == self.public_origin:
            return True
        return origin in {f"http://{host.lower()}", f"https://{host.lower()}"}


class OriginMiddleware:
    """Refuses requests whose ``Host`` or ``Origin`` is not this server's: 403 with code -32003.

    Args:
        app: What serves the rest.
        addresses: The names of this server.
        open_paths: Paths where any ``Origin`` will do: browser-based clients come from origins nobody knows beforehand.
    """

    def __init__(self, app: ASGIApp, addresses: Addresses, open_paths: Collection[str] = ()) -> None:
        self.app = app
        self.addresses = addresses
        self.open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self.addresses.serves_host(hosts[0]):
            message = "Host not served here. Set MOGPLEX_MCP_PUBLIC_URL to the address that people use."
            await refusal(403, FORBIDDEN, message)(scope, receive, send)
        elif scope["path"] in self.open_paths:
            # Pages of any origin may call these, which answer nothing that a cookie or an address would open.
            await self.app(scope, receive, send)
        elif origins and (len(origins) != 1 or not self.addresses.serves_origin(origins[0], hosts[0])):
            message = "Origin not allowed. Add it to MOGPLEX_MCP_ALLOWED_ORIGINS on the server."
            await refusal(403, FORBIDDEN, message)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


def _hostname(authority: str) -> str | None:
    """The host of a ``Host`` header, lower case and without brackets, or None when it is malformed."""
    if not authority or any(character in authority for character in '@/\\?#% \t,"'):
        return None
    try:
        parts = urlsplit(f"//{authority}")
        parts.port  # noqa: B018 - raises when the port is no number
    except ValueError:
        return None
    return parts.hostname


def _authority(scheme: str, netloc: str) -> str:
    """The authority as browsers and clients send it: lower case, without the scheme's own port."""
    return netloc.lower().removesuffix(":443" if scheme == "https" else ":80")
