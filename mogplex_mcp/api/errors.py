"""The one exception of this room, and what to do about each code.

Codes are those of the Mogplex documentation, /web/api/errors, and four of our own for what never was a Mogplex answer:
HTTP_ERROR, INVALID_RESPONSE, UNREACHABLE and TIMEOUT. Branch on the code; messages are for reading.
"""

from __future__ import annotations

import math

_SUGGESTIONS = {
    "BAD_REQUEST": "Correct what the message names, then call again.",
    "UNAUTHORIZED": "Do not repeat the call: ask the user for a valid Mogplex token (one that has neither expired nor "
    "been revoked).",
    "FORBIDDEN": "Do not repeat the call: ask the user for a token that has the scope named in the message.",
    "NOT_FOUND": "Check the id: it may be mistyped, deleted or somebody else's; list the repositories to find theirs.",
    "CONFLICT": "Read the current state first, then do what the message says.",
    "IDEMPOTENCY_CONFLICT": "Use a new idempotency key for a new run, or send exactly the original arguments again.",
    "RATE_LIMITED": "Wait a minute before calling again, and call less often.",
    "INTERNAL_ERROR": "Call once more in a minute; if it fails again, report it to Mogplex with the request id.",
    "SERVICE_UNAVAILABLE": "Wait a minute before calling again.",
    "HTTP_ERROR": "Call again in a minute; if it fails again, ask the user to check MOGPLEX_URL and the proxies on the "
    "way to it.",
    "INVALID_RESPONSE": "Call again once; if it fails again, ask the user whether MOGPLEX_URL is a Mogplex address.",
    "UNREACHABLE": "Ask the user to check that Mogplex runs and that this machine can reach it, then call again.",
    "TIMEOUT": "Call again in a moment; if it times out again, tell the user that Mogplex does not answer in time.",
}
_UNKNOWN_CODE = "Read the message; do not repeat the call unchanged."


def suggestion_for(code: str, retry_after: float | None = None) -> str:
    """One sentence, written for a model, on what to do next.

    Args:
        code: An error code, known or not.
        retry_after: Seconds that Mogplex asks to wait, if it said so.
    """
    if retry_after is not None and code in {"RATE_LIMITED", "SERVICE_UNAVAILABLE", "HTTP_ERROR"}:
        return f"Wait {math.ceil(retry_after)} seconds before calling again."
    return _SUGGESTIONS.get(code, _UNKNOWN_CODE)


class MogplexError(Exception):
    """A call to Mogplex that failed, or a way to Mogplex that cannot be taken.

    Neither the token nor an answer's body is ever part of it; of an error answer it keeps code, message and request id,
    bounded and without control characters.

    Attributes:
        code: The documentation's code (/web/api/errors), HTTP_ERROR, INVALID_RESPONSE, UNREACHABLE or TIMEOUT. Mogplex
            may send codes that the documentation does not name.
        message: What happened, for reading.
        status: HTTP status of an error or of an answer that is none of Mogplex's; else None.
        retry_after: Seconds that Mogplex asks to wait, 0 to 86,400; None when it did not say.
        request_id: Mogplex's name for the request, to report.
        suggestion: What to do next, one sentence for a model.
        outcome_unknown: A run start whose fate is unknown: the run may or may not exist.
        idempotency_key: With ``outcome_unknown``: starting again with this key never starts a second run.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
        suggestion: str | None = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.request_id = request_id
        self.suggestion = suggestion if suggestion is not None else suggestion_for(code, retry_after)
        self.outcome_unknown = False
        self.idempotency_key: str | None = None

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

    def leave_start_open(self, idempotency_key: str) -> None:
        """Say that the run may have been started, and how to find out without starting a second one."""
        self.outcome_unknown = True
        self.idempotency_key = idempotency_key
        wait = f"wait {math.ceil(self.retry_after)} seconds, then " if self.retry_after else ""
        self.suggestion = (
            f"The run may have been started: {wait}call again with the same arguments and the idempotency key "
            f"{idempotency_key}, which never starts a second run."
        )
