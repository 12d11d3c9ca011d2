"""A run's worktree: made when the run starts, emptied onto its branch and removed when it ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from mogplex_mcp.local import git
from mogplex_mcp.local.database import make_private_directory
from mogplex_mcp.local.processes import kill_processes_in
from mogplex_mcp.local.runs import Run

log = structlog.get_logger()

_MAX_COMMITS = 20


@dataclass(frozen=True, slots=True)
class Workspace:
    """``directory`` is where the harness works: the worktree or, with ``rootDirectory``, a directory inside.

    ``identity`` are variables that let the harness commit where the person has told git no name.
    """

    repository: git.Repository
    worktree: Path
    directory: Path
    base_sha: str
    identity: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Remains:
    """What a run leaves: its commits (the newest 20 at most), and why its last changes could not be kept, if so."""

    commits: tuple[git.Commit, ...]
    problem: str | None

    def payload(self, branch: str) -> dict[str, object]:
        commits = [{"sha": commit.sha, "subject": commit.subject} for commit in self.commits]
        return {"branch": branch, "commits": commits}


def worktrees_of(data_dir: Path) -> Path:
    """Where all worktrees lie; the name of each is its run's id."""
    return data_dir / "worktrees"


def prepare(data_dir: Path, repository_path: Path, run: Run) -> Workspace:
    """Makes the worktree on the run's working branch, the branch too if it is not there.

    Raises:
        GitError: git refuses.
        ValueError: the root directory is not one.
    """
    repository = git.open_repository(repository_path)
    make_private_directory(worktrees_of(data_dir))
    worktree = worktrees_of(data_dir) / run.id
    there = git.start_point(repository, run.working_branch) is not None
    git.add_worktree(repository, worktree, branch=run.working_branch, start=None if there else run.base_branch)
    try:
        directory = git.resolve_root_directory(worktree, run.root_directory)
        return Workspace(repository, worktree, directory, git.head(worktree), git.identity(worktree))
    except ValueError as error:
        git.remove_worktree(repository, worktree)
        raise ValueError(f"rootDirectory: {error}") from error


def clear(repository: git.Repository, worktree: Path, run: Run, base_sha: str | None) -> Remains:
    """Commits what is left to the working branch and removes the worktree; the branch stays."""
    # A server that the agent started in a session of its own would write on, and hold the directory.
    kill_processes_in(worktree)
    problem = None
    commits: list[git.Commit] = []
    try:
        git.commit_leftovers(
            worktree, f"Keep what the agent left uncommitted\n\nMogplex-Run: {run.id}", branch=run.working_branch
        )
        commits = [] if base_sha is None else git.commits_since(worktree, base_sha)
    except (git.GitError, OSError) as error:
        problem = f"The last changes could not be committed: {error}"
    try:
        git.remove_worktree(repository, worktree)
    except (git.GitError, OSError) as error:
        # The next start of the server tries again.
        log.warning("worktree_not_removed", run_id=run.id, reason=str(error))
    return Remains(tuple(commits[-_MAX_COMMITS:]), problem)
