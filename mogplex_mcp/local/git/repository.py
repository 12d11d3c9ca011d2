"""A repository of the person's, read only."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mogplex_mcp.local.git.command import GitError, run_git


@dataclass(frozen=True)
class Repository:
    """A repository of the person's: ``path`` is its top level (the git directory itself when bare)."""

    path: Path
    git_dir: Path
    default_branch: str | None
    bare: bool = False


def open_repository(path: Path) -> Repository:
    """The repository that ``path`` lies in.

    Raises:
        GitError: there is none, or git refuses it (owned by somebody else, broken).
    """
    if not path.is_dir():
        raise GitError(f"{path} is not a directory")
    git_dir = Path(run_git(path, "rev-parse", "--path-format=absolute", "--git-common-dir").removesuffix("\n"))
    bare = run_git(path, "rev-parse", "--is-bare-repository").strip() == "true"
    top = git_dir if bare else Path(run_git(path, "rev-parse", "--show-toplevel").removesuffix("\n"))
    repository = Repository(top, git_dir, None, bare)
    return Repository(top, git_dir, _default_branch(repository), bare)


def _default_branch(repo: Repository) -> str | None:
    """What origin calls its default, else what is checked out, else main or master; only a branch that exists."""
    names = []
    for ref, prefix in (("refs/remotes/origin/HEAD", "refs/remotes/origin/"), ("HEAD", "refs/heads/")):
        with suppress(GitError):
            names.append(run_git(repo.path, "symbolic-ref", "--quiet", ref).strip().removeprefix(prefix))
    return next((name for name in (*names, "main", "master") if start_point(repo, name) is not None), None)


def start_point(repo: Repository, branch: str) -> str | None:
    """The commit of a branch here, else of origin's branch of that name, else None."""
    for ref in (f"refs/heads/{branch}", f"refs/remotes/origin/{branch}"):
        with suppress(GitError):
            return run_git(repo.path, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}").strip()
    return None


def branches(repo: Repository) -> set[str]:
    """The names of all local branches."""
    listed = run_git(repo.path, "for-each-ref", "--format=%(refname)", "refs/heads/")
    return {line.removeprefix("refs/heads/") for line in listed.splitlines()}


def checked_out(repo: Repository) -> dict[str, Path]:
    """The branches that some worktree has checked out, the person's own checkout included."""
    # NUL on both sides, because a path may hold a newline; `worktree list -z` needs a git newer than Ubuntu 22.04's.
    listed = run_git(repo.path, "for-each-ref", "--format=%(refname)%00%(worktreepath)%00", "refs/heads/")
    fields = listed.split("\0")
    pairs = zip(fields[::2], fields[1::2], strict=False)
    found = {ref.strip("\n").removeprefix("refs/heads/"): Path(path) for ref, path in pairs if path}
    # A bare repository names a branch in HEAD without having it checked out.
    return {name: path for name, path in found.items() if not (repo.bare and path == repo.git_dir)}
