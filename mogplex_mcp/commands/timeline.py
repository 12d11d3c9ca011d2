"""A followed run as it is printed: in the documentation's form, or as a timeline for a person who watches.

Source: Mogplex documentation, /cli/automation/headless-runs, "Tail events with --follow".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from time import monotonic

from mogplex_mcp.api import Run, RunEvent
from mogplex_mcp.commands.output import Output
from mogplex_mcp.runs.event_words import in_words

TICK_SECONDS = 1.0
_COLOURS = {
    "assistant_message": "white",
    "cancel_requested": "yellow",
    "cancelled": "yellow",
    "failed": "red",
    "finished": "green",
}


class Timeline:
    """Prints one run.

    Args:
        output: Where. For programs every event is its JSON; for a person at a terminal it is told in words, above a
            line that says how the run stands; else it is one line as documented.
        state: How the run stands now, in words.
    """

    def __init__(self, output: Output, state: Callable[[], str]) -> None:
        self._output = output
        self._state = state
        self._began = monotonic()

    def event(self, event: RunEvent) -> None:
        """Print an event."""
        if self._output.json:
            self._output.record(event.wire())
        elif self._output.live:
            self._output.erase()
            self._output.styled((_clock(event), "bright_black"), (in_words(event), _colour(event)))
            self._draw()
        else:
            self._output.line(documented_line(event))

    def end(self, run: Run) -> None:
        """Print how the run ended."""
        if self._output.json:
            self._output.record({"runId": run.run_id, "status": run.status})
            return
        self._output.styled((f"--- run {run.run_id} {run.status} ---", "green" if run.status == "success" else "red"))

    @asynccontextmanager
    async def drawn(self) -> AsyncIterator[None]:
        """Keep the line below the events current, where there is one."""
        if not self._output.live:
            yield
            return
        ticking = asyncio.create_task(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            await asyncio.wait({ticking})
            self._output.erase()

    async def _tick(self) -> None:
        while True:
            self._draw()
            await asyncio.sleep(TICK_SECONDS)

    def _draw(self) -> None:
        minutes, seconds = divmod(int(monotonic() - self._began), 60)
        self._output.draw(f"{self._state()} · {minutes}:{seconds:02} · Ctrl-C leaves, the run goes on")


def documented_line(event: RunEvent) -> str:
    """Time, type, tool and message: ``2026-05-17T10:14:15.000Z tool_call tool=edit_file Editing src/auth.ts``."""
    tool = f"tool={event.tool_name}" if event.tool_name else None
    return " ".join(str(part) for part in (event.created_at, event.type, tool, event.message) if part)


def _clock(event: RunEvent) -> str:
    """The time of day here."""
    try:
        return datetime.fromisoformat(str(event.created_at)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError):
        return "--:--:--"


def _colour(event: RunEvent) -> str | None:
    return _COLOURS.get(event.type, "cyan" if event.tool_name else None)
