"""`WWW-Authenticate`: what the MCP server says it wants (RFC 9110, section 11.6.1; RFC 6750, section 3)."""

from __future__ import annotations

import re

_TOKEN = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"  # noqa: S105 - RFC 9110's token
# A value without quotes may be more than a token: some leave them out around URLs.
_PART = re.compile(rf'({_TOKEN})(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?(?=[\s,]|$)')
_SEPARATOR = re.compile(r"[\s,]*")
_LIMIT = 8192


def bearer_challenge(header: str) -> dict[str, str]:
    """The parameters of the first Bearer challenge, names in lower case; empty when there is none.

    Args:
        header: The field's value; several fields joined by commas.
    """
    header = header[:_LIMIT]
    found: dict[str, str] = {}
    inside = seen = False
    position = 0
    while position < len(header):
        separator = _SEPARATOR.match(header, position)
        position = separator.end() if separator else position
        part = _PART.match(header, position)
        if part is None:
            position += 1
            continue
        position = part.end()
        name, quoted, plain = part.groups()
        if quoted is None and plain is None:
            if seen:
                break
            inside = seen = name.lower() == "bearer"
        elif inside:
            found.setdefault(name.lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
    return found
