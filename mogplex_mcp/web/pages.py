"""Pages: templates with escaping, and the headers that every page carries.

Source: OWASP cheat sheets "Clickjacking Defense" and "Content Security Policy"; RFC 9700, section 4.2.4 (referrer).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from mogplex_mcp.auth.authorization import Problem
from mogplex_mcp.auth.shown_text import shown_name
from mogplex_mcp.web.problems import Explanation, explanation

STYLESHEET = (files("mogplex_mcp.web") / "style.css").read_bytes()
STYLESHEET_PATH = "/style.css"
_STYLESHEET_VERSION = hashlib.sha256(STYLESHEET).hexdigest()[:12]

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'"


def _when(ms: int | None) -> Mapping[str, str] | None:
    """A time in milliseconds since 1970, for machines and for people."""
    if ms is None:
        return None
    moment = datetime.fromtimestamp(ms / 1000, UTC)
    return {"iso": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "words": f"{moment.day} {moment:%b %Y, %H:%M} UTC"}


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("mogplex_mcp.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["when"] = _when
    made.globals["stylesheet"] = f"{STYLESHEET_PATH}?v={_STYLESHEET_VERSION}"
    return made


@dataclass(frozen=True)
class Pages:
    """Renders pages.

    Attributes:
        environment: The templates; every value is escaped.
    """

    environment: Environment = field(default_factory=_environment, repr=False)

    def render(self, name: str, *, status: int = 200, leaves: bool = False, **values: Any) -> Response:
        """One page.

        Args:
            name: The template, without ``.html``.
            status: HTTP status code.
            leaves: A form of this page ends at another address. Chromium applies ``form-action`` to redirects after a
                form too, so such a page states none.
            values: What the template shows.
        """
        html = self.environment.get_template(f"{name}.html").render(values)
        policy = _POLICY if leaves else f"{_POLICY}; form-action 'self'"
        return HTMLResponse(html, status, {**_HEADERS, "Content-Security-Policy": policy})

    def error_page(self, _: Request, problem: Problem) -> Response:
        """The page for an error of the authorization endpoint; its button leads back where that is safe."""
        found = explanation(problem.kind)
        client = shown_name(problem.client_name, otherwise="the program that sent you here")
        response = self._problem(found, status=problem.status, detail=problem.detail, client=client, back=problem.back)
        if problem.retry_after is not None:
            response.headers["Retry-After"] = str(problem.retry_after)
        return response

    def problem(self, kind: str, *, detail: str = "", again: str | None = None) -> Response:
        """The page for something that went wrong on a page of ours.

        Args:
            kind: One of ``problems.EXPLANATIONS``.
            detail: One more sentence; never a secret.
            again: Where the person can start over.
        """
        found = explanation(kind)
        return self._problem(found, status=found.status, detail=detail, again=again)

    def _problem(
        self,
        found: Explanation,
        *,
        status: int,
        detail: str,
        client: str = "",
        back: str | None = None,
        again: str | None = None,
    ) -> Response:
        return self.render(
            "problem", status=status, problem=found, detail=detail, client=client, back=back, again=again
        )


def see_other(address: str) -> Response:
    """303: what answers a form. 307, Starlette's default, would send the form again, to the client too.

    Args:
        address: Complete, percent-encoded where it must be. It is sent exactly as given: a redirect URI is compared
            by exact string, so nothing of it may be normalised.
    """
    response = RedirectResponse("/", 303, {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"})
    response.headers["Location"] = address
    return response


async def stylesheet(_: Request) -> Response:
    """The one stylesheet; its address changes with its content."""
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(STYLESHEET, media_type="text/css", headers=headers)
