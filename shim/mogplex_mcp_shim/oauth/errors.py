"""Why a sign-in or a refresh does not go on. Messages may be shown: no secrets, no server's free text."""

from __future__ import annotations

import re

_CODE = re.compile(r"[a-z0-9_.-]{1,64}", re.IGNORECASE)


class SignInError(Exception):
    """The sign-in ends here; the message says what to do."""


class UnreachableError(SignInError):
    """A server did not answer, or said that it cannot now. Trying again later may help."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent  # whether the server may have acted on the request


class RefusedError(SignInError):
    """The authorization server answered with an OAuth error (RFC 6749, section 5.2; RFC 7591, section 3.2.2)."""

    def __init__(self, what: str, status: int, code: str | None) -> None:
        self.status = status
        self.code = code if code is not None and _CODE.fullmatch(code) else None
        super().__init__(f"{what} was refused: HTTP {status}" + (f", {self.code}" if self.code else ""))
