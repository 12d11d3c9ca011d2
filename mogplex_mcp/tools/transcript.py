"""A run as a person reads it: metadata, timeline, result in Markdown (Mogplex documentation, /cli/reference/export)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from mogplex_mcp.api import Run, RunEvent
from mogplex_mcp.tools.event_words import in_words

MAX_CELL = 500
FIGURES = ("model", "usage", "tokens", "cost", "costUsd", "total_cost_usd")
"""What events may carry about a run's model, tokens and cost."""


def transcript(run: Run, events: Sequence[RunEvent], missing: str | None) -> str:
    """The run in Markdown.

    Args:
        run: As it stands.
        events: Oldest first.
        missing: Why events are missing; None when none are.
    """
    rows = [f"| {name} | {_cell(value)} |" for name, value in _metadata(run, events) if value is not None]
    lines = [f"# Mogplex run {_cell(run.run_id)}", "", "| | |", "| --- | --- |", *rows, "", "## Timeline", ""]
    for event in events:
        lines += _entry(event)
    if missing:
        lines += ["", f"*Events are missing: {missing}*"]
    return "\n".join([*lines, "", "## Result", "", _result(run), ""])


def figures(events: Iterable[RunEvent]) -> dict[str, object]:
    """Model, tokens and cost, as the latest events that carry them say."""
    found: dict[str, object] = {}
    for event in events:
        if isinstance(event.payload, Mapping):
            found |= {name: event.payload[name] for name in FIGURES if event.payload.get(name) is not None}
    return found


def _metadata(run: Run, events: Sequence[RunEvent]) -> list[tuple[str, object]]:
    branch = run.branch if isinstance(run.branch, Mapping) else {}
    return [
        ("Status", run.status),
        ("Repository", run.repo_id),
        ("Base branch", branch.get("base")),
        ("Working branch", branch.get("working")),
        ("Harness", run.harness),
        ("Started", run.created_at),
        ("Last change", run.updated_at),
        *figures(events).items(),
    ]


def _entry(event: RunEvent) -> list[str]:
    """One event: its time and words; a message of several lines stands below it as a quotation."""
    when = f"{_cell(event.created_at)} " if event.created_at is not None else ""
    head = f"- {when}**{_cell(event.type)}**"
    message = event.message.strip() if isinstance(event.message, str) else ""
    if "\n" not in message:
        return [f"{head} {_plain(in_words(event))}"]
    return [head, "", *(f"  > {_plain(line)}" for line in message.splitlines()), ""]


def _result(run: Run) -> str:
    if not run.terminal:
        return f"The run goes on ({_cell(run.status)})."
    return f"{_cell(run.status)}: {_cell(run.error)}" if run.error else f"{_cell(run.status)}."


def _cell(value: object) -> str:
    """A value on one line of a table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = _plain(" ".join(text.split())).replace("|", "\\|")
    return line if len(line) <= MAX_CELL else line[: MAX_CELL - 1] + "…"


def _plain(text: str) -> str:
    """Text that stays text: what an agent or a repository said must not become markup of this page."""
    return text.replace("<", "&lt;").encode("utf-8", "replace").decode("utf-8")
