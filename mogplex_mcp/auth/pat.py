"""Personal access tokens as bearers: any ``mog_…`` is checked by one upstream read and remembered for a short while.

Source: Mogplex documentation, /web/api/authentication. No route tells a token's scopes or owner, so the check reads one
repository: 401 means refused, everything that Mogplex answers to an authenticated caller (403 included) means valid.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from mogplex_mcp.api import MogplexApi, MogplexError, Upstream
from mogplex_mcp.auth.caller import Caller, GivenToken, fingerprint
from mogplex_mcp.auth.current_caller import CallerUser

VALID_SECONDS = 60.0
REFUSED_SECONDS = 10.0
REFUSALS_PER_ADDRESS = 20
REFUSAL_WINDOW_SECONDS = 60.0
REMEMBERED = 10_000
"""Most tokens, and most addresses, kept in memory; the oldest go first."""


class TooManyRefusalsError(Exception):
    """One address has presented too many refused tokens.

    Attributes:
        retry_after: Seconds until the next check from this address.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__("too many refused tokens from this address")
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Verdict:
    user: CallerUser | None
    expires: float


class TokenChecks:
    """The tokens seen lately and what Mogplex said of them, by hash.

    Args:
        upstream: Where tokens are checked.
        clock: Monotonic seconds.
    """

    def __init__(self, upstream: Upstream, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._upstream = upstream
        self._clock = clock
        self._verdicts: OrderedDict[str, _Verdict] = OrderedDict()
        self._running: dict[str, asyncio.Task[CallerUser | None]] = {}
        self._known: OrderedDict[str, None] = OrderedDict()
        self._refusals: OrderedDict[str, deque[float]] = OrderedDict()

    async def check(self, token: str, address: str) -> CallerUser | None:
        """The caller whose token this is, or None when Mogplex refuses it.

        Args:
            token: The bearer token as presented.
            address: The peer's address, to limit guessing.

        Raises:
            TooManyRefusalsError: This address has presented too many refused tokens.
            MogplexError: The check itself could not be made.
        """
        key = fingerprint(token)
        verdict = self._verdicts.get(key)
        if verdict is not None and verdict.expires > self._clock():
            return verdict.user
        if key not in self._known:
            self._admit(address)
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(token, key))
            self._running[key] = task
            task.add_done_callback(lambda _: self._running.pop(key, None))
        # Many requests share one check; one of them going away must not end it for the others.
        user = await asyncio.shield(task)
        if user is None:
            self._note_refusal(address)
        return user

    def forget(self, key: str) -> None:
        """Drop what is remembered of a token, by its fingerprint."""
        self._verdicts.pop(key, None)

    async def _ask(self, token: str, key: str) -> CallerUser | None:
        try:
            await MogplexApi(self._upstream, token).list_repos(limit=1)
        except MogplexError as error:
            if error.code == "UNAUTHORIZED":
                self._remember(key, _Verdict(None, self._clock() + REFUSED_SECONDS))
                return None
            if error.code != "FORBIDDEN":
                raise
        caller = Caller(account=f"pat-{key[:16]}", credential=GivenToken(token, lambda: self.forget(key)))
        user = CallerUser(caller, client_id="pat", issuer="mogplex")
        self._remember(key, _Verdict(user, self._clock() + VALID_SECONDS))
        self._know(key)
        return user

    def _remember(self, key: str, verdict: _Verdict) -> None:
        self._verdicts[key] = verdict
        self._verdicts.move_to_end(key)
        if len(self._verdicts) > REMEMBERED:
            self._verdicts.popitem(last=False)

    def _know(self, key: str) -> None:
        """A token that was valid once is no guess: somebody else's guesses from the same address do not hinder it."""
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)

    def _admit(self, address: str) -> None:
        times = self._refusals.get(address)
        if times is None:
            return
        horizon = self._clock() - REFUSAL_WINDOW_SECONDS
        while times and times[0] <= horizon:
            times.popleft()
        if len(times) >= REFUSALS_PER_ADDRESS:
            raise TooManyRefusalsError(times[0] - horizon)

    def _note_refusal(self, address: str) -> None:
        times = self._refusals.setdefault(address, deque(maxlen=REFUSALS_PER_ADDRESS))
        self._refusals.move_to_end(address)
        times.append(self._clock())
        if len(self._refusals) > REMEMBERED:
            self._refusals.popitem(last=False)
