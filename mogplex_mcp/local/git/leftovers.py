"""What a harness left uncommitted, committed to the working branch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from mogplex_mcp.local.git.command import CHECKOUT_TIMEOUT, GitError, run_git
from mogplex_mcp.local.git.worktree import LFS_OFF, admin_directory, head, unlock


def identity(worktree: Path) -> dict[str, str]:
    """Variables that give commits an author where the person has configured none; empty where they have."""
    try:
        run_git(worktree, "var", "GIT_COMMITTER_IDENT", config=("user.useConfigOnly=true",))
    except GitError:
        who = {"NAME": "Mogplex", "EMAIL": "mogplex@localhost"}
        return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in who.items()}
    return {}


def commit_leftovers(worktree: Path, message: str, *, branch: str | None = None) -> str | None:
    """Commit whatever the harness left uncommitted.

    Args:
        worktree: a worktree that `add_worktree` made; nothing may be running in it any more.
        message: the commit message; it travels on stdin, so a prompt may be in it.
        branch: the working branch. When the agent has moved to another one (or to none), the work is brought to it:
            by moving it forward, or by a merge commit with the tree of the worktree.

    Returns:
        The new commit's id, or None when there was nothing to commit.

    Raises:
        GitError: git could not commit everything. What could be committed is.
    """
    admin = admin_directory(worktree)
    unlock(admin)
    refused: GitError | None = None
    try:
        _stage(worktree)
    except GitError as error:
        refused = error
    made = None
    if run_git(worktree, "status", "--porcelain", "-z", "--untracked-files=no", "--ignore-submodules=dirty"):
        run_git(
            worktree,
            *("commit", "--quiet", "--no-verify", "--cleanup=whitespace", "--allow-empty-message", "--file=-"),
            config=LFS_OFF,
            stdin=message,
            timeout=CHECKOUT_TIMEOUT,
            extra=identity(worktree),
        )
        made = head(worktree)
    if branch is not None:
        _bring_home(worktree, branch, message)
    if refused is not None:
        raise GitError(f"not everything could be committed: {refused}")
    return made


def _stage(worktree: Path) -> None:
    try:
        run_git(worktree, "add", "--all", timeout=CHECKOUT_TIMEOUT)
    except GitError:
        unlock(admin_directory(worktree))
        run_git(worktree, "add", "--all", "--ignore-errors", config=LFS_OFF, timeout=CHECKOUT_TIMEOUT)


def _bring_home(worktree: Path, branch: str, message: str) -> None:
    ref = f"refs/heads/{branch}"
    with suppress(GitError):
        if run_git(worktree, "symbolic-ref", "--quiet", "HEAD").strip() == ref:
            return
    here = head(worktree)
    try:
        tip = run_git(worktree, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    except GitError:
        tip = ""
    if tip and not _is_ancestor(worktree, tip, here):
        parents = ("-p", tip) if _is_ancestor(worktree, here, tip) else ("-p", tip, "-p", here)
        here = run_git(
            worktree, "commit-tree", f"{here}^{{tree}}", *parents, stdin=message, extra=identity(worktree)
        ).strip()
    run_git(worktree, "update-ref", ref, here, *((tip,) if tip else ()))


def _is_ancestor(worktree: Path, older: str, newer: str) -> bool:
    try:
        run_git(worktree, "merge-base", "--is-ancestor", older, newer)
    except GitError:
        return False
    return True
