"""The API's failures (Mogplex documentation, /web/api/errors)."""

from __future__ import annotations

from typing import Final

STATUS: Final = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "CONFLICT": 409,
    "IDEMPOTENCY_CONFLICT": 409,
    "RATE_LIMITED": 429,
    "INTERNAL_ERROR": 500,
    "SERVICE_UNAVAILABLE": 503,
}
"""The documented codes and, for a known path with another method, METHOD_NOT_ALLOWED."""


class ApiError(Exception):
    """An answer that is not ``ok``.

    Args:
        code: one of :data:`STATUS`.
        message: shown to the caller.
        retry_after: whole seconds, for RATE_LIMITED and SERVICE_UNAVAILABLE.
    """

    def __init__(self, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = STATUS[code]
        self.retry_after = retry_after


def bad_request(field: str, problem: str) -> ApiError:
    """BAD_REQUEST that names the field: ``prompt: must not be empty``."""
    return ApiError("BAD_REQUEST", f"{field}: {problem}")
