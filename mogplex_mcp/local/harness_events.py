"""What a harness tells us, in one shape whichever coding agent spoke.

The lines come from a program that we did not write, working on files that nobody vetted: anything may stand in them.
A reader therefore never raises; what it does not understand is passed on as a ``log``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

MAX_ERROR = 2_000
MAX_MESSAGE = 10_000
MAX_LOG_LINE = 2_000
MAX_DEPTH = 32
_NOISE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class HarnessEvent:
    """One thing that a harness reported.

    ``type`` is one of the documentation's ``stream_started, tool_call, tool_result, assistant_message``, or ``log``
    (Mogplex documentation, /web/api/runs). ``stalled`` marks the lines that mean no progress: reconnects and errors.
    """

    type: str
    message: str | None = None
    tool_name: str | None = None
    payload: Mapping[str, object] = field(default_factory=dict)
    stalled: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a harness ended: ``error`` is its own last word (<= 2,000 characters), ``payload`` its usage and cost."""

    success: bool
    error: str | None
    payload: Mapping[str, object] = field(default_factory=dict)


class Reader(Protocol):
    """Reads one run's output; one reader for each run."""

    def feed(self, line: str) -> list[HarnessEvent]:
        """The events of one line of standard output. Never raises."""
        ...

    def finish(self, exit_code: int, stderr_tail: str) -> Outcome:
        """The outcome, once the process has ended (a negative ``exit_code`` is the signal that ended it)."""
        ...


def json_object(line: str) -> dict[str, object] | None:
    """The object on a line, fit to be stored; None when the line is not one JSON object of bearable depth."""
    try:
        value = json.loads(line, parse_constant=_no_constant)
        return _storable(value, MAX_DEPTH) if isinstance(value, dict) else None
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _storable(value: dict[str, object], depth: int) -> dict[str, object]:
    """The same without what neither SQLite nor UTF-8 takes: NUL and half a surrogate pair."""
    return {_text(key): _part(part, depth - 1) for key, part in value.items()}


def _part(value: object, depth: int) -> object:
    if depth < 0:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dict):
        return _storable(value, depth)
    return [_part(part, depth - 1) for part in value] if isinstance(value, list) else value


def _text(value: str) -> str:
    return (
        value if value.isascii() and "\0" not in value else value.replace("\0", "").encode("utf-8", "replace").decode()
    )


def as_object(value: object) -> dict[str, object]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[object]:
    """The value if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def as_text(value: object, limit: int = MAX_MESSAGE) -> str | None:
    """The value if it is text with something in it: without control characters, at most ``limit`` characters."""
    if not isinstance(value, str):
        return None
    text = _NOISE.sub("", _ANSI.sub("", value[: limit * 2])).encode("utf-8", "replace").decode().strip()
    return (text if len(text) <= limit else text[: limit - 1] + "…") or None


def raw_line(line: str) -> list[HarnessEvent]:
    """A line that is not JSON, as a log; a blank one is nothing."""
    text = as_text(line, MAX_LOG_LINE)
    return [] if text is None else [HarnessEvent("log", text)]


def unknown(kind: object, payload: Mapping[str, object]) -> HarnessEvent:
    """A line of a type we do not know: data to pass on, never an error."""
    return HarnessEvent("log", as_text(kind, 100), payload=payload)


def last_words(stderr_tail: str, exit_code: int, name: str) -> str:
    """Why a harness failed that gave no reason on standard output."""
    lines = [text for line in stderr_tail.splitlines() if (text := as_text(line, MAX_ERROR))]
    how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    said = "\n".join(lines[-5:])
    return (f"{name} {how}: {said}" if said else f"{name} {how} and said nothing")[:MAX_ERROR]
