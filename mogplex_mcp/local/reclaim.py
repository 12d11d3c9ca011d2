"""What a killed owner left: runs that nobody ends any more, their processes, their worktrees.

Only for the holder of the runner's lock: it proves that the owner of every unfinished run is dead.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import structlog

from mogplex_mcp.local import git, repos, runs, workspace
from mogplex_mcp.local.child import kill_orphan, kill_processes_in
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.timestamps import now_ms

log = structlog.get_logger()

KILLED = "The server that executed this run died before the run ended."
NEVER_STARTED = "The server died before this run started."


def reclaim(db: Database, data_dir: Path) -> int:
    """Ends what is left of a dead owner: processes first, then worktrees (their changes committed), then the records.

    Returns:
        How many runs were unfinished.
    """
    with db.read() as connection:
        left = runs.active(connection)
    for run in left:
        if run.pid is not None and run.pid_created is not None:
            kill_orphan(run.pid, float(run.pid_created))
    worktrees = workspace.worktrees_of(data_dir)
    if worktrees.is_dir():
        # A child that was started and not yet written down, or one that left its group.
        kill_processes_in(worktrees)
    problems = {run_id: problem for run_id in _directories(worktrees) if (problem := _clear(db, worktrees / run_id))}
    for run in left:
        _finish(db, run, problems.get(run.id))
    if left:
        log.warning("runs_reclaimed", count=len(left), run_ids=[run.id for run in left[:20]])
    return len(left)


def _directories(worktrees: Path) -> list[str]:
    return sorted(path.name for path in worktrees.iterdir()) if worktrees.is_dir() else []


def _clear(db: Database, worktree: Path) -> str | None:
    """Empties a worktree onto its branch and removes it; returns why its changes were lost, if they were."""
    with db.read() as connection:
        run = runs.find(connection, worktree.name)
        path = None if run is None else repos.path_of(connection, run.repo_id)
    if run is None or path is None:
        shutil.rmtree(worktree)
        return None
    try:
        repository = git.open_repository(path)
    except git.GitError as error:
        shutil.rmtree(worktree)
        return f"The last changes could not be committed: {error}"
    return workspace.clear(repository, worktree, run, None).problem


def _finish(db: Database, run: Run, problem: str | None) -> None:
    reason = NEVER_STARTED if run.claimed_at is None else KILLED
    error = reason if problem is None else f"{reason}\n{problem}"
    with db.write() as connection:
        runs.finish(connection, run, status="failed", error=error, payload={"reclaimed": True}, now=now_ms())
