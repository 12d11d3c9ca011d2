"""The answer to an authorization request, as an address to send the browser to.

Sources: RFC 6749, sections 4.1.2 and 4.1.2.1; RFC 9207, section 2.
"""

from __future__ import annotations

from urllib.parse import urlencode


def answer_url(redirect_uri: str, issuer: str, state: str | None, **parameters: str) -> str:
    """The redirect URI with the answer's parameters.

    The URI was compared by exact string, so it is not taken apart and put together again, as Authlib would:
    ``scheme:///path`` and odd queries stay as they are.

    Args:
        redirect_uri: As it was asked for and checked; it has no fragment.
        issuer: This authorization server's issuer, sent with every answer, errors too.
        state: As the client sent it; None when it sent none.
        parameters: ``code``, or ``error`` and ``error_description``.
    """
    given = {**parameters, **({} if state is None else {"state": state}), "iss": issuer}
    separator = "&" if "?" in redirect_uri else "?"
    if redirect_uri.endswith(("?", "&")):
        separator = ""
    return f"{redirect_uri}{separator}{urlencode(given)}"
