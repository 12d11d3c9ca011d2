"""An event in words, for a person who watches."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from mogplex_mcp.api import RunEvent
from mogplex_mcp.one_line import one_line

MAX_WORDS = 300

_SAID: Final = MappingProxyType(
    {
        "started": "The agent has started",
        "stream_started": "The agent has started",
        "cancel_requested": "Asked to stop",
        "cancelled": "The run was cancelled",
        "finished": "The run has ended",
        "failed": "The run failed",
    }
)
"""Event types of the documentation and of today's service that say something by themselves."""
_TOOL_ENDED: Final = frozenset({"tool_result", "tool_finished"})


def in_words(event: RunEvent) -> str:
    """What happened, on one line of at most ``MAX_WORDS`` characters. Unknown types are named as they are."""
    message = event.message if isinstance(event.message, str) else ""
    tool = event.tool_name if isinstance(event.tool_name, str) else ""
    if event.type in _SAID:
        text = f"{_SAID[event.type]}: {message}" if message else f"{_SAID[event.type]}."
    elif tool:
        ended = " answered" if event.type in _TOOL_ENDED else ""
        text = f"{tool}{ended}: {message}" if message else f"{tool}{ended}"
    else:
        text = message or event.type
    # More than is shown, so that a huge message costs nothing; cut again below.
    line = one_line(text[: 10 * MAX_WORDS])
    return line if len(line) <= MAX_WORDS else line[: MAX_WORDS - 1] + "…"
