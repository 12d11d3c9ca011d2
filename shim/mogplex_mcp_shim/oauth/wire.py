"""Requests of the sign-in: every URL and every address is checked before it is used, and no redirect is followed."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable
from urllib.parse import urlencode

from mogplex_mcp_shim.grant import Record
from mogplex_mcp_shim.http import HttpError, Response, request
from mogplex_mcp_shim.oauth.errors import SignInError, UnreachableError
from mogplex_mcp_shim.urls import Url, parse_url

TIMEOUT = 15.0
"""Seconds for one request of the sign-in."""

_MAX_BYTES = 256 * 1024
_MAX_URL = 8192
# Whom a server may send us to, by where it is itself: nobody reaches inwards from outside.
_REACH = {
    "global": {"global"},
    "private": {"global", "private"},
    "link-local": {"global", "private", "link-local"},
    "loopback": {"global", "private", "loopback"},
}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Wire:
    """Reaches the authorization server of one MCP server.

    Args:
        server_url: The MCP server's URL, which the person has chosen.
        allow_http: Whether http is allowed beyond this machine (`--allow-http`).
    """

    def __init__(self, server_url: str, *, allow_http: bool) -> None:
        self._server = parse_url(server_url)
        self._allow_http = allow_http
        self._reach: set[str] | None = None

    def check(self, url: str, what: str) -> Url:
        """Whether a URL that a server named may be used at all.

        Raises:
            SignInError: It may not; `what` names it in the message.
        """
        if len(url) > _MAX_URL or not url.isascii() or set(url) & set("\"'<>\\^`{|}#"):
            raise SignInError(f"{what} is not a usable URL")
        try:
            parsed = parse_url(url)
        except ValueError as error:
            raise SignInError(f"{what} is not a usable URL: {error}") from error
        if parsed.scheme == "http" and not parsed.is_loopback and not self._allow_http:
            raise SignInError(
                f"{what} is on plain http at {parsed.host}; only https is used beyond this machine (see --allow-http)"
            )
        return parsed

    def check_opened(self, url: str, what: str) -> None:
        """Whether a URL may be opened in the person's browser; its host's addresses are looked up.

        Raises:
            SignInError: It may not.
        """
        parsed = self.check(url, what)
        for address in _addresses(parsed, what):
            try:
                self._check_address(parsed, address)
            except ValueError as error:
                raise SignInError(f"{what}: {error}") from error

    def get(self, url: str, what: str) -> Response:
        """GET a JSON document.

        Raises:
            SignInError: The URL is not allowed.
            UnreachableError: There was no answer, or a server's fault (5xx, 429).
        """
        return self._request("GET", url, what, [("Accept", "application/json")], b"")

    def post_form(self, url: str, what: str, form: dict[str, str], headers: Iterable[tuple[str, str]] = ()) -> Response:
        """POST a form, as the token endpoint wants it (RFC 6749, section 3.2). Raises as `get` does."""
        sent = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded"), *headers]
        return self._request("POST", url, what, sent, urlencode(form).encode())

    def post_json(self, url: str, what: str, body: Record) -> Response:
        """POST a JSON document. Raises as `get` does."""
        sent = [("Accept", "application/json"), ("Content-Type", "application/json")]
        return self._request("POST", url, what, sent, json.dumps(body).encode())

    def _request(self, method: str, url: str, what: str, headers: Iterable[tuple[str, str]], body: bytes) -> Response:
        parsed = self.check(url, what)

        def check_address(text: str) -> None:
            self._check_address(parsed, ipaddress.ip_address(text.partition("%")[0]))

        try:
            answer = request(
                method, url, headers, body, timeout=TIMEOUT, max_bytes=_MAX_BYTES, check_address=check_address
            )
        except HttpError as error:
            raise UnreachableError(f"{what} did not answer: {error}", sent=error.sent) from error
        except ValueError as error:
            raise SignInError(f"{what}: {error}") from error
        if answer.status >= 500 or answer.status == 429:
            raise UnreachableError(f"{what} answered with HTTP {answer.status}", sent=True)
        return answer

    def _check_address(self, url: Url, address: Address) -> None:
        kind = _kind(address)
        if url.scheme == "http" and not self._allow_http and kind != "loopback":
            raise ValueError(f"{url.host} is not this machine, and plain http is only used on it")
        if self._reach is None:
            kinds = {_kind(each) for each in _addresses(self._server, "the MCP server")}
            self._reach = set.intersection(*(_REACH.get(each, set()) for each in kinds))
        if kind not in self._reach:
            raise ValueError(f"{url.host} is at a {kind} address, but the MCP server is not")


def _addresses(url: Url, what: str) -> list[Address]:
    try:
        found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UnreachableError(f"{what}: the host {url.host} is not known", sent=False) from error
    return [ipaddress.ip_address(str(each[4][0]).partition("%")[0]) for each in found]


def _kind(address: Address) -> str:
    """`global`, `private`, `link-local`, `loopback`, or `reserved`, which nobody may name."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return "loopback"
    if address.is_unspecified or address.is_multicast:
        return "reserved"
    if address.is_link_local:
        return "link-local"
    return "global" if address.is_global else "private"


def json_object(answer: Response) -> Record | None:
    """The answer's JSON object, or None if it holds none."""
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
