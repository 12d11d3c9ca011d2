"""Tells those who wait for news of a run that there are some."""

from __future__ import annotations

import asyncio

MAX_WAITING = 1_000
"""Requests that wait at once; further ones are answered at once."""


class News:
    """Requests that wait, by run. All methods are called on the event loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._count = 0
        self._closed = False

    def tell(self, run_id: str) -> None:
        """Something about this run has been recorded."""
        for event in self._waiting.get(run_id, ()):
            event.set()

    def close(self) -> None:
        """Wake everybody who waits; from now on nobody may."""
        self._closed = True
        for events in self._waiting.values():
            for event in events:
                event.set()

    def listen(self, run_id: str) -> Listening:
        """Begin to listen, before looking: what is recorded between the look and the wait is not missed."""
        return Listening(self, run_id)

    @property
    def full(self) -> bool:
        """Whether nobody else may wait: too many do, or this is the end."""
        return self._closed or self._count >= MAX_WAITING

    def add(self, run_id: str, event: asyncio.Event) -> None:
        """Have this event set at the next news."""
        self._count += 1
        self._waiting.setdefault(run_id, set()).add(event)

    def remove(self, run_id: str, event: asyncio.Event) -> None:
        """Undo ``add``."""
        self._count -= 1
        waiting = self._waiting[run_id]
        waiting.remove(event)
        if not waiting:
            del self._waiting[run_id]


class Listening:
    """One request that would wait; a context manager.

    Attributes:
        may_wait: Whether it may.
    """

    def __init__(self, news: News, run_id: str) -> None:
        self._news = news
        self._run_id = run_id
        self._event = asyncio.Event()
        self.may_wait = not news.full

    def __enter__(self) -> Listening:
        self._news.add(self._run_id, self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._news.remove(self._run_id, self._event)

    async def wait(self, seconds: float) -> None:
        """Return at news, or after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
