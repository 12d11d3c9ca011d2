"""Scopes: lists of words in one text (RFC 6749, section 3.3)."""

from __future__ import annotations


def union(*scopes: str | None) -> str | None:
    """All words of these texts, each once, in order; None if there are none."""
    words = [word for scope in scopes if scope for word in scope.split()]
    return " ".join(dict.fromkeys(words)) or None


def covers(wider: str | None, narrower: str | None) -> bool:
    """Whether every word of `narrower` is in `wider`."""
    return set((narrower or "").split()) <= set((wider or "").split())
