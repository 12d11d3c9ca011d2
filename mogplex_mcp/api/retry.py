"""When a failed call is repeated (Mogplex documentation, /web/api/errors, "Retry guidance").

RATE_LIMITED and SERVICE_UNAVAILABLE are repeated after ``Retry-After`` or with backoff, INTERNAL_ERROR once, and a
connection that failed where a repeat is harmless. A wait that does not fit in the time left is not begun: the error is
handed on with its ``retry_after``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random, wait_random_exponential

from mogplex_mcp.api.errors import MogplexError

T = TypeVar("T")

MAX_ATTEMPTS = 3
"""Attempts in all, the first included."""
MAX_SECONDS = 20.0
"""Seconds from the start of the first attempt to the end of the last repeat."""

_backoff = wait_random_exponential(multiplier=0.5, max=8)
"""Full jitter: anything from 0 to 0.5 s after the first attempt, to 1 s after the second."""
_spread = wait_random(0, 0.25)
"""Added to ``Retry-After``, so that those who were turned away together do not come back together."""

Fate = Literal["refused", "unsent", "lost"]


@dataclass(eq=False)
class FailedAttempt(Exception):  # noqa: N818 - named for what it is; it never leaves this room
    """One attempt that failed.

    Attributes:
        error: What the caller will see if no repeat mends it.
        fate: ``refused``: Mogplex, or something before it, answered; ``unsent``: nothing of the request was sent;
            ``lost``: it was sent, whole or in part, and no whole answer came.
    """

    error: MogplexError
    fate: Fate

    @property
    def may_have_acted(self) -> bool:
        """Whether Mogplex may have done what was asked, although no good answer came."""
        status = self.error.status
        return self.fate == "lost" or (self.fate == "refused" and status is not None and not 300 <= status < 500)


def worth_repeating(failure: FailedAttempt, earlier: set[str], *, harmless: bool) -> bool:
    """Whether the same request may succeed if it is made again.

    Args:
        failure: The attempt that failed.
        earlier: The codes with which earlier attempts of this call failed.
        harmless: Making the request twice does no more than making it once.
    """
    if failure.fate == "unsent":
        return True
    if failure.fate == "lost":
        return harmless
    code = failure.error.code
    return code in {"RATE_LIMITED", "SERVICE_UNAVAILABLE"} or (
        code == "INTERNAL_ERROR" and harmless and code not in earlier
    )


async def repeat(
    first: FailedAttempt, attempt: Callable[[], Awaitable[T]], *, harmless: bool, seconds_left: float
) -> T:
    """Go on after a first failed attempt: wait and try again, as far as that is of use.

    Args:
        first: The first attempt's failure.
        attempt: Makes the next attempt; raises FailedAttempt.
        harmless: Making the request twice does no more than making it once.
        seconds_left: Within which a wait must have ended.

    Raises:
        FailedAttempt: The last failure.
    """
    pending: FailedAttempt | None = first
    earlier: set[str] = set()

    def again(error: BaseException) -> bool:
        if not isinstance(error, FailedAttempt):
            return False
        worth = worth_repeating(error, earlier, harmless=harmless)
        earlier.add(error.error.code)
        return worth

    async def replayed_first() -> T:
        nonlocal pending
        if pending is not None:
            failure, pending = pending, None
            raise failure
        return await attempt()

    retrying = AsyncRetrying(
        stop=stop_after_attempt(MAX_ATTEMPTS) | stop_before_delay(seconds_left),
        wait=_wait,
        retry=retry_if_exception(again),
        reraise=True,
    )
    return await retrying(replayed_first)


def _wait(state: RetryCallState) -> float:
    failure = state.outcome.exception() if state.outcome else None
    asked = failure.error.retry_after if isinstance(failure, FailedAttempt) else None
    return _backoff(state) if asked is None else asked + _spread(state)
