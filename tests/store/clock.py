"""A clock that stands still until a test moves it."""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@dataclass
class Clock:
    """Milliseconds since 1970."""

    at: int = 1_800_000_000_000

    def __call__(self) -> int:
        return self.at

    def advance(self, ms: int) -> None:
        self.at += ms
