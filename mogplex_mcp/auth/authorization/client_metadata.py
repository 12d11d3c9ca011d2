"""What a client says about itself, made fit to keep: for registrations and documents alike.

Sources: RFC 7591, section 2; OpenID Connect Dynamic Client Registration 1.0, section 2 (``application_type``).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pydantic_core

from mogplex_mcp.auth.authorization.metadata import AUTH_METHODS
from mogplex_mcp.store.clients import AuthMethod

MAX_NAME = 200
MAX_TEXT = 1_024
MAX_CONTACTS = 10

_ADDRESSES = ("client_uri", "logo_uri", "tos_uri", "policy_uri")
_TEXTS = ("scope", "software_id", "software_version")
APPLICATION_TYPES = frozenset({"web", "native"})


class MetadataError(ValueError):
    """It is no JSON object."""


def read_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; members that are null count as absent (RFC 7591, section 2).

    Raises:
        MetadataError: It is something else.
    """
    try:
        found = pydantic_core.from_json(body)
    except ValueError:
        raise MetadataError("The body is not JSON.") from None
    if not isinstance(found, dict):
        raise MetadataError("The body is no JSON object.")
    return {name: value for name, value in found.items() if value is not None}


def kept_metadata(given: Mapping[str, Any]) -> dict[str, object]:
    """The members that are kept besides redirect URIs and authentication. What is unknown or malformed is left out:
    none of it decides anything.

    Args:
        given: A registration request or client document.
    """
    kept: dict[str, object] = {}
    if name := clean_text(given.get("client_name"), MAX_NAME):
        kept["client_name"] = name
    for member in _ADDRESSES:
        if (address := clean_text(given.get(member), MAX_TEXT)) and _is_web_address(address):
            kept[member] = address
    for member in _TEXTS:
        if text := clean_text(given.get(member), MAX_TEXT):
            kept[member] = text
    contacts = given.get("contacts")
    if isinstance(contacts, list):
        texts = [text for contact in contacts[:MAX_CONTACTS] if (text := clean_text(contact, MAX_TEXT))]
        if texts:
            kept["contacts"] = texts
    kind = given.get("application_type")
    if isinstance(kind, str) and kind in APPLICATION_TYPES:
        kept["application_type"] = kind
    return kept


def clean_text(value: object, length: int) -> str:
    """A string on one line without control characters, cut at ``length`` characters; empty for anything else."""
    if not isinstance(value, str):
        return ""
    visible = (" " if unicodedata.category(char) in {"Cc", "Zl", "Zp", "Cs"} else char for char in value[: length * 2])
    return " ".join("".join(visible).split())[:length]


def asked_auth_method(given: Mapping[str, Any]) -> AuthMethod | None:
    """The token endpoint authentication that a client names, when it is one that is served."""
    return next((method for method in AUTH_METHODS if method == given.get("token_endpoint_auth_method")), None)


def _is_web_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.username is None
    except ValueError:
        return False
