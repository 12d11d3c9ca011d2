"""The caller of one request: an account and the credential we hold to call Mogplex for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken


def fingerprint(credential: str) -> str:
    """The SHA-256 of a credential, in hexadecimal: what caches, logs and comparisons hold instead of it."""
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()


def _forget_nothing() -> None:
    """What a caller without a remembered check does when Mogplex refuses its credential."""


@dataclass(frozen=True)
class Caller:
    """One request's account and upstream credential.

    Attributes:
        account: Stable identifier of the account, safe to log.
        credential: What Mogplex is called with; never logged.
        refused: Called when Mogplex answers 401, so that the next request is checked anew.
    """

    account: str
    credential: str = field(repr=False)
    refused: Callable[[], None] = field(default=_forget_nothing, repr=False, compare=False)


class CallerUser(AuthenticatedUser):
    """A caller in the form the SDK compares sessions by: client, issuer and subject."""

    def __init__(self, caller: Caller, *, client_id: str, issuer: str, scopes: list[str]) -> None:
        super().__init__(
            # The SDK needs a token field; the credential stays in the caller, out of reach of any dump of this model.
            AccessToken(token="", client_id=client_id, scopes=scopes, subject=caller.account, claims={"iss": issuer})
        )
        self.caller = caller


def current_caller() -> Caller:
    """The caller of the request being handled.

    Raises:
        LookupError: Outside a request. A tool is never reached that way.
    """
    user = auth_context_var.get()
    if not isinstance(user, CallerUser):
        raise LookupError("no caller: this code runs outside an authenticated request")
    return user.caller


def act_as(caller: Caller) -> None:
    """Make ``caller`` the caller of everything this task and its children do: standard input has one caller."""
    auth_context_var.set(CallerUser(caller, client_id="stdio", issuer="local", scopes=[]))
