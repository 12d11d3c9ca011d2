"""A run's own working tree: made, looked at, removed, with nothing done to the person's checkout."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mogplex_mcp.local.git.command import CHECKOUT_TIMEOUT, GitError, run_git
from mogplex_mcp.local.git.names import check_branch_name
from mogplex_mcp.local.git.repository import Repository, branches, start_point

# Git LFS alone may be passed over: its pointers stay what they are. Any other required filter (git-crypt, say) guards
# what must not be committed in plain text.
LFS_OFF = ("filter.lfs.required=false", "filter.lfs.smudge=", "filter.lfs.clean=", "filter.lfs.process=")
MAX_COMMITS = 1_000
MAX_SUBJECT = 500
SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?\Z")


@dataclass(frozen=True)
class Commit:
    sha: str
    subject: str


def add_worktree(repo: Repository, path: Path, *, branch: str, start: str | None) -> None:
    """Check ``branch`` out into a new directory ``path``.

    Args:
        repo: the repository.
        path: absolute, not there yet.
        branch: the branch; it must exist unless ``start`` is given.
        start: a branch or a full commit id: ``branch`` is created there.

    Raises:
        GitError: the branch exists (``start`` given), does not exist, is checked out elsewhere, or the files cannot be
            written. Nothing is left behind then.
    """
    check_branch_name(branch)
    if start is None and start_point(repo, branch) is None:
        raise GitError(f"there is no branch {branch}")
    if start is not None:
        commit = start if SHA.match(start) else start_point(repo, start)
        if commit is None:
            raise GitError(f"there is no branch {start}")
        arguments = ["--no-track", "-b", branch, str(path), commit]
    elif branch in branches(repo):
        arguments = [str(path), branch]
    else:
        arguments = ["--no-track", "-b", branch, str(path), f"refs/remotes/origin/{branch}"]
    run_git(repo.path, "worktree", "add", "--quiet", "--no-checkout", *arguments)
    created = "-b" in arguments
    try:
        _fill(path)
    except GitError:
        remove_worktree(repo, path)
        if created:
            run_git(repo.path, "update-ref", "-d", f"refs/heads/{branch}")
        raise


def _fill(worktree: Path) -> None:
    """Write the files; where Git LFS is missing or has not got them, its pointers."""
    try:
        run_git(worktree, "reset", "--hard", "--quiet", timeout=CHECKOUT_TIMEOUT)
    except GitError:
        unlock(admin_directory(worktree))
        run_git(worktree, "reset", "--hard", "--quiet", config=LFS_OFF, timeout=CHECKOUT_TIMEOUT)


def remove_worktree(repo: Repository, path: Path) -> None:
    """Remove a worktree with all that is in it, and git's record of it; also when either is gone already.

    Only this worktree's record: ``git worktree prune`` would also drop the person's worktrees on an unmounted disk.

    Raises:
        GitError, OSError: it could not be removed.
    """
    if not repo.git_dir.is_dir():
        remove_tree(path)
        return
    try:
        run_git(repo.path, "worktree", "remove", "--force", "--force", str(path), timeout=CHECKOUT_TIMEOUT)
    except GitError:
        remove_tree(path)
        for record in (repo.git_dir / "worktrees").glob("*/gitdir"):
            if Path(os.path.realpath(record.read_text("utf-8", "surrogateescape").removesuffix("\n"))) == Path(
                os.path.realpath(path / ".git")
            ):
                shutil.rmtree(record.parent)
    else:
        remove_tree(path)


def remove_tree(path: Path) -> None:
    """Remove a directory, read-only ones inside it too (package caches are), never following a link."""
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    for directory, _, _ in os.walk(path):
        with suppress(PermissionError):
            Path(directory).chmod(0o700)
    shutil.rmtree(path)


def admin_directory(worktree: Path) -> Path:
    """git's record of a worktree of ours.

    The agent can rewrite ``.git``: a link that is not answered from the other side could lead our commit into the
    person's own checkout.
    """
    link = worktree / ".git"
    try:
        text = link.read_text("utf-8", "surrogateescape") if link.is_file() and not link.is_symlink() else ""
        admin = Path(text.removeprefix("gitdir: ").removesuffix("\n"))
        back = Path((admin / "gitdir").read_text("utf-8", "surrogateescape").removesuffix("\n"))
        answered = text.startswith("gitdir: ") and back.resolve() == link.resolve()
    except (OSError, ValueError):
        answered = False
    if not answered:
        raise GitError("the run's worktree has lost its link to the repository")
    return admin


def unlock(admin: Path) -> None:
    """Drop the locks of a git that was killed in this worktree; nobody else works in it."""
    for name in ("index.lock", "HEAD.lock"):
        (admin / name).unlink(missing_ok=True)


def head(worktree: Path) -> str:
    """The commit that is checked out.

    Raises:
        GitError: there is none yet.
    """
    return run_git(worktree, "rev-parse", "--verify", "HEAD^{commit}").strip()


def commits_since(worktree: Path, base_sha: str) -> list[Commit]:
    """The commits of HEAD that ``base_sha`` has not, oldest first; the newest 1,000 at most.

    Raises:
        GitError: ``base_sha`` is not a commit here.
    """
    if not SHA.match(base_sha):
        raise GitError("not a commit id")
    listed = run_git(
        worktree,
        *("log", "--reverse", "--no-show-signature", "--no-color", "--encoding=UTF-8", f"--max-count={MAX_COMMITS}"),
        *("--format=%H%x00%s%x00", f"{base_sha}..HEAD", "--"),
    )
    fields = listed.split("\0")
    return [
        Commit(sha.strip("\n"), subject.encode("utf-8", "surrogateescape").decode("utf-8", "replace")[:MAX_SUBJECT])
        for sha, subject in zip(fields[::2], fields[1::2], strict=False)
    ]
