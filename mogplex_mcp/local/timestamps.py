"""Time as the database keeps it (milliseconds since 1970) and as the API shows it (ISO 8601, UTC)."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now_ms() -> int:
    """The present, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def iso(ms: int) -> str:
    """``2026-05-17T10:14:00.000Z`` for a time in milliseconds since 1970 (Mogplex documentation, /web/api/runs)."""
    seconds, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"
