"""The caller of one request: an account and the credential we hold to call Mogplex for it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from mogplex_mcp.api.credential import Credential


def fingerprint(credential: str) -> str:
    """The SHA-256 of a credential, in hexadecimal: what caches, logs and comparisons hold instead of it."""
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Caller:
    """Who makes one request.

    Attributes:
        account: Stable identifier of the account, safe to log.
        credential: What Mogplex is called with.
        scopes: What the caller may do here; None for a Mogplex token, whose own scopes Mogplex enforces.
        grant_id: The grant that allows it; None for a Mogplex token.
    """

    account: str
    credential: Credential = field(repr=False)
    scopes: frozenset[str] | None = None
    grant_id: str | None = None

    def missing(self, needed: Iterable[str]) -> tuple[str, ...]:
        """Those of the needed scopes that this caller does not have."""
        return () if self.scopes is None else tuple(scope for scope in needed if scope not in self.scopes)


@dataclass(frozen=True)
class GivenToken:
    """A Mogplex token that the caller, or the environment, gave us: there is no other to try."""

    value: str = field(repr=False)
    forget: Callable[[], None] | None = field(default=None, repr=False)

    async def token(self) -> str:
        """The token as given."""
        return self.value

    async def refused(self, token: str) -> bool:  # noqa: ARG002 - there is only one
        """Have the next request checked anew."""
        if self.forget is not None:
            self.forget()
        return False
