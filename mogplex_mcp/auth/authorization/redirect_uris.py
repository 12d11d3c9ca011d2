"""Redirect URIs: which ones a client may have, and when one that is asked for is one of them.

Sources: RFC 6749, section 3.1.2; RFC 8252, sections 7.1 to 7.3 and 8.10; RFC 9700, sections 2.1 and 4.1; MCP
authorization, "Open Redirection". Private schemes are a deviation from MCP, which knows https and loopback alone:
several hosts can be reached by no other way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from mogplex_mcp.auth.authorization.forbidden_schemes import (
    FORBIDDEN_BEGINNINGS,
    FORBIDDEN_ENDINGS,
    FORBIDDEN_SCHEMES,
)

MAX_LENGTH = 1_024
"""Characters of one redirect URI."""
MAX_URIS = 50
"""Redirect URIs of one client."""

_CHARACTERS = re.compile(r"(?:[A-Za-z0-9._~:/?\[\]@!$&'()+,;=-]|%[0-9A-Fa-f]{2})+")
"""RFC 3986, section 2, without the fragment's ``#`` and without ``*``, which some take for a wildcard."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_PORT = r"(?::[0-9]{1,5})?"
_LOOPBACK = re.compile(rf"(http://(?:localhost|127\.0\.0\.1|\[::1\])){_PORT}((?:[/?].*)?)")
_WEB_AUTHORITY = re.compile(rf"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]){_PORT}")


class RedirectUriError(ValueError):
    """A redirect URI that no client may have; the message says why and quotes nothing of it."""


def check_redirect_uri(uri: object) -> str:
    """The redirect URI itself, when a client may register it.

    Raises:
        RedirectUriError: It is neither https, nor plain http on this machine, nor a private scheme; or it has a part
            that could hide where it leads.
    """
    if not isinstance(uri, str) or not uri:
        raise RedirectUriError("A redirect URI must be a string.")
    if len(uri) > MAX_LENGTH:
        raise RedirectUriError(f"A redirect URI may have {MAX_LENGTH} characters.")
    if not _CHARACTERS.fullmatch(uri):
        raise RedirectUriError("A redirect URI may hold no fragment, wildcard, backslash, space or bare non-ASCII.")
    scheme, colon, rest = uri.partition(":")
    if not colon or not _SCHEME.fullmatch(scheme.lower()):
        raise RedirectUriError("A redirect URI must be absolute.")
    if scheme.lower() in {"http", "https"}:
        _check_web(scheme, uri)
    else:
        _check_private(scheme.lower(), rest)
    return uri


def check_redirect_uris(uris: object) -> tuple[str, ...]:
    """All redirect URIs of one client.

    Raises:
        RedirectUriError: There is none, there are too many, or one is not allowed.
    """
    if not isinstance(uris, list | tuple) or not uris:
        raise RedirectUriError("redirect_uris must be a list of at least one URI.")
    if len(uris) > MAX_URIS:
        raise RedirectUriError(f"A client may have {MAX_URIS} redirect URIs.")
    return tuple(dict.fromkeys(check_redirect_uri(uri) for uri in uris))


def matches(registered: Iterable[str], asked: str) -> bool:
    """Whether a redirect URI is one of the registered ones.

    Exact string comparison (RFC 9700, section 4.1.3); for plain http on loopback the port may differ, or be there on
    one side only (RFC 8252, section 7.3), and nothing else: ``localhost`` is not ``127.0.0.1``.
    """
    try:
        check_redirect_uri(asked)
    except RedirectUriError:
        return False
    without_port = _portless(asked)
    return any(asked == uri or (without_port is not None and without_port == _portless(uri)) for uri in registered)


def _check_web(scheme: str, uri: str) -> None:
    if scheme != scheme.lower():
        raise RedirectUriError("A redirect URI's scheme is written in lower case.")
    if scheme == "http":
        if not _LOOPBACK.fullmatch(uri):
            raise RedirectUriError("Plain http is for localhost, 127.0.0.1 and [::1] alone; use https.")
    elif not uri.startswith("https://") or not _WEB_AUTHORITY.fullmatch(re.split(r"[/?]", uri[8:], maxsplit=1)[0]):
        raise RedirectUriError("A redirect URI must name a host, without user, password or encoded characters.")
    try:
        port = urlsplit(uri).port
    except ValueError:
        raise RedirectUriError("A redirect URI's host or port is malformed.") from None
    if port == 0:
        raise RedirectUriError("A redirect URI's port must be between 1 and 65535.")


def _check_private(scheme: str, rest: str) -> None:
    # One letter is a drive, not a scheme.
    if (
        len(scheme) == 1
        or scheme in FORBIDDEN_SCHEMES
        or scheme.startswith(FORBIDDEN_BEGINNINGS)
        or scheme.endswith(FORBIDDEN_ENDINGS)
    ):
        raise RedirectUriError("A redirect URI's scheme must belong to the client, not to a browser or system.")
    if not rest.startswith("/") or not rest.strip("/"):
        raise RedirectUriError("A private redirect URI reads scheme://place or scheme:/path.")
    authority = re.split(r"[/?]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""
    if "@" in authority or "%" in authority:
        raise RedirectUriError("A redirect URI must have no user or password.")


def _portless(uri: str) -> tuple[str, str] | None:
    found = _LOOPBACK.fullmatch(uri)
    return (found[1], found[2]) if found else None
