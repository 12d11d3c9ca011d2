"""What a harness left uncommitted, committed to the working branch."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from mogplex_mcp.local.git.command import CHECKOUT_TIMEOUT, GitError, run_git
from mogplex_mcp.local.git.worktree import LFS_OFF, admin_directory, head, remove_tree, unlock

MAX_OBSTACLES = 20
"""How many paths may stand in the way before the rest is given up."""
_REFUSED_PATH = re.compile(
    # A required filter that fails, such as git-crypt's without its key; or what cannot be read, or is a repository
    # without a commit.
    r"(?P<filtered>.+): clean filter '[^']*' failed\Z"
    r"|(?:unable to index file )?'(?P<unreadable>.+?)/?'(?: does not have a commit checked out)?\Z"
)


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
    refused = _stage(worktree)
    made = _commit(worktree, admin, message)
    if branch is not None:
        _bring_home(worktree, branch, message)
    if refused is not None:
        raise GitError(f"not everything could be committed: {refused}")
    return made


def _stage(worktree: Path) -> GitError | None:
    """Add everything; what stands in the way is left out and told, because the rest is somebody's work too."""
    left_out: list[str] = []
    last: GitError | None = None
    for _ in range(MAX_OBSTACLES):
        unlock(admin_directory(worktree))
        paths = (".", *(f":(top,exclude,literal){path}" for path in left_out))
        try:
            run_git(worktree, "add", "--all", "--", *paths, config=LFS_OFF if last else (), timeout=CHECKOUT_TIMEOUT)
        except GitError as error:
            refused = _REFUSED_PATH.match(str(error))
            path = refused and (refused["filtered"] or refused["unreadable"])
            if path and _dissolve(worktree, path):
                continue
            if last is not None:  # Git LFS was switched off already, so this path it is.
                if not path:
                    return error
                left_out.append(path)
            last = error
        else:
            inner = [path for path in _staged_repositories(worktree) if _dissolve(worktree, path)]
            if not inner:
                return last if left_out else None
            run_git(
                worktree, "rm", "--cached", "--force", "--quiet", "--", *(f":(top,literal){path}" for path in inner)
            )
    return last or GitError("too many repositories lie inside")


def _staged_repositories(worktree: Path) -> list[str]:
    """Directories that are staged as a mere reference to a commit of their own."""
    entries = run_git(worktree, "ls-files", "--stage", "-z").split("\0")
    return [entry.split("\t", 1)[1] for entry in entries if entry.startswith("160000 ")]


def _dissolve(worktree: Path, path: str) -> bool:
    """Make a repository that the agent made inside (many generators do) a plain directory, so that its files are kept.

    Its history would go with the worktree, and all its files too. A submodule's lies elsewhere: there ``.git`` is a
    file, and it stays.
    """
    inner = worktree / path / ".git"
    if inner.is_symlink() or not inner.is_dir() or not inner.resolve().is_relative_to(worktree.resolve()):
        return False
    remove_tree(inner)
    return True


def _commit(worktree: Path, admin: Path, message: str) -> str | None:
    """Commit the index. By plumbing: ``git commit`` would look at the files again, through filters that may fail."""
    tree = run_git(worktree, "write-tree", config=LFS_OFF).strip()
    merging = admin / "MERGE_HEAD"
    others = merging.read_text("ascii").split() if merging.exists() else []
    try:
        here = head(worktree)
    except GitError:
        here = ""  # The agent has begun a history of its own.
    if here and not others and run_git(worktree, "rev-parse", f"{here}^{{tree}}").strip() == tree:
        return None
    parents = [part for parent in (here, *others) if parent for part in ("-p", parent)]
    made = run_git(worktree, "commit-tree", tree, *parents, stdin=message, extra=identity(worktree)).strip()
    run_git(worktree, "update-ref", "-m", "commit: left by the agent", "HEAD", made, here)
    merging.unlink(missing_ok=True)
    return made


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
