"""Who signed in at Mogplex: issuer and subject, never a name or an address.

An ID token counts only as it came from the token endpoint itself over TLS, where its signature need not be checked
(OpenID Connect Core 1.0, section 3.1.3.7, item 6); its issuer, audience and time are.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from dataclasses import dataclass

MAX_SUBJECT = 255
"""OpenID Connect Core 1.0, section 2."""
MAX_ID_TOKEN = 16_384
SKEW_SECONDS = 120


class IdentityError(ValueError):
    """What was said about the person cannot be believed; the message holds nothing of it."""


@dataclass(frozen=True)
class Identity:
    """A person, as an authorization server knows him.

    Attributes:
        subject: Unique and never reassigned at that server.
        name: To show alone; untrusted.
    """

    subject: str
    name: str | None


def from_id_token(token: object, *, issuer: str, client_id: str) -> Identity:
    """The person that an ID token names.

    Args:
        token: As received from the token endpoint.
        issuer: Of the server that was asked.
        client_id: Ours at that server.

    Raises:
        IdentityError: It is malformed, expired, or meant for somebody else.
    """
    claims = _claims(token)
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != issuer:
        raise IdentityError("the ID token comes from another issuer")
    if client_id not in audiences or claims.get("azp", client_id) != client_id:
        raise IdentityError("the ID token is for another client")
    expires = claims.get("exp")
    if isinstance(expires, bool) or not isinstance(expires, int | float) or expires < time.time() - SKEW_SECONDS:
        raise IdentityError("the ID token has expired")
    return from_claims(claims)


def from_claims(claims: dict[str, object]) -> Identity:
    """The person that claims, of an ID token or of the userinfo endpoint, are about.

    Raises:
        IdentityError: They name nobody.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT or "\x00" in subject:
        raise IdentityError("no usable subject")
    names = (claims.get(claim) for claim in ("preferred_username", "email", "name"))
    return Identity(subject, next((name for name in names if isinstance(name, str) and name.strip()), None))


def _claims(token: object) -> dict[str, object]:
    parts = token.split(".") if isinstance(token, str) and len(token) <= MAX_ID_TOKEN else []
    claims: object = None
    if len(parts) == 3:
        try:
            claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        except (ValueError, binascii.Error, RecursionError):
            claims = None
    if not isinstance(claims, dict):
        raise IdentityError("the ID token is malformed")
    return claims
