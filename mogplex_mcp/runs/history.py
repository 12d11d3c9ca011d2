"""A run's events in the order in which they were first seen, each once."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable

from mogplex_mcp.api import RunEvent

MAX_KEPT = 2_000
"""Events of one run that are kept; earlier ones are read again when somebody wants them."""
MAX_KEPT_BYTES = 4 * 1024 * 1024
MAX_SEEN = 120_000
"""Events of one run after which no more are taken; the embedded Mogplex keeps 100,000."""


class History:
    """Positions count from 0, the run's first event, and never change.

    Args:
        most: Events that are kept.
        most_bytes: Bytes of JSON that are kept; the latest event always is.
    """

    def __init__(self, most: int = MAX_KEPT, most_bytes: int = MAX_KEPT_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._kept: deque[tuple[RunEvent, int]] = deque()
        self._bytes = 0
        self._positions: dict[str, int] = {}
        self._last_id: str | None = None

    @property
    def start(self) -> int:
        """The position of the first event that is kept."""
        return self.end - len(self._kept)

    @property
    def end(self) -> int:
        """The position of the next event."""
        return len(self._positions)

    @property
    def last_id(self) -> str | None:
        """The latest event."""
        return self._last_id

    @property
    def last_type(self) -> str | None:
        """The latest event's type."""
        return self._kept[-1][0].type if self._kept else None

    @property
    def full(self) -> bool:
        """Whether no more events are taken."""
        return self.end >= MAX_SEEN

    def add(self, events: Iterable[RunEvent]) -> int:
        """Take those that are new. Returns how many."""
        before = self.end
        for event in events:
            if event.id in self._positions or self.full:
                continue
            self._positions[event.id] = self.end
            self._last_id = event.id
            size = len(json.dumps(event.wire()))
            self._kept.append((event, size))
            self._bytes += size
            while len(self._kept) > 1 and (len(self._kept) > self._most or self._bytes > self._most_bytes):
                self._bytes -= self._kept.popleft()[1]
        return self.end - before

    def position(self, event_id: str) -> int | None:
        """Where an event stands; None when it was never seen."""
        return self._positions.get(event_id)

    def at(self, position: int) -> RunEvent | None:
        """The event there; None when it is not kept any more.

        Raises:
            IndexError: There is none yet.
        """
        if position >= self.end:
            raise IndexError(position)
        index = position - self.start
        return self._kept[index][0] if index >= 0 else None

    def kept(self) -> list[RunEvent]:
        """The events that are kept."""
        return [event for event, _ in self._kept]
