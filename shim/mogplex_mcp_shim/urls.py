"""URLs, taken apart by hand: ``urllib.parse`` costs milliseconds that every start would pay."""

from __future__ import annotations

DEFAULT_PORTS = {"http": 80, "https": 443}


class Url:
    """An http or https URL.

    Attributes:
        scheme: ``http`` or ``https``.
        host: The host in lower case, an IPv6 address without its brackets.
        port: The port, the scheme's own when the URL names none.
        target: Path and query, as they stand in a request line.
    """

    __slots__ = ("host", "port", "scheme", "target")

    def __init__(self, scheme: str, host: str, port: int, target: str) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target

    @property
    def authority(self) -> str:
        """Host and port, as they stand in ``Host``; the scheme's own port is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Scheme, host and port (RFC 6454)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine by its very name."""
        if self.host in {"localhost", "::1"}:
            return True
        parts = self.host.split(".")
        return len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() for part in parts)

    def __str__(self) -> str:
        return self.origin + self.target


def parse_url(text: str) -> Url:
    """Take a URL apart.

    Args:
        text: An absolute http or https URL. A fragment is left out: it is never sent (RFC 9110, 7.1).

    Raises:
        ValueError: It is no such URL, or carries a user name or password. The message does not repeat the text.
    """
    if any(character <= " " or character == "\x7f" for character in text):
        raise ValueError("a URL holds no spaces or control characters")
    scheme, separator, rest = text.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in DEFAULT_PORTS:
        raise ValueError("a URL starts with https:// or http://")
    rest = rest.partition("#")[0]
    end = min((position for position in (rest.find("/"), rest.find("?")) if position >= 0), default=len(rest))
    authority, target = rest[:end], rest[end:]
    if "@" in authority:
        raise ValueError("a URL must not carry a user name or password")
    host, port = _split_authority(authority, DEFAULT_PORTS[scheme])
    if not target.startswith("/"):
        target = "/" + target
    return Url(scheme, host, port, _quoted(target))


def resolve(base: Url, reference: str) -> Url:
    """The URL that a ``Location`` names, seen from the URL that answered with it (RFC 3986, 5.2, without dot segments).

    Raises:
        ValueError: It is no http or https URL.
    """
    if "://" in reference.partition("?")[0]:
        return parse_url(reference)
    if reference.startswith("//"):
        return parse_url(f"{base.scheme}:{reference}")
    if reference.startswith("/"):
        return parse_url(base.origin + reference)
    folder = base.target.partition("?")[0].rpartition("/")[0]
    return parse_url(f"{base.origin}{folder}/{reference}")


def _split_authority(authority: str, default: int) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or not host or set(host.lower()) - set("0123456789abcdef:.%"):
            raise ValueError("the address in brackets is not an IPv6 address")
        if rest and not rest.startswith(":"):
            raise ValueError("after the host comes a port")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
    if not host:
        raise ValueError("a URL names a host")
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    if set(host) & set('/\\"<>^`{|}'):
        raise ValueError("the host holds a character that no host has")
    if not port:
        return host.lower(), default
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError("a port is a number from 1 to 65535")
    return host.lower(), int(port)


def _quoted(target: str) -> str:
    """Characters outside ASCII, as their UTF-8 octets in percent signs."""
    if target.isascii():
        return target
    return "".join(each if each.isascii() else "".join(f"%{octet:02X}" for octet in each.encode()) for each in target)
