"""Text from outside, as both databases can keep it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from mogplex_mcp.store.bounds import MAX_DOCUMENT, MAX_TEXT


def is_storable(text: str) -> bool:
    """Whether a text may stand in a column: PostgreSQL takes no NUL, neither takes half a surrogate pair."""
    return len(text) <= MAX_TEXT and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def storable(text: str) -> str:
    """A text made fit for a column: what cannot be kept becomes U+FFFD, and it ends after ``MAX_TEXT`` characters."""
    kept = text[:MAX_TEXT].encode("utf-8", "replace").decode() if not is_storable(text) else text
    return kept.replace("\0", "\ufffd")


def to_json(value: object) -> str:
    """JSON in ASCII, so that any text survives: NUL and half pairs are escaped.

    Raises:
        ValueError: it is longer than ``MAX_DOCUMENT`` characters.
    """
    text = json.dumps(value, separators=(",", ":"))
    if len(text) > MAX_DOCUMENT:
        raise ValueError(f"What is to be kept has {len(text)} characters; {MAX_DOCUMENT} may be kept.")
    return text


def from_json(text: str) -> Any:
    return json.loads(text)


def to_words(scopes: Iterable[str]) -> str:
    """Scopes as RFC 6749 section 3.3 writes them, in their order, each once."""
    return " ".join(dict.fromkeys(scopes))


def from_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())
