"""The caller of the request being handled, in the form in which the SDK keeps it.

Apart from the caller itself, so that the command line, which knows no requests, starts without the SDK.
"""

from __future__ import annotations

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken

from mogplex_mcp.auth.caller import Caller


class CallerUser(AuthenticatedUser):
    """A caller in the form the SDK compares sessions by: client, issuer and subject."""

    def __init__(self, caller: Caller, *, client_id: str, issuer: str) -> None:
        super().__init__(
            # The SDK needs a token field; the credential stays in the caller, out of reach of any dump of this model.
            AccessToken(
                token="",
                client_id=client_id,
                scopes=sorted(caller.scopes or ()),
                subject=caller.account,
                claims={"iss": issuer},
            )
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
    auth_context_var.set(CallerUser(caller, client_id="stdio", issuer="local"))
