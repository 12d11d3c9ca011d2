"""The way to Mogplex: in-process, over a Unix socket, or HTTPS. Picked here and nowhere else.

The rules are the documentation's (/cli/concepts/transports) as far as they reach: an unknown ``MOGPLEX_TRANSPORT`` is
taken as ``daemon`` and said so. Nothing else ever falls back: an upstream that cannot be reached is an error.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
import structlog

from mogplex_mcp import __version__
from mogplex_mcp.api.budget import Budgets
from mogplex_mcp.api.errors import MogplexError
from mogplex_mcp.own_command import command_for
from mogplex_mcp.settings import DEFAULT_MOGPLEX_URL, Settings, is_loopback

LOCAL_URL = "http://localhost"
"""Names the embedded Mogplex and the daemon in requests; nothing is resolved or connected by it."""
LOCAL_KEEPALIVE_SECONDS = 4.0
"""Below the 5 s after which uvicorn drops an idle connection, so that we are not surprised by it."""
HOSTED_KEEPALIVE_SECONDS = 30.0

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True)
class Route:
    """The way that was taken and why.

    Attributes:
        kind: ``embedded`` (in-process), ``daemon`` (Unix socket) or ``hosted`` (HTTP over TCP).
        reason: Which setting decided; shown in the log.
        base_url: Address that requests are made to, without a trailing slash.
        socket: The Unix socket of a daemon.
        transport_fallback: ``MOGPLEX_TRANSPORT`` was not understood.
        start_command: What the person types to start the daemon.
    """

    kind: Literal["embedded", "daemon", "hosted"]
    reason: str
    base_url: str
    socket: Path | None = None
    transport_fallback: bool = False
    start_command: str | None = None

    @property
    def address(self) -> str:
        """What to call the upstream in messages."""
        if self.kind == "embedded":
            return "the embedded Mogplex"
        return f"the Mogplex daemon at {self.socket}" if self.socket else f"Mogplex at {self.base_url}"


@dataclass(frozen=True)
class Upstream:
    """Mogplex, reachable: one per process, shared by all calls.

    Attributes:
        route: The way that was taken.
        transport: Sends requests; holds the connection pool. No cookie jar, no redirects, no logging of its own.
        connect_timeout: Seconds to connect.
        read_timeout: Seconds to wait for something to arrive, or to be taken.
        budgets: How often each credential may ask; without limits unless given.
    """

    route: Route
    transport: httpx2.AsyncBaseTransport = field(repr=False)
    connect_timeout: float
    read_timeout: float
    budgets: Budgets = field(default_factory=Budgets, repr=False)

    @cached_property
    def timeouts(self) -> dict[str, dict[str, float]]:
        """The timeouts as the transport takes them."""
        connect, read = self.connect_timeout, self.read_timeout
        return {"timeout": {"connect": connect, "read": read, "write": read, "pool": read}}

    @cached_property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """The headers that every request carries."""
        return (
            (b"host", urlsplit(self.route.base_url).netloc.encode()),
            (b"accept", b"application/json"),
            (b"accept-encoding", b"gzip" if self.route.kind == "hosted" else b"identity"),
            (b"user-agent", f"mogplex-mcp/{__version__}".encode()),
        )


def choose_route(settings: Settings) -> Route:
    """The way to Mogplex that these settings ask for. Connects to nothing and logs nothing.

    Raises:
        MogplexError: BAD_REQUEST: ``MOGPLEX_URL`` cannot be used.
    """
    wanted = (settings.transport or "").strip().lower()
    if wanted in {"process", "live"}:
        return Route("embedded", f"MOGPLEX_TRANSPORT={wanted}", LOCAL_URL)
    if wanted == "daemon":
        return _to_daemon(settings, "MOGPLEX_TRANSPORT=daemon")
    if wanted == "hosted":
        return Route("hosted", "MOGPLEX_TRANSPORT=hosted", _hosted_url(settings))
    if wanted:
        reason = "MOGPLEX_TRANSPORT is none of process, live, daemon, hosted"
        return replace(_to_daemon(settings, reason), transport_fallback=True)
    if settings.url or settings.api_key:
        variable = "MOGPLEX_URL" if settings.url else "MOGPLEX_API_KEY"
        return Route("hosted", f"{variable} is set", _hosted_url(settings))
    return Route("embedded", "neither MOGPLEX_TRANSPORT, MOGPLEX_URL nor MOGPLEX_API_KEY is set", LOCAL_URL)


def _to_daemon(settings: Settings, reason: str) -> Route:
    start = f"{command_for(settings)} local daemon"
    return Route("daemon", reason, LOCAL_URL, settings.socket_path, start_command=start)


@asynccontextmanager
async def open_upstream(
    settings: Settings, *, embedded: Callable[[], AbstractAsyncContextManager[httpx2.AsyncBaseTransport]]
) -> AsyncIterator[Upstream]:
    """Open the way to Mogplex that the settings ask for, and log which and why. Nothing is connected yet.

    Args:
        settings: Which way; the pool's size and timeouts.
        embedded: Opens the embedded Mogplex; called only when that is the way.

    Raises:
        MogplexError: BAD_REQUEST: the settings name a way that cannot be used.
    """
    # These two log every request, with addresses and headers of answers.
    for noisy in ("httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    route = choose_route(settings)
    opened = embedded() if route.kind == "embedded" else _network_transport(route, settings.api_max_connections)
    say = _log.warning if route.transport_fallback else _log.info
    event = "transport_fallback" if route.transport_fallback else "upstream"
    say(event, transport=route.kind, address=str(route.socket or route.base_url), reason=route.reason)
    budgets = Budgets.embedded(settings) if route.kind == "embedded" else Budgets.hosted(settings)
    async with opened as transport:
        yield Upstream(route, transport, settings.api_connect_timeout, settings.api_read_timeout, budgets)


def _network_transport(route: Route, connections: int) -> httpx2.AsyncHTTPTransport:
    keepalive = HOSTED_KEEPALIVE_SECONDS if route.kind == "hosted" else LOCAL_KEEPALIVE_SECONDS
    limits = httpx2.Limits(
        max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=keepalive
    )
    if not route.base_url.startswith("https:"):
        # No TLS on this way, so no certificates to load; and what must not leave this machine takes no proxy.
        no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        uds = str(route.socket) if route.socket else None
        return httpx2.AsyncHTTPTransport(uds=uds, limits=limits, verify=no_tls, trust_env=False)
    return httpx2.AsyncHTTPTransport(limits=limits, proxy=_environment_proxy(route.base_url))


def _hosted_url(settings: Settings) -> str:
    """The base URL, checked: a token is only ever sent over TLS, or to this machine when developing."""
    url = (settings.url or DEFAULT_MOGPLEX_URL).strip().rstrip("/")
    parts = _split(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname:
        raise _unusable("MOGPLEX_URL is not an https:// address.")
    if "@" in parts.netloc:
        raise _unusable("MOGPLEX_URL carries a user name or password.")
    if parts.query or parts.fragment or "?" in url or "#" in url:
        raise _unusable("MOGPLEX_URL carries a query or a fragment.")
    if parts.scheme == "http" and not (settings.dev and is_loopback(parts.hostname)):
        raise _unusable("MOGPLEX_URL is plain http://, which is allowed only to this machine and with MOGPLEX_DEV=1.")
    # As the HTTP client writes it: scheme and host in lower case.
    return str(httpx2.URL(url)).rstrip("/")


def _split(url: str) -> SplitResult:
    plain = url.isascii() and url.isprintable() and not any(char in url for char in " \\")
    try:
        parts = urlsplit(url)
        _ = parts.port, httpx2.URL(url)
    except (ValueError, httpx2.InvalidURL):
        plain = False
    # Raised here, not above: what MOGPLEX_URL holds may be a secret, and the errors above quote it.
    if not plain:
        raise _unusable("MOGPLEX_URL is not an address.")
    return parts


def _unusable(message: str) -> MogplexError:
    return MogplexError(
        "BAD_REQUEST",
        message,
        suggestion=f"Set MOGPLEX_URL to the plain address of a Mogplex, for example {DEFAULT_MOGPLEX_URL}.",
    )


def _environment_proxy(base_url: str) -> httpx2.Proxy | None:
    parts = urlsplit(base_url)
    proxies = getproxies()
    proxy = proxies.get("https") or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    try:
        made = httpx2.Proxy(proxy if "://" in proxy else f"http://{proxy}")
    except (ValueError, httpx2.InvalidURL):
        made = None
    if made is None or made.url.scheme not in {"http", "https"}:
        raise MogplexError(
            "BAD_REQUEST",
            "The proxy that the environment names for https cannot be used: only http:// and https:// proxies can.",
            suggestion="Set HTTPS_PROXY to an http:// proxy, or name the host of MOGPLEX_URL in NO_PROXY.",
        )
    return made
