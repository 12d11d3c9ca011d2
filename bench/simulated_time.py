"""An event loop whose clock jumps: what sleeps for minutes takes as long as its work."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Selector(selectors.SelectSelector):
    """Waits for nothing: the loop's clock moves on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now.

        Raises:
            RuntimeError: Everybody waits for something that nobody will do.
        """
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            # Nothing is planned, so time stands still; only a thread could still have something to say.
            raise RuntimeError("nothing is planned and nothing is ready: it would wait for ever")
        self.now += max(timeout, 0.0)
        return ready


class SimulatedLoop(asyncio.SelectorEventLoop):
    """For code that asks the running loop for the time, sleeps on it, and touches neither threads nor sockets."""

    def __init__(self) -> None:
        self._simulated = _Selector()
        super().__init__(self._simulated)

    def time(self) -> float:
        """Seconds since the loop was made, as it simulates them."""
        return self._simulated.now
