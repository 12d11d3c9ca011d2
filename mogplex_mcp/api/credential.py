"""What Mogplex is called with for an account, as those who call see it."""

from __future__ import annotations

from typing import Protocol


class Credential(Protocol):
    """What Mogplex is called with for an account."""

    async def token(self) -> str:
        """The token to call Mogplex with now.

        Raises:
            MogplexError: UNAUTHORIZED: there is none any more; the person has to sign in again.
        """

    async def refused(self, token: str) -> bool:
        """Note that Mogplex refused this token; True when another one is worth a try."""
