"""Which branch a run works on (Mogplex documentation, /web/api/runs: baseBranch, workingBranch, createBranch)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mogplex_mcp.local import git
from mogplex_mcp.local.errors import ApiError, bad_request
from mogplex_mcp.local.run_request import StartRunBody


@dataclass(frozen=True, slots=True)
class BranchPlan:
    """``working`` is made from ``base`` when the run starts, unless it is there; ``note`` says what nobody chose."""

    base: str
    working: str
    create: bool
    note: str | None = None


def plan_branches(repository: git.Repository, request: StartRunBody, held: set[str], today: date) -> BranchPlan:
    """Decides where a run's commits go.

    Args:
        repository: the repository.
        request: what the caller asked for.
        held: working branches of unfinished runs in this repository.
        today: goes into a generated name.

    Raises:
        ApiError: BAD_REQUEST that names the field, or CONFLICT when a branch that was named is in use.
    """
    base = request.base_branch or repository.default_branch
    existing = git.branches(repository)
    if base is None or git.start_point(repository, base) is None:
        raise _no_base(request, base, existing)
    in_use = git.checked_out(repository)
    if request.create_branch and request.working_branch is None:
        return BranchPlan(base, git.generated_branch(request.prompt, existing | held, today), create=True)
    if request.working_branch is None:
        if base not in in_use and base not in held:
            return BranchPlan(base, base, create=False)
        working = git.generated_branch(request.prompt, existing | held, today)
        note = f"{base} is {_where(base, in_use)}, so this run works on the new branch {working}."
        return BranchPlan(base, working, create=True, note=note)
    working = request.working_branch
    if working in in_use or working in held:
        advice = "leave workingBranch out" if request.create_branch else "call again with createBranch: true"
        if not request.create_branch:
            advice += " and without this workingBranch"
        raise ApiError("CONFLICT", f"workingBranch: {working} is {_where(working, in_use)}; {advice}.")
    if not request.create_branch and git.start_point(repository, working) is None:
        raise bad_request(
            "workingBranch", f"there is no branch {working}; call again with createBranch: true to make it"
        )
    return BranchPlan(base, working, create=bool(request.create_branch))


def _where(branch: str, in_use: dict[str, Path]) -> str:
    return f"checked out in {in_use[branch]}" if branch in in_use else "the working branch of another unfinished run"


def _no_base(request: StartRunBody, base: str | None, existing: set[str]) -> ApiError:
    if not existing:
        return bad_request("repoId", "this repository has no commits yet; make a first commit, then call again")
    if request.base_branch is None:
        return bad_request("baseBranch", "this repository has no default branch; name one of its branches")
    return bad_request("baseBranch", f"there is no branch {base} in this repository")
