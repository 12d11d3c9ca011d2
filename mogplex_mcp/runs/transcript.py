"""A run as a person reads it, in Markdown (Mogplex documentation, /cli/reference/export)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from mogplex_mcp.api import Run, RunEvent
from mogplex_mcp.runs.event_words import in_words

MAX_CELL = 500
MAX_LAST_WORDS = 4_000
"""Characters of the agent's last message that stand in the result; the timeline has all of it."""
FIGURES = ("model", "usage", "modelUsage", "tokens", "cost", "costUsd", "total_cost_usd", "num_turns", "duration_ms")
"""What events may carry about a run's model, tokens and cost."""

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_ACTIVE: Final = re.compile(r"(?<=!)\[|(?<=\])[(:]")
"""Where a text would become an image, a link, or the definition of one."""


def head(run: Run, events: Iterable[RunEvent]) -> list[str]:
    """The page's title and the run's metadata, with the model, tokens and cost that its events carry."""
    rows = [f"| {name} | {_cell(value)} |" for name, value in _metadata(run, events) if value is not None]
    return [f"# Mogplex run {_cell(run.run_id)}", "", "| | |", "| --- | --- |", *rows, ""]


def timeline(events: Iterable[RunEvent], missing: str | None) -> list[str]:
    """What happened.

    Args:
        events: Oldest first.
        missing: Why events are missing; None when none are.
    """
    lines = ["## Timeline", ""]
    for event in events:
        lines += _entry(event)
    return [*lines, "", *([f"*Events are missing: {missing}*", ""] if missing else [])]


def result(run: Run, events: Sequence[RunEvent]) -> list[str]:
    """How it ended, and the agent's last words."""
    if not run.terminal:
        return ["## Result", "", f"The run goes on ({_cell(run.status)}).", ""]
    how = f"{_cell(run.status)}: {_cell(run.error)}" if run.error else f"{_cell(run.status)}."
    words = last_words(events)
    quoted = [f"> {_plain(line)}".rstrip() for line in words.splitlines()] if words else []
    return ["## Result", "", how, "", *([*quoted, ""] if quoted else [])]


def figures(events: Iterable[RunEvent]) -> dict[str, object]:
    """Model, tokens and cost, as the latest events that carry them say."""
    found: dict[str, object] = {}
    for event in events:
        if isinstance(event.payload, Mapping):
            found |= {name: event.payload[name] for name in FIGURES if event.payload.get(name) is not None}
    return found


def last_words(events: Sequence[RunEvent]) -> str | None:
    """The agent's last message, at most ``MAX_LAST_WORDS`` characters of it."""
    for event in reversed(events):
        if event.type == "assistant_message" and isinstance(event.message, str) and event.message.strip():
            words = event.message.strip()
            return words if len(words) <= MAX_LAST_WORDS else words[: MAX_LAST_WORDS - 1] + "…"
    return None


def _metadata(run: Run, events: Iterable[RunEvent]) -> list[tuple[str, object]]:
    branch = run.branch if isinstance(run.branch, Mapping) else {}
    return [
        ("Status", run.status),
        ("Repository", run.repo_id),
        ("Base branch", branch.get("base")),
        ("Working branch", branch.get("working")),
        ("Harness", run.harness),
        ("Started", run.created_at),
        ("Ended" if run.terminal else "Last change", run.updated_at),
        *figures(events).items(),
    ]


def _entry(event: RunEvent) -> list[str]:
    """One event: its time and words; a message of several lines stands below it as a quotation."""
    when = f"{_cell(event.created_at)} " if event.created_at is not None else ""
    about = f"- {when}**{_cell(event.type)}**"
    message = event.message.strip() if isinstance(event.message, str) else ""
    if "\n" not in message:
        return [f"{about} {_plain(in_words(event))}"]
    return [about, "", *(f"  > {_plain(line)}".rstrip() for line in message.splitlines()), ""]


def _cell(value: object) -> str:
    """A value on one line of a table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = _plain(" ".join(text.split())).replace("|", "\\|")
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def _plain(text: str) -> str:
    """One line that stays text: what an agent or a repository said must not become markup of this page, nor a
    picture that tells somebody who reads it, nor commands of a terminal."""
    inert = _ACTIVE.sub(r"\\\g<0>", _CONTROL.sub("", text)).replace("<", "&lt;")
    return inert.encode("utf-8", "replace").decode("utf-8")
