"""Opaque values: 256 random bits that mean nothing, kept as their SHA-256."""

from __future__ import annotations

import hashlib
import secrets

ACCESS_PREFIX = "mgo_at_"
REFRESH_PREFIX = "mgo_rt_"
CODE_PREFIX = "mgo_ac_"


def new_opaque(prefix: str = "") -> str:
    """A prefix that says the kind, and 256 random bits in URL-safe base64."""
    return prefix + secrets.token_urlsafe(32)


def new_id() -> str:
    """A random name for a row, no secret: 128 bits in hexadecimal."""
    return secrets.token_hex(16)


def digest(value: str) -> str:
    """SHA-256 in hexadecimal, of any text at all: what is kept, and looked up, of an opaque value."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
