"""The event loop that this program runs on."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable


def fastest_loop() -> Callable[[], AbstractEventLoop] | None:
    """What makes the fastest event loop there is; None stands for Python's own."""
    try:
        import uvloop  # noqa: PLC0415 - not there on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop
