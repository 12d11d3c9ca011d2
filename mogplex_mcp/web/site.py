"""What every page handler needs, and the checks that every form passes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import structlog
from sqlalchemy.exc import DBAPIError
from starlette.requests import Request
from starlette.responses import Response

from mogplex_mcp.auth.authorization import Authorization
from mogplex_mcp.auth.credentials import Credentials
from mogplex_mcp.auth.csrf import form_token, is_own_form, is_own_origin
from mogplex_mcp.auth.endings import Endings
from mogplex_mcp.auth.form import Form, FormError, read_form
from mogplex_mcp.auth.sessions import Browser, Sessions
from mogplex_mcp.auth.urls import PublicUrls
from mogplex_mcp.settings import Settings
from mogplex_mcp.store.errors import StoreFullError
from mogplex_mcp.store.store import Store
from mogplex_mcp.web.pages import Pages

Handler = Callable[[Request], Awaitable[Response]]
MAX_ID = 200

_log = structlog.stdlib.get_logger(__name__)


class PageError(Exception):
    """The request ends with a page that says what went wrong.

    Attributes:
        kind: The kind of problem.
        detail: One more sentence.
        again: Where to start over.
    """

    def __init__(self, kind: str, detail: str = "", again: str | None = None) -> None:
        super().__init__(kind)
        self.kind = kind
        self.detail = detail
        self.again = again


@dataclass(frozen=True)
class Site:
    """The parts that pages are made of; one for each server."""

    settings: Settings
    urls: PublicUrls
    store: Store
    sessions: Sessions
    pages: Pages
    authorization: Authorization
    credentials: Credentials
    endings: Endings

    def form_token(self, browser: Browser, path: str, about: str = "") -> str:
        """The token of a form.

        Args:
            browser: Who gets the form.
            path: Where it is sent to.
            about: The authorization request or grant that it is about.
        """
        return form_token(self.store.vault, browser, f"{path}\n{about}")

    async def own_form(self, request: Request) -> Form:
        """The form of a request that comes from a page of ours. Its token is not checked yet.

        Raises:
            PageError: It comes from elsewhere, or is no form.
        """
        if not is_own_origin(request, self.urls):
            raise PageError("form_refused")
        try:
            return await read_form(request)
        except FormError:
            raise PageError("form_unreadable") from None

    def check_token(self, request: Request, browser: Browser, form: Form, about: str = "") -> None:
        """Refuse a form that was not made for this browser and this purpose.

        Raises:
            PageError: It was not.
        """
        if not is_own_form(self.store.vault, browser, form, f"{request.url.path}\n{about}"):
            raise PageError("form_refused")

    def page(self, request: Request, browser: Browser, name: str, **values: Any) -> Response:
        """A page with forms: the browser gets its cookie with it, should it have none."""
        response = self.pages.render(name, account=browser.account, **values)
        return response if browser.known else self.sessions.remember(response, request, browser.id)

    def handler(self, handle: Handler) -> Handler:
        """A handler whose problems become pages."""

        @wraps(handle)
        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except PageError as error:
                return self.pages.problem(error.kind, detail=error.detail, again=error.again)
            except StoreFullError as error:
                return self.pages.problem("too_many", detail=str(error))
            except DBAPIError as error:
                _log.error("page_failed", path=request.url.path, error=type(error.orig).__name__)
                return self.pages.problem("server_error")

        return answered


def request_id(value: str) -> str:
    """An authorization request's id as a page carries it; one that cannot be an id is none."""
    return value if 0 < len(value) <= MAX_ID and value.isascii() and value.isprintable() else ""
