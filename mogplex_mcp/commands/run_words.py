"""A run for people, as the documentation shows it (/cli/automation/headless-runs)."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mogplex_mcp.api import Run, StartedRun
from mogplex_mcp.commands.output import Output


def print_started(output: Output, run: StartedRun) -> None:
    """Print what was started."""
    output.line(f"{'matched existing' if run.replayed is True else 'started'} run {run.run_id} ({run.status})")
    _print(output, (("repo", run.repo_id), ("harness", run.harness), ("branch", branch_words(run))))


def print_run(output: Output, run: Run) -> None:
    """Print a run, a line for each thing that is known."""
    names = (
        ("run", run.run_id),
        ("status", run.status),
        ("harness", run.harness),
        ("repo", run.repo_id),
        ("branch", branch_words(run)),
        ("root", run.root_directory),
        ("sandbox", run.sandbox_id),
        ("events", run.events_url),
        ("cancel", run.cancel_url),
        ("created", run.created_at),
        ("updated", run.updated_at),
        ("error", run.error if isinstance(run.error, str | None) else json.dumps(run.error)),
    )
    _print(output, names)


def _print(output: Output, lines: Iterable[tuple[str, object]]) -> None:
    for name, value in lines:
        if value:
            output.line(f"{name} {value}")


def branch_words(run: Run) -> str | None:
    """``feat/x (base main, created)``; None when Mogplex names no branch."""
    branch = run.branch
    if not isinstance(branch, dict) or not branch.get("working"):
        return None
    created = ", created" if branch.get("createBranch") is True else ""
    return f"{branch['working']} (base {branch.get('base')}{created})"
