"""Fetching an address that a stranger named, without lending him this server's place in the network.

The name is resolved once, every address is checked, and the connection goes to the very address that was checked: the
URL carries the address, ``Host`` and TLS carry the name. A proxy of the environment resolves by itself; then only
names that could mean something public pass.

Sources: draft-ietf-oauth-client-id-metadata-document, section 8.6 (SSRF); MCP security best practices, "Server-Side
Request Forgery"; RFC 6890 and its registries; RFC 6052, RFC 4291 and RFC 5214 for IPv4 inside IPv6.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import anyio
import httpx2

from mogplex_mcp.settings import is_loopback

MAX_BYTES = 5 * 1024
SECONDS = 5.0
"""For name, connection and answer together."""
MAX_TRIED = 4
MAX_AT_ONCE = 8

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[IpAddress]]]

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# Written out, because what Python counts as global differs between its patch releases.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in [
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "168.63.129.16/32",
    ]
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network)
    for network in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "arpa", "test", "invalid", "onion")
_JSON = re.compile(r"application/(?:json|[\w.-]+\+json)", re.ASCII)


class FetchError(Exception):
    """It was not fetched; the message says why and quotes nothing from outside."""


@dataclass(frozen=True)
class Fetched:
    """An answer.

    Attributes:
        body: At most ``MAX_BYTES`` bytes that call themselves JSON.
        cache_control: The answer's ``Cache-Control``, or an empty string.
    """

    body: bytes
    cache_control: str


async def resolve_name(host: str, port: int) -> Sequence[IpAddress]:
    """Every address of a name, as the system's resolver gives them."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


class DocumentFetcher:
    """Fetches small JSON documents from public addresses.

    Args:
        development: Loopback may be fetched too, also by plain http.
        resolve: Gives the addresses of a name.
        context: TLS; None for the system's certificates.
    """

    def __init__(
        self, *, development: bool = False, resolve: Resolve = resolve_name, context: ssl.SSLContext | None = None
    ) -> None:
        self._development = development
        self._resolve = resolve
        self._context = context
        self._limiter = anyio.CapacityLimiter(MAX_AT_ONCE)

    async def fetch(self, address: str) -> Fetched:
        """GET an address whose form has been checked.

        Raises:
            FetchError: It is not public, does not answer in time, or answers something else than a small JSON
                document.
        """
        parts = urlsplit(address)
        try:
            with anyio.fail_after(SECONDS):
                async with self._limiter:
                    proxy = _proxy(parts)
                    if proxy is not None:
                        self._check_proxied(parts)
                        return await self._get(address, parts, proxy=proxy)
                    return await self._get_direct(parts)
        except TimeoutError:
            raise FetchError(f"It did not answer within {SECONDS:.0f} s.") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ssl.SSLError):
            raise FetchError("It cannot be reached.") from None

    async def _get_direct(self, parts: SplitResult) -> Fetched:
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            addresses = list(dict.fromkeys(await self._resolve(host, port)))
        except (OSError, UnicodeError):
            raise FetchError("Its name has no address.") from None
        if not addresses or not all(self._may_fetch(address) for address in addresses):
            raise FetchError("Its address is not public.")
        for number, address in enumerate(addresses[:MAX_TRIED], start=1):
            literal = f"[{address}]" if address.version == 6 else str(address)
            target = parts._replace(netloc=f"{literal}:{port}").geturl()
            try:
                return await self._get(target, parts)
            except httpx2.ConnectError:
                if number == min(MAX_TRIED, len(addresses)):
                    raise
        raise FetchError("It cannot be reached.")

    async def _get(self, target: str, parts: SplitResult, *, proxy: str | None = None) -> Fetched:
        if self._context is None:
            self._context = httpx2.create_ssl_context()
        headers = {
            "Host": parts.netloc,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": "mogplex-mcp",
        }
        async with (
            httpx2.AsyncClient(verify=self._context, trust_env=False, proxy=proxy, timeout=SECONDS) as http,
            http.stream("GET", target, headers=headers, extensions={"sni_hostname": parts.hostname}) as response,
        ):
            return await _read(response)

    def _may_fetch(self, address: IpAddress) -> bool:
        return is_public(address) or (self._development and _plain(address).is_loopback)

    def _check_proxied(self, parts: SplitResult) -> None:
        """What the proxy would resolve for us: refuse what names no public host by its very form."""
        host = (parts.hostname or "").lower()
        try:
            public = self._may_fetch(ipaddress.ip_address(host))
        except ValueError:
            labels = host.split(".")
            public = (
                len(labels) > 1 and labels[-1] not in _INSIDE and not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1])
            )
            public = public or (self._development and is_loopback(host))
        if not public:
            raise FetchError("Its address is not public.")


def is_public(address: IpAddress) -> bool:
    """Whether an address belongs to the public internet, IPv4 inside IPv6 included."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    inside = _embedded(address)
    if inside is not None and not is_public(inside):
        return False
    if any(address in network for network in _NAT64) or address.ipv4_mapped is not None:
        return True
    return address in _PUBLIC_6 and not any(address in network for network in _NOT_PUBLIC_6)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that traffic to an IPv6 address may end at: mapped, NAT64 or ISATAP (RFC 5214, section 6.1)."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    isatap = (int(address) >> 32) & 0xFDFFFFFF == 0x00005EFE
    if isatap or any(address in network for network in _NAT64):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _plain(address: IpAddress) -> IpAddress:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _proxy(parts: SplitResult) -> str | None:
    """The environment's proxy for an address, when it has one."""
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or proxy_bypass(parts.netloc):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


async def _read(response: httpx2.Response) -> Fetched:
    if response.is_redirect:
        raise FetchError("It redirects elsewhere.")
    if response.status_code != 200:
        raise FetchError(f"It answers with status {response.status_code}.")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not _JSON.fullmatch(kind):
        raise FetchError("It is not application/json.")
    if response.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
        raise FetchError("It is compressed.")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            raise FetchError(f"It is larger than {MAX_BYTES} bytes.")
    return Fetched(bytes(body), response.headers.get("cache-control", ""))
