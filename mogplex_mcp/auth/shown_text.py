"""Text from outside, made fit to show: client names, addresses, and what a redirect leads to.

Escaping is the templates' work; this is against text that deceives: Unicode Technical Report 36 (bidirectional and
invisible characters) and names that push the rest off the page.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from mogplex_mcp.settings import is_loopback

MAX_NAME = 60
MAX_MARKS = 2
"""Combining marks in a row: enough for every living script's words, too few to draw over other lines."""


def shown_name(text: str | None, otherwise: str = "an unnamed client") -> str:
    """A name on one line, at most 60 characters, without control, bidirectional or invisible characters.

    Args:
        text: What somebody calls himself.
        otherwise: What to show when nothing visible is left.
    """
    kept: list[str] = []
    marks = 0
    for char in unicodedata.normalize("NFC", (text or "")[: MAX_NAME * 20]):
        category = unicodedata.category(char)
        if category in {"Mn", "Me", "Mc"}:
            marks += 1
            if marks <= MAX_MARKS and kept:
                kept.append(char)
            continue
        marks = 0
        if category[0] == "Z" or char in "\t\n\r":
            kept.append(" ")
        elif category[0] != "C" and char not in _BLANK:
            kept.append(char)
    name = " ".join("".join(kept).split())
    if not any(unicodedata.category(char)[0] in "LNSP" for char in name):
        return otherwise
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1].rstrip() + "…"


_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f")
"""Letters that show nothing: Hangul fillers, the empty Braille pattern, the grapheme joiner."""


@dataclass(frozen=True)
class Destination:
    """Where an answer is sent.

    Attributes:
        kind: A site on the web, a program listening on this computer, or the app that a scheme belongs to.
        words: Host, host and port, or scheme; ASCII alone, so that no letter passes for another.
    """

    kind: Literal["web", "loopback", "app"]
    words: str


def destination(redirect_uri: str) -> Destination:
    """Where a redirect URI that was accepted leads."""
    parts = urlsplit(redirect_uri)
    host = parts.hostname or ""
    if parts.scheme.lower() not in {"http", "https"}:
        return Destination("app", f"{_ascii(parts.scheme)}:")
    port = "" if parts.port is None else f":{parts.port}"
    words = f"{f'[{host}]' if ':' in host else _ascii(host)}{port}"
    return Destination("loopback" if is_loopback(host) else "web", words)


def document_host(client_id: str) -> str:
    """The host that a client document's address names (draft-ietf-oauth-client-id-metadata-document, section 6)."""
    return _ascii(urlsplit(client_id).hostname or "")


def _ascii(name: str) -> str:
    try:
        name = name.encode("idna").decode("ascii")
    except UnicodeError:
        name = name.encode("ascii", "backslashreplace").decode("ascii")
    return name if len(name) <= MAX_NAME * 2 else name[: MAX_NAME * 2] + "…"
