"""Forms count only when they come from our own page in the same browser.

Two checks, because each has failed somewhere: the ``Origin`` header, which a foreign page cannot forge, and a token in
the form, bound to the browser's cookie and to what the form is about (OWASP, "Cross-Site Request Forgery Prevention",
signed double submit; RFC 6749, section 10.12).
"""

from __future__ import annotations

import hmac

from starlette.requests import Request

from mogplex_mcp.auth.form import Form
from mogplex_mcp.auth.sessions import Browser
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.store.vault import Vault

FIELD = "csrf"


def form_token(vault: Vault, browser: Browser, about: str) -> str:
    """The token of one form.

    Args:
        vault: Holds the key.
        browser: Whose form it is.
        about: The authorization request or the grant that the form is about; empty for none.
    """
    return vault.keyed_hash(f"form\n{browser.id}\n{about}")


def is_own_origin(request: Request, urls: PublicUrls) -> bool:
    """Whether a form was sent from a page of this very address; a browser that does not say is not believed."""
    origins = request.headers.getlist("origin")
    return len(origins) == 1 and origins[0].lower() == urls.base(request).lower()


def is_own_form(vault: Vault, browser: Browser, form: Form, about: str) -> bool:
    """Whether a form carries the token that this browser was given for this purpose."""
    if not browser.known:
        return False
    expected = form_token(vault, browser, about)
    return hmac.compare_digest(expected.encode(), form.one(FIELD).encode())
