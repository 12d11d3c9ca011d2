"""What one credential may ask of Mogplex, as a scheduler (documentation, /web/api/authentication, "Rate limits").

Mogplex takes 60 requests per rolling 60 s and token. A person's or a model's call goes before any poll; polls share
what calls leave, at most two thirds, evenly spaced; a call that cannot go now waits within its deadline. A request
counts from when it is let go until 60 s after its answer: Mogplex counted it somewhere in between.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal

from mogplex_mcp.api.errors import MogplexError
from mogplex_mcp.api.start_budget import HOSTED_STARTS, StartBudget, StartLimits
from mogplex_mcp.settings import Settings

WINDOW = 60.0
"""Seconds of Mogplex's rolling window."""
MARGIN = 1 / 120
"""Added to the window, as a part of it: clocks are not the same everywhere."""
LEAST_INTERVAL = 1 / 40
"""The least time between two polls of one run, as a part of the window: 1.5 s."""
BURST = 2.0
"""Polls that may go at once after a while without any."""
RECOVERY = 5.0
"""Windows until what others used is taken to be free again."""
LEAST_SHARE = 1 / 6
"""What is left to this process, as a part of the limit, however much others use."""
MAX_CREDENTIALS = 10_000

Kind = Literal["call", "nudge", "poll"]
"""``call``: somebody waits for it. ``nudge``: a poll for news that are known to be there. ``poll``: any other."""


@dataclass(order=True)
class _Waiting:
    rank: int
    number: int
    admitted: asyncio.Future[None] = field(compare=False)


class Budget:
    """The requests of one credential. All methods are called on the event loop.

    Args:
        limit: Requests per window; 0 is no limit.
        starts: Limits of run starts.
        window: Seconds of the rolling window.
    """

    def __init__(self, limit: int, starts: StartLimits = (), *, window: float = WINDOW) -> None:
        self.starts = StartBudget(starts)
        self._limit = limit
        self._window = window
        self._held = window * (1 + MARGIN)
        self._most_polls = max(1, limit * 2 // 3)
        self._under_way = 0
        self._polls_under_way = 0
        self._spent: deque[float] = deque()
        self._polls_spent: deque[float] = deque()
        self._calls: deque[_Waiting] = deque()
        self._polls: list[_Waiting] = []
        self._number = 0
        self._next_poll = 0.0
        self._blocked_until = 0.0
        self._others = 0.0
        self._others_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or waiting."""
        return not (self._under_way or self._calls or self._polls)

    def call_at_once(self) -> bool:
        """Admit a call if that is easily said: nobody waits, and nothing is known of others. Costs next to nothing."""
        if not self._limit:
            return True
        now = asyncio.get_running_loop().time()
        self._forget(now)
        if self._calls or self._others or self._blocked_until > now:
            return False
        if self._under_way + len(self._spent) >= self._limit:
            return False
        self._under_way += 1
        return True

    async def admit(self, kind: Kind, *, deadline: float = float("inf")) -> None:
        """Wait until a request may be made. ``release`` must follow, however the request ends.

        Args:
            kind: What it is for.
            deadline: On the event loop's clock. One that cannot be met is refused at once.

        Raises:
            MogplexError: RATE_LIMITED, with the seconds after which a call would be let go.
        """
        if not self._limit:
            return
        now = asyncio.get_running_loop().time()
        self._forget(now)
        if kind == "call":
            ready = self._ready(now, len(self._calls) + 1)
        else:
            ready = now if not self._calls and not self._polls else float("inf")
            ready = max(ready, self._poll_ready(now, nudge=kind == "nudge"))
        if ready <= now and not (kind == "call" and self._calls):
            self._take(kind, now)
            return
        if kind == "call" and ready > deadline:
            raise self._refusal(ready - now)
        await self._wait(kind, now, deadline)

    def release(self, kind: Kind, *, sent: bool = True) -> None:
        """Say that an admitted request has ended.

        Args:
            kind: As it was admitted.
            sent: Whether any of it was sent; one that was not costs nothing.
        """
        if not self._limit:
            return
        now = asyncio.get_running_loop().time()
        self._under_way -= 1
        if sent:
            self._spent.append(now + self._held)
        if kind != "call":
            self._polls_under_way -= 1
            if sent:
                self._polls_spent.append(now + self._held)
        if self._calls or self._polls:
            self._let_go()

    def learn(self, retry_after: float | None) -> None:
        """Take note of a 429: somebody else uses the same credential.

        Args:
            retry_after: Seconds that Mogplex asks to wait.
        """
        if not self._limit:
            return
        now = asyncio.get_running_loop().time()
        self._forget(now)
        wait = self._window if retry_after is None else retry_after
        self._blocked_until = max(self._blocked_until, now + wait)
        ours = self._under_way + len(self._spent)
        self._others = max(0.0, min(self._limit - ours, self._limit * (1 - LEAST_SHARE)))
        self._others_at = self._blocked_until

    def poll_interval(self, watched: int) -> float:
        """Seconds between two polls of one run, when so many are polled with this credential."""
        least = self._window * LEAST_INTERVAL
        if not self._limit:
            return least
        now = asyncio.get_running_loop().time()
        self._forget(now)
        return max(least, watched * self._held / self._for_polls(now))

    # What may go

    def _forget(self, now: float) -> None:
        for spent in (self._spent, self._polls_spent):
            while spent and spent[0] <= now:
                spent.popleft()

    def _capacity(self, now: float) -> int:
        """What Mogplex leaves to this process."""
        if not self._others:
            return self._limit
        passed = max(0.0, now - self._others_at) / (RECOVERY * self._window)
        if passed >= 1:
            self._others = 0.0
        return max(1, round(self._limit - self._others * (1 - passed)))

    def _for_polls(self, now: float) -> int:
        """How many polls a window may have: what calls leave, at most two thirds."""
        capacity = self._capacity(now)
        polls = self._polls_under_way + len(self._polls_spent)
        calls = self._under_way + len(self._spent) - polls + len(self._calls)
        return max(1, min(self._most_polls, capacity * 2 // 3, capacity - calls))

    def _ready(self, now: float, count: int) -> float:
        """When so many further requests may have been made, at the earliest."""
        too_many = self._under_way + len(self._spent) + count - self._capacity(now)
        if too_many <= 0:
            return max(now, self._blocked_until)
        freed = self._spent[too_many - 1] if too_many <= len(self._spent) else now + self._held
        return max(freed, self._blocked_until)

    def _poll_ready(self, now: float, *, nudge: bool) -> float:
        """When a poll may be made, if no call comes."""
        ready = self._ready(now, 1)
        most = min(self._most_polls, max(1, self._capacity(now) * 2 // 3))
        too_many = self._polls_under_way + len(self._polls_spent) + 1 - most
        if too_many > 0:
            spent = self._polls_spent
            ready = max(ready, spent[too_many - 1] if too_many <= len(spent) else now + self._held)
        return ready if nudge else max(ready, self._next_poll - (BURST - 1) * self._held / self._for_polls(now))

    def _take(self, kind: Kind, now: float) -> None:
        self._under_way += 1
        if kind != "call":
            self._polls_under_way += 1
            self._next_poll = max(self._next_poll, now) + self._held / self._for_polls(now)

    # Who waits

    async def _wait(self, kind: Kind, now: float, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        self._number += 1
        waiting = _Waiting(0 if kind == "nudge" else 1, self._number, loop.create_future())
        if kind == "call":
            self._calls.append(waiting)
        else:
            heapq.heappush(self._polls, waiting)
        self._set_timer(now)
        try:
            async with asyncio.timeout_at(None if deadline == float("inf") else deadline):
                await waiting.admitted
        except BaseException as error:
            self._withdraw(kind, waiting)
            if isinstance(error, TimeoutError):
                now = loop.time()
                raise self._refusal(max(0.0, self._ready(now, len(self._calls) + 1) - now)) from None
            raise

    def _withdraw(self, kind: Kind, waiting: _Waiting) -> None:
        if waiting.admitted.done() and not waiting.admitted.cancelled():
            self.release(kind, sent=False)
            return
        waiting.admitted.cancel()
        self._let_go()

    def _let_go(self) -> None:
        """Admit everybody who may go now, calls first."""
        now = asyncio.get_running_loop().time()
        self._forget(now)
        self._drop_withdrawn()
        while self._calls and self._ready(now, 1) <= now:
            self._take("call", now)
            self._calls.popleft().admitted.set_result(None)
        while not self._calls and self._polls and self._poll_ready(now, nudge=self._polls[0].rank == 0) <= now:
            self._take("poll", now)
            heapq.heappop(self._polls).admitted.set_result(None)
        self._set_timer(now)

    def _drop_withdrawn(self) -> None:
        if any(waiting.admitted.done() for waiting in self._calls):
            self._calls = deque(waiting for waiting in self._calls if not waiting.admitted.done())
        if any(waiting.admitted.done() for waiting in self._polls):
            self._polls = [waiting for waiting in self._polls if not waiting.admitted.done()]
            heapq.heapify(self._polls)

    def _set_timer(self, now: float) -> None:
        """Look again when something may have become possible; an answer that comes meanwhile looks by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._calls:
            at = self._ready(now, 1)
        elif self._polls:
            at = self._poll_ready(now, nudge=self._polls[0].rank == 0)
        else:
            return
        self._timer = asyncio.get_running_loop().call_at(at, self._let_go)

    def _refusal(self, seconds: float) -> MogplexError:
        window = "minute" if self._window == WINDOW else f"{self._window:g} s"
        message = f"Mogplex takes {self._limit} requests per {window} and token; they are used up for now."
        return MogplexError("RATE_LIMITED", message, retry_after=round(seconds, 1))


class Budgets:
    """The budgets of all credentials of one process.

    Args:
        limit: Requests per window and credential; 0 is no limit.
        starts: Limits of run starts.
        window: Seconds of the rolling window.
    """

    def __init__(self, limit: int = 0, starts: StartLimits = (), *, window: float = WINDOW) -> None:
        self._limit = limit
        self._starts = starts
        self._window = window
        self._budgets: OrderedDict[bytes, Budget] = OrderedDict()

    @classmethod
    def hosted(cls, settings: Settings) -> Budgets:
        """Those of a Mogplex that is not in this process."""
        return cls(settings.api_rate_limit, HOSTED_STARTS)

    @classmethod
    def embedded(cls, settings: Settings) -> Budgets:
        """Those of the embedded Mogplex, which has limits of its own and counts run starts itself."""
        return cls(settings.local_rate_limit)

    def of(self, credential: str) -> Budget:
        """The budget of a token; the token itself is not kept."""
        name = hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(self._limit, self._starts, window=self._window)
            if len(self._budgets) > MAX_CREDENTIALS:
                self._drop_one()
        else:
            self._budgets.move_to_end(name)
        return budget

    def _drop_one(self) -> None:
        """Forget the one that was used longest ago, of those that are not in use."""
        oldest = list(islice(self._budgets.items(), 100))
        name = next((name for name, budget in oldest if budget.idle), oldest[0][0])
        del self._budgets[name]
