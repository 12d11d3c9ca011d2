"""What a killed owner left: runs that nobody ends any more, their processes, their worktrees.

Only for the holder of the runner's lock: it proves that the owner of every unfinished run is dead.
"""

from __future__ import annotations

import re
from pathlib import Path

import structlog

from mogplex_mcp.local import git, repos, runs, workspace
from mogplex_mcp.local.child import kill_orphan, kill_processes_in
from mogplex_mcp.local.database import Database
from mogplex_mcp.local.git.worktree import remove_tree
from mogplex_mcp.local.runs import Run
from mogplex_mcp.local.timestamps import now_ms

log = structlog.get_logger()

KILLED = "The server that executed this run died before the run ended."
NEVER_STARTED = "The server died before this run started."
_RUN_ID = re.compile(r"[0-9a-f-]{36}")


def reclaim(db: Database, data_dir: Path) -> int:
    """Ends what is left of a dead owner: processes first, then worktrees (their changes committed), then the records.

    What cannot be removed is logged and left to the next start: nothing that lies there keeps the server from starting.

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
    problems = {path.name: problem for path in _directories(worktrees) if (problem := _clear(db, path))}
    for run in left:
        _finish(db, run, problems.get(run.id))
    if left:
        log.warning("runs_reclaimed", count=len(left), run_ids=[run.id for run in left[:20]])
    return len(left)


def _directories(worktrees: Path) -> list[Path]:
    """The directories there. Files and links are not ours: a file manager's, say."""
    try:
        return sorted(path for path in worktrees.iterdir() if path.is_dir() and not path.is_symlink())
    except FileNotFoundError:
        return []
    except OSError as error:
        log.warning("worktrees_not_read", path=str(worktrees), reason=str(error))
        return []


def _clear(db: Database, worktree: Path) -> str | None:
    """Empties a worktree onto its branch and removes it; returns why its changes were lost, if they were."""
    try:
        return _empty(db, worktree)
    except OSError as error:
        log.warning("worktree_not_removed", path=str(worktree), reason=str(error))
        return f"The last changes could not be committed: {error.strerror}"


def _empty(db: Database, worktree: Path) -> str | None:
    run, path = _owner_of(db, worktree)
    if run is None or path is None:
        remove_tree(worktree)
        return None
    try:
        repository = git.open_repository(path)
    except git.GitError as error:
        remove_tree(worktree)
        return f"The last changes could not be committed: {error}"
    return workspace.clear(repository, worktree, run, None).problem


def _owner_of(db: Database, worktree: Path) -> tuple[Run | None, Path | None]:
    """The run that a worktree was made for, and where its repository is."""
    if not _RUN_ID.fullmatch(worktree.name):
        return None, None  # a name that is no text could not even be looked for
    with db.read() as connection:
        run = runs.find(connection, worktree.name)
        return run, None if run is None else repos.path_of(connection, run.repo_id)


def _finish(db: Database, run: Run, problem: str | None) -> None:
    reason = NEVER_STARTED if run.claimed_at is None else KILLED
    error = reason if problem is None else f"{reason}\n{problem}"
    with db.write() as connection:
        runs.finish(connection, run, status="failed", error=error, payload={"reclaimed": True}, now=now_ms())
