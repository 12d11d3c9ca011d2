"""The git of a run: a worktree of its own, a branch of its own, and nothing done to the person's checkout."""

from mogplex_mcp.local.git.command import GitError, clean_environment
from mogplex_mcp.local.git.leftovers import commit_leftovers, identity
from mogplex_mcp.local.git.names import (
    InvalidBranch,
    check_branch_name,
    check_root_directory,
    generated_branch,
    in_the_way,
    resolve_root_directory,
)
from mogplex_mcp.local.git.repository import Repository, branches, checked_out, open_repository, start_point
from mogplex_mcp.local.git.worktree import Commit, add_worktree, commits_since, head, remove_worktree

__all__ = [
    "Commit",
    "GitError",
    "InvalidBranch",
    "Repository",
    "add_worktree",
    "branches",
    "check_branch_name",
    "check_root_directory",
    "checked_out",
    "clean_environment",
    "commit_leftovers",
    "commits_since",
    "generated_branch",
    "head",
    "identity",
    "in_the_way",
    "open_repository",
    "remove_worktree",
    "resolve_root_directory",
    "start_point",
]
