"""What a repository tells without a checkout: where it came from, and what a commit holds."""

from __future__ import annotations

from contextlib import suppress
from pathlib import PurePosixPath

from mogplex_mcp.local.git.command import GitError, run_git
from mogplex_mcp.local.git.repository import Repository


def origin_url(repo: Repository) -> str | None:
    """The address of the remote ``origin``; None when there is none."""
    with suppress(GitError):
        return run_git(repo.path, "config", "--get", "remote.origin.url").removesuffix("\n") or None
    return None


def has_directory(repo: Repository, commit: str, path: PurePosixPath) -> bool:
    """Whether a commit has this directory, links inside the repository followed.

    Args:
        repo: the repository.
        commit: a full commit id.
        path: relative, without ``..`` and line breaks (`check_root_directory`).
    """
    name = "" if path == PurePosixPath() else str(path)
    answer = run_git(repo.path, "cat-file", "--batch-check", "--follow-symlinks", stdin=f"{commit}:{name}\n")
    # Else it says `missing`, or `symlink`, `dangling`, `loop`, `notdir` and a length.
    return answer.split("\n", 1)[0].split(" ")[1:2] == ["tree"]
