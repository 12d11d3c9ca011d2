"""How often one address may make this server work for it, before anybody has signed in."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MAX_ADDRESSES = 10_000


class TooManyError(Exception):
    """The limit is reached.

    Attributes:
        retry_after: Whole seconds until one more is admitted.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"Too many requests. Try again in {retry_after} s.")
        self.retry_after = retry_after


class RateLimit:
    """At most so many in a rolling window, per address and over all of them; counted in this process's memory.

    Args:
        per_address: For one address. Agent hosts in the cloud share one, so it is generous.
        in_all: For all of them: the bound on what strangers can make this server keep or fetch.
        seconds: Length of the window.
        clock: Seconds that only grow.
    """

    def __init__(
        self, per_address: int, in_all: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_address = per_address
        self._in_all = in_all
        self._seconds = seconds
        self._clock = clock
        self._all: deque[float] = deque()
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str) -> None:
        """Count one.

        Raises:
            TooManyError: The limit is reached; this one does not count.
        """
        now = self._clock()
        key = network(address)
        seen = self._seen.setdefault(key, deque())
        self._seen.move_to_end(key)
        if len(self._seen) > MAX_ADDRESSES:
            self._seen.popitem(last=False)
        waits = (self._wait(seen, self._per_address, now), self._wait(self._all, self._in_all, now))
        if any(waits):
            raise TooManyError(max(waits))
        seen.append(now)
        self._all.append(now)

    def _wait(self, seen: deque[float], limit: int, now: float) -> int:
        while seen and seen[0] <= now - self._seconds:
            seen.popleft()
        return max(1, math.ceil(seen[0] + self._seconds - now)) if len(seen) >= limit else 0


def network(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 of an IPv6 address, which one person gets whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found.packed, 64), strict=False))
    return str(found)
